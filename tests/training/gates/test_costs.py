"""Time is measured of the version that serves, never in a replay; size is that of its package."""

from __future__ import annotations

from itertools import count

import pytest
from tests.training.gates.judgements import behaving, one, served

from varv.kernel.clock import wall_seconds
from varv.kernel.errors import InvalidDeclaration
from varv.training import gate

NAMES = ("binary", "multiclass", "regression", "quantiles", "ranking", "score")


def ticking(step_s: float):
    """Return a timer that moves by so much whenever it is read."""
    reads = count()
    return lambda: next(reads) * step_s


def test_in_a_replay_nothing_is_measured_and_the_gate_says_so():
    found = one(gate.latency(p99="1ms"), behaving("binary", served("binary")))
    assert (found.passed, found.verdict, found.n, found.interval) == (True, "not measured", 0, None)
    assert "Not measured in a replay" in found.answer
    assert set(found.evidence) == {"at_most_ms", "rows"}


@pytest.mark.parametrize("name", NAMES)
def test_a_call_of_every_task_is_timed_on_this_machine(name):
    found = one(gate.latency(p50="1h"), behaving(name, served(name), timer=wall_seconds))
    assert (found.passed, found.verdict, found.n) == (True, "within bounds", 2000)
    assert 0 < found.evidence["low_ms"] <= found.evidence["value_ms"] <= found.evidence["high_ms"]
    assert "measured on this machine" in found.answer


def test_a_call_that_is_shown_to_take_too_long_is_refused():
    slow = behaving("binary", served("binary"), timer=ticking(0.004))
    found = one(gate.latency(p99="3ms", rows=8), slow)
    assert (found.passed, found.verdict) == (False, "beyond bounds")
    assert found.evidence["value_ms"] == pytest.approx(4.0)
    assert one(gate.latency(p99="5ms", rows=8), slow).passed


def test_measuring_stops_in_time_with_the_calls_that_there_are():
    found = one(gate.latency(p99="1h"), behaving("binary", served("binary"), timer=ticking(0.5)))
    assert found.n < 30
    assert found.interval is None
    assert found.verdict == "not shown"


def test_the_size_of_the_package_is_held_against_the_largest():
    rows = behaving("binary", served("binary"))
    small, large = one(gate.size(max="1kB"), rows), one(gate.size(max="20MB"), rows)
    assert (small.passed, large.passed) == (False, True)
    assert large.evidence["size_bytes"] == served("binary").size_bytes > 1000
    assert "n\u00a0" not in large.line()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gate.latency(), "needs one quantile"),
        (lambda: gate.latency(p50="1ms", p99="5ms"), "needs one quantile"),
        (lambda: gate.latency(p99="soon"), "has a bad p99"),
        (lambda: gate.latency(p99="5ms", rows=0), "has a bad rows"),
        (lambda: gate.size(max="20"), "has a bad max .* units are"),
        (lambda: gate.size(max=20), "has a bad max"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(make, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make()
