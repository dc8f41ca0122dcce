"""A small saga with timers, commands, messages and failures, for the tests of the kernel."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from varv.kernel.clock import HOUR, MINUTE, Instant
from varv.kernel.codec import Event, event
from varv.kernel.engine import Engine
from varv.kernel.errors import InvalidInput, Unavailable
from varv.kernel.sagas import (
    CancelTimer,
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

NOON = Instant(1_359_720_000_000_000)


@event("sample.ordered")
class Ordered(Event, frozen=True):
    n: int


@event("sample.built")
class Built(Event, frozen=True):
    n: int


@event("sample.shipped")
class Shipped(Event, frozen=True):
    n: int


@event("sample.noted")
class Noted(Event, frozen=True):
    text: str


@command("sample.build")
class Build(Command, frozen=True):
    n: int


@command("sample.break")
class Break(Command, frozen=True):
    how: str


class Yard(msgspec.Struct, frozen=True):
    built: tuple[int, ...] = ()
    reminders: int = 0
    failures: tuple[str, ...] = ()


class YardSaga:
    """Builds what is ordered, reminds itself, and tells the shipping saga."""

    name: ClassVar[str] = "yard"
    state_type = Yard

    def initial(self, saga_id: str) -> Yard:
        return Yard()

    def step(self, state: Yard, event: Event, now: Instant) -> Step[Yard]:
        match event:
            case Ordered(n=n):
                timers = (
                    SetTimer("remind", Instant(now + n * MINUTE)),
                    SetTimer("late", Instant(now + HOUR)),
                )
                emits = (Fact("orders", Noted(text=f"order {n}")),)
                return Step(state, emits=emits, commands=(Build(n=n),), timers=timers)
            case Built(n=n):
                state = msgspec.structs.replace(state, built=(*state.built, n))
                told = (Message(f"ship/{n}", Shipped(n=n)), Message("ship/all", Shipped(n=n)))
                return Step(state, tells=told, timers=(CancelTimer("late"),))
            case TimerFired(key="remind"):
                again = (Break(how="always"),) if state.reminders == 0 else ()
                state = msgspec.structs.replace(state, reminders=state.reminders + 1)
                return Step(state, emits=(Fact("orders", Noted(text="reminded")),), commands=again)
            case CommandFailed():
                return Step(msgspec.structs.replace(state, failures=(*state.failures, event.code)))
        return Step(state)


class Ship(msgspec.Struct, frozen=True):
    shipped: int = 0


class ShipSaga:
    name: ClassVar[str] = "ship"
    state_type = Ship

    def initial(self, saga_id: str) -> Ship:
        return Ship()

    def step(self, state: Ship, event: Event, now: Instant) -> Step[Ship]:
        if not isinstance(event, Shipped):
            return Step(state)
        emits = (Fact("shipping", Noted(text=f"shipped {event.n}")),)
        return Step(Ship(state.shipped + 1), emits=emits)


def build(command: Build, command_id: str, now: Instant) -> Reply:
    saga = command_id.partition(":")[0]
    return Reply(facts=(Fact("log", Noted(text=command_id)),), messages=(Message(saga, Built(n=command.n)),))


def broken(command: Break, command_id: str, now: Instant) -> Reply:
    if command.how == "always":
        raise Unavailable("engine", "sample")
    if command.how == "input":
        raise InvalidInput("sample", "input")
    raise ZeroDivisionError("by the model author")


def engine_on(ledger, clock, **options) -> Engine:
    return Engine(ledger, clock, [YardSaga(), ShipSaga()], {Build: build, Break: broken}, **options)
