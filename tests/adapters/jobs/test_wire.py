"""What goes between a job's owner and its runner."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.adapters.jobs import wire
from varv.fronts.problems import TooLarge
from varv.kernel.errors import Conflict, InvalidInput, UserCodeFailed, tree


@pytest.fixture
def handle():
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def test_an_answer_is_read_as_it_was_written_last(handle):
    wire.write(handle, wire.Answer(n_bytes=100_000), b"x" * 100_000)
    wire.write(handle, wire.Answer(n_bytes=3), b"abc")
    assert wire.read_answer(handle, 1000) == (wire.Answer(n_bytes=3), b"abc")


def test_an_order_is_read_with_the_job_after_it(handle):
    order = wire.Order(
        entry="a:B", subject=("a", "b"), path=["/x"], memory_bytes=1, n_processes=2, result_bytes=3
    )
    wire.write(handle, order, b"job")
    assert wire.read_order(handle) == (order, b"job")


@given(content=st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(content):
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with pytest.raises(wire.Garbage):
            wire.read_answer(file.fileno(), 1000)


@pytest.mark.parametrize("kind", [kind for kind in tree() if kind.__module__ == "varv.kernel.errors"])
def test_every_error_of_ours_arrives_as_its_class(kind):
    arrived = wire.raised(wire.flattened(kind("model", "m", "is odd", hint="look", n=7, x=0.5, b=True)))
    assert type(arrived) is kind
    assert str(arrived) == "model 'm' is odd (n=7, x=0.5, b=True); look"


def test_of_several_classes_with_a_code_the_one_nearest_the_root_arrives():
    assert type(wire.raised(wire.flattened(TooLarge("model", "m")))) is InvalidInput


def test_an_error_of_an_unknown_code_is_the_authors():
    sent = wire.Raised("stranger", "model", "m", "is odd", "look", {}, ("a.py:1 in f",))
    arrived = wire.raised(sent)
    assert type(arrived) is UserCodeFailed
    assert arrived.trace == ("a.py:1 in f",)


def test_facts_of_any_kind_and_name_arrive_as_something():
    error = Conflict("model", "m", facts_of="a\ud800", big=10**30, text="x" * 10**6, things=[1], none=None)
    error.facts["hint"] = "not an argument"
    arrived = wire.raised(wire.flattened(error))
    assert arrived.facts["facts_of"] == "a\\ud800"
    assert arrived.facts["big"] == str(10**30)
    assert len(arrived.facts["text"]) == 1000
    assert arrived.facts["things"] == "[1]"
    assert arrived.facts["none"] is None
    assert "hint" not in arrived.facts


def test_places_are_those_that_were_written_last():
    with tempfile.TemporaryFile() as file:
        file.write(b"Current thread 0x1 (most recent call first):\n")
        file.write(b'  File "/a/old.py", line 1 in f\n\nExtension modules: numpy\n')
        file.write(b"Stack (most recent call first):\n")
        file.write(b'  File "/a/inner.py", line 2 in g\n  File "/a/outer.py", line 3 in <module>\n')
        file.flush()
        places = wire.read_places(file.fileno())
    assert places == (("/a/outer.py", 3, "<module>"), ("/a/inner.py", 2, "g"))
