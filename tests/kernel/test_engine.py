"""The engine: what it commits, in which order, and that a crash changes nothing."""

from __future__ import annotations

import threading
from contextlib import closing

import msgspec
import pytest

from varv.kernel.clock import HOUR, MINUTE, Instant, VirtualClock
from varv.kernel.engine import FIRST_RETRY, MAX_ATTEMPTS, Engine
from varv.kernel.errors import FailedPrecondition, Interrupted, InvalidInput, NotFound, StorageFull
from varv.kernel.faults import Crash, Faults
from varv.kernel.ledger import Append, Change, Guard
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.sagas import (
    Command,
    CommandFailed,
    Fact,
    Message,
    Reply,
    SetTimer,
    Step,
    TimerFired,
    command,
)

from .samples import (
    NOON,
    Break,
    Build,
    Built,
    Noted,
    Ordered,
    Shipped,
    ShipSaga,
    Yard,
    YardSaga,
    broken,
    engine_on,
)


@pytest.fixture
def ledger():
    with closing(SqliteLedger(MEMORY)) as made:
        yield made


@pytest.fixture
def clock():
    return VirtualClock(NOON)


@pytest.fixture
def engine(ledger, clock):
    return engine_on(ledger, clock)


def yard(ledger, saga="yard/1"):
    return msgspec.json.decode(ledger.saga(saga).state, type=Yard)


def said(ledger):
    return [(entry.stream, entry.event) for entry in ledger.read()]


def test_a_message_its_facts_state_timers_and_commands_are_one_commit(engine, ledger):
    engine.tell(Message("yard/1", Ordered(n=3)))
    assert said(ledger) == [("yard/1", Ordered(n=3)), ("orders", Noted(text="order 3"))]
    assert yard(ledger) == Yard()
    assert ledger.upcoming().timer.due == NOON + 3 * MINUTE
    assert engine.next_due() == NOON


def test_what_sagas_tell_arrives_depth_first_in_the_same_commit(engine, ledger):
    engine.tell(Message("yard/1", Built(n=1)), Message("yard/1", Built(n=2)))
    streams = [(entry.stream, entry.cause) for entry in ledger.read()]
    assert streams == [
        ("yard/1", None),
        ("ship/1", 1),
        ("shipping", 2),
        ("ship/all", 1),
        ("shipping", 4),
        ("yard/1", None),
        ("ship/2", 6),
        ("shipping", 7),
        ("ship/all", 6),
        ("shipping", 9),
    ]
    assert yard(ledger).built == (1, 2)
    assert ledger.saga("yard/1").version == 1


def test_every_entry_leads_back_to_what_came_from_outside(engine, ledger, clock):
    engine.tell(Message("yard/1", Ordered(n=3)), facts=[Fact("log", Noted(text="first"))])
    while (due := engine.next_due()) is not None:
        clock.move_to(Instant(max(due, clock.now())))
        engine.settle()
    entries = {entry.seq: entry for entry in ledger.read()}
    roots = [seq for seq, entry in entries.items() if entry.cause is None]
    assert roots == [1, 2]
    assert all(entry.cause < entry.seq for entry in entries.values() if entry.cause)
    fired = next(entry for entry in entries.values() if isinstance(entry.event, TimerFired))
    assert entries[fired.cause].event == Ordered(n=3)
    failed = next(entry for entry in entries.values() if isinstance(entry.event, CommandFailed))
    assert failed.cause == fired.seq


def test_settling_fires_timers_and_runs_commands_that_are_due_now_only(engine, ledger, clock):
    engine.tell(Message("yard/1", Ordered(n=3)))
    assert engine.settle() == 1
    assert yard(ledger).built == (3,)
    clock.move_to(Instant(NOON + 3 * MINUTE))
    assert engine.settle() == 2
    assert yard(ledger).reminders == 1
    assert ledger.upcoming().timer is None


def test_timers_fire_by_due_time_then_saga_then_key(engine, ledger, clock):
    for saga, n in (("yard/b", 1), ("yard/a", 1), ("yard/c", 0)):
        engine.tell(Message(saga, Ordered(n=n)))
    clock.move_to(Instant(NOON + 2 * HOUR))
    assert engine.fire_due() == 6
    fired = [(e.stream, e.event.key) for e in ledger.read() if isinstance(e.event, TimerFired)]
    reminds = [("yard/c", "remind"), ("yard/a", "remind"), ("yard/b", "remind")]
    assert fired == [*reminds, ("yard/a", "late"), ("yard/b", "late"), ("yard/c", "late")]


def test_a_failure_that_may_pass_is_tried_again_with_growing_waits_then_told(engine, ledger, clock):
    engine.tell(Message("yard/1", TimerFired(key="remind", due=NOON)))
    waits = []
    while (due := engine.next_due()) is not None:
        waits.append(due - NOON)
        clock.move_to(Instant(max(due, clock.now())))
        engine.settle()
    assert waits == [0, *(FIRST_RETRY * (2**k - 1) for k in range(1, MAX_ATTEMPTS))]
    assert yard(ledger).failures == ("unavailable",)
    failed = ledger.read(stream="yard/1")[-1].event
    assert (failed.command, failed.attempts) == ("sample.break", MAX_ATTEMPTS)


@pytest.mark.parametrize(("how", "code"), [("input", "invalid_input"), ("bug", "user_code_failed")])
def test_any_other_failure_is_told_at_once(ledger, clock, how, code):
    class Asks(YardSaga):
        def step(self, state, event, now):
            return (
                Step(state, commands=(Break(how=how),))
                if isinstance(event, Ordered)
                else super().step(state, event, now)
            )

    engine = Engine(ledger, clock, [Asks()], {Break: broken})
    engine.tell(Message("yard/1", Ordered(n=1)))
    assert engine.settle() == 1
    assert yard(ledger).failures == (code,)


def test_a_command_without_a_handler_fails(ledger, clock):
    engine = Engine(ledger, clock, [YardSaga()])
    engine.tell(Message("yard/1", Ordered(n=1)))
    assert engine.settle() == 1
    assert yard(ledger).failures == ("not_found",)


def test_a_command_that_cannot_be_read_is_no_failure_of_its_handler(ledger, clock):
    engine_on(ledger, clock).tell(Message("yard/1", Ordered(n=3)))

    @command("sample.build")
    class Build(Break, frozen=True):
        """Another command under the same name, as of another version."""

    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: pytest.fail})
    assert engine.run_one()
    assert yard(ledger).failures == ("corrupt",)


def test_a_message_to_an_unknown_saga_is_refused_and_nothing_is_written(engine, ledger):
    with pytest.raises(NotFound, match="harbour"):
        engine.tell(Message("yard/1", Ordered(n=1)), Message("harbour/1", Ordered(n=1)))
    assert ledger.head().version == 0


def test_sagas_that_tell_in_a_circle_are_stopped(ledger, clock):
    class Echo(YardSaga):
        def step(self, state, event, now):
            return Step(state, tells=(Message("yard/1", event),))

    with pytest.raises(FailedPrecondition, match="come to rest"):
        Engine(ledger, clock, [Echo()]).tell(Message("yard/1", Ordered(n=1)))
    assert ledger.head().version == 0


def test_two_commands_of_one_name_are_refused(ledger, clock):
    other = type("Build", (Build,), {}, frozen=True)
    with pytest.raises(InvalidInput, match=r"'sample.build' has the name of another command"):
        Engine(ledger, clock, handlers={Build: lambda *_: Reply(), other: lambda *_: Reply()})


def test_a_command_without_a_name_is_refused(ledger, clock):
    class Nameless(Command, frozen=True):
        """A command whose author forgot to name it."""

    with pytest.raises(InvalidInput, match=r"'Nameless' has no name; write @command"):
        Engine(ledger, clock, handlers={Nameless: lambda *_: Reply()})


def test_a_command_that_an_earlier_version_queued_by_its_class_fails_by_its_name(
    engine, ledger, clock, monkeypatch
):
    monkeypatch.setattr(Break, "command_name", "Break")
    engine.tell(Message("yard/1", TimerFired(key="remind", due=NOON)))
    monkeypatch.undo()
    while (due := engine.next_due()) is not None:
        clock.move_to(Instant(max(due, clock.now())))
        engine.settle()
    assert ledger.read(stream="yard/1")[-1].event.command == "sample.break"


def test_nothing_to_tell_writes_nothing(engine, ledger):
    assert engine.tell() == []
    assert ledger.head().version == 0


def test_threads_that_tell_one_saga_lose_no_message(engine, ledger):
    def tell(k):
        for n in range(10):
            engine.tell(Message("yard/1", Built(n=10 * k + n)))

    threads = [threading.Thread(target=tell, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(yard(ledger).built) == list(range(80))
    assert ledger.saga("yard/1").version == 80


def test_threads_that_settle_together_do_each_thing_once(engine, ledger, clock):
    for k in range(20):
        engine.tell(Message(f"yard/{k}", Ordered(n=1)))
    clock.move_to(Instant(NOON + 2 * HOUR))
    threads = [threading.Thread(target=engine.settle) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.settle()
    events = [entry.event for entry in ledger.read()]
    assert sum(isinstance(event, Built) for event in events) == 20
    assert sum(isinstance(event, TimerFired) and event.key == "remind" for event in events) == 20


def test_a_worker_that_lost_its_lease_changes_nothing(ledger, clock):
    def slow(command, command_id, now):
        clock.move_to(Instant(clock.now() + 48 * HOUR))
        ledger.claim("another", clock.now(), HOUR)
        return Reply(messages=(Message("yard/1", Built(n=1)),))

    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: slow})
    engine.tell(Message("yard/1", Ordered(n=1)))
    assert engine.run_one()
    assert yard(ledger).built == ()


class Repeats(YardSaga):
    """Sets its timer anew, for the same time, while it is being fired."""

    def step(self, state, event, now):
        timers = (SetTimer("tick", Instant(now + MINUTE)),)
        return Step(state, timers=timers)


def test_a_timer_that_sets_itself_again_goes_on(ledger, clock):
    engine = Engine(ledger, clock, [Repeats()])
    engine.tell(Message("yard/1", Ordered(n=1)))
    for _ in range(3):
        clock.move_to(engine.next_due())
        assert engine.settle() == 1
    assert engine.next_due() == NOON + 4 * MINUTE


# Crashes

ORDERS = 3


def drive(ledger, clock_at, faults):
    """Play a fixed script from wherever the ledger is; the next step is read off the ledger, as a replay
    does.
    """
    clock = VirtualClock(clock_at)
    engine = engine_on(ledger, clock, faults=faults)
    while True:
        engine.settle()
        n_told = ledger.head("told").version
        due = engine.next_due()
        if due is not None:
            clock.move_to(due)
        elif n_told < ORDERS:
            saga = Message(f"yard/{n_told % 2}", Ordered(n=n_told + 1))
            engine.tell(saga, facts=[Fact("told", Noted(text=str(n_told)))])
        else:
            return


def last_time(ledger):
    end = ledger.head().version
    return ledger.read(after=end - 1)[0].at if end else NOON


@pytest.mark.parametrize(
    "point",
    ["ledger.before_commit", "ledger.after_commit", "engine.after_claim", "engine.after_handler"],
)
def test_a_crash_at_any_point_and_a_restart_give_the_same_ledger(tmp_path, point):
    with closing(SqliteLedger(tmp_path / "calm.db", durability="process")) as calm:
        drive(calm, NOON, Faults())
        wanted = calm.head()
        n_entries = len(calm.read())
    nth, crashed = 0, True
    while crashed:
        nth += 1
        path = tmp_path / f"{nth}.db"
        faults = Faults(point, nth=nth)
        with closing(SqliteLedger(path, durability="process", faults=faults)) as ledger:
            try:
                drive(ledger, NOON, faults)
                crashed = False
            except Crash:
                pass
        with closing(SqliteLedger(path, durability="process")) as ledger:
            drive(ledger, last_time(ledger), Faults())
            assert ledger.head() == wanted, f"{point} at {nth}"
    assert nth > 10
    assert n_entries > 30


def test_facts_of_others_in_a_sagas_stream_do_not_disturb_it(engine, ledger):
    ledger.commit(Change(at=NOON, facts=(Append("yard/1", Noted(text="by hand")),)))
    engine.tell(Message("yard/1", Shipped(n=1)))
    assert ledger.saga("yard/1").version == 1
    assert ledger.head("yard/1").version == 2


def test_a_command_that_finds_the_disk_full_is_no_failure_and_runs_again(ledger, clock):
    refusals = [StorageFull("file", "model.onnx")] * (MAX_ATTEMPTS + 1)

    def crowded(command, command_id, now):
        if refusals:
            raise refusals.pop()
        return Reply(messages=(Message("yard/1", Built(n=1)),))

    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: crowded})
    engine.tell(Message("yard/1", Ordered(n=1)))
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(StorageFull):
            engine.run_one()
    assert engine.run_one()
    assert yard(ledger).built == (1,)
    assert yard(ledger).failures == ()


def test_a_command_that_a_stop_interrupts_is_no_failure_and_runs_again(tmp_path, clock):
    stopping = [True] * (MAX_ATTEMPTS + 1)

    def stopped(command, command_id, now):
        if stopping:
            stopping.pop()
            raise Interrupted("function", "fit", "was cancelled")
        return Reply(messages=(Message("yard/1", Built(n=1)),))

    path = tmp_path / "ledger.db"
    with closing(SqliteLedger(path)) as ledger:
        Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: stopped}).tell(
            Message("yard/1", Ordered(n=1))
        )
        head = ledger.head()
    while stopping:
        with closing(SqliteLedger(path)) as ledger, pytest.raises(Interrupted):
            Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: stopped}).run_one()
    with closing(SqliteLedger(path)) as ledger:
        assert ledger.head() == head
        assert Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: stopped}).run_one()
        assert yard(ledger).built == (1,)
        assert yard(ledger).failures == ()


def test_a_handler_that_fails_may_leave_facts_in_the_same_commit(ledger, clock):
    def fails(command, command_id, now):
        facts = (Fact("log", Noted("what it printed")),)
        return Reply(facts, failed=FailedPrecondition("function", "fit", "was cancelled by ana"))

    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: fails})
    engine.tell(Message("yard/1", Ordered(n=1)))
    before = ledger.head().version
    assert engine.run_one()
    assert yard(ledger).failures == ("failed_precondition",)
    noted, failed = ledger.read(before)[:2]
    assert (noted.stream, noted.event.text) == ("log", "what it printed")
    assert "was cancelled by ana" in failed.event.reason
    assert noted.cause == failed.cause


def test_a_command_that_a_guard_refuses_is_no_failure_and_decides_anew(ledger, clock):
    seen = []

    def build(command, command_id, now):
        seen.append(ledger.head("log").version)
        if len(seen) <= MAX_ATTEMPTS:
            ledger.commit(Change(at=now, facts=(Append("log", Noted(text="meanwhile")),)))
        return Reply(messages=(Message("yard/1", Built(n=1)),), guards=(Guard("log", seen[-1]),))

    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: build})
    engine.tell(Message("yard/1", Ordered(n=1)))
    while ledger.upcoming().command_due is not None:
        assert [one.failures for one in ledger.stored(0).commands] == [0]
        assert engine.run_one()
    assert seen == list(range(MAX_ATTEMPTS + 1))
    assert (yard(ledger).built, yard(ledger).failures) == ((1,), ())


def test_a_command_whose_end_was_refused_by_the_disk_runs_again(tmp_path, clock):
    runs = []
    with closing(SqliteLedger(tmp_path / "ledger.db")) as ledger:

        def limit(pages):
            ledger._db.execute(f"PRAGMA max_page_count = {pages}")

        def fills(command, command_id, now):
            runs.append(command_id)
            if len(runs) == 1:
                limit(1)  # the fewest that SQLite allows: those that are there
            return Reply(messages=(Message("yard/1", Built(n=1)),), facts=(Fact("log", Noted("x" * 20_000)),))

        engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: fills})
        engine.tell(Message("yard/1", Ordered(n=1)))
        with pytest.raises(StorageFull):
            engine.run_one()
        assert yard(ledger).built == ()
        limit(10_000)
        assert engine.run_one()
        assert yard(ledger).built == (1,)
        assert runs == [runs[0]] * 2
