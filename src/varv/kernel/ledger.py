"""The ledger: an append-only, hash-chained log of events, and the rows that sagas keep beside it.

This module holds the port, the nouns that pass through it, and the pure chain. `kernel.ledger_sqlite`
implements the port, `kernel.verify` checks a chain, `kernel.engine` turns decisions into a `Change`. One
change is one transaction: facts, saga states, timers, commands and the end of a command are all written, or
none is.

The seq of an entry is known only once it is written. What one change writes therefore points at its cause by
position: ``by=0`` means the first fact of the same change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NewType, Protocol

import msgspec

from varv.kernel.clock import Duration, Instant
from varv.kernel.codec import Event, canonical, decode_event
from varv.kernel.errors import Corrupt, InvalidInput

CommandId = NewType("CommandId", str)
"""``"<saga>:<seq of the entry that decided it>:<position>"``; the idempotency key of a command."""

GENESIS = hashlib.sha256(b"varv ledger 1").digest()
"""What the first entry is chained to."""

LONGEST_STREAM = 255


class Entry(msgspec.Struct, frozen=True):
    """One event as it stands in the ledger.

    `seq` counts entries of the ledger and `version` those of the stream, both from 1. `cause` is the seq of
    the entry that led to this one. `hash` chains the entry to the one before it. `decided` records what it
    decided of sagas, timers and commands (`kernel.decided`); None if nothing, or in an older ledger.
    """

    seq: int
    stream: str
    version: int
    name: str
    event_version: int
    at: Instant
    cause: int | None
    data: bytes
    hash: bytes
    decided: bytes | None = None

    @property
    def event(self) -> Event:
        """The decoded event, lifted to today's version."""
        return decode_event(self.name, self.event_version, self.data)


class Head(msgspec.Struct, frozen=True):
    """How far a ledger or a stream has come: the number of its last entry, 0 if empty, and its hash."""

    version: int
    hash: bytes


class Append(msgspec.Struct, frozen=True):
    """An event to be appended to a stream.

    `expected` is the version the stream must have at that moment, None for any. `by` is the position, in the
    same change, of the append that caused this one; None means the cause of the change.
    """

    stream: str
    event: Event
    expected: int | None = None
    by: int | None = None


class Guard(msgspec.Struct, frozen=True):
    """What a change was decided by: the version that a stream must have before the change, which need not
    append to it.
    """

    stream: str
    version: int


class SagaRow(msgspec.Struct, frozen=True):
    """The state of one saga after its `version`-th event, as canonical JSON."""

    saga: str
    version: int
    state: bytes


class Timer(msgspec.Struct, frozen=True):
    """A timer of a saga; `cause` is the seq of the entry that set it."""

    saga: str
    key: str
    due: Instant
    cause: int


class TimerChange(msgspec.Struct, frozen=True):
    """Set the timer `key` of a saga to `due`, or forget it if `due` is None; `by` is the deciding append's
    position.
    """

    saga: str
    key: str
    due: Instant | None
    by: int


class NewCommand(msgspec.Struct, frozen=True):
    """A command to be queued; `by` is the position of the append that decided it."""

    saga: str
    name: str
    data: bytes
    priority: int
    partition: str
    by: int


class ClaimedCommand(msgspec.Struct, frozen=True):
    """A command that a worker has the lease of.

    `attempt` is the fencing token: it grows with every claim, and only the latest one may end the command.
    `failures` counts the attempts that failed and were put back, so it is the same after a crash, which
    `attempt` is not.
    """

    id: CommandId
    saga: str
    cause: int
    name: str
    data: bytes
    attempt: int
    failures: int


class QueuedCommand(msgspec.Struct, frozen=True):
    """A command as it is stored, for whoever checks it."""

    id: CommandId
    saga: str
    cause: int
    position: int
    name: str
    data: bytes
    priority: int
    partition: str
    due_at: Instant
    attempt: int
    failures: int


class CommandEnd(msgspec.Struct, frozen=True):
    """The end of one attempt: done, or to be tried again at `retry_at`."""

    id: CommandId
    attempt: int
    retry_at: Instant | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one transaction. A saga row must carry the version after the stored one."""

    at: Instant
    cause: int | None = None
    guards: tuple[Guard, ...] = ()
    facts: tuple[Append, ...] = ()
    sagas: tuple[SagaRow, ...] = ()
    timers: tuple[TimerChange, ...] = ()
    commands: tuple[NewCommand, ...] = ()
    ends: CommandEnd | None = None


class Upcoming(msgspec.Struct, frozen=True):
    """What is next: the first timer by (due, saga, key), and the instant from which some command may be
    claimed.
    """

    timer: Timer | None
    command_due: Instant | None


class Signer(msgspec.Struct, frozen=True):
    """A key that signs checkpoints of the ledger: from which size on, and the size that it signed last."""

    since: int
    public: bytes
    signed: int


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a ledger holds beside earlier entries, as of one moment."""

    entries: tuple[Entry, ...]
    """Those after the seq that was asked about."""
    head: Head
    first: int
    """The lowest seq that is stored, 1 unless something is wrong; 1 if there is none."""
    n_entries: int
    recorded_since: int | None
    """Entries after this one carry what they decided; None in a file of a version that had no records."""
    sagas: tuple[SagaRow, ...]
    timers: tuple[Timer, ...]
    commands: tuple[QueuedCommand, ...]
    signers: tuple[Signer, ...]


class Ledger(Protocol):
    """The store of truth. Safe to use from many threads; one process owns one ledger."""

    def commit(self, change: Change) -> list[Entry]:
        """Write one change durably and return its entries, in the order of its facts.

        Raises
        ------
        Conflict
            If a stream is not at its expected version, or not at that of a guard, a saga has moved on, or the
            command was claimed again.
        InvalidInput
            If a stream's name or an event cannot be written.
        """
        ...

    def read(self, after: int = 0, stream: str | None = None, limit: int | None = None) -> list[Entry]:
        """Return entries in order: with a seq above `after`, or with `stream` a version above it."""
        ...

    def head(self, stream: str | None = None) -> Head:
        """Return the head of the ledger, or of one stream."""
        ...

    def saga(self, saga: str) -> SagaRow | None:
        """Return the stored state of a saga; None before its first event.

        Raises
        ------
        Corrupt
            If it is not the state that the saga's last entry decided.
        """
        ...

    def upcoming(self) -> Upcoming:
        """Return the next timer and the next instant at which a command is due, whatever the time is.

        Raises
        ------
        Corrupt
            If no entry decided that timer.
        """
        ...

    def stored(self, after: int) -> Stored:
        """Return all rows beside the entries, and the entries with a seq above `after`, as of one moment."""
        ...

    def claim(self, worker: str, now: Instant, lease: Duration) -> ClaimedCommand | None:
        """Take the lease of the next command that is due, by priority and then age; None if there is none.

        Commands of a partition of which one is leased wait until it has ended.

        Raises
        ------
        Corrupt
            If no entry decided that command as it is stored.
        """
        ...

    def extend(self, command_id: CommandId, attempt: int, until: Instant) -> None:
        """Prolong the lease of a running attempt: its heartbeat.

        Raises
        ------
        Conflict
            If the command has ended or was claimed again.
        """
        ...

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until the ledger has an entry with a seq above `after`; return whether it has."""
        ...

    def close(self) -> None:
        """Give the store back; closing twice is harmless."""
        ...


def entries_of(ledger: Ledger, stream: str, after: int = 0) -> Iterator[Entry]:
    """Yield the entries of a stream with a version above `after`, a thousand read at a time."""
    while entries := ledger.read(after, stream, 1000):
        yield from entries
        after = entries[-1].version


def entry_hash(previous: bytes, entry: Entry) -> bytes:
    """Return the hash that chains `entry` to the one whose hash is `previous`; its own `hash` is not read.

    Notes
    -----
    SHA-256 of the previous hash and the canonical JSON of all other fields in the order of `Entry`, with
    `decided` last and left out if it is None.
    """
    *fields, _, decided = msgspec.structs.astuple(entry)
    return _hash_of(previous, tuple(fields), decided)


def _hash_of(previous: bytes, fields: tuple[object, ...], decided: bytes | None) -> bytes:
    hashed = fields if decided is None else (*fields, decided)
    return hashlib.sha256(previous + canonical(hashed)).digest()


def encoded(append: Append) -> bytes:
    """Return the bytes of the event, which are known to read back.

    Raises
    ------
    InvalidInput
        If the stream's name is empty, too long or not printable, or the event would not read back as it is.
    """
    stream, event = append.stream, append.event
    if not 0 < len(stream) <= LONGEST_STREAM or not stream.isprintable():
        raise InvalidInput("stream", ascii(stream[:80]), "is not a name of 1 to 255 printable characters")
    data = canonical(event)
    try:
        # An entry that does not read back would stop every view for good; NaN, for one, is written as null.
        decode_event(event.event_name, event.event_version, data)
    except Corrupt as error:
        why = error.facts.get("why", error.problem)
        hint = "give finite numbers and the declared types"
        raise InvalidInput("event", event.event_name, "would not read back", why=why, hint=hint) from None
    return data


def chained(
    tip: Head,
    version: int,
    append: Append,
    data: bytes,
    *,
    decided: bytes | None,
    at: Instant,
    cause: int | None,
) -> Entry:
    """Return the entry that follows `tip`, of an append whose event is encoded as `data`."""
    event = append.event
    seq = tip.version + 1
    fields = (seq, append.stream, version, event.event_name, event.event_version, at, cause, data)
    return Entry(*fields, hash=_hash_of(tip.hash, fields, decided), decided=decided)
