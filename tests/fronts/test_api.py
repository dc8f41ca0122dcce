from __future__ import annotations

from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from tests.fronts.asking import asking

from varv.fronts.api import create_api
from varv.fronts.client import Client
from varv.fronts.problems import STATUS
from varv.kernel.errors import FailedPrecondition, Unavailable, tree
from varv.kernel.verbs import MOST_REQUEST_BYTES, Permission, Verb, VerbTable


class Order(msgspec.Struct, frozen=True):
    """An order."""

    dish: str
    n: int = 1


class Bill(msgspec.Struct, frozen=True):
    """A bill."""

    total: float
    notes: dict[str, object] = {}


def cook(order: Order) -> Bill:
    if order.dish == "soup":
        raise FailedPrecondition("dish", order.dish, "is sold out", hint="order the stew", left=0)
    if order.dish == "pie":
        raise Unavailable("oven", "", "is cold", hint="come back soon")
    return Bill(total=7.5 * order.n)


class Plates(msgspec.Struct, frozen=True):
    """Plates."""

    n_refused: int


def application(token=""):
    verbs = VerbTable()
    for name, permission in (("dish.order", "operate"), ("dish.price", "read")):
        verb: Verb[Any, Any] = Verb(
            name=name,
            summary="Order.",
            request=Order,
            result=Bill,
            permission=Permission(permission),
            run=cook,
        )
        verbs.register(verb)
    return Starlette(routes=create_api(verbs, lambda: {"status": "ok"}, token=token))


@pytest.fixture
def client():
    return asking(application())


def order(client, body, **headers):
    return client.post("/api/v1/dish/order", json=body, headers=headers)


def test_a_verb_is_a_path_and_its_result_is_the_body(client):
    assert order(client, {"dish": "stew", "n": 2}).json() == {"total": 15.0, "notes": {}}


def test_an_error_has_a_status_by_its_code_and_says_what_why_and_next(client):
    answer = order(client, {"dish": "soup"})
    assert answer.status_code == 409
    assert answer.json() == {
        "error": {
            "code": "failed_precondition",
            "kind": "dish",
            "name": "soup",
            "problem": "is sold out",
            "hint": "order the stew",
            "facts": {"left": 0},
        }
    }
    assert order(client, {"dish": "pie"}).headers["retry-after"] == "1"


def test_every_error_code_has_a_status():
    assert {kind.code for kind in tree()} <= set(STATUS)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"dish": 7}', b'{"dish": "stew", "m": 1}', b'{"n": 1}', b"\xff"]
)
def test_a_body_that_does_not_fit_is_refused(client, body):
    answer = client.post("/api/v1/dish/order", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_may_not_act(client, site):
    assert order(client, {"dish": "stew"}, **{"sec-fetch-site": site}).status_code == 403
    assert order(client, {"dish": "stew"}, **{"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_form_may_not_act(client):
    assert client.post("/api/v1/dish/order", data={"dish": "stew"}).status_code == 400


def test_a_body_beyond_the_limit_is_too_large(client):
    body = b'{"dish": "' + b"x" * MOST_REQUEST_BYTES + b'"}'
    answer = client.post("/api/v1/dish/order", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_with_a_token_only_reading_goes_without_it():
    client = asking(application(token="open-sesame"))
    assert order(client, {"dish": "stew"}).status_code == 403
    assert order(client, {"dish": "stew"}, authorization="Bearer wrong").status_code == 403
    assert order(client, {"dish": "stew"}, authorization="Bearer open-sesame").status_code == 200
    assert client.post("/api/v1/dish/price", json={"dish": "stew"}).status_code == 200


def test_openapi_describes_every_verb(client):
    told = client.get("/api/openapi.json").json()
    operation = told["paths"]["/api/v1/dish/order"]["post"]
    assert operation["operationId"] == "dish.order"
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Order"
    }
    assert told["components"]["schemas"]["Order"]["required"] == ["dish"]
    assert client.get("/health").json() == {"status": "ok"}


def test_a_client_that_reaches_nobody_says_so():
    with Client("http://127.0.0.1:9", timeout_s=2) as client, pytest.raises(Unavailable, match="varv up"):
        client.call("dish.order", dish="stew")


def test_a_client_raises_what_the_server_raised():
    client = Client("http://testserver", http=asking(application()))
    with pytest.raises(FailedPrecondition, match="is sold out") as raised:
        client.call("dish.order", dish="soup")
    assert raised.value.facts == {"left": 0}
    assert client.call("dish.order", dish="stew") == {"total": 7.5, "notes": {}}
    assert client.verbs() == {"dish.order": "Order.", "dish.price": "Order."}


def test_what_is_done_in_part_is_a_207_and_described_as_one():
    verbs = VerbTable()
    verb: Verb[Any, Any] = Verb(
        name="dish.carry",
        summary="Carry.",
        request=Order,
        result=Plates,
        permission=Permission("write"),
        run=lambda order: Plates(n_refused=order.n),
    )
    verbs.register(verb)
    client = asking(Starlette(routes=create_api(verbs, dict)))
    for n, status in ((0, 200), (2, 207)):
        answer = client.post("/api/v1/dish/carry", json={"dish": "stew", "n": n})
        assert (answer.status_code, answer.json()) == (status, {"n_refused": n})
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "207" in paths["/api/v1/dish/carry"]["post"]["responses"]
