"""What leads back to itself is found out by the names that are passed on."""

from __future__ import annotations

import contextvars

import pytest

from varv.kernel.errors import Corrupt
from varv.kernel.hops import HEADER, MOST, came_through, passed_on


def within(header: str, address: str) -> str:
    """Return what is passed on to an address in the answer to a request with a header."""

    def asked() -> str:
        came_through(header.encode())
        return passed_on(address, "shop")[HEADER]

    return contextvars.copy_context().run(asked)


def test_what_is_passed_on_grows_by_the_endpoint_that_is_asked():
    first = within("", "http://a")
    second = within(first, "http://b")
    assert second.split(",")[0] == first
    assert within("", "http://b") == second.split(",")[1]


def test_an_endpoint_that_a_request_came_through_is_not_asked_again():
    with pytest.raises(Corrupt, match="endpoint 'shop' leads back to the version that asks it"):
        within(within(within("", "http://a"), "http://b"), "http://a")


def test_a_request_is_passed_on_so_often_and_no_more():
    header = ""
    for number in range(MOST):
        header = within(header, f"http://{number}")
    with pytest.raises(Corrupt, match="is asked through too many others"):
        within(header, "http://another")


def test_what_is_no_name_is_not_passed_on():
    assert within("Z, \x00,é" + "1" * 15, "http://a") == within("", "http://a")


def test_a_request_says_nothing_of_the_next_one():
    within("", "http://a")
    assert passed_on("http://a", "shop")
