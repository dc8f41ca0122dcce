"""The behaviour of a ledger, run against every one there is."""

from __future__ import annotations

import threading

import pytest

from varv.kernel.clock import HOUR, Instant
from varv.kernel.codec import Event, event
from varv.kernel.errors import Conflict, FailedPrecondition, InvalidInput
from varv.kernel.ledger import (
    GENESIS,
    Append,
    Change,
    CommandEnd,
    Guard,
    NewCommand,
    SagaRow,
    Timer,
    TimerChange,
    entry_hash,
)
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger

NOON = Instant(1_359_720_000_000_000)


@event("contract.counted")
class Counted(Event, frozen=True):
    n: float


@pytest.fixture(params=["memory", "sqlite-full", "sqlite-process"])
def ledger(request, tmp_path):
    kind = request.param
    path = MEMORY if kind == "memory" else tmp_path / "ledger.db"
    made = SqliteLedger(path, durability="process" if kind == "sqlite-process" else "full")
    yield made
    made.close()


def facts(*streams, **options):
    return Change(
        at=NOON, facts=tuple(Append(stream, Counted(n=i)) for i, stream in enumerate(streams)), **options
    )


def asks(ledger, saga="s/1", n=1, priority=0, partition="", at=NOON):
    """Commit one event of a saga that asks for `n` commands."""
    commands = tuple(NewCommand(saga, "Do", b"{}", priority, partition, by=0) for _ in range(n))
    return ledger.commit(Change(at=at, facts=(Append(saga, Counted(n=0)),), commands=commands))


def test_a_new_ledger_is_empty(ledger):
    assert ledger.head().version == 0
    assert ledger.head().hash == GENESIS
    assert ledger.read() == []
    assert ledger.upcoming().timer is None
    assert ledger.upcoming().command_due is None


def test_entries_are_numbered_in_the_ledger_and_in_their_stream(ledger):
    entries = ledger.commit(facts("a", "b", "a"))
    assert [(e.seq, e.stream, e.version) for e in entries] == [(1, "a", 1), (2, "b", 1), (3, "a", 2)]
    assert ledger.read() == entries
    assert ledger.head("a").version == 2
    assert ledger.head("c").version == 0
    assert entries[2].event == Counted(n=2)


def test_entries_are_chained_by_their_hashes(ledger):
    ledger.commit(facts("a", "b"))
    ledger.commit(facts("a"))
    previous = GENESIS
    for entry in ledger.read():
        assert entry.hash == entry_hash(previous, entry)
        previous = entry.hash
    assert ledger.head().hash == previous


def test_reading_starts_after_a_place_and_stops_at_a_limit(ledger):
    ledger.commit(facts("a", "b", "a", "a"))
    assert [e.seq for e in ledger.read(after=1, limit=2)] == [2, 3]
    assert [e.seq for e in ledger.read(after=1, stream="a")] == [3, 4]
    assert [e.seq for e in ledger.read(stream="a", limit=1)] == [1]


def test_a_cause_is_that_of_the_change_or_an_entry_of_it(ledger):
    ledger.commit(facts("a"))
    change = Change(at=NOON, cause=1, facts=(Append("a", Counted(n=1)), Append("b", Counted(n=2), by=0)))
    assert [e.cause for e in ledger.commit(change)] == [1, 2]


def test_a_stream_that_moved_on_is_a_conflict_and_nothing_is_written(ledger):
    ledger.commit(facts("a"))
    change = Change(at=NOON, facts=(Append("b", Counted(n=0)), Append("a", Counted(n=0), expected=0)))
    with pytest.raises(Conflict, match="'a'"):
        ledger.commit(change)
    assert ledger.head().version == 1
    assert ledger.head("b").version == 0
    assert [e.seq for e in ledger.commit(facts("b"))] == [2]


def test_a_guard_holds_a_change_to_a_stream_that_it_does_not_append_to(ledger):
    ledger.commit(facts("seen"))
    ledger.commit(facts("a", guards=(Guard("seen", 1), Guard("never", 0))))
    for stale in (Guard("seen", 0), Guard("seen", 2), Guard("never", 1)):
        with pytest.raises(Conflict, match=stale.stream):
            ledger.commit(facts("a", guards=(Guard("seen", 1), stale)))
    assert (ledger.head("a").version, ledger.head("seen").version) == (1, 1)


def test_a_guard_is_of_the_moment_before_its_change(ledger):
    ledger.commit(facts("a", "a", guards=(Guard("a", 0),)))
    with pytest.raises(Conflict):
        ledger.commit(facts("a", guards=(Guard("a", 3),)))
    assert ledger.head("a").version == 2


def test_a_saga_is_saved_from_the_version_that_was_read_only(ledger):
    first = Change(at=NOON, sagas=(SagaRow("s/1", 1, b"{}"),))
    ledger.commit(first)
    with pytest.raises(Conflict):
        ledger.commit(first)
    ledger.commit(Change(at=NOON, sagas=(SagaRow("s/1", 2, b"[]"),)))
    with pytest.raises(Conflict):
        ledger.commit(Change(at=NOON, sagas=(SagaRow("s/1", 2, b"1"),)))
    assert ledger.saga("s/1") == SagaRow("s/1", 2, b"[]")
    assert ledger.saga("s/2") is None


def test_timers_come_by_due_time_then_saga_then_key_and_are_replaced_and_forgotten(ledger):
    def timers(*changes):
        ledger.commit(Change(at=NOON, facts=(Append("s", Counted(n=0)),), timers=changes))

    timers(
        TimerChange("s/2", "x", NOON, 0), TimerChange("s/1", "y", NOON, 0), TimerChange("s/1", "x", NOON, 0)
    )
    assert ledger.upcoming().timer == Timer("s/1", "x", NOON, 1)
    timers(TimerChange("s/1", "x", Instant(NOON + HOUR), 0))
    assert ledger.upcoming().timer == Timer("s/1", "y", NOON, 1)
    timers(TimerChange("s/1", "y", None, 0), TimerChange("s/2", "x", None, 0))
    assert ledger.upcoming().timer == Timer("s/1", "x", Instant(NOON + HOUR), 2)


def test_commands_are_claimed_by_priority_and_then_age(ledger):
    asks(ledger, "s/1")
    asks(ledger, "s/2", n=2)
    asks(ledger, "s/3", priority=9)
    order = []
    while claimed := ledger.claim("w", NOON, HOUR):
        order.append(claimed.id)
        ledger.commit(Change(at=NOON, ends=CommandEnd(claimed.id, claimed.attempt)))
    assert order == ["s/3:3:0", "s/1:1:0", "s/2:2:0", "s/2:2:1"]


def test_commands_of_one_partition_run_one_at_a_time(ledger):
    asks(ledger, "s/1", n=2)
    asks(ledger, "s/2", partition="gpu")
    asks(ledger, "s/3", partition="gpu")
    held = [ledger.claim("w", NOON, HOUR) for _ in range(3)]
    assert [claimed and claimed.id for claimed in held] == ["s/1:1:0", "s/2:2:0", None]
    ledger.commit(Change(at=NOON, ends=CommandEnd(held[1].id, 1)))
    assert ledger.claim("w", NOON, HOUR).id == "s/3:3:0"


def test_an_expired_lease_is_claimed_again_and_fences_off_the_first_worker(ledger):
    asks(ledger)
    first = ledger.claim("slow", NOON, HOUR)
    assert ledger.claim("quick", Instant(NOON + HOUR - 1), HOUR) is None
    second = ledger.claim("quick", Instant(NOON + HOUR), HOUR)
    assert (first.attempt, second.attempt) == (1, 2)
    late = Change(at=NOON, facts=(Append("a", Counted(n=1)),), ends=CommandEnd(first.id, first.attempt))
    with pytest.raises(Conflict, match="claimed again"):
        ledger.commit(late)
    assert ledger.head("a").version == 0
    ledger.commit(Change(at=NOON, ends=CommandEnd(second.id, second.attempt)))
    with pytest.raises(Conflict):
        ledger.commit(Change(at=NOON, ends=CommandEnd(second.id, second.attempt)))


def test_a_heartbeat_prolongs_the_lease_of_the_latest_attempt(ledger):
    asks(ledger)
    claimed = ledger.claim("w", NOON, HOUR)
    ledger.extend(claimed.id, claimed.attempt, Instant(NOON + 2 * HOUR))
    assert ledger.claim("v", Instant(NOON + HOUR), HOUR) is None
    assert ledger.claim("v", Instant(NOON + 2 * HOUR), HOUR).attempt == 2
    with pytest.raises(Conflict):
        ledger.extend(claimed.id, claimed.attempt, Instant(NOON + 3 * HOUR))


def test_a_command_put_back_waits_and_counts_its_failure(ledger):
    asks(ledger)
    claimed = ledger.claim("w", NOON, HOUR)
    ledger.commit(Change(at=NOON, ends=CommandEnd(claimed.id, claimed.attempt, Instant(NOON + 5))))
    assert ledger.upcoming().command_due == NOON + 5
    assert ledger.claim("w", Instant(NOON + 4), HOUR) is None
    again = ledger.claim("w", Instant(NOON + 5), HOUR)
    assert (again.attempt, again.failures) == (2, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "text", None])
def test_an_event_that_would_not_read_back_is_refused(ledger, value):
    with pytest.raises(InvalidInput, match=r"contract\.counted"):
        ledger.commit(Change(at=NOON, facts=(Append("a", Counted(n=value)),)))
    assert ledger.head().version == 0


@pytest.mark.parametrize("stream", ["", "a" * 256, "a\nb", "\ud800"])
def test_a_stream_must_have_a_printable_name(ledger, stream):
    with pytest.raises(InvalidInput, match="stream"):
        ledger.commit(facts(stream))


def test_waiting_ends_when_an_entry_comes(ledger):
    assert not ledger.wait(0, 0.0)
    later = threading.Timer(0.01, ledger.commit, [facts("a")])
    later.start()
    assert ledger.wait(0, 60.0)
    later.join()


def test_concurrent_commits_are_numbered_without_gaps_and_a_conflict_fails_alone(ledger):
    ledger.commit(facts("shared"))
    refused: list[Conflict] = []

    def write(k):
        for _ in range(10):
            ledger.commit(facts(f"own-{k}"))
            try:
                ledger.commit(Change(at=NOON, facts=(Append("shared", Counted(n=k), expected=k % 4),)))
            except Conflict as error:
                refused.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = ledger.read()
    assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
    assert all(ledger.head(f"own-{k}").version == 10 for k in range(8))
    shared = [e for e in entries if e.stream == "shared"]
    assert [e.version for e in shared] == list(range(1, len(shared) + 1))
    assert len(shared) - 1 + len(refused) == 80
    assert ledger.head().hash == entries[-1].hash


def test_a_closed_ledger_refuses_and_closing_again_is_harmless(ledger):
    ledger.close()
    ledger.close()
    with pytest.raises(FailedPrecondition, match="closed"):
        ledger.commit(facts("a"))
    with pytest.raises(FailedPrecondition, match="closed"):
        ledger.read()
