"""The embedded ledger: SQLite in WAL mode, one owner, one writer at a time, group commit.

Threads commit in groups (`kernel.group_commit`): one transaction and one fsync for all that wait. The order
of the queue is the order of seqs, which SQLite never assigns. A change that is refused leaves its neighbours
alone. What a transaction writes is in `kernel.sqlite_transaction`, and reads, which never wait for a writer,
are in `kernel.sqlite_reading`. The file itself is in `kernel.sqlite_file`, and whether it may be written on
in `kernel.sqlite_opening`.

Leases of commands are void when a store is opened, since the process that held them no longer owns it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from varv.kernel.clock import Duration, Instant
from varv.kernel.decided import records
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.group_commit import GroupCommit, Ticket
from varv.kernel.ledger import (
    Change,
    ClaimedCommand,
    CommandId,
    Entry,
    Head,
    SagaRow,
    Stored,
    Upcoming,
    encoded,
)
from varv.kernel.merkle import Notary
from varv.kernel.observe import log
from varv.kernel.sqlite_file import Durability, connect, own, prepare
from varv.kernel.sqlite_opening import Opened, appoint_signer, note_signed, open_for_reading, open_for_writing
from varv.kernel.sqlite_reading import VERIFY, Reader
from varv.kernel.sqlite_rows import prolong_lease
from varv.kernel.sqlite_transaction import Transaction
from varv.kernel.storage import full, refused_write

_Work = Callable[[Head], tuple[Any, Head]]

MEMORY = ":memory:"


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
        self._read_only = read_only
        self._notary = notary
        self._faults = faults or Faults()
        self._writer = GroupCommit(self._flush, self._require_writable)
        self._closed = False
        self._open = False  # whether the writing connection is
        # Guards the writing connection; in memory, where there is no other, readers take it too.
        self._writing = threading.Lock()
        self._grown = threading.Condition()
        in_memory = self._path == MEMORY
        self._lock_file = -1 if in_memory or read_only else own(Path(self._path))
        try:
            self._tip, since = self._opened(durability)
        except BaseException:
            # Whatever it was, an interrupt too: nobody has this object yet, so nobody could let go later.
            self._let_go()
            raise
        self._hand = Transaction(self._db, recorded_since=since)
        shared = (self._db, self._writing) if in_memory else None
        self._reader = Reader(self._path, read_only=read_only, recorded_since=since, shared=shared)

    # Opening and closing

    def _opened(self, durability: Durability) -> Opened:
        if self._read_only and not Path(self._path).is_file():
            raise NotFound("ledger", self._name, hint="look for the home folder with --home")
        try:
            self._db = connect(self._path, read_only=self._read_only)
            self._open = True
            if self._read_only:
                return open_for_reading(self._db, self._name)
            prepare(self._db, self._name, durability)
            return open_for_writing(self._db, self._name, self._notary)
        except sqlite3.Error as error:
            if self._open and refused_write(error):
                raise full("ledger", Path(self._path), str(error)) from None
            raise Corrupt("ledger", self._name, "cannot be opened", why=str(error), hint=VERIFY) from None

    def close(self) -> None:
        """Sign a last checkpoint and give the store back; closing twice is harmless."""
        with self._writer.lock:
            if self._closed:
                return
            self._closed = True
        self._reader.refuse()
        with self._writing:
            if not self._read_only:
                self._sign(final=True)
            self._reader.close()
            self._let_go()
        with self._grown:
            self._grown.notify_all()

    def _let_go(self) -> None:
        if self._open:
            self._open = False
            self._db.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    # Reading

    def read(self, after: int = 0, stream: str | None = None, limit: int | None = None) -> list[Entry]:
        """Return entries in order: with a seq above `after`, or with `stream` a version above it."""
        return self._reader.read(after, stream, limit)

    def head(self, stream: str | None = None) -> Head:
        """Return the head of the ledger, or of one stream."""
        return self._reader.head(stream)

    def saga(self, saga: str) -> SagaRow | None:
        """Return the stored state of a saga; None before its first event."""
        return self._reader.saga(saga)

    def upcoming(self) -> Upcoming:
        """Return the next timer and the next instant at which a command is due, whatever the time is."""
        return self._reader.upcoming()

    def stored(self, after: int) -> Stored:
        """Return all rows beside the entries, and the entries with a seq above `after`, as of one moment."""
        return self._reader.stored(after)

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
        return self._writer.submit(lambda tip: self._hand.write(change, bodies, tip))

    def claim(self, worker: str, now: Instant, lease: Duration) -> ClaimedCommand | None:
        """Take the lease of the next command that is due, by priority and then age; None if there is none."""
        return self._writer.submit(lambda tip: (self._hand.claim(worker, now, lease), tip))

    def extend(self, command_id: CommandId, attempt: int, until: Instant) -> None:
        """Prolong the lease of a running attempt: its heartbeat."""
        self._writer.submit(lambda tip: (prolong_lease(self._db, command_id, attempt, until), tip))

    def appoint(self, public: bytes) -> None:
        """Note that checkpoints from the present size on are signed with another key; there is none yet."""
        self._writer.submit(lambda tip: (appoint_signer(self._db, tip.version, public), tip))

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
                # A piece of work may raise anything, and must not fail its neighbours: once more, with care.
                if isinstance(error, sqlite3.Error) and refused_write(error):
                    raise
                self._roll_back()
                self._write_all(batch, careful=True)
        except BaseException as error:
            # Each of the batch waits for its result or its error, and would else take nothing for a result;
            # what is no `Exception`, such as an interrupt of the thread that leads, is raised in it besides.
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
            self._hand.insert(tip)
        self._faults.reach("ledger.before_commit")
        self._db.execute("COMMIT")
        self._tip = tip
        self._faults.reach("ledger.after_commit")

    def _run(self, ticket: Ticket[_Work], tip: Head) -> Head:
        n_pending = self._hand.n_pending
        self._db.execute("SAVEPOINT one")
        try:
            ticket.result, tip = ticket.work(tip)
        except Exception as error:
            # Anything: it is the error of whoever queued this piece of work, who is told it.
            if isinstance(error, sqlite3.Error) and refused_write(error):
                raise  # SQLite has given up the whole transaction
            self._db.execute("ROLLBACK TO one")
            self._hand.forget(n_pending)
            ticket.error = self._told(error)
        self._db.execute("RELEASE one")
        return tip

    def _roll_back(self) -> None:
        if self._open and self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._hand.forget()

    def _sign(self, *, final: bool = False) -> None:
        if self._notary is None:
            return
        try:
            if self._notary.cover(self._tip.version, self._hashes_after, final=final):
                # In this order: after a crash in between, the file says more than the row, never less.
                note_signed(self._db, self._notary.size)
        except (OSError, sqlite3.Error) as error:
            # The entries are durable already, so their committers must not be told otherwise.
            why, seq = type(error).__name__, self._tip.version
            log(_LOG, logging.ERROR, "ledger.checkpoint_failed", why=why, seq=seq)

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


def read_only(path: Path) -> closing[SqliteLedger]:
    """Return a context that reads the store at `path` without owning it."""
    return closing(SqliteLedger(path, read_only=True))
