"""A file of tables beside the ledger, with one writer: what was decided goes to the ledger, then the tables
are committed, then whoever asked is answered.

Rooms with more rows than memory should hold keep them here. Most rows follow from the ledger's entries and
are folded from them; some are in no entry, such as the points of a metric, and are as durable as the ledger
once the answer is given. Work comes through a queue and is done in groups, so that all who wait share two
fsyncs, and since one thread does it all, a piece of work may look before it writes without any lock. Reads
have connections of their own and wait for nobody.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from varv.kernel.clock import Clock, Instant
from varv.kernel.codec import Event
from varv.kernel.errors import Conflict, Corrupt, FailedPrecondition, Unavailable, VarvError
from varv.kernel.faults import Faults
from varv.kernel.ledger import Append, Change, Entry, Guard, Ledger
from varv.kernel.observe import log
from varv.kernel.sqlite_file import Durability, connect
from varv.kernel.storage import full, refused_write
from varv.kernel.table_reading import TableReader

R = TypeVar("R")
MOST_TOGETHER = 256
"""Pieces of work in one group."""
MOST_STALE = 10
"""How often a piece of work is done anew because a stream that it had looked at moved on."""
LOOKS_EVERY_S = 0.2
"""How long it takes at most until what others put into the ledger is in the tables."""
_FOLDED_AT_ONCE = 5000
_APPLIED = """
CREATE TABLE IF NOT EXISTS applied (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT OR IGNORE INTO applied VALUES (1, 0);
"""
_LOG = logging.getLogger(__name__)


class Fold(Protocol):
    """The tables of one room."""

    @property
    def schema(self) -> str:
        """Statements that make them where they are not there yet."""
        ...

    @property
    def events(self) -> Sequence[type[Event]]:
        """Those that change them."""
        ...

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event of a stream."""
        ...

    def forget(self) -> None:
        """Throw away what is remembered of rows: they were not written after all."""
        ...


class Writing:
    """What a piece of work writes with. It looks first: nothing may be refused once something was written."""

    __slots__ = ("db", "guards", "now", "steps", "then")

    def __init__(self, db: sqlite3.Connection, now: Instant) -> None:
        self.db = db
        """To read from; it shows what earlier work of the same group has written."""
        self.now = now
        self.steps: list[Append | Callable[[sqlite3.Connection], object]] = []
        self.guards: list[Guard] = []
        self.then: list[Callable[[], None]] = []
        """What is done once all is durable."""

    def record(self, stream: str, event: Event) -> None:
        """Put an event into the ledger, and fold it into the tables."""
        self.steps.append(Append(stream, event))

    def expect(self, stream: str, version: int) -> None:
        """Let what is recorded stand only if a stream of somebody else has a version; if it has moved on, the
        work is done anew.
        """
        self.guards.append(Guard(stream, version))

    def store(self, write: Callable[[sqlite3.Connection], object]) -> None:
        """Write rows that are in no entry; the work must have been submitted as one that stores."""
        self.steps.append(write)


Work = Callable[[Writing], R]


@dataclass(frozen=True, slots=True)
class Write(Generic[R]):
    """A piece of work for the one that writes."""

    work: Work[R]
    stores: bool = False
    """Whether it stores rows that are in no entry, so that the file itself must be durable."""
    fresh: bool = False
    """Whether it has to see what others have put into the ledger by now."""


class Job(Generic[R]):
    """A piece of work on its way, with its result or its error."""

    __slots__ = ("done", "error", "result", "write")

    def __init__(self, write: Write[R], done: Callable[[Job[R]], None]) -> None:
        self.write, self.done = write, done
        self.result: R | None = None
        self.error: BaseException | None = None

    def outcome(self) -> R:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[bad-return]


class Recorder:
    """One file of tables, written by a thread of its own.

    Parameters
    ----------
    path
        The file, made if it is not there.
    ledger
        What vouches for the rows that follow from entries.
    folds
        Of the rooms whose tables are in the file.
    durability
        As of the ledger.

    Raises
    ------
    Corrupt
        If the file is no database, or is ahead of the ledger: one of the two was exchanged.
    """

    def __init__(
        self,
        path: Path,
        ledger: Ledger,
        clock: Clock,
        folds: Sequence[Fold],
        *,
        durability: Durability = "full",
        faults: Faults | None = None,
    ) -> None:
        self._path, self._ledger, self._clock, self._folds = path, ledger, clock, tuple(folds)
        self._by_event: dict[str, list[Fold]] = {}
        for fold in folds:
            for kind in fold.events:
                self._by_event.setdefault(kind.event_name, []).append(fold)
        self._durable = durability == "full"
        self._faults = faults or Faults()
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._reader = TableReader(path)
        self._closing = threading.Lock()
        self._closed = False  # whether no more work is taken
        self._released = False
        self._recorded = False  # whether the ledger holds what the group at hand decided
        self._syncs: bool | None = None  # whether the file is synced with each commit
        self._behind = False  # whether the ledger holds what the tables do not
        try:
            self._db = self._opened()
        except sqlite3.Error as error:
            raise Corrupt("file", path.name, "cannot be opened", why=str(error)) from None
        self._applied = self._read_applied()
        self.catch_up()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = connect(str(self._path), read_only=False)
        db.execute("PRAGMA journal_mode = WAL")
        # MLflow's LIKE tells cases apart; where it must not, both sides are folded before they are compared.
        db.execute("PRAGMA case_sensitive_like = ON")
        made = "".join(fold.schema for fold in self._folds)
        db.executescript(f"BEGIN IMMEDIATE; {_APPLIED} {made} COMMIT;")
        return db

    def _read_applied(self) -> int:
        applied = self._db.execute("SELECT seq FROM applied").fetchone()[0]
        head = self._ledger.head().version
        if applied > head:
            hint = "restore both from one copy of the home folder"
            raise Corrupt(
                "file", self._path.name, "is ahead of the ledger", applied=applied, head=head, hint=hint
            )
        return applied

    # Asking

    def submit(self, write: Write[R], done: Callable[[Job[R]], None]) -> None:
        """Queue a piece of work; `done` is called with it by the writer's thread, once it is durable or
        refused.

        Raises
        ------
        FailedPrecondition
            If the file is closed.
        """
        job = Job(write, done)
        with self._closing:
            if self._closed:
                raise FailedPrecondition("file", self._path.name, "is closed")
            self._queue.put(job)

    def do(self, write: Write[R]) -> R:
        """Do a piece of work and return its result once it is durable, or raise its error."""
        finished = threading.Event()
        jobs: list[Job[R]] = []

        def done(job: Job[R]) -> None:
            jobs.append(job)
            finished.set()

        self.submit(write, done)
        finished.wait()
        return jobs[0].outcome()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection that shows what is committed, as of one moment."""
        return self._reader.reading()

    def close(self) -> None:
        """Do what is queued and close the file; closing twice is harmless."""
        with self._closing:
            if self._released:
                return
            self._closed = self._released = True
            self._queue.put(None)
        self._thread.join()
        self._reader.close()
        self._db.close()

    # Writing

    def _write(self) -> None:
        while True:
            try:
                first = self._queue.get(timeout=LOOKS_EVERY_S)
            except Empty:
                self._look()
                continue
            if first is None:
                return
            group, goes_on = self._drained(first)
            try:
                self._run(group)
            except BaseException as error:  # noqa: BLE001
                # Only what ends the thread comes here: who waits, or will, would do so for ever.
                log(_LOG, logging.CRITICAL, "recorder.ended", why=type(error).__name__)
                self._end(group, error)
                return
            for job in group:
                job.done(job)
            if not goes_on:
                return

    def _end(self, group: list[Job[Any]], error: BaseException) -> None:
        with self._closing:
            self._closed = True
        with suppress(Empty):
            while (job := self._queue.get_nowait()) is not None:
                group.append(job)
        for job in group:
            job.error = error
            job.done(job)

    def _drained(self, first: Job[Any]) -> tuple[list[Job[Any]], bool]:
        group = [first]
        with suppress(Empty):
            while len(group) < MOST_TOGETHER:
                job = self._queue.get_nowait()
                if job is None:
                    return group, False
                group.append(job)
        return group, True

    def _look(self) -> None:
        try:
            self.catch_up()
        except (VarvError, sqlite3.Error) as error:
            # It is tried again with the next look, and a file that stays unreadable fails whoever asks.
            log(_LOG, logging.ERROR, "recorder.behind", why=str(error))
            self._roll_back()

    def _run(self, group: list[Job[Any]], n_stale: int = 0) -> None:
        self._recorded = False
        try:
            if self._behind or any(job.write.fresh for job in group):
                self.catch_up()
            self._run_together(group)
        except Exception as error:  # noqa: BLE001
            # A piece of work may raise anything, and must not fail its neighbours. What is in the ledger is
            # not done a second time, though nobody is told that it was done. What a guard refused is done
            # anew: it looks again, and decides by what is the case now.
            is_stale = isinstance(error, Conflict) and error.kind == "stream" and n_stale < MOST_STALE
            final = self._recorded or (len(group) == 1 and not is_stale)
            self._roll_back()
            if final or (isinstance(error, sqlite3.Error) and refused_write(error)):
                for job in group:
                    job.error = job.error or self._told(error)
                return
            for job in group:
                job.error = None
                self._run([job], n_stale + is_stale)

    def _run_together(self, group: list[Job[Any]]) -> None:
        self._sync(durable=self._durable and any(job.write.stores for job in group))
        self._db.execute("BEGIN IMMEDIATE")
        now = self._clock.now()
        facts: list[Append] = []
        guards: list[Guard] = []
        then: list[Callable[[], None]] = []
        for job in group:
            writing = Writing(self._db, now)
            if self._looked(job, writing):
                self._stage(writing, facts)
                guards += writing.guards
                then += writing.then
        if facts:
            self._commit_facts(facts, guards, now)
        self._faults.reach("recorder.before_commit")
        self._db.execute("COMMIT")
        self._faults.reach("recorder.after_commit")
        for act in then:
            act()

    def _sync(self, *, durable: bool) -> None:
        # Entries can be folded again, so a group of nothing else needs no fsync of this file.
        if durable != self._syncs:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._syncs = durable

    def _looked(self, job: Job[Any], writing: Writing) -> bool:
        """Let a piece of work look, and say what it writes; return whether it was not refused."""
        try:
            job.result = job.write.work(writing)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and refused_write(error):
                raise
            job.error = error  # nothing is written yet
            return False
        return True

    def _stage(self, writing: Writing, facts: list[Append]) -> None:
        for step in writing.steps:
            if isinstance(step, Append):
                facts.append(step)
                for fold in self._by_event[step.event.event_name]:
                    fold.apply(self._db, step.stream, step.event, writing.now)
            else:
                step(self._db)

    def _commit_facts(self, facts: list[Append], guards: list[Guard], now: Instant) -> None:
        entries = self._ledger.commit(Change(at=now, guards=tuple(guards), facts=tuple(facts)))
        self._recorded = True
        self._faults.reach("recorder.between")
        first = entries[0].seq
        if first > self._applied + 1:
            for entry in self._ledger.read(self._applied, limit=first - 1 - self._applied):
                self._fold(entry)
        self._applied = entries[-1].seq
        self._db.execute("UPDATE applied SET seq = ?", (self._applied,))

    def catch_up(self) -> None:
        """Fold what others have put into the ledger; only for the thread that writes."""
        self._behind = self._ledger.head().version > self._applied
        if not self._behind:
            return
        while entries := self._ledger.read(self._applied, limit=_FOLDED_AT_ONCE):
            self._db.execute("BEGIN IMMEDIATE")
            for entry in entries:
                self._fold(entry)
            self._db.execute("UPDATE applied SET seq = ?", (entries[-1].seq,))
            self._db.execute("COMMIT")
            self._applied = entries[-1].seq
        self._behind = False

    def _fold(self, entry: Entry) -> None:
        if folds := self._by_event.get(entry.name):
            event = entry.event
            for fold in folds:
                fold.apply(self._db, entry.stream, event, entry.at)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        for fold in self._folds:
            fold.forget()
        self._applied = self._db.execute("SELECT seq FROM applied").fetchone()[0]
        self._behind = True

    def _told(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        if refused_write(error):
            return full("file", self._path, str(error))
        return Unavailable("file", self._path.name, "could not be written", why=str(error), hint="try again")
