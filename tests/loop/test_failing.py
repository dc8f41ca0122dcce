"""Equal failures are told apart from others by what failed, not by where it was or what it printed."""

from __future__ import annotations

import signal

import pytest

from varv.kernel.errors import UserCodeFailed
from varv.kernel.job_ends import Output, exited, outgrew, overran, returned_too_much, was_killed
from varv.kernel.sagas import CommandFailed
from varv.loop.failing import identity

FIT = ("function", "fit")
SOME, MORE = Output(b"epoch 1\nloss 0.31 cold\n"), Output(b"epoch 1\nloss 0.29 warm\nepoch 2\n")


def failed(error: UserCodeFailed) -> CommandFailed:
    return CommandFailed("loop.train_candidate", "c-1", error.code, error.whole, 1)


ENDS = {
    "time": (
        overran(FIT, SOME, 60.0, ("deliveries.py:30 in fit",)),
        overran(FIT, MORE, 60.0, ("deliveries.py:31 in step", "deliveries.py:8 in inner")),
    ),
    "memory": (outgrew(FIT, SOME, 1023 << 20, 1 << 30), outgrew(FIT, MORE, 3 << 30, 1 << 30)),
    "signal": (was_killed(FIT, SOME, signal.SIGSEGV), was_killed(FIT, MORE, signal.SIGSEGV)),
    "exit": (exited(FIT, SOME, 3), exited(FIT, MORE, 3)),
    "result": (
        returned_too_much(FIT, SOME, 600 << 20, 512 << 20),
        returned_too_much(FIT, MORE, 2 << 30, 512 << 20),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_one_kind_of_end_is_one_failure_whatever_was_printed(end):
    one, other = ENDS[end]
    assert identity(failed(one)) == identity(failed(other))


def test_two_kinds_of_end_are_two_failures():
    found = {identity(failed(one)) for one, _ in ENDS.values()}
    found.add(identity(failed(was_killed(FIT, SOME, signal.SIGABRT))))
    assert len(found) == len(ENDS) + 1


def test_errors_raised_in_two_places_are_two_failures():
    one, other = (
        UserCodeFailed(*FIT, "raised ValueError: bad"),
        UserCodeFailed(*FIT, "raised ValueError: bad"),
    )
    one.trace, other.trace = ("deliveries.py:30 in fit: x = f(y)",), ("deliveries.py:41 in fit: y = g(x)",)
    assert identity(failed(one)) != identity(failed(other))
