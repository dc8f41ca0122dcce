"""The embedded ledger: SQLite in WAL mode, one owner, one writer at a time, group commit.

Threads commit in groups (`kernel.group_commit`): one transaction and one fsync for all that wait. The order
of the queue is the order of seqs, which SQLite never assigns. A change that is refused leaves its neighbours
alone. Reads use connections of their own, so they never wait for a writer. The file itself is in
`kernel.sqlite_file`.

The outbox is the job queue: a command is one row from the transition that decided it to its end. Leases are
void when a store is opened, since the process that held them no longer owns it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from varv.kernel.clock import Duration, Instant
from varv.kernel.decided import records, require_command, require_saga, require_timer
from varv.kernel.errors import Conflict, Corrupt, FailedPrecondition, NotFound, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.group_commit import GroupCommit, Ticket
from varv.kernel.ledger import (
    GENESIS,
    Append,
    Change,
    ClaimedCommand,
    CommandEnd,
    CommandId,
    Entry,
    Head,
    NewCommand,
    QueuedCommand,
    SagaRow,
    Signer,
    Stored,
    Timer,
    TimerChange,
    Upcoming,
    chained,
    encoded,
)
from varv.kernel.merkle import Notary
from varv.kernel.observe import log
from varv.kernel.sqlite_file import Durability, connect, own, prepare, require_format
from varv.kernel.storage import full, refused_read, refused_write

_Work = Callable[[Head], tuple[Any, Head]]

MEMORY = ":memory:"
_INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOST_VERSIONS = 10_000
_ENTRY = "seq, stream, version, name, event_version, at, cause, data, hash, decided"
_COMMAND = "id, saga, cause, position, name, data, priority, partition, due_at, attempt, failures"

# A row and the record that it is compared with are read by one statement, so that no commit comes between.
_SAGA = """
SELECT s.version, s.state, (
    SELECT decided FROM entries WHERE stream = :saga AND decided IS NOT NULL ORDER BY version DESC LIMIT 1)
FROM (SELECT 1) LEFT JOIN sagas AS s ON s.saga = :saga
"""
_NEXT_TIMER = """
SELECT saga, key, due, cause, (SELECT decided FROM entries WHERE seq = t.cause) FROM timers AS t
ORDER BY due, saga, key LIMIT 1
"""
_NEXT_TIMER_1 = "SELECT saga, key, due, cause, NULL FROM timers ORDER BY due, saga, key LIMIT 1"
_CLAIMABLE = f"""
SELECT {_COMMAND}, (SELECT decided FROM entries WHERE seq = c.cause) FROM commands AS c
WHERE due_at <= :now AND lease_until <= :now AND NOT EXISTS (
    SELECT 1 FROM commands AS other WHERE other.partition = c.partition AND other.lease_until > :now)
ORDER BY priority DESC, cause, position LIMIT 1
"""


class SqliteLedger:
    """A ledger in one SQLite file, or in memory.

    Parameters
    ----------
    path
        The file, created with its folder if absent, or ``":memory:"``.
    durability
        ``"full"``: a commit that has returned survives a power cut. ``"process"``: it survives the death of
        the process, but not always that of the machine; for replays, which can be run again.
    notary
        Signs checkpoints as the ledger grows; None for none.
    read_only
        Read a store without owning it, also while another process does; nothing can be committed.

    Raises
    ------
    FailedPrecondition
        If another process owns the store; its pid is in the facts.
    Corrupt
        If the file is not a ledger, or its last entry is not the one its head names.
    NotFound
        If the store is opened read-only and does not exist.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        durability: Durability = "full",
        notary: Notary | None = None,
        faults: Faults | None = None,
        read_only: bool = False,
    ) -> None:
        self._path, self._name = str(path), Path(path).name
        self._in_memory = self._path == MEMORY
        self._read_only = read_only
        self._notary = notary
        self._faults = faults or Faults()
        self._writer = GroupCommit(self._flush, self._require_writable)
        # What the transaction in hand will append, and versions of streams lately written; the writer's
        # alone.
        self._pending: list[Entry] = []
        self._versions: dict[str, int] = {}
        self._closed = False
        self._open = False  # whether the writing connection is
        # Guards the writing connection; in memory, where there is no other, readers take it too.
        self._writing = threading.Lock()
        self._grown = threading.Condition()
        self._readers: deque[sqlite3.Connection] = deque()
        self._lock_file = -1 if self._in_memory or read_only else own(Path(self._path))
        self._recorded_since: int | None = None
        try:
            self._tip = self._opened(durability)
        except BaseException:
            self._let_go()
            raise

    # Opening and closing

    def _opened(self, durability: Durability) -> Head:
        if self._read_only and not Path(self._path).is_file():
            raise NotFound("ledger", self._name, hint="look for the home folder with --home")
        try:
            self._db = connect(self._path, read_only=self._read_only)
            self._open = True
            if not self._read_only:
                prepare(self._db, self._name, durability)
            self._read_marks(require_format(self._db, self._name))
            return self._checked_tip()
        except sqlite3.Error as error:
            if self._open and refused_write(error):
                raise full("ledger", Path(self._path), str(error)) from None
            raise Corrupt("ledger", self._name, "cannot be opened", why=str(error), hint=_VERIFY) from None

    def _read_marks(self, form: int) -> None:
        """Note since when entries carry records; in a file of format 1, which a reader may meet, none do."""
        if form == 1:
            self._entry = _ENTRY.replace("decided", "NULL")
            return
        row = self._db.execute("SELECT since FROM recorded").fetchone()
        if row is None:
            raise Corrupt("ledger", self._name, "has lost the row of its table 'recorded'", hint=_VERIFY)
        self._entry, self._recorded_since = _ENTRY, row[0]

    def _checked_tip(self) -> Head:
        """Return the stored head; an owner refuses to write on after a break, a reader does not."""
        tip = self._stored_tip()
        if self._read_only:
            return tip
        last = self._db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        if (last or (0, GENESIS)) != (tip.version, tip.hash):
            found = last[0] if last else 0
            raise Corrupt(
                "ledger",
                self._name,
                "does not end where its head says",
                head=tip.version,
                last=found,
                hint=_VERIFY,
            )
        if self._notary is not None:
            self._require_same_signer(self._notary, tip)
        return tip

    def _require_same_signer(self, notary: Notary, tip: Head) -> None:
        """Compare key and checkpoints with what the ledger has noted; a new ledger notes them now."""
        if notary.size > tip.version:
            problem = "is shorter than was signed"
            facts = {"signed": notary.size, "last": tip.version}
            raise Corrupt("ledger", self._name, problem, **facts, hint=_VERIFY)
        row = self._db.execute("SELECT public, signed FROM signers ORDER BY since DESC LIMIT 1").fetchone()
        if row is None and tip.version > (self._recorded_since or 0):
            raise Corrupt("ledger", self._name, "has lost the rows of its table 'signers'", hint=_SIGN_ANEW)
        if row is None:
            self._db.execute("INSERT INTO signers VALUES (0, ?, ?)", (notary.public, notary.size))
        elif row[0] != notary.public:
            raise Corrupt("key", "signing.key", "is not the one that has signed so far", hint=_SIGN_ANEW)
        elif row[1] > notary.size:
            facts = {"signed": row[1], "found": notary.size}
            raise Corrupt("file", "checkpoints.jsonl", "was cut, or is gone", **facts, hint=_SIGN_ANEW)

    def _stored_tip(self) -> Head:
        row = self._db.execute("SELECT seq, hash FROM head").fetchone()
        return Head(*row) if row else Head(-1, b"")

    def close(self) -> None:
        """Sign a last checkpoint and give the store back; closing twice is harmless."""
        with self._writer.lock:
            if self._closed:
                return
            self._closed = True
        with self._writing:
            if not self._read_only:
                self._sign(final=True)
            self._let_go()
        with self._grown:
            self._grown.notify_all()

    def _let_go(self) -> None:
        with suppress(IndexError):
            while True:
                self._readers.pop().close()
        if self._open:
            self._open = False
            self._db.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    # Reading

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        if self._closed:
            raise FailedPrecondition("ledger", self._name, "is closed")
        if self._in_memory:
            with self._writing:
                yield self._db
            return
        db: sqlite3.Connection | None = None
        try:
            with suppress(IndexError):
                db = self._readers.pop()
            db = db or connect(self._path, read_only=self._read_only)
            yield db
        except sqlite3.DatabaseError as error:
            if refused_read(error):
                raise full("ledger", Path(self._path), str(error)) from None
            raise Corrupt("ledger", self._name, "cannot be read", why=str(error), hint=_VERIFY) from None
        finally:
            if db is not None and self._closed:
                db.close()
            elif db is not None:
                self._readers.append(db)

    def read(self, after: int = 0, stream: str | None = None, limit: int | None = None) -> list[Entry]:
        """Return entries in order: with a seq above `after`, or with `stream` a version above it."""
        where, order = ("stream = :stream AND version", "version") if stream is not None else ("seq", "seq")
        query = f"SELECT {self._entry} FROM entries WHERE {where} > :after ORDER BY {order} LIMIT :limit"
        given = {"stream": stream, "after": after, "limit": -1 if limit is None else limit}
        with self._reading() as db:
            return [Entry(*row) for row in db.execute(query, given)]

    def head(self, stream: str | None = None) -> Head:
        """Return the head of the ledger, or of one stream."""
        with self._reading() as db:
            if stream is not None:
                return _stream_head(db, stream)
            row = db.execute("SELECT seq, hash FROM head").fetchone()
            return Head(*row) if row else Head(-1, b"")

    def saga(self, saga: str) -> SagaRow | None:
        """Return the stored state of a saga; None before its first event."""
        with self._reading() as db:
            if self._recorded_since is None:
                found = db.execute(
                    "SELECT version, state, NULL FROM sagas WHERE saga = ?", (saga,)
                ).fetchone()
            else:
                found = db.execute(_SAGA, {"saga": saga}).fetchone()
        row = None if found is None or found[0] is None else SagaRow(saga, found[0], found[1])
        require_saga(row, saga, None if found is None else found[2])
        return row

    def upcoming(self) -> Upcoming:
        """Return the next timer and the next instant at which a command is due, whatever the time is."""
        since = self._recorded_since
        with self._reading() as db:
            row = db.execute(_NEXT_TIMER if since is not None else _NEXT_TIMER_1).fetchone()
            due = db.execute("SELECT min(max(due_at, lease_until)) FROM commands").fetchone()[0]
        timer = Timer(*row[:4]) if row else None
        if timer is not None and since is not None and timer.cause > since:
            require_timer(timer, row[4])
        return Upcoming(timer, due)

    def stored(self, after: int) -> Stored:
        """Return all rows beside the entries, and the entries with a seq above `after`, as of one moment."""
        with self._reading() as db, _snapshot(db):
            query = f"SELECT {self._entry} FROM entries WHERE seq > ? ORDER BY seq"
            entries = tuple(Entry(*row) for row in db.execute(query, (after,)))
            head = db.execute("SELECT seq, hash FROM head").fetchone()
            first, n_entries = db.execute("SELECT min(seq), count(*) FROM entries").fetchone()
            signers = "SELECT since, public, signed FROM signers ORDER BY since"
            return Stored(
                entries=entries,
                head=Head(*head) if head else Head(-1, b""),
                first=1 if first is None else first,
                n_entries=n_entries,
                recorded_since=self._recorded_since,
                sagas=tuple(SagaRow(*row) for row in db.execute("SELECT saga, version, state FROM sagas")),
                timers=tuple(Timer(*row) for row in db.execute("SELECT saga, key, due, cause FROM timers")),
                commands=tuple(QueuedCommand(*row) for row in db.execute(f"SELECT {_COMMAND} FROM commands")),
                signers=()
                if self._recorded_since is None
                else tuple(Signer(*row) for row in db.execute(signers)),
            )

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until the ledger has an entry with a seq above `after`; return whether it has."""
        with self._grown:
            self._grown.wait_for(lambda: self._tip.version > after or self._closed, timeout_s)
            return self._tip.version > after

    # Writing

    def commit(self, change: Change) -> list[Entry]:
        """Write one change durably and return its entries, in the order of its facts."""
        # Out here, encoding overlaps the fsync of those who queued before.
        data = [encoded(append) for append in change.facts]
        bodies = list(zip(data, records(change), strict=True))
        return self._writer.submit(lambda tip: self._write(change, bodies, tip))

    def claim(self, worker: str, now: Instant, lease: Duration) -> ClaimedCommand | None:
        """Take the lease of the next command that is due, by priority and then age; None if there is none."""

        def take(tip: Head) -> tuple[ClaimedCommand | None, Head]:
            row = self._db.execute(_CLAIMABLE, {"now": now}).fetchone()
            if row is None:
                return None, tip
            queued = QueuedCommand(*row[:-1])
            if queued.cause > (self._recorded_since or 0):
                require_command(queued, self._pending_record(queued.cause) or row[-1])
            attempt = queued.attempt + 1
            self._db.execute(
                "UPDATE commands SET attempt = ?, lease_until = ?, worker = ? WHERE id = ?",
                (attempt, now + lease, worker, queued.id),
            )
            fields = (queued.id, queued.saga, queued.cause, queued.name, queued.data)
            return ClaimedCommand(*fields, attempt=attempt, failures=queued.failures), tip

        return self._writer.submit(take)

    def extend(self, command_id: CommandId, attempt: int, until: Instant) -> None:
        """Prolong the lease of a running attempt: its heartbeat."""

        def prolong(tip: Head) -> tuple[None, Head]:
            update = "UPDATE commands SET lease_until = ? WHERE id = ? AND attempt = ? AND lease_until > 0"
            if self._db.execute(update, (until, command_id, attempt)).rowcount == 0:
                raise _fenced_off(command_id, attempt)
            return None, tip

        self._writer.submit(prolong)

    def appoint(self, public: bytes) -> None:
        """Note that checkpoints from the present size on are signed with another key; there is none yet."""

        def note(tip: Head) -> tuple[None, Head]:
            self._db.execute("INSERT OR REPLACE INTO signers VALUES (?, ?, 0)", (tip.version, public))
            return None, tip

        self._writer.submit(note)

    def _require_writable(self) -> None:
        if self._closed or self._read_only:
            state = "is closed" if self._closed else "was opened for reading only"
            raise FailedPrecondition("ledger", self._name, state)

    def _flush(self, batch: list[Ticket[_Work]]) -> None:
        with self._writing:
            self._write_batch(batch)
        with self._grown:
            self._grown.notify_all()

    def _write_batch(self, batch: list[Ticket[_Work]]) -> None:
        try:
            try:
                self._write_all(batch, careful=False)
            except Exception as error:
                if isinstance(error, sqlite3.Error) and refused_write(error):
                    raise
                self._roll_back()
                self._write_all(batch, careful=True)
        except BaseException as error:
            for ticket in batch:
                ticket.error = ticket.error or self._told(error)
            self._roll_back()
            if not isinstance(error, Exception):
                raise
        else:
            self._sign()

    def _write_all(self, batch: list[Ticket[_Work]], *, careful: bool) -> None:
        if not self._open:
            raise FailedPrecondition("ledger", self._name, "is closed")
        # A deferred transaction that turns into a write can get SQLITE_BUSY at once, so we begin IMMEDIATE.
        self._db.execute("BEGIN IMMEDIATE")
        tip = self._tip
        for ticket in batch:
            if careful:
                tip = self._run(ticket, tip)
            else:
                ticket.result, tip = ticket.work(tip)
        if tip != self._tip:
            self._db.executemany(_INSERT, map(msgspec.structs.astuple, self._pending))
            self._pending.clear()
            self._db.execute("UPDATE head SET seq = ?, hash = ?", (tip.version, tip.hash))
        self._faults.reach("ledger.before_commit")
        self._db.execute("COMMIT")
        self._tip = tip
        self._faults.reach("ledger.after_commit")

    def _run(self, ticket: Ticket[_Work], tip: Head) -> Head:
        n_pending = len(self._pending)
        self._db.execute("SAVEPOINT one")
        try:
            ticket.result, tip = ticket.work(tip)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and refused_write(error):
                raise  # SQLite has given up the whole transaction
            self._db.execute("ROLLBACK TO one")
            del self._pending[n_pending:]
            self._versions.clear()
            self._versions.update((entry.stream, entry.version) for entry in self._pending)
            ticket.error = self._told(error)
        self._db.execute("RELEASE one")
        return tip

    def _roll_back(self) -> None:
        if self._open and self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._pending.clear()
        self._versions.clear()

    def _write(
        self, change: Change, bodies: list[tuple[bytes, bytes | None]], tip: Head
    ) -> tuple[list[Entry], Head]:
        entries: list[Entry] = []
        for append, (data, decided) in zip(change.facts, bodies, strict=True):
            cause = change.cause if append.by is None else entries[append.by].seq
            version = self._next_version(append)
            entry = chained(tip, version, append, data, decided=decided, at=change.at, cause=cause)
            entries.append(entry)
            self._pending.append(entry)
            tip = Head(entry.seq, entry.hash)
        for row in change.sagas:
            self._save(row)
        for timer in change.timers:
            self._set(timer, entries)
        if change.ends is not None:
            self._end(change.ends)
        position: dict[int, int] = {}
        for command in change.commands:
            cause = entries[command.by].seq
            position[cause] = position.get(cause, -1) + 1
            self._queue_command(command, cause, position[cause], change.at)
        return entries, tip

    def _next_version(self, append: Append) -> int:
        version = self._versions.get(append.stream)
        if version is None:
            version = _stream_head(self._db, append.stream).version
        if append.expected is not None and append.expected != version:
            hint = "read the head again and retry"
            raise Conflict("stream", append.stream, expected=append.expected, found=version, hint=hint)
        if len(self._versions) >= _MOST_VERSIONS:
            self._versions.clear()
            self._versions.update((entry.stream, entry.version) for entry in self._pending)
        self._versions[append.stream] = version + 1
        return version + 1

    def _pending_record(self, seq: int) -> bytes | None:
        """Return the record of an entry that the transaction in hand will append."""
        position = seq - self._pending[0].seq if self._pending else -1
        return self._pending[position].decided if 0 <= position < len(self._pending) else None

    def _save(self, row: SagaRow) -> None:
        if row.version == 1:
            statement = "INSERT INTO sagas (state, version, saga) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        else:
            statement = (
                f"UPDATE sagas SET state = ?, version = ? WHERE saga = ? AND version = {row.version - 1:d}"
            )
        if self._db.execute(statement, (row.state, row.version, row.saga)).rowcount == 0:
            raise Conflict("saga", row.saga, expected=row.version - 1, hint="read its state again and retry")

    def _set(self, timer: TimerChange, entries: list[Entry]) -> None:
        if timer.due is None:
            self._db.execute("DELETE FROM timers WHERE saga = ? AND key = ?", (timer.saga, timer.key))
        else:
            values = (timer.saga, timer.key, timer.due, entries[timer.by].seq)
            self._db.execute("INSERT OR REPLACE INTO timers VALUES (?, ?, ?, ?)", values)

    def _end(self, end: CommandEnd) -> None:
        mine = "WHERE id = ? AND attempt = ? AND lease_until > 0"
        if end.retry_at is None:
            found = self._db.execute(f"DELETE FROM commands {mine}", (end.id, end.attempt))
        else:
            back = "UPDATE commands SET due_at = ?, failures = failures + 1, lease_until = 0, worker = ''"
            found = self._db.execute(f"{back} {mine}", (end.retry_at, end.id, end.attempt))
        if found.rowcount == 0:
            raise _fenced_off(end.id, end.attempt)

    def _queue_command(self, command: NewCommand, cause: int, position: int, now: Instant) -> None:
        columns = "id, saga, cause, position, name, data, priority, partition, due_at"
        found = f"{command.saga}:{cause}:{position}"
        values = (found, command.saga, cause, position, command.name, command.data)
        partition = command.partition or command.saga
        self._db.execute(
            f"INSERT INTO commands ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, command.priority, partition, now),
        )

    def _sign(self, *, final: bool = False) -> None:
        if self._notary is None:
            return
        try:
            if self._notary.cover(self._tip.version, self._hashes_after, final=final):
                # In this order: after a crash in between, the file says more than the row, never less.
                newest = "since = (SELECT max(since) FROM signers)"
                self._db.execute(f"UPDATE signers SET signed = ? WHERE {newest}", (self._notary.size,))
        except (OSError, sqlite3.Error) as error:
            # The entries are durable already, so their committers must not be told otherwise.
            log(
                _LOG,
                logging.ERROR,
                "ledger.checkpoint_failed",
                why=type(error).__name__,
                seq=self._tip.version,
            )

    def _told(self, error: BaseException) -> BaseException:
        """Return what the caller is told: a storage failure as one of our errors, anything else as it is."""
        if not isinstance(error, sqlite3.Error):
            return error
        if refused_write(error):
            return full("ledger", Path(self._path), str(error))
        return Unavailable("ledger", self._name, "could not be written", why=str(error), hint="try again")

    def _hashes_after(self, seq: int) -> list[bytes]:
        rows = self._db.execute("SELECT hash FROM entries WHERE seq > ? ORDER BY seq", (seq,))
        return [row[0] for row in rows]


_LOG = logging.getLogger(__name__)
_VERIFY = "run varv verify, and restore a copy"
_SIGN_ANEW = "run varv verify; restore the file from a copy, or run varv verify --sign-anew"


def _stream_head(db: sqlite3.Connection, stream: str) -> Head:
    query = "SELECT version, hash FROM entries WHERE stream = ? ORDER BY version DESC LIMIT 1"
    row = db.execute(query, (stream,)).fetchone()
    return Head(*row) if row else Head(0, GENESIS)


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Generator[None]:
    """Show one state of the store to all statements inside."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def _fenced_off(command_id: str, attempt: int) -> Conflict:
    return Conflict("command", command_id, "has ended or was claimed again", attempt=attempt)


def read_only(path: Path) -> closing[SqliteLedger]:
    """Return a context that reads the store at `path` without owning it."""
    return closing(SqliteLedger(path, read_only=True))
