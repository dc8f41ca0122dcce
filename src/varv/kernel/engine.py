"""The engine: commits what sagas decide, then acts on it.

`tell` runs the pure transitions that a message leads to and commits all of them as one change. `run_one`
claims a command, lets its handler act, and commits what came of it together with the end of the command.
`fire_one` delivers a timer that came due. Nothing that decides is kept in memory between calls, so after a
crash at any point the next call goes on from the last commit, and the same inputs give the same ledger, bit
for bit. A full disk is such a point: the call raises `StorageFull`, and is made again once there is room. So
is a stop: a command that was `Interrupted` runs again after the next start.

Every entry names as its cause the entry that led to it: a message the entry its sender was handling, a fact
the message that decided it, a reply the message that decided the command, a fired timer the message that set
it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from varv.kernel.clock import DAY, SECOND, Clock, Duration, Instant
from varv.kernel.codec import Event, canonical
from varv.kernel.errors import (
    Conflict,
    Corrupt,
    FailedPrecondition,
    Interrupted,
    InvalidInput,
    NotFound,
    StorageFull,
    UserCodeFailed,
    VarvError,
)
from varv.kernel.faults import Faults
from varv.kernel.ledger import (
    Append,
    Change,
    ClaimedCommand,
    CommandEnd,
    Entry,
    Guard,
    Ledger,
    NewCommand,
    SagaRow,
    Timer,
    TimerChange,
)
from varv.kernel.observe import log
from varv.kernel.sagas import (
    Command,
    CommandEnded,
    CommandFailed,
    Fact,
    Handler,
    Message,
    Reply,
    Saga,
    SetTimer,
    Step,
    TimerFired,
)
from varv.kernel.tracing import Tracer, Value

MAX_ATTEMPTS = 5
FIRST_RETRY = Duration(10 * SECOND)
"""Wait before the second attempt; it doubles with every further one."""
LEASE = DAY
"""Longer than any command: one process owns the store, and leases of a dead owner are void when it is opened
again.
"""
MOST_DELIVERIES = 1000
"""Messages in one transaction; more means that sagas tell each other in a circle."""
MOST_REASON = 20_000
"""Characters of a failure's message that are kept; whoever shows it decides how much of it."""
ENDED = "commands"
"""Stream of commands that ended without a word."""


class Engine:
    """Runs sagas over a ledger. Safe to use from many threads.

    Parameters
    ----------
    sagas
        The kinds of saga; a message goes to the one named before the first ``/`` of its saga id.
    handlers
        What to do for each class of command.
    tracer
        Keeps a span of each command that ran; None for none.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        sagas: Iterable[Saga[Any]] = (),
        handlers: Mapping[type[Command], Handler] | None = None,
        *,
        faults: Faults | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._ledger, self._clock = ledger, clock
        self._faults = faults or Faults()
        self._tracer = tracer
        self._sagas = {saga.name: saga for saga in sagas}
        self._handlers: dict[str, tuple[type[Command], Handler]] = {}
        # Commands that did not come to an end: their leases are to be given back before the next claim.
        self._unfinished: deque[ClaimedCommand] = deque()
        for command, handler in (handlers or {}).items():
            if not command.command_name:
                hint = 'write @command("room.what_to_do") above it'
                raise InvalidInput("command", command.__name__, "has no name", hint=hint)
            # Homes of before queued commands under the names of their classes.
            for name in (command.command_name, command.__name__):
                if self._handlers.setdefault(name, (command, handler)) != (command, handler):
                    raise InvalidInput("command", name, "has the name of another command")

    def tell(
        self,
        *messages: Message,
        facts: Sequence[Fact] = (),
        guards: Sequence[Guard] = (),
        cause: int | None = None,
    ) -> list[Entry]:
        """Append `facts`, deliver `messages`, and commit all that follows as one change.

        Parameters
        ----------
        facts
            Events for streams, before the messages.
        guards
            What they were decided by.
        cause
            The seq of the entry that led to this; None if it came from outside.

        Raises
        ------
        Conflict
            If a stream is not at its expected version, or not at that of a guard.
        NotFound
            If no saga has the name that a message is addressed to.
        FailedPrecondition
            If the sagas keep telling each other and do not come to rest.
        """
        if not messages and not facts:
            return []
        return self._commit(messages, facts, cause, guards=guards)

    def next_due(self) -> Instant | None:
        """Return when a timer or a command is next due, which may be in the past; None if nothing waits."""
        found = self._ledger.upcoming()
        due = [found.command_due] if found.command_due is not None else []
        return min([*due, found.timer.due] if found.timer else due, default=None)

    def settle(self) -> int:
        """Fire timers and run commands until none is due now; return how many there were.

        Timers go first, by (due, saga, key), since what they decide may outrank a waiting command.
        """
        count = 0
        while self.fire_one() or self.run_one():
            count += 1
        return count

    def fire_due(self) -> int:
        """Fire every timer that is due now, each in a transaction of its own; return how many there were."""
        count = 0
        while self.fire_one():
            count += 1
        return count

    def fire_one(self) -> bool:
        """Deliver the next timer that is due now; return whether there was one."""
        timer = self._ledger.upcoming().timer
        if timer is None or timer.due > self._clock.now():
            return False
        fired = Message(timer.saga, TimerFired(key=timer.key, due=timer.due))
        try:
            self._commit([fired], (), timer.cause, timer=timer)
        except _TimerGone:
            # Another thread fired it, or its saga took it back; the next call sees what is left.
            log(_LOG, logging.DEBUG, "timer.gone", saga=timer.saga, key=timer.key)
        return True

    def run_one(self, worker: str = "main") -> bool:
        """Claim the next command that is due, run its handler and commit the outcome; return whether there
        was one.

        A failure that may pass is tried again, up to `MAX_ATTEMPTS` times; then, or at any other failure, the
        saga that asked is told `CommandFailed`. One whose reply a guard refused decides anew, which is no
        failure.

        Raises
        ------
        StorageFull
            If the disk takes nothing more. That is no failure of the command: a later call runs it again.
        Interrupted
            If the command was ended from outside. That is none either.
        """
        self._give_back()
        claimed = self._ledger.claim(worker, self._clock.now(), LEASE)
        if claimed is None:
            return False
        self._faults.reach("engine.after_claim")
        try:
            self._settle(claimed, self._traced(claimed))
        except (StorageFull, Interrupted):
            self._unfinished.append(claimed)
            raise
        return True

    def _give_back(self) -> None:
        """Give back the leases of commands that did not come to an end, so that they run again."""
        while self._unfinished:
            claimed = self._unfinished.popleft()
            try:
                self._ledger.extend(claimed.id, claimed.attempt, self._clock.now())
            except StorageFull:
                self._unfinished.appendleft(claimed)
                raise
            except Conflict:
                log(_LOG, logging.WARNING, "command.fenced_off", command=claimed.id, attempt=claimed.attempt)

    def _settle(self, claimed: ClaimedCommand, outcome: Reply | VarvError) -> None:
        """Commit what came of a command."""
        self._faults.reach("engine.after_handler")
        if isinstance(outcome, StorageFull | Interrupted):
            raise outcome
        try:
            if isinstance(outcome, Reply):
                self._finish(claimed, outcome)
            elif outcome.retryable and claimed.failures + 1 < MAX_ATTEMPTS:
                self._put_back(claimed, outcome)
            else:
                self._finish(claimed, self._failure(claimed, outcome))
        except Conflict as error:
            if error.kind == "stream" and isinstance(outcome, Reply) and outcome.guards:
                # It looks again, at once; whoever moved the stream on has won, so this ends.
                log(_LOG, logging.DEBUG, "command.decides_anew", command=claimed.id, why=str(error))
                self._unfinished.append(claimed)
                self._give_back()
                return
            if error.kind != "command":
                raise
            log(_LOG, logging.WARNING, "command.fenced_off", command=claimed.id, attempt=claimed.attempt)

    def _traced(self, claimed: ClaimedCommand) -> Reply | VarvError:
        """Run a command, and keep a span of it."""
        if self._tracer is None:
            return self._outcome(claimed)
        saga = claimed.saga
        # The saga of one version or one change is a trace; of one that goes on for ever each decision is.
        correlation = saga if saga.rpartition("/")[2].isdecimal() else f"{saga} {claimed.cause}"
        about: dict[str, Value] = {
            "varv.saga": saga,
            "varv.cause": claimed.cause,
            "varv.command": claimed.id,
            "varv.attempt": claimed.attempt,
        }
        with self._tracer.span(self._name(claimed), correlation, about) as noted:
            outcome = self._outcome(claimed)
            if isinstance(outcome, VarvError):
                noted["error.type"] = outcome.code
            return outcome

    def _outcome(self, claimed: ClaimedCommand) -> Reply | VarvError:
        try:
            if claimed.name not in self._handlers:
                raise NotFound("handler", claimed.name, hint="register a handler for this command")
            kind, handler = self._handlers[claimed.name]
            return handler(_decoded(claimed, kind), claimed.id, self._clock.now())
        except StorageFull as error:
            log(_LOG, logging.WARNING, "command.without_room", command=claimed.id, why=str(error))
            return error
        except VarvError as error:
            return error
        except Exception as error:  # noqa: BLE001 - handlers run the model author's code, which may raise anything
            log(_LOG, logging.ERROR, "command.raised", command=claimed.id, why=repr(error))
            return UserCodeFailed("command", claimed.name, f"raised {type(error).__name__}: {error}")

    def _finish(self, claimed: ClaimedCommand, reply: Reply) -> None:
        ends = CommandEnd(claimed.id, claimed.attempt)
        facts, guards = reply.facts, reply.guards
        if reply.failed is not None:
            reply = self._failure(claimed, reply.failed)
        if not facts and not reply.messages:
            ended = CommandEnded(command=self._name(claimed), command_id=claimed.id)
            facts = (Fact(ENDED, ended),)
        self._commit(reply.messages, facts, claimed.cause, guards=guards, ends=ends)

    def _failure(self, claimed: ClaimedCommand, error: VarvError) -> Reply:
        failed = CommandFailed(
            command=self._name(claimed),
            command_id=claimed.id,
            code=error.code,
            reason=error.whole[:MOST_REASON],
            attempts=claimed.failures + 1,
        )
        return Reply(messages=(Message(claimed.saga, failed),))

    def _name(self, claimed: ClaimedCommand) -> str:
        found = self._handlers.get(claimed.name)
        return claimed.name if found is None else found[0].command_name

    def _put_back(self, claimed: ClaimedCommand, error: VarvError) -> None:
        now = self._clock.now()
        retry_at = Instant(now + (FIRST_RETRY << claimed.failures))
        log(
            _LOG,
            logging.WARNING,
            "command.retried",
            command=claimed.id,
            why=str(error),
            failures=claimed.failures + 1,
        )
        self._ledger.commit(Change(at=now, ends=CommandEnd(claimed.id, claimed.attempt, retry_at)))

    def _commit(
        self,
        messages: Sequence[Message],
        facts: Sequence[Fact],
        cause: int | None,
        *,
        guards: Sequence[Guard] = (),
        ends: CommandEnd | None = None,
        timer: Timer | None = None,
    ) -> list[Entry]:
        while True:
            draft = _Draft(self._ledger, self._sagas, self._clock.now())
            if timer is not None:
                draft.take(timer)
            for fact in facts:
                draft.appends.append(Append(fact.stream, fact.event, fact.expected))
            draft.deliver(messages)
            try:
                return self._ledger.commit(draft.change(cause, guards, ends))
            except Conflict as error:
                # Another thread moved the saga on between our read and our commit, so it decides anew; every
                # round that is lost was won by another, so this ends.
                if error.kind != "saga":
                    raise


class _TimerGone(Exception):
    """The timer to be fired is no longer set as it was read."""


class _Draft:
    """One change while it is being decided: reads states through, collects what the transitions want."""

    def __init__(self, ledger: Ledger, sagas: Mapping[str, Saga[Any]], now: Instant) -> None:
        self._ledger, self._known, self._now = ledger, sagas, now
        self._states: dict[str, tuple[msgspec.Struct, int]] = {}
        self.appends: list[Append] = []
        self._timers: list[TimerChange] = []
        self._commands: list[NewCommand] = []

    def take(self, timer: Timer) -> None:
        """Make the change fire `timer`, which must still be the next one.

        The saga's state is read first: should another thread change the timer after this look, it has moved
        the saga on as well, and the commit is refused.
        """
        self._state(timer.saga)
        if self._ledger.upcoming().timer != timer:
            raise _TimerGone
        self._timers.append(TimerChange(timer.saga, timer.key, None, by=0))

    def deliver(self, messages: Sequence[Message]) -> None:
        """Run transitions depth first: what a saga tells arrives before the next message of its sender's
        sender.
        """
        waiting: list[tuple[Message, int | None]] = [(message, None) for message in reversed(messages)]
        count = 0
        while waiting:
            count += 1
            message, by = waiting.pop()
            if count > MOST_DELIVERIES:
                raise FailedPrecondition("saga", message.saga, "does not come to rest", deliveries=count - 1)
            position = len(self.appends)
            self.appends.append(Append(message.saga, message.event, by=by))
            step = self._step(message.saga, message.event)
            self._collect(message.saga, step, position)
            waiting.extend((told, position) for told in reversed(step.tells))

    def change(self, cause: int | None, guards: Sequence[Guard], ends: CommandEnd | None) -> Change:
        """Return the change as collected."""
        rows = [SagaRow(saga, version, canonical(state)) for saga, (state, version) in self._states.items()]
        return Change(
            at=self._now,
            cause=cause,
            guards=tuple(guards),
            facts=tuple(self.appends),
            sagas=tuple(rows),
            timers=tuple(self._timers),
            commands=tuple(self._commands),
            ends=ends,
        )

    def _step(self, saga_id: str, event: Event) -> Step[Any]:
        state, version = self._state(saga_id)
        step = self._saga(saga_id).step(state, event, self._now)
        # One change raises the version by one, however many messages it delivers to the saga.
        self._states[saga_id] = (step.state, version)
        return step

    def _state(self, saga_id: str) -> tuple[msgspec.Struct, int]:
        if saga_id not in self._states:
            saga, row = self._saga(saga_id), self._ledger.saga(saga_id)
            if row is None:
                self._states[saga_id] = (saga.initial(saga_id), 1)
            else:
                self._states[saga_id] = (
                    msgspec.json.decode(row.state, type=saga.state_type),
                    row.version + 1,
                )
        return self._states[saga_id]

    def _saga(self, saga_id: str) -> Saga[Any]:
        name = saga_id.partition("/")[0]
        if name not in self._known:
            raise NotFound("saga", name, "is not registered", known=sorted(self._known))
        return self._known[name]

    def _collect(self, saga_id: str, step: Step[Any], position: int) -> None:
        for fact in step.emits:
            self.appends.append(Append(fact.stream, fact.event, fact.expected, by=position))
        for timer in step.timers:
            due = timer.due if isinstance(timer, SetTimer) else None
            self._timers.append(TimerChange(saga_id, timer.key, due, by=position))
        for command in step.commands:
            name, data = type(command).command_name, canonical(command)
            self._commands.append(
                NewCommand(saga_id, name, data, command.priority, command.partition, position)
            )


def _decoded(claimed: ClaimedCommand, kind: type[Command]) -> Command:
    try:
        return msgspec.json.decode(claimed.data, type=kind)
    except msgspec.MsgspecError as error:
        hint = "was it queued by a later version of varv?"
        raise Corrupt("command", claimed.id, "cannot be read", why=str(error), hint=hint) from None


_LOG = logging.getLogger(__name__)
