"""Functions that transform columns, each in a process of its own: it may fail, hang or die."""

from __future__ import annotations

import os
import time

import pytest

from varv.adapters.apart import Apart, FunctionSource
from varv.kernel.errors import Corrupt, DeadlineExceeded, Unavailable, UserCodeFailed, VarvError

SOURCE = """
import os
from beside import unit


def transformed(columns):
    does = columns["does"][0]
    if does == "hang":
        while True:
            pass
    if does == "die":
        os._exit(3)
    if does == "raise":
        raise ValueError("no such unit")
    if does == "nothing":
        return None
    return {"km": [None if x is None else x * unit for x in columns["miles"]], "who": [os.getpid()]}
"""
FILES = (("beside.py", "unit = 1.5\n"), ("units.py", SOURCE))


@pytest.fixture(scope="module")
def function():
    apart = Apart(os.environ, time_s=1.0, memory_bytes=1 << 30)
    return apart.load_function(FunctionSource("units", "transformed", FILES), time_s=1.0)


def asked(function, does):
    return function.call({"does": [does], "miles": [2.0, None]})


def again(function):
    """Return what a sound call says once there is a process again."""
    until = time.monotonic() + 60
    while True:
        try:
            return asked(function, "answer")
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_it_runs_elsewhere_with_the_modules_beside_it(function):
    found = again(function)
    assert found["km"] == [3.0, None]
    assert found["who"] != [os.getpid()]


@pytest.mark.parametrize(
    ("does", "kind", "told"),
    [
        ("raise", UserCodeFailed, "no such unit"),
        ("nothing", Corrupt, "does not return columns"),
        ("hang", DeadlineExceeded, "raise its timeout_s"),
        ("die", UserCodeFailed, "ended its process with status 3"),
    ],
)
def test_what_goes_wrong_there_is_told_and_it_is_there_again(does, kind, told, function):
    again(function)
    with pytest.raises(kind, match=told):
        asked(function, does)
    assert again(function)["km"] == [3.0, None]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (FunctionSource("units", "absent", FILES), "is not in module units"),
        (FunctionSource("units", "absent", (("units.py", "raise ImportError('gone')"),)), "gone"),
    ],
)
def test_one_that_cannot_be_loaded_says_why_when_it_is_called(source, told):
    function = Apart(os.environ, time_s=1.0, memory_bytes=1 << 30).load_function(source, time_s=1.0)
    with pytest.raises(VarvError, match=told):
        asked(function, "answer")
