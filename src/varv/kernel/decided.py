"""What entries decided: a record, chained with its entry, of what a change did to the rows beside the ledger.

Sagas, timers and commands are rows that a commit overwrites, so nothing in them shows what they ought to be.
An entry that decided something carries a record of it: the digest of a saga's state, the timers set and
forgotten, the commands with the digest of what they say, the command that has ended. Whoever reads a row
compares it with the record; `Rows` folds all records into what the tables must hold now.

The rules of the sagas are not asked. A later version of varv, whose sagas would decide otherwise, must not
take an older history for a forgery. Attempts, failures, retry times and leases of a command are in no record,
since no entry says them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, canonical, digest
from varv.kernel.errors import Corrupt
from varv.kernel.ledger import Change, Entry, QueuedCommand, SagaRow, Stored, Timer

CURE = "run varv verify, and restore the home folder from a copy"


class SagaDecided(msgspec.Struct, frozen=True, array_like=True):
    """The version of a saga's row after a change, and the digest of its state."""

    saga: str
    version: int
    state: Digest


class TimerDecided(msgspec.Struct, frozen=True, array_like=True):
    """A timer that was set, or forgotten if `due` is None."""

    saga: str
    key: str
    due: Instant | None


class CommandDecided(msgspec.Struct, frozen=True, array_like=True):
    """A command that was queued, with the digest of its payload."""

    saga: str
    name: str
    data: Digest
    priority: int
    partition: str


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """The record of one entry; its commands are in the order of their positions."""

    sagas: tuple[SagaDecided, ...] = ()
    timers: tuple[TimerDecided, ...] = ()
    commands: tuple[CommandDecided, ...] = ()
    ended: str = ""
    """Id of the command that ended with the change."""


def records(change: Change) -> list[bytes | None]:
    """Return the record of each fact of a change, None where it decided nothing."""
    made: list[_Draft | None] = [None] * len(change.facts)

    def at(position: int) -> _Draft:
        draft = made[position] = made[position] or _Draft()
        return draft

    for row in change.sagas:
        streams = [position for position, append in enumerate(change.facts) if append.stream == row.saga]
        if change.facts:
            draft = at(streams[-1] if streams else -1)
            draft.sagas.append(SagaDecided(row.saga, row.version, digest(row.state)))
    for timer in change.timers:
        at(timer.by).timers.append(TimerDecided(timer.saga, timer.key, timer.due))
    for command in change.commands:
        said = digest(command.data)
        partition = command.partition or command.saga
        decided = CommandDecided(command.saga, command.name, said, command.priority, partition)
        at(command.by).commands.append(decided)
    if change.ends is not None and change.ends.retry_at is None and change.facts:
        at(0).ended = change.ends.id
    return [None if draft is None else canonical(draft) for draft in made]


class _Draft(msgspec.Struct, array_like=True):
    """A record in the making; it is encoded as `Decided`."""

    sagas: list[SagaDecided] = []
    timers: list[TimerDecided] = []
    commands: list[CommandDecided] = []
    ended: str = ""


def decode(record: bytes, seq: int | str) -> Decided:
    """Return the record of an entry.

    Raises
    ------
    Corrupt
        If it is none.
    """
    try:
        return msgspec.json.decode(record, type=Decided)
    except msgspec.MsgspecError as error:
        raise Corrupt("entry", seq, "has no record that can be read", why=str(error), hint=CURE) from None


# Whoever reads a row compares it with what its entry decided.


def require_saga(row: SagaRow | None, saga: str, record: bytes | None) -> None:
    """Compare a saga's row with the record of the last entry of its stream that has one.

    Raises
    ------
    Corrupt
        If another state was decided, or the row is gone.
    """
    if record is None:
        return
    decided = next((one for one in reversed(decode(record, saga).sagas) if one.saga == saga), None)
    if decided is None:
        return
    if row is None:
        raise Corrupt("row of saga", saga, "is gone", expected=f"version {decided.version}", hint=CURE)
    problem, expected, found = _saga_differs(row, decided)
    if problem:
        raise Corrupt("row of saga", saga, problem, expected=expected, found=found, hint=CURE)


def require_timer(timer: Timer, record: bytes | None) -> None:
    """Compare a timer's row with the record of the entry that it names as its cause.

    Raises
    ------
    Corrupt
        If that entry did not set it so.
    """
    timers = decode(record, timer.cause).timers if record is not None else ()
    wanted = TimerDecided(timer.saga, timer.key, timer.due)
    if wanted not in timers:
        found = f"due {timer.due}"
        name, problem = f"{timer.key} of {timer.saga}", f"is not what entry {timer.cause} decided"
        raise Corrupt("row of timer", name, problem, found=found, hint=CURE)


def require_command(command: QueuedCommand, record: bytes | None) -> None:
    """Compare a command's row with the record of the entry that it names as its cause.

    Raises
    ------
    Corrupt
        If that entry did not decide it so.
    """
    commands = decode(record, command.cause).commands if record is not None else ()
    if _command_as_decided(command) not in commands[command.position : command.position + 1]:
        raise Corrupt("row of command", command.id, f"is not what entry {command.cause} decided", hint=CURE)


def _command_as_decided(row: QueuedCommand) -> CommandDecided:
    return CommandDecided(row.saga, row.name, digest(row.data), row.priority, row.partition)


def _saga_differs(row: SagaRow, decided: SagaDecided) -> tuple[str, str, str]:
    if row.version != decided.version:
        return "has another version", str(decided.version), str(row.version)
    state = digest(row.state)
    if state != decided.state:
        return "has another state", f"digest {decided.state[:12]}", f"digest {state[:12]}"
    return "", "", ""


class Difference(msgspec.Struct, frozen=True):
    """A row that is not what the entries decided."""

    table: str
    row: str
    problem: str
    expected: str
    found: str


class Unrecorded(msgspec.Struct, frozen=True):
    """A row of which no record speaks; `cause` is the entry that it names, None if it names none."""

    table: str
    row: str
    saga: str
    cause: int | None


class Rows(msgspec.Struct):
    """The rows that the tables of sagas, timers and commands must hold, folded from the records."""

    sagas: dict[str, tuple[SagaDecided, int]] = {}
    timers: dict[tuple[str, str], tuple[Instant, int]] = {}
    commands: dict[str, tuple[CommandDecided, Instant]] = {}
    first: int | None = None
    """Seq of the first entry with a record."""

    def apply(self, entry: Entry) -> None:
        """Take in the next entry."""
        if entry.decided is None:
            return
        self.first = self.first or entry.seq
        decided = decode(entry.decided, entry.seq)
        self.commands.pop(decided.ended, None)
        for saga in decided.sagas:
            self.sagas[saga.saga] = saga, entry.seq
        for timer in decided.timers:
            self.timers.pop((timer.saga, timer.key), None)
            if timer.due is not None:
                self.timers[timer.saga, timer.key] = timer.due, entry.seq
        for position, command in enumerate(decided.commands):
            self.commands[f"{command.saga}:{entry.seq}:{position}"] = command, entry.at

    def compare(self, stored: Stored) -> Iterator[Difference | Unrecorded]:
        """Yield every row that is not as it was decided, and every row that no record speaks of."""
        yield from self._compare_sagas({row.saga: row for row in stored.sagas})
        yield from self._compare_timers({(row.saga, row.key): row for row in stored.timers})
        yield from self._compare_commands({row.id: row for row in stored.commands})

    def _compare_sagas(self, rows: Mapping[str, SagaRow]) -> Iterator[Difference | Unrecorded]:
        for name, (decided, seq) in self.sagas.items():
            if name not in rows:
                expected = f"version {decided.version}, as entry {seq} decided"
                yield Difference("sagas", f"saga {name}", "is gone", expected, "no row")
                continue
            problem, expected, found = _saga_differs(rows[name], decided)
            if problem:
                yield Difference(
                    "sagas", f"saga {name}", problem, f"{expected}, as entry {seq} decided", found
                )
        for name in rows.keys() - self.sagas.keys():
            yield Unrecorded("sagas", f"saga {name}", name, None)

    def _compare_timers(self, rows: Mapping[tuple[str, str], Timer]) -> Iterator[Difference | Unrecorded]:
        for (saga, key), (due, seq) in self.timers.items():
            name, row = f"timer {key} of {saga}", rows.get((saga, key))
            expected = f"due at {due}, as entry {seq} decided"
            if row is None:
                yield Difference("timers", name, "is gone", expected, "no row")
            elif (row.due, row.cause) != (due, seq):
                found = f"due at {row.due}, as if entry {row.cause} had decided it"
                yield Difference("timers", name, "was changed", expected, found)
        for saga, key in rows.keys() - self.timers.keys():
            yield Unrecorded("timers", f"timer {key} of {saga}", saga, rows[saga, key].cause)

    def _compare_commands(self, rows: Mapping[str, QueuedCommand]) -> Iterator[Difference | Unrecorded]:
        for name, (decided, at) in self.commands.items():
            row, expected = rows.get(name), f"{decided.name} with payload {decided.data[:12]}"
            if row is None:
                yield Difference("commands", f"command {name}", "is gone", expected, "no row")
                continue
            for column, wanted, found in _command_differs(row, name, decided, at):
                problem = f"has another {column}"
                yield Difference("commands", f"command {name}", problem, str(wanted)[:40], str(found)[:40])
        for name in rows.keys() - self.commands.keys():
            yield Unrecorded("commands", f"command {name}", rows[name].saga, rows[name].cause)


def _command_differs(
    row: QueuedCommand, name: str, decided: CommandDecided, at: Instant
) -> Iterator[tuple[str, object, object]]:
    """Yield the columns of a command's row that differ: column, expected, found."""
    _, cause, position = name.rsplit(":", 2)
    pairs: tuple[tuple[str, object, object], ...] = (
        ("saga", decided.saga, row.saga),
        ("cause", int(cause), row.cause),
        ("position", int(position), row.position),
        ("name", decided.name, row.name),
        ("payload", decided.data, digest(row.data)),
        ("priority", decided.priority, row.priority),
        ("partition", decided.partition, row.partition),
    )
    yield from ((column, wanted, found) for column, wanted, found in pairs if wanted != found)
    # A retry moves the due time on and leaves no entry, but none comes before the command itself.
    if row.due_at < at or (row.failures == 0 and row.due_at != at):
        yield "due time", at, row.due_at
    if not 0 <= row.failures <= row.attempt:
        yield "count of failures", f"0 to {row.attempt}", row.failures
