"""Sagas: long-lived processes as pure functions of (state, event, now).

A saga decides; it never acts. Its `step` returns the next state, the facts it states, the commands it wants
done and the timers it needs. The engine in `kernel.engine` commits all of that in one transaction with the
event that caused it, and only then acts. What a command does lives in a handler, outside; its result comes
back as an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Event, event
from varv.kernel.errors import VarvError
from varv.kernel.ledger import Guard

S = TypeVar("S", bound=msgspec.Struct)
C = TypeVar("C", bound="type[Command]")


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something a saga wants done. Handlers are idempotent: a command may run again after a crash."""

    command_name: ClassVar[str] = ""
    priority: ClassVar[int] = 0
    """Higher is claimed first; equal ones run in the order in which they were decided."""
    partition: ClassVar[str] = ""
    """Commands of one partition run one at a time; empty means by saga."""


def command(name: str) -> Callable[[C], C]:
    """Give a command class the stable `name` that it is queued under, such as ``"rollout.warm_version"``."""

    def named(cls: C) -> C:
        cls.command_name = name
        return cls

    return named


def act_of(name: str) -> str:
    """Return what a command does, in words; one that was queued under the name of its class, by that.

    Examples
    --------
    >>> act_of("rollout.warm_version")
    'warm version'
    """
    return name.rpartition(".")[2].replace("_", " ")


class SetTimer(msgspec.Struct, frozen=True):
    """Wake this saga with `TimerFired(key)` at `due`; a timer with the same key is replaced."""

    key: str
    due: Instant


class CancelTimer(msgspec.Struct, frozen=True):
    """Forget the timer `key` of this saga, if it is set."""

    key: str


class Fact(msgspec.Struct, frozen=True):
    """An event to be appended to a stream without waking any saga; `expected` is the version that the stream
    must have, None for any.
    """

    stream: str
    event: Event
    expected: int | None = None


class Message(msgspec.Struct, frozen=True):
    """An event for one saga, addressed by its id such as ``"rollout/late-arrival/7"``; the part before /
    names the saga.
    """

    saga: str
    event: Event


class Step(msgspec.Struct, Generic[S], frozen=True):
    """What a saga decided: its next state and what must come of it."""

    state: S
    emits: tuple[Fact, ...] = ()
    """Facts, committed with the transition and in this order."""
    tells: tuple[Message, ...] = ()
    """Messages to other sagas, delivered in the same transaction, in this order."""
    commands: tuple[Command, ...] = ()
    timers: tuple[SetTimer | CancelTimer, ...] = ()


class Saga(Protocol[S]):
    """A kind of process: its name, the version of its state, and its pure decision function."""

    name: ClassVar[str]
    state_type: type[S]

    def initial(self, saga_id: str) -> S:
        """Return the state before the first event."""
        ...

    def step(self, state: S, event: Event, now: Instant) -> Step[S]:
        """Decide. Events that mean nothing in this state return ``Step(state)`` unchanged."""
        ...


class Reply(msgspec.Struct, frozen=True):
    """What a handler found: facts and messages, committed together with the end of its command."""

    facts: tuple[Fact, ...] = ()
    messages: tuple[Message, ...] = ()
    guards: tuple[Guard, ...] = ()
    """What it was found by; where that has changed since, the command runs again."""
    failed: VarvError | None = None
    """Why the command failed, where a handler has facts to leave all the same; it is not tried again."""


@event("saga.timer_fired")
class TimerFired(Event, frozen=True):
    """A timer of a saga came due."""

    key: str
    due: Instant

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"timer {self.key}, due {iso(self.due)}"


@event("saga.command_failed")
class CommandFailed(Event, frozen=True):
    """A command could not be done and will not be tried again."""

    command: str
    command_id: str
    code: str
    reason: str
    attempts: int

    @property
    def act(self) -> str:
        """What was to be done, in words: ``"train candidate"``."""
        return act_of(self.command)

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.act} failed after {self.attempts} attempts: {self.reason}"


@event("saga.command_ended")
class CommandEnded(Event, frozen=True):
    """A command was done, and nothing came of it: without this, its end would be in no entry."""

    command: str
    command_id: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{act_of(self.command)} is done, with nothing to report"


class Handler(Protocol):
    """Does what a command asks and reports what came of it."""

    def __call__(self, command: Any, command_id: str, now: Instant) -> Reply:
        """Act on `command`; `command_id` is its idempotency key."""
        ...
