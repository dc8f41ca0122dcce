"""A replay that dies at any named point goes on from there, and ends with the ledger of one that did not."""

from __future__ import annotations

import pytest

import varv
from tests.loop.synthetic import declared, entries_of, head_of, quietly, replayed
from varv.app.inspecting import verify_report
from varv.app.replaying import run_replay
from varv.kernel.faults import Crash

PLANT = varv.Plant("leaky", at="2024-03-24T12:00:00Z", column="delay", breaks="in canary")
UNTIL = "2024-03-27T00:00:00Z"

# Of each point, the first passing, some in the quiet weeks, and some amid training, rollout and the plant.
POINTS = {
    "ledger.before_commit": (1, 2, 20, 31, 36, 40, 44, 48, 52, 60, 70, 80),
    "ledger.after_commit": (1, 2, 20, 31, 36, 40, 44, 48, 52, 60, 70, 80),
    "engine.after_claim": (1, 20, 21, 22, 23, 24, 25, 26, 30, 35, 36, 37, 38, 39),
    "engine.after_handler": (1, 20, 21, 22, 23, 24, 25, 26, 30, 35, 36, 37, 38, 39),
    "columns.before_rename": (1, 2, 3, 30, 60),
    "blobs.before_rename": (1, 2, 3, 4, 5, 6),
}
FAST = {("ledger.after_commit", 1), ("engine.after_claim", 23), ("engine.after_handler", 36)}
CASES = [
    pytest.param(point, nth, marks=() if (point, nth) in FAST else pytest.mark.slow)
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


@pytest.mark.slow
def test_a_replay_that_dies_again_and_again_still_gets_there(undisturbed, tmp_path):
    deaths = 0
    while deaths < 200:
        try:
            # Every start gets a little further before it dies in the middle of a command.
            run_replay(replay(), tmp_path, quietly, declared_only=True, fault="engine.after_handler:4")
            break
        except Crash:
            deaths += 1
    assert 5 < deaths < 200
    assert head_of(tmp_path) == undisturbed


def test_what_was_warm_but_not_yet_routed_to_is_warm_again_after_a_restart(undisturbed, tmp_path):
    """Between the warming of a version and the table that names it, memory is all that knows of it."""
    entries = []

    def stop_when_warm(name, progress, gained):
        entries.extend(gained)

    for nth in range(20, 45):
        home = tmp_path / str(nth)
        try:
            run_replay(replay(), home, stop_when_warm, declared_only=True, fault=f"engine.after_claim:{nth}")
        except Crash:
            last = [entry.name for entry in entries_of(home)][-1]
            if last == "rollout.version_warmed":
                break
    replayed(replay(), home)
    assert head_of(home) == undisturbed
