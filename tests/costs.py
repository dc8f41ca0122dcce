"""What tests cost: a plugin that measures them, and writes down those that `make fast` leaves out.

``make costs`` loads it; everything else only reads `LISTED`, through `conftest`. It counts processor time, of
processes that a test started too, since how long a test takes says how busy the machine is. What several
tests share is nobody's: it is built whichever of them runs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

LISTED = Path(__file__).with_name("costs.txt")
# Of what is left, in processor seconds: with collecting, waiting, lint and types it is a minute on two cores.
BUDGET_S = 40.0

_costs: Counter[str] = Counter()
_shared_s = 0.0


def function_of(item: pytest.Item) -> str:
    """Return the name of a test without its parameters, which are measured and left out together."""
    return item.nodeid.split("[")[0]


def left_out() -> frozenset[str]:
    """Return the names that are written down."""
    return frozenset(LISTED.read_text("utf-8").splitlines())


def costliest(costs: dict[str, float], budget_s: float) -> list[str]:
    """Return the fewest names, sorted, without which the others take at most `budget_s` together."""
    rest, names = sum(costs.values()), []
    for name, cost_s in sorted(costs.items(), key=lambda item: (-item[1], item[0])):
        if rest <= budget_s:
            break
        names.append(name)
        rest -= cost_s
    return sorted(names)


def _used_s() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    global _shared_s
    before = _used_s()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            _shared_s += _used_s() - before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    global _shared_s
    before, _shared_s = _used_s(), 0.0
    try:
        return (yield)
    finally:
        _costs[function_of(item)] += _used_s() - before - _shared_s


def pytest_sessionfinish(exitstatus):
    if exitstatus == pytest.ExitCode.OK:
        LISTED.write_text("".join(f"{name}\n" for name in costliest(_costs, BUDGET_S)), "utf-8")
