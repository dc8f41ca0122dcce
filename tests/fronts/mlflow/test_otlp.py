from __future__ import annotations

import gzip
import zlib

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.fronts.asking import asking
from tests.runs.conftest import TrackedHome

from varv.app.server.tracking import mlflow_api
from varv.fronts.gateway import Gateway
from varv.fronts.mlflow import otlp

from .test_access import nothing_else

HEADERS = {"content-type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}


@pytest.fixture
def client(tmp_path):
    home = TrackedHome(tmp_path)
    with asking(Gateway(mlflow_api(nothing_else, home.desk), None)) as client:
        client.home = home
        yield client
    home.close()


def spans(n=1, **said):
    export = ExportTraceServiceRequest()
    of_scope = export.resource_spans.add().scope_spans.add()
    for id in range(1, n + 1):
        of_scope.spans.add(
            trace_id=b"t" * 16, span_id=id.to_bytes(8, "big"), start_time_unix_nano=10**18, **said
        )
    return export.SerializeToString()


def sent(client, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(otlp.PATH, content=body, headers={**HEADERS, **named})


def n_spans(client):
    with client.home.tracking.recorder.reading() as db:
        return db.execute("SELECT count(*) FROM span").fetchone()[0]


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_an_export_may_be_compressed(client, encoding, compress):
    answer = sent(client, compress(spans(3)), content_encoding=encoding)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert n_spans(client) == 3


def test_an_export_that_inflates_to_too_much_is_refused(client, monkeypatch):
    monkeypatch.setattr(otlp, "MOST_INFLATED", 10_000)
    bomb = gzip.compress(spans(name="x" * 1_000_000))
    assert len(bomb) < 10_000
    assert sent(client, bomb, content_encoding="gzip").status_code == 400
    assert sent(client, gzip.compress(spans())[:-9], content_encoding="gzip").status_code == 400
    assert sent(client, spans(), content_encoding="br").status_code == 400
    assert n_spans(client) == 0


def test_a_refusal_stays_one_when_it_is_repeated(client):
    for body in (b"", b"\xff\xff", spans(kind=1)[:-3]):
        answer = sent(client, body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert sent(client, spans(), x_mlflow_experiment_id="99").status_code == 404
    assert sent(client, spans(), x_mlflow_run_id="none").status_code == 404
    assert client.get(otlp.PATH).status_code == 405
    assert client.post(f"{otlp.PATH}/x", content=spans(), headers=HEADERS).status_code == 404
    assert sent(client, spans(), origin="http://elsewhere.example").status_code == 403
    assert n_spans(client) == 0


def test_a_trace_has_files_of_its_own(client):
    sent(client, spans())
    place = f"/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-{(b't' * 16).hex()}/artifacts"
    assert client.put(f"{place}/traces.json", content=b"{}").status_code == 200
    assert client.get(f"{place}/traces.json").content == b"{}"
    for odd in (place.replace("tr-", "tr-no"), place.replace("/0/", "/1/"), f"{place}/%2e%2e/x"):
        assert client.put(f"{odd}/traces.json", content=b"{}").status_code in (400, 404)
    deleting = {"experiment_id": "0", "max_timestamp_millis": 2 * 10**12}
    assert client.post("/api/3.0/mlflow/traces/delete-traces", json=deleting).json() == {"traces_deleted": 1}
    assert client.get(f"{place}/traces.json").status_code == 404
