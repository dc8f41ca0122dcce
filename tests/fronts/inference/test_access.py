"""Who may ask for what, how much and for how long: the same on the hot path and in the application."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
from tests.fronts.asking import asking
from tests.fronts.inference.test_hot import (
    HOST,
    INFER,
    JSON,
    KSERVE,
    MATRIX,
    MLFLOW,
    TYPED,
    Asked,
    answering,
    infer,
    parsed,
)

from varv.fronts.access import Client, Door, Origins
from varv.fronts.access.clients import digest_of
from varv.fronts.access.concurrency import GradientLimit
from varv.fronts.access.limits import rate_of
from varv.fronts.inference import Inference, create_inference
from varv.kernel.ids import ModelName

WIDE = ModelName("wide")
SITE = (b"origin", b"https://shop.example")
BODY = infer([MATRIX])
ONE_ROW = b'{"instances": [[1, 2, 3]]}'
EVERY_WAY = [(INFER, BODY), (TYPED, b'{"rows":[{"a":1,"b":2,"c":3}]}'), (KSERVE, ONE_ROW), (MLFLOW, ONE_ROW)]


def token(name):
    return (b"authorization", b"Bearer " + name.encode())


def client(name, **more):
    return Client(name=name, token=digest_of(name.encode()), **more)


CLIENTS = (
    client("shop"),
    client("other", models=(ModelName("another"),)),
    client("asker", roles=("predict",), models=(WIDE,)),
    client("reader", roles=("read",)),
)


@pytest.fixture
def asked(tmp_path):
    return Asked(tmp_path, partial(Door, CLIENTS))


@pytest.mark.parametrize(("target", "body"), EVERY_WAY)
def test_whoever_has_the_right_is_answered_and_nobody_else(asked, target, body):
    assert asked.same(target, [JSON, token("shop")], body)[0] == 200
    assert asked.same(target, [JSON, token("asker")], body)[0] == 200
    for header in ([], [token("none")], [(b"authorization", b"Basic shop")]):
        status, headers, told = asked.same(target, [JSON, *header], body)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert json.loads(told)["error_code"] == "UNAUTHENTICATED"
    for name in ("reader", "other"):
        assert asked.same(target, [JSON, token(name)], body)[0] == 403
    for door in (asked.hot_inference.door, asked.inference.door):
        assert door.n_under_way == 0
        assert door.refusals == {
            ("unauthenticated", ""): 3,
            ("role", "reader"): 1,
            ("model", "other"): 1,
        }


def test_a_header_cannot_name_a_model_that_is_not_allowed(asked):
    named = (b"x-varv-model", b"wide")
    assert asked.same(MLFLOW, [JSON, named, token("asker")], ONE_ROW)[0] == 200
    assert asked.same(MLFLOW, [JSON, named, token("other")], ONE_ROW)[0] == 403


READS = [
    ("GET", "/v2"),
    ("GET", "/v2/models/wide"),
    ("GET", "/v2/models/wide/stats"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/repository/index"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/wide"),
    ("GET", "/v1/models"),
    ("GET", "/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_reading_needs_its_own_right(asked, method, path):
    with asking(asked.app) as rest:
        assert rest.request(method, path).status_code == 401
        for name, refused in (("asker", True), ("reader", False), ("shop", False)):
            status = rest.request(method, path, headers={"authorization": f"Bearer {name}"}).status_code
            assert (status == 403) == refused


def test_probes_need_no_token(asked):
    with asking(asked.app) as rest:
        for path in ("/v2/health/live", "/v2/health/ready", "/ping", "/health"):
            assert rest.get(path).status_code == 200


def test_a_form_on_the_page_is_a_prediction(asked):
    with asking(asked.app) as rest:
        for name, status in (("shop", 200), ("reader", 403), ("none", 401)):
            headers = {"authorization": f"Bearer {name}"}
            assert rest.post("/docs/wide", content="a=1&b=2&c=3", headers=headers).status_code == status
    assert asked.inference.door.n_under_way == 0


def test_what_somebody_may_not_ask_is_not_shown(tmp_path):
    inference = Inference(Door([client("one", models=(ModelName("wide"),))]))
    inference.models = {ModelName(name): answering(tmp_path, name) for name in ("wide", "hidden")}
    headers = {"authorization": "Bearer one"}
    with asking(create_inference(inference)) as rest:
        places = ("/v2/models", "/v2/models/stats", "/openapi.json", "/docs", "/v1/models")
        told = [rest.get(path, headers=headers).text for path in places]
        told.append(rest.post("/v2/repository/index", headers=headers).text)
        assert all("wide" in text and "hidden" not in text for text in told)
        for path in ("/v2/models/hidden", "/docs/hidden", "/v1/models/hidden", "/v2/models/unknown"):
            assert rest.get(path, headers=headers).status_code == 403


# Rates


def test_rows_beyond_the_rate_are_refused_with_the_time_to_wait(tmp_path):
    asked = Asked(tmp_path, partial(Door, [client("shop", rate=rate_of("4/m"))]))
    status, headers, _ = asked.same(INFER, [JSON, token("shop")], BODY)
    assert (status, headers["ratelimit-policy"]) == (200, '"rows";q=4;w=60')
    assert headers["ratelimit"] == '"rows";r=2;t=30'
    assert asked.same(KSERVE, [JSON, token("shop")], ONE_ROW)[0] == 200
    status, headers, body = asked.same(INFER, [JSON, token("shop")], BODY)
    assert (status, headers["retry-after"], headers["ratelimit"]) == (429, "15", '"rows";r=1;t=45')
    assert json.loads(body)["error_code"] == "RATE_LIMITED"
    assert asked.hot_inference.door.refusals == {("rate", "shop"): 1}
    told = asked.hot_inference.statistics[WIDE].described()["inference_stats"]
    assert (told["success"]["count"], told["fail"]["count"]) == (2, 1)


# Deadlines


def test_what_nobody_waits_for_is_neither_computed_nor_captured(tmp_path):
    asked = Asked(tmp_path)
    late = [
        (INFER, [JSON, (b"x-varv-timeout-ms", b"0")], BODY),
        (MLFLOW, [JSON, (b"x-varv-timeout-ms", b"0")], ONE_ROW),
        (INFER, [JSON], infer([MATRIX], parameters={"timeout": 1})),
    ]
    for target, headers, body in late:
        status, _, told = same_but_waited(asked, target, headers, body)
        assert status == 504
        assert json.loads(told)["error_code"] == "DEADLINE_EXCEEDED"
    for inference in (asked.hot_inference, asked.inference):
        told = inference.statistics[WIDE].described()
        assert (told["inference_stats"]["fail"]["count"], told["inference_count"]) == (3, 0)
        assert inference.models[WIDE]._log.seal() == []
        assert inference.door.refusals == {("deadline", ""): 3}
        assert inference.door.n_under_way == 0


def same_but_waited(asked, target, headers, body):
    """Return what both ways say, which is the same but for how long a request waited."""
    [hot] = asked.replies((target, headers, body))
    given = {name.decode(): value.decode() for name, value in headers}
    with asking(asked.app) as rest:
        response = rest.post(target.decode(), content=body, headers={**given, "host": "127.0.0.1:8480"})
    assert response.status_code == hot[0]
    return hot


def test_with_time_enough_it_is_answered_as_ever(tmp_path):
    asked = Asked(tmp_path)
    assert asked.same(INFER, [JSON, (b"x-varv-timeout-ms", b"60000")], BODY)[0] == 200
    for timeout in (60_000_000, 0):
        assert asked.same(INFER, [JSON], infer([MATRIX], parameters={"timeout": timeout}))[0] == 200


@pytest.mark.parametrize("timeout", [-1, 1.5, "1", True, 1 << 63])
def test_what_is_no_time_to_wait_is_refused(tmp_path, timeout):
    asked = Asked(tmp_path)
    assert asked.same(INFER, [JSON], infer([MATRIX], parameters={"timeout": timeout}))[0] == 400
    assert asked.same(INFER, [JSON, (b"x-varv-timeout-ms", b"soon")], BODY)[0] == 400
    assert asked.hot_inference.door.n_under_way == asked.inference.door.n_under_way == 0


def test_of_requests_of_one_moment_only_the_late_are_left_out(tmp_path):
    asked = Asked(tmp_path)
    late, good = [JSON, (b"x-varv-timeout-ms", b"0")], [JSON]
    replies = asked.replies(*[(KSERVE, headers, ONE_ROW) for headers in (good, late, good)])
    assert [status for status, _, _ in replies] == [200, 504, 200]
    assert asked.hot_inference.door.n_under_way == 0


# Overload


def test_the_lowest_priority_is_refused_first_and_all_is_taken_again_afterwards(tmp_path):
    clients = [client("batch", priority=0), client("live", priority=9)]
    asked = Asked(tmp_path, lambda: Door(clients, limit=GradientLimit(least=4, most=8)))
    several = [(KSERVE, [JSON, token(name)], ONE_ROW) for name in ["batch"] * 6 + ["live"] * 6]
    replies = asked.replies(*several)
    assert [status for status, _, _ in replies] == [200] * 4 + [503] * 2 + [200] * 4 + [503] * 2
    assert replies[4][1]["retry-after"] == "1"
    assert asked.hot_inference.door.refusals == {("overload", "batch"): 2, ("overload", "live"): 2}
    assert [status for status, _, _ in asked.replies(*several[:4])] == [200] * 4


def test_the_application_knows_what_came_together(tmp_path):
    inference = Inference(Door(limit=GradientLimit(least=2, most=4)))
    inference.models = {WIDE: answering(tmp_path)}
    found = asyncio.run(together(create_inference(inference), 6))
    assert sorted(found) == [200] * 3 + [503] * 3
    assert inference.door.n_under_way == 0


async def together(app, n):
    import httpx

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as rest:
        ask = partial(rest.post, "/v1/models/wide:predict", content=ONE_ROW)
        return [answer.status_code for answer in await asyncio.gather(*(ask() for _ in range(n)))]


def test_a_fault_leaves_nothing_under_way(tmp_path, monkeypatch):
    asked = Asked(tmp_path)
    monkeypatch.setattr(asked.hot_inference.models[WIDE], "ready", lambda *_: 1 / 0)
    found = []

    def submit():
        asked.hot.calls[INFER].submit([HOST, JSON], BODY, lambda *one: found.append(parsed(*one)))

    with pytest.raises(ZeroDivisionError):
        submit()
    assert [status for status, _, _ in found] == [500]
    assert asked.hot_inference.door.n_under_way == 0


def test_what_comes_after_a_fault_is_answered_all_the_same(tmp_path, monkeypatch):
    asked = Asked(tmp_path)
    real, n_calls = asked.hot_inference.models[WIDE].answer_together, []

    def first_fails(several):
        n_calls.append(len(several))
        return real(several) if len(n_calls) > 1 else 1 / 0

    monkeypatch.setattr(asked.hot_inference.models[WIDE], "answer_together", first_fails)
    rows = json.dumps({"instances": [[1.0, 2.0, 3.0]] * 200}).encode()
    found = []

    async def ask():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        for _ in range(2):
            asked.hot.calls[KSERVE].submit([HOST, JSON], rows, lambda *one: found.append(parsed(*one)))
        await asyncio.sleep(0.01)

    asyncio.run(ask())
    assert [status for status, _, _ in found] == [500, 200]
    assert asked.hot_inference.door.n_under_way == 0


# Browsers, and versions


def test_pages_of_named_sites_are_answered_and_of_no_other(tmp_path):
    asked = Asked(tmp_path, lambda: Door(CLIENTS, origins=Origins("https://shop.example")))
    from_site = [JSON, token("shop"), SITE, (b"sec-fetch-site", b"cross-site")]
    for target, body in EVERY_WAY:
        status, headers, _ = asked.same(target, from_site, body)
        assert (status, headers["access-control-allow-origin"]) == (200, "https://shop.example")
    other = [JSON, token("shop"), (b"origin", b"https://other.example")]
    status, headers, _ = asked.same(INFER, other, BODY)
    assert (status, headers.get("access-control-allow-origin"), headers["vary"]) == (403, None, "origin")
    # A page can read why it was refused.
    status, headers, _ = asked.same(INFER, [JSON, SITE], BODY)
    assert (status, headers["access-control-allow-origin"]) == (401, "https://shop.example")


def test_a_browser_is_told_before_it_asks(tmp_path):
    asked = Asked(tmp_path, lambda: Door(CLIENTS, origins=Origins("https://shop.example")))
    with asking(asked.app) as rest:
        wanted = {"access-control-request-method": "POST"}
        told = rest.options("/v2/models/wide/infer", headers={"origin": "https://shop.example", **wanted})
        assert (told.status_code, told.headers["access-control-max-age"]) == (204, "600")
        assert "authorization" in told.headers["access-control-allow-headers"]
        other = rest.options("/v2/models/wide/infer", headers={"origin": "https://other.example", **wanted})
        assert other.status_code == 401
        assert "access-control-allow-origin" not in other.headers


def test_the_first_protocol_says_what_follows_it_if_it_is_to_end(tmp_path):
    asked = Asked(tmp_path, lambda: Door(v1_deprecated_s=1_767_225_600))
    status, headers, _ = asked.same(KSERVE, [JSON], ONE_ROW)
    assert (status, headers["deprecation"]) == (200, "@1767225600")
    assert headers["link"] == '</v2/models/wide/infer>; rel="successor-version"'
    assert "deprecation" in asked.same(KSERVE, [JSON], b"{")[1]
    assert "deprecation" not in asked.same(INFER, [JSON], BODY)[1]
    with asking(asked.app) as rest:
        assert rest.get("/v1/models").headers["link"] == '</v2/models>; rel="successor-version"'
