"""Both ports over TLS: which certificates will do, how they are renewed, and who callers are by theirs."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
import warnings

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http
import uvicorn
from tests.app.authorities import DAY, LOCAL, Authority
from tests.app.serving import Server, eventually, varv
from tests.serving.said import all_answering
from tritonclient.utils import InferenceServerException

import varv as package
from varv.app.clients import clients_of
from varv.app.doctor import _tls
from varv.app.server import tls_server
from varv.app.server.data_server import DataServer
from varv.app.server.protocol import bounded_protocol
from varv.app.server.tls import Certificates, TlsFiles, expires_at_s, names_of, sound_pem, tls_files_of
from varv.app.settings import Settings, load_settings
from varv.fronts.access import Client, Door
from varv.fronts.access.clients import digest_of
from varv.fronts.inference import HotCalls, Inference, Together, create_inference
from varv.kernel.clock import SystemClock
from varv.kernel.errors import FailedPrecondition, InvalidInput, Unavailable

CLIENTS = (
    Client(name="shop", certificate="shop.internal"),
    Client(name="app", token=digest_of(b"app"), certificate="app"),
    Client(name="batch", token=digest_of(b"batch")),
)
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}).encode()
INFER = "/v2/models/binary/infer"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return all_answering(tmp_path_factory.mktemp("served"))


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def files_of(issued, client_authority=""):
    return TlsFiles(certificate=str(issued[0]), key=str(issued[1]), client_authority=str(client_authority))


@contextlib.contextmanager
def serving(models, files, *clients):
    """Serve over HTTP and gRPC, as a worker does, and give both ports."""
    inference = Inference(Door(clients))
    inference.models = dict(models)
    listener = socket.create_server(("127.0.0.1", 0))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    certificates = Certificates(files, SystemClock(), asks_callers=True)
    together = Together(inference)
    hot = HotCalls(inference, None, together)
    config = uvicorn.Config(
        create_inference(inference),
        http=bounded_protocol(hot=hot, identify=inference.door.callers.header_of),
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = DataServer(config, inference, together, address, 1, certificates)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    eventually(lambda: server.started or None)
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", address
    finally:
        server.should_exit = True
        thread.join(10)


def trusting(authority, issued=None):
    context = ssl.create_default_context(cafile=authority.file)
    if issued is not None:
        context.load_cert_chain(issued[0], issued[1])
    return context


def asked(url, context, **headers):
    with httpx.Client(base_url=url, verify=context) as client:
        return client.post(INFER, content=BODY, headers={"content-type": "application/json", **headers})


def serial_of(url, context):
    """Return the number of the certificate that a new connection is shown."""
    place = httpx.URL(url)
    with (
        socket.create_connection((place.host, place.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=place.host) as made,
    ):
        return int(made.getpeercert()["serialNumber"], 16)


def grpc_credentials(authority, issued=None):
    parts = [None, None] if issued is None else [issued[1].read_bytes(), issued[0].read_bytes()]
    return grpc.ssl_channel_credentials(authority.file.read_bytes(), *parts)


def tensor():
    return triton.InferInput("x", [1], "FP64").set_data_from_numpy(np.array([1.0]))


# Which files will do


def test_a_pair_that_is_valid_will_do(authority):
    files = files_of(authority.issue("server", *LOCAL))
    pem = sound_pem(files, SystemClock())
    now_s = SystemClock().now() // 1_000_000
    assert 0 < expires_at_s(pem) - now_s <= DAY.total_seconds()


def unsound(authority, tmp_path, how):
    issued = authority.issue("server", *LOCAL)
    other = authority.issue("other", *LOCAL)
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN NOTHING-----")
    return {
        "missing": TlsFiles(certificate=str(tmp_path / "none"), key=str(issued[1])),
        "a folder": TlsFiles(certificate=str(issued[0]), key=str(tmp_path)),
        "of another": TlsFiles(certificate=str(issued[0]), key=str(other[1])),
        "no certificate": TlsFiles(certificate=str(broken), key=str(issued[1])),
        "no key": TlsFiles(certificate=str(issued[0]), key=str(broken)),
        "a password": files_of(authority.issue("locked", password=b"secret")),
        "expired": files_of(authority.issue("old", begins=-3 * DAY, ends=-DAY / 24)),
        "not yet": files_of(authority.issue("new", begins=DAY / 24)),
        "no authority": files_of(issued, broken),
        "authority missing": files_of(issued, tmp_path / "none"),
    }[how]


@pytest.mark.parametrize(
    ("how", "setting", "problem"),
    [
        ("missing", "tls_certificate", "cannot be read"),
        ("a folder", "tls_key", "cannot be read"),
        ("of another", "tls_key", "is not the key of the certificate"),
        ("no certificate", "tls_certificate", "holds no certificate"),
        ("no key", "tls_key", "is no private key"),
        ("a password", "tls_key", "has a password"),
        ("expired", "tls_certificate", "has expired"),
        ("not yet", "tls_certificate", "is not valid yet"),
        ("no authority", "tls_client_authority", "holds no certificate"),
        ("authority missing", "tls_client_authority", "cannot be read"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_opened(authority, tmp_path, how, setting, problem):
    files = unsound(authority, tmp_path, how)
    with pytest.raises(FailedPrecondition, match=problem) as caught:
        sound_pem(files, SystemClock())
    assert caught.value.name == setting
    assert "file" in caught.value.facts
    assert caught.value.hint
    if how == "expired":
        # A worker that is started again goes on with what the others show.
        assert sound_pem(files, None).key


def test_settings_name_both_files_or_neither(tmp_path):
    assert tls_files_of(Settings()) is None
    for given, missing in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        with pytest.raises(FailedPrecondition, match=missing):
            tls_files_of(Settings(**{given: "x.pem"}))
    with pytest.raises(FailedPrecondition, match="tls_certificate"):
        tls_files_of(Settings(tls_client_authority="x.pem"))
    (tmp_path / "varv.toml").write_text('tls_certificate = "a.pem"\ntls_key = "/b.key"\n')
    found = tls_files_of(load_settings({}, environ={}, folder=tmp_path).settings)
    assert found == TlsFiles(certificate=str(tmp_path / "a.pem"), key="/b.key")


def test_the_doctor_looks_at_the_certificate(authority, tmp_path):
    assert _tls(Settings()) == ()
    for ends, verdict in ((DAY, "note"), (90 * DAY, "ok"), (-DAY / 24, "bad")):
        issued = authority.issue("server", begins=-2 * DAY, ends=ends)
        [check] = _tls(Settings(tls_certificate=str(issued[0]), tls_key=str(issued[1])))
        assert (check.name, check.verdict) == ("certificate", verdict)


# Requests


def test_real_clients_are_answered_over_tls(models, authority):
    files = files_of(authority.issue("server", *LOCAL))
    with serving(models, files) as (url, address):
        assert asked(url, trusting(authority)).status_code == 200
        place = url.removeprefix("https://")
        options = {"ssl": True, "ssl_context_factory": lambda: trusting(authority), "insecure": False}
        with triton_http.InferenceServerClient(place, **options) as client:
            inputs = [triton_http.InferInput("x", [1], "FP64")]
            inputs[0].set_data_from_numpy(np.array([1.0]))
            assert client.infer("binary", inputs).get_response()["model_name"] == "binary"
        with triton.InferenceServerClient(address, creds=grpc_credentials(authority), ssl=True) as client:
            assert client.infer("binary", [tensor()]).get_response().model_name == "binary"


def test_requests_of_one_packet_and_large_ones_are_answered_in_order(models, authority):
    head = f"POST {INFER} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
    one = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
    many = {"inputs": [{"name": "x", "shape": [400], "datatype": "FP64", "data": [0.5] * 400}], "id": "large"}
    body = json.dumps(many).encode() + b" " * (200 << 10)
    large = f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
    with serving(models, files_of(authority.issue("server", *LOCAL))) as (url, _):
        place = httpx.URL(url)
        plain = socket.create_connection((place.host, place.port), timeout=20)
        with trusting(authority).wrap_socket(plain, server_hostname=place.host) as made:
            made.sendall(one * 3 + large)
            found = b""
            while part := made.recv(1 << 16):
                found += part
    assert found.count(b"HTTP/1.1 200 OK") == 4
    assert found.rindex(b'"large"') > found.rindex(b"HTTP/1.1 200 OK")


def test_old_versions_and_what_is_no_handshake_are_refused(models, authority, monkeypatch):
    monkeypatch.setattr(tls_server, "HANDSHAKE_S", 0.2)
    with serving(models, files_of(authority.issue("server", *LOCAL))) as (url, _):
        place = httpx.URL(url)
        old = trusting(authority)
        with warnings.catch_warnings():
            # Python warns whoever still asks for them.
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            serial_of(url, old)
        with socket.create_connection((place.host, place.port), timeout=10) as made:
            made.sendall(b"GET /ping HTTP/1.1\r\nhost: h\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in made.recv(100)
        silent = socket.create_connection((place.host, place.port), timeout=10)
        # Whoever says nothing has no deadline of a minute.
        with silent, contextlib.suppress(ConnectionError):
            assert silent.recv(100) == b""
        # Nobody else notices.
        assert asked(url, trusting(authority)).status_code == 200


def test_a_certificate_that_is_renewed_is_shown_to_new_connections_alone(models, authority, monkeypatch):
    monkeypatch.setattr(tls_server, "LOOK_EVERY_S", 0.02)
    issued = authority.issue("server", *LOCAL)
    context = trusting(authority)
    with (
        serving(models, files_of(issued)) as (url, address),
        httpx.Client(base_url=url, verify=context) as kept,
        triton.InferenceServerClient(address, creds=grpc_credentials(authority), ssl=True) as calls,
    ):
        assert kept.get("/ping").status_code == 200
        assert calls.is_server_live()
        assert serial_of(url, context) == issued[2]
        renewed = authority.issue("server", *LOCAL)
        eventually(lambda: serial_of(url, context) == renewed[2] or None)
        assert serial_of(f"https://{address}", context_of_grpc(authority)) == renewed[2]
        # These connections are the ones from before.
        assert kept.get("/ping").status_code == 200
        assert calls.is_server_live()


def context_of_grpc(authority):
    context = trusting(authority)
    context.set_alpn_protocols(["h2"])
    return context


def test_half_a_pair_is_not_taken_up(models, authority, monkeypatch, caplog):
    logger = logging.getLogger("varv")
    monkeypatch.setattr(logger, "propagate", True)
    issued = authority.issue("server", *LOCAL)
    certificates = Certificates(files_of(issued), SystemClock(), asks_callers=False)
    assert certificates.look() is False
    other = authority.issue("other", *LOCAL)
    issued[1].write_bytes(other[1].read_bytes())
    with caplog.at_level(logging.ERROR):
        assert certificates.look() is False
    assert "certificate.not_renewed" in caplog.text
    assert certificates.look() is False
    issued[0].write_bytes(other[0].read_bytes())
    assert certificates.look() is True
    assert certificates.pem.key == other[1].read_bytes()


# Who callers are


def test_callers_are_clients_by_a_name_in_their_certificate(models, authority, tmp_path):
    files = files_of(authority.issue("server", *LOCAL), authority.file)
    shop = authority.issue("anything", "shop.internal")
    by_common_name, stranger = authority.issue("app"), authority.issue("stranger")
    elsewhere = Authority(tmp_path, "elsewhere").issue("shop.internal", "shop.internal")
    with serving(models, files, *CLIENTS) as (url, address):
        assert asked(url, trusting(authority, shop)).status_code == 200
        assert asked(url, trusting(authority, by_common_name)).status_code == 200
        assert asked(url, trusting(authority, stranger)).status_code == 401
        # A token says more than a certificate does.
        assert asked(url, trusting(authority, stranger), authorization="Bearer batch").status_code == 200
        assert asked(url, trusting(authority, shop), authorization="Bearer none").status_code == 401
        for context in (trusting(authority), trusting(authority, elsewhere)):
            with pytest.raises(httpx.TransportError):
                asked(url, context)
        # The way of the application, which reads the same header.
        with httpx.Client(base_url=url, verify=trusting(authority, shop)) as client:
            assert client.get("/v2/models/binary").status_code == 200
        for issued, is_known in ((shop, True), (by_common_name, True), (stranger, False)):
            creds = grpc_credentials(authority, issued)
            with triton.InferenceServerClient(address, creds=creds, ssl=True) as client:
                if is_known:
                    assert client.infer("binary", [tensor()]).get_response().model_name == "binary"
                else:
                    with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
                        client.infer("binary", [tensor()])
        nobody = triton.InferenceServerClient(address, creds=grpc_credentials(authority), ssl=True)
        with nobody, pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            nobody.infer("binary", [tensor()])


def test_nobody_can_say_by_a_header_that_they_showed_a_certificate():
    callers = Door(CLIENTS).callers
    header = callers.header_of(["unknown", "shop.internal"])
    assert header is not None
    assert callers[header].name == "shop"
    other = Door(CLIENTS).callers
    # It is another in each process, and says nothing in the next.
    assert other[header].name == ""
    assert callers[b"Certificate  shop"].name == callers[b"Certificate shop"].name == ""
    assert callers.header_of([]) is None


def test_names_of_what_is_no_certificate_are_none():
    assert names_of(None) == names_of({}) == ()
    only_common = {"subject": ((("organizationName", "o"),), (("commonName", "c"),))}
    assert names_of(only_common) == ("c",)


def test_a_client_has_a_token_or_a_certificate():
    table = {"shop": {"certificate": "shop.internal"}, "app": {"token": "ab" * 32, "certificate": "app"}}
    app, shop = clients_of(table, "varv.toml")
    assert (shop.token, shop.certificate, app.certificate) == ("", "shop.internal", "app")
    for wrong, problem in (
        ({"shop": {}}, "SHA-256"),
        ({"shop": {"certificate": " "}}, "is no name"),
        ({"shop": {"certificate": 7}}, "is no name"),
        ({"shop": {"certificate": "c", "token": "plain"}}, "SHA-256"),
        ({"shop": {"certificate": "c"}, "app": {"certificate": "c"}}, "is that of app too"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            clients_of(wrong, "varv.toml")


# A whole server


@pytest.mark.slow
def test_a_server_speaks_tls_on_all_ports_and_the_command_line_finds_it(served_project, tmp_path):
    project, authority = served_project(tmp_path), Authority(tmp_path)
    issued = authority.issue("server", *LOCAL)
    settings = {"tls_certificate": issued[0], "tls_key": issued[1]}
    (tmp_path / "varv.toml").write_text("".join(f'{name} = "{path}"\n' for name, path in settings.items()))
    server = Server(tmp_path / "home", project, wait=False)
    said = eventually(server._announced)
    urls = [f"https://127.0.0.1:{said[name]}" for name in ("port", "inference_port")]
    context = trusting(authority)
    server.control, server.inference = (
        httpx.Client(base_url=url, verify=context, timeout=60) for url in urls
    )
    eventually(lambda: server._state() == "serving" or None)
    eventually(lambda: server.inference.get("/v2/health/ready").status_code == 200 or None)
    assert "varv_certificate_expires_seconds" in server.control.get("/metrics").text
    # The command line has no authority, and knows the server by its own certificate.
    assert varv(tmp_path / "home", "retrain", "late-parcel", "--reason", "over TLS")
    assert json.loads(varv(tmp_path / "home", "top", "--once", "--json")) == []
    with package.connect(urls[0], authority=authority.file) as connected:
        assert connected.health["state"] == "serving"
        row = {"delivery_id": "tls-1", "district": "harbour", "courier": "eli"}
        answer = connected.predict("late-parcel", [{**row, "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}])
        assert answer.height == 1
    with pytest.raises(Unavailable):
        package.connect(urls[0])
    assert server.stop() == 0
