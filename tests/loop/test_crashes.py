"""A replay that dies at any named point goes on from there, and ends with the ledger of one that did not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.loop.synthetic import declared, head_of, replayed

import varv
from varv.app.verifying import verify_report
from varv.kernel.faults import Crash

pytestmark = pytest.mark.slow

PLANT = varv.Plant("leaky", at="2024-03-24T12:00:00Z", column="delay", breaks="in canary")
UNTIL = "2024-03-27T00:00:00Z"

# Of each point, the first passing, some in the quiet weeks, and some amid training, rollout and the plant.
POINTS = {
    "ledger.before_commit": (1, 2, 20, 31, 36, 40, 44, 48, 52, 60, 66),
    "ledger.after_commit": (1, 2, 20, 31, 36, 40, 44, 48, 52, 60, 66),
    "engine.after_claim": (1, *range(14, 21), 24, *range(27, 32)),
    "engine.after_handler": (1, *range(14, 21), 24, *range(27, 32)),
    "columns.before_rename": (1, 2, 3, 30, 60),
    "blobs.before_rename": (1, 2, 3, 4, 5, 6),
}
FIRST = {
    "ledger.before_commit": (1, 36),
    "ledger.after_commit": (44,),
    "engine.after_claim": (17, 29),
    "engine.after_handler": (16, 29),
    "columns.before_rename": (30,),
    "blobs.before_rename": (5,),
}
CASES = [
    pytest.param(point, nth, marks=() if nth in FIRST[point] else pytest.mark.soak)
    for point, passings in POINTS.items()
    for nth in passings
]


def replay() -> varv.Replay:
    return declared(on=("performance", "schedule:30d"), plants=(PLANT,), until=UNTIL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    home = tmp_path_factory.mktemp("undisturbed")
    replayed(replay(), home)
    return head_of(home)


@pytest.mark.parametrize(("point", "nth"), CASES)
def test_after_a_crash_the_replay_ends_as_if_nothing_had_happened(undisturbed, tmp_path, point, nth):
    with pytest.raises(Crash, match=point):
        replayed(replay(), tmp_path, fault=f"{point}:{nth}")
    replayed(replay(), tmp_path)
    assert head_of(tmp_path) == undisturbed
    assert verify_report(tmp_path).ok


def dies_after_each_command(replay: varv.Replay, home: Path) -> int:
    """Run a replay in lives of one command each, and return how many it took."""
    for deaths in range(500):
        try:
            replayed(replay, home, fault="engine.after_handler:2")
        except Crash:
            continue
        return deaths
    raise AssertionError("it never ends")


@pytest.mark.slow
def test_what_was_warm_but_had_no_traffic_yet_is_warm_again_in_the_next_life(tmp_path):
    short = declared(until="2024-03-23T00:00:00Z")
    replayed(short, tmp_path / "undisturbed")
    assert dies_after_each_command(short, tmp_path / "mortal") > 20
    assert head_of(tmp_path / "mortal") == head_of(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_replay_that_lives_for_one_command_at_a_time_still_gets_there(undisturbed, tmp_path):
    assert dies_after_each_command(replay(), tmp_path) > 30
    assert head_of(tmp_path) == undisturbed
