"""Commands that are begun before their turn: two at once, and the ledger of one after the other."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from msgspec.structs import replace

from varv.kernel.ahead import Ahead
from varv.kernel.clock import VirtualClock
from varv.kernel.engine import Engine
from varv.kernel.ledger_sqlite import MEMORY, SqliteLedger
from varv.kernel.sagas import Message, Reply, TimerFired

from .samples import NOON, Break, Build, Built, Ordered, ShipSaga, YardSaga, broken, build


def lane(command):
    return command.n % 3 if isinstance(command, Build) else "breaks"


def settled(handle=build, *, ahead=None, n=6):
    """Return the ledger of some orders, and of a command that fails."""
    ledger, clock = SqliteLedger(MEMORY), VirtualClock(NOON)
    engine = Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: handle, Break: broken})
    orders = [Message(f"yard/{number}", Ordered(n=number)) for number in range(1, n + 1)]
    engine.tell(*orders, Message("yard/9", TimerFired(key="remind", due=NOON)))
    while (due := engine.next_due()) is not None:
        clock.move_to(max(due, clock.now()))
        engine.settle(ahead)
    return ledger


def test_the_ledger_is_that_of_one_command_after_the_other():
    alone = settled()
    with closing(Ahead(lane)) as ahead:
        together = settled(ahead=ahead)
    assert together.head() == alone.head()


def test_commands_of_two_lanes_run_at_once():
    meeting = threading.Barrier(2, timeout=30)

    def meets(command, command_id, now):
        meeting.wait()
        return build(command, command_id, now)

    with closing(Ahead(lane)) as ahead:
        settled(meets, ahead=ahead, n=2)


def test_commands_of_one_lane_never_do():
    under_way, most = [], []

    def counted(command, command_id, now):
        under_way.append(command_id)
        most.append(len(under_way))
        found = build(command, command_id, now)
        under_way.remove(command_id)
        return found

    with closing(Ahead(lambda command: "all")) as ahead:
        settled(counted, ahead=ahead)
    assert set(most) == {1}


def test_each_handler_is_called_once_where_nothing_goes_before():
    called = []

    def noted(command, command_id, now):
        called.append(command_id)
        return build(command, command_id, now)

    with closing(Ahead(lane)) as ahead:
        settled(noted, ahead=ahead)
    assert len(called) == len(set(called)) == 6


def test_what_another_of_its_lane_goes_before_is_done_again():
    class Pushing(YardSaga):
        """After the first is built, another of the second's lane is wanted more urgently."""

        def step(self, state, event, now):
            step = super().step(state, event, now)
            if event == Built(n=1):
                return replace(step, commands=(Urgent(n=2),))
            return step

    class Urgent(Build, frozen=True):
        priority = 5

    Urgent.command_name = "sample.urgent"
    seen = []

    def noted(command, command_id, now):
        seen.append((type(command).__name__, command.n))
        return Reply()

    def first(command, command_id, now):
        return build(command, command_id, now) if command.n == 1 else noted(command, command_id, now)

    with closing(SqliteLedger(MEMORY)) as ledger, closing(Ahead(lane)) as ahead:
        engine = Engine(ledger, VirtualClock(NOON), [Pushing(), ShipSaga()], {Build: first, Urgent: noted})
        engine.tell(*(Message(f"yard/{number}", Ordered(n=number)) for number in (1, 2)))
        engine.settle(ahead)
    assert sorted(seen) == [("Build", 2), ("Build", 2), ("Urgent", 2)]


def test_what_a_handler_raises_is_told_when_it_has_its_turn():
    def fails(command, command_id, now):
        if command.n == 2:
            raise ZeroDivisionError("by the model author")
        return build(command, command_id, now)

    with closing(Ahead(lane)) as ahead:
        together = settled(fails, ahead=ahead)
    assert together.head() == settled(fails).head()


def test_a_stop_of_the_program_reaches_who_settles():
    def stops(command, command_id, now):
        raise KeyboardInterrupt

    with closing(Ahead(lane)) as ahead, pytest.raises(KeyboardInterrupt):
        settled(stops, ahead=ahead)
