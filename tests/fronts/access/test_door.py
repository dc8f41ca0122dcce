from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.access.clients import Client, digest_of, new_token
from varv.fronts.access.concurrency import GradientLimit
from varv.fronts.access.door import ANYBODY, NOBODY, Door
from varv.fronts.access.limits import rate_of
from varv.kernel.errors import PermissionDenied, RateLimited, Unauthenticated, Unavailable
from varv.kernel.ids import ModelName

LATE, SLOW = ModelName("late"), ModelName("slow")


def client(name="shop", **more):
    return Client(name=name, token=digest_of(name.encode()), **more)


def caller(door, name="shop"):
    return door.callers[b"Bearer " + name.encode()]


def test_without_clients_everybody_may_do_everything():
    door = Door()
    for header in (None, b"Bearer x", b"\xff"):
        assert door.callers[header] is ANYBODY
    door.admit(ANYBODY, LATE, 0.0)
    door.require(ANYBODY, "read", LATE)
    assert door.n_under_way == 1


@given(st.none() | st.binary(max_size=600))
def test_nobody_gets_in_without_a_token(header):
    door = Door([client()])
    assert door.callers[header] is NOBODY
    with pytest.raises(Unauthenticated):
        door.admit(NOBODY, LATE, 0.0)
    assert door.refusals == {("unauthenticated", ""): 1}
    assert door.n_under_way == 0


@pytest.mark.parametrize("header", [b"Bearer shop", b"bearer shop", b"BEARER  shop "])
def test_a_token_is_known_however_its_scheme_is_written(header):
    door = Door([client("other"), client()])
    assert door.callers[header].name == "shop"
    assert header in door.callers


def test_what_is_not_valid_is_not_remembered():
    door = Door([client()])
    for number in range(100):
        assert door.callers[b"Bearer %d" % number] is NOBODY
    assert len(door.callers) == 0


def test_tokens_are_new_and_long():
    made = {new_token() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 43 for one in made)


def test_models_and_roles_are_kept_apart():
    door = Door([client(models=(LATE,), roles=("predict",)), client("reader", roles=("read",))])
    door.admit(caller(door), LATE, 0.0)
    with pytest.raises(PermissionDenied, match="'slow'"):
        door.admit(caller(door), SLOW, 0.0)
    with pytest.raises(PermissionDenied, match="'read'"):
        door.require(caller(door), "read")
    with pytest.raises(PermissionDenied, match="'predict'"):
        door.admit(caller(door, "reader"), LATE, 0.0)
    door.require(caller(door, "reader"), "read", SLOW)
    assert door.refusals == {("model", "shop"): 1, ("role", "shop"): 1, ("role", "reader"): 1}


def test_no_refusal_shows_a_token_or_its_digest():
    door = Door([client(rate=rate_of("1/h"), models=(LATE,))])
    door.admit(caller(door), LATE, 0.0)
    told = []
    for who, model in ((NOBODY, LATE), (caller(door), SLOW), (caller(door), LATE)):
        with pytest.raises((Unauthenticated, PermissionDenied, RateLimited)) as caught:
            door.admit(who, model, 0.0)
        told.append(str(caught.value.described()))
    assert digest_of(b"shop") not in "".join(told)
    assert "Bearer shop" not in "".join(told)


def test_rows_beyond_the_rate_are_refused_and_counted():
    door = Door([client(rate=rate_of("10/s"))])
    shop = caller(door)
    door.admit(shop, LATE, 5.0)
    door.admit_rows(shop, LATE, 10, 5.0)
    with pytest.raises(RateLimited) as caught:
        door.admit(shop, LATE, 5.0)
    assert caught.value.facts == {"rate": "10/s rows", "retry_after_s": 1}
    door.admit(shop, LATE, 5.5)
    with pytest.raises(RateLimited):
        door.admit_rows(shop, LATE, 6, 5.5)
    door.admit_rows(shop, LATE, 5, 5.5)
    assert door.refusals == {("rate", "shop"): 2}


def test_a_row_of_a_dear_model_takes_as_many_rows_as_it_costs():
    door = Door([client(rate=rate_of("10/s"))])
    door.costs = {SLOW: 4}
    shop = caller(door)
    door.admit(shop, LATE, 5.0)
    door.admit(shop, SLOW, 5.0)
    assert dict(shop.limit.headers)["ratelimit"].startswith('"rows";r=5;')
    with pytest.raises(RateLimited) as caught:
        door.admit_rows(shop, SLOW, 3, 5.0)
    assert caught.value.facts == {"rate": "10/s rows", "retry_after_s": 1, "rows_a_row": 4}
    assert dict(shop.limit.headers)["ratelimit"].startswith('"rows";r=9;'), "it counts as no row"
    door.admit(shop, SLOW, 5.0)
    door.admit_rows(shop, SLOW, 2, 5.0)
    door.admit(shop, LATE, 5.0)
    with pytest.raises(RateLimited):
        door.admit(shop, LATE, 5.0)


def test_a_request_that_costs_more_than_a_burst_is_not_refused_for_ever():
    door = Door([client(rate=rate_of("10/s"))])
    door.costs = {SLOW: 50}
    shop = caller(door)
    door.admit(shop, SLOW, 5.0)
    with pytest.raises(RateLimited):
        door.admit(shop, LATE, 5.0)
    door.admit(shop, LATE, 10.0)


def test_the_limit_leaves_room_for_higher_priorities():
    door = Door([client(priority=0), client("boss", priority=9)], limit=GradientLimit(least=4, most=10))
    for _ in range(5):
        door.admit(caller(door), LATE, 0.0)
    with pytest.raises(Unavailable):
        door.admit(caller(door), LATE, 0.0)
    for _ in range(5):
        door.admit(caller(door, "boss"), LATE, 0.0)
    with pytest.raises(Unavailable):
        door.admit(caller(door, "boss"), LATE, 0.0)
    door.done(10)
    door.admit(caller(door), LATE, 0.0)
    assert door.n_under_way == 1
    assert door.refusals == {("overload", "shop"): 1, ("overload", "boss"): 1}


def test_a_request_that_is_refused_for_overload_costs_its_client_nothing():
    door = Door([client(rate=rate_of("1/h"))], limit=GradientLimit(least=0, most=0))
    shop = caller(door)
    for _ in range(3):
        with pytest.raises(Unavailable):
            door.admit(shop, LATE, 0.0)
    assert dict(shop.limit.headers)["ratelimit"].startswith('"rows";r=1')
