"""The series of metrics in the file of tables: the log that points are appended to, the chunks that they are
sealed into, and what is known of each series at a glance.

Points are durable from the answer on; from the seal on they cannot be changed without a trace. A run is
sealed when it ends, when it has many points that are not, or when the oldest of these has waited for a
minute.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from varv.kernel.clock import MINUTE, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.recorder import Write, Writing
from varv.runs.model import PointsSealed, run_stream
from varv.runs.points import (
    POINT,
    Packed,
    by_series,
    distinct,
    in_order,
    latest,
    packed,
    read,
    unchunk,
)
from varv.runs.seals import Seal, by_key, chunks_of

SEALED_AT = 4096
"""Points of a run that are not sealed."""
SEALED_AFTER: Duration = MINUTE
DERIVED = 0
"""The number of a seal that is none: chunks whose points follow from entries of the ledger."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
    no INTEGER PRIMARY KEY, run INTEGER NOT NULL, at INTEGER NOT NULL, rows BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS points_by_run ON points (run);
CREATE TABLE IF NOT EXISTS chunk (
    no INTEGER PRIMARY KEY, run INTEGER NOT NULL, key INTEGER NOT NULL, number INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS chunk_by_run ON chunk (run, key, number);
CREATE TABLE IF NOT EXISTS sealed (
    run INTEGER NOT NULL, key INTEGER NOT NULL, number INTEGER NOT NULL, n INTEGER NOT NULL, digest BLOB NOT
    NULL, PRIMARY KEY (run, key, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (
    run INTEGER NOT NULL, key INTEGER NOT NULL, value REAL, step INTEGER NOT NULL, at INTEGER NOT NULL,
    link INTEGER NOT NULL, n INTEGER NOT NULL, low REAL, high REAL, first REAL,
    PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS latest_by_value ON latest (key, value, run);
CREATE TABLE IF NOT EXISTS link (
    no INTEGER PRIMARY KEY, model TEXT NOT NULL, dataset TEXT NOT NULL, digest TEXT NOT NULL,
    UNIQUE (model, dataset, digest));
CREATE TABLE IF NOT EXISTS linked (
    link INTEGER NOT NULL, run INTEGER NOT NULL, key INTEGER NOT NULL, value REAL, step INTEGER NOT NULL,
    at INTEGER NOT NULL, PRIMARY KEY (link, run, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS linked_by_run ON linked (run);
"""
_LINKED = """
INSERT INTO linked VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (link, run, key)
DO UPDATE SET value = excluded.value, step = excluded.step, at = excluded.at
WHERE (excluded.step, excluded.at, ifnull(excluded.value, -9e999)) > (step, at, ifnull(value, -9e999))
"""
_LATEST = "key, value, step, at, link, n, low, high, first"


class Glance(msgspec.Struct, gc=False):
    """What is known of a series: the point that counts as its last, and how many it had, within which bounds.

    A value that is no number is None, as the file has it. A search makes tens of thousands, in which the
    collector of garbage would look for cycles that cannot be.
    """

    key: int
    value: float | None
    step: int
    at_ms: int
    link: int
    n: int
    low: float | None
    high: float | None
    first: float | None

    def joined(self, later: Glance) -> Glance:
        """Return what is known once `later` points have come."""
        mine, theirs = self._rank(), later._rank()
        last = later if theirs >= mine else self
        return Glance(
            self.key,
            last.value,
            last.step,
            last.at_ms,
            last.link,
            self.n + later.n,
            _least(self.low, later.low),
            _most(self.high, later.high),
            self.first,
        )

    def _rank(self) -> tuple[int, int, float]:
        return self.step, self.at_ms, float("-inf") if self.value is None else self.value


@dataclass(slots=True)
class _Unsealed:
    n: int
    since: Instant


class Series:
    """The log of one file, for the thread that writes; a `kernel.recorder.Fold` whose rows follow from no
    event.
    """

    schema = _SCHEMA
    events: tuple[type[Event], ...] = (PointsSealed,)

    def __init__(self) -> None:
        self._unsealed: dict[int, _Unsealed] | None = None
        self._unfolded: set[int] | None = None
        self._folding = False  # whether rows were folded that nobody else sees yet
        self._links: dict[tuple[str, str, str], int] = {}

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Seal what the ledger says was sealed, where a crash came before the file had it."""
        assert isinstance(event, PointsSealed), "there is no other"
        row = db.execute("SELECT no FROM run WHERE id = ?", (event.run,)).fetchone()
        query = "SELECT 1 FROM sealed WHERE run = ? AND number = ?"
        if row is not None and db.execute(query, (row[0], event.number)).fetchone() is None:
            self._seal_again(db, row[0], event)

    def _seal_again(self, db: sqlite3.Connection, run: int, event: PointsSealed) -> None:
        taken: list[bytes] = []
        n = last = 0
        for no, rows in db.execute("SELECT no, rows FROM points WHERE run = ? ORDER BY no", (run,)):
            if n >= event.n:
                break
            taken.append(rows)
            n, last = n + len(rows) // POINT.itemsize, no
        if n != event.n:
            return  # they are elsewhere, or gone, which verification says
        seal = Seal.of(db, run, read(taken))
        fold_latest(db, run)
        seal.put(db, run)
        db.execute("DELETE FROM points WHERE run = ? AND no <= ?", (run, last))
        if db.execute("SELECT 1 FROM points WHERE run = ?", (run,)).fetchone() is None:
            # Numbers of rows begin anew once there are none.
            db.execute("UPDATE run SET folded = 0 WHERE no = ?", (run,))
        self.forget()

    def forget(self) -> None:
        """Throw away what is remembered of rows."""
        self._unsealed = self._unfolded = None
        self._folding = False
        self._links.clear()

    def append(self, db: sqlite3.Connection, run: int, rows: bytes, now: Instant) -> None:
        """Write the packed points of one request."""
        # First, as it may have to be read from the rows, of which these are none yet.
        waiting = self.unsealed(db).setdefault(run, _Unsealed(0, now))
        db.execute("INSERT INTO points (run, at, rows) VALUES (?, ?, ?)", (run, now, rows))
        waiting.n += len(rows) // POINT.itemsize
        if self._unfolded is not None:
            self._unfolded.add(run)

    def remember_linked(self, db: sqlite3.Connection, run: int, points: Iterable[Packed]) -> None:
        """Keep the latest of the points that are of a model or a dataset, by what they are of: a run's own
        latest point of a metric may be of another.
        """
        rows = [
            (link, run, key, value if value == value else None, step, at)
            for key, link, at, step, value in points
            if link
        ]
        db.executemany(_LINKED, rows)

    def derive(self, db: sqlite3.Connection, run: int, points: Sequence[Packed]) -> None:
        """Write points that follow from entries of the ledger, so that no seal has to vouch for them; those
        of before are replaced.
        """
        found = read([packed(points)])
        db.execute("DELETE FROM chunk WHERE run = ? AND number = ?", (run, DERIVED))
        db.executemany(
            "INSERT INTO chunk (run, key, number, data) VALUES (?, ?, ?, ?)",
            [(run, key, DERIVED, data) for key, data in chunks_of(by_key(found))],
        )
        _put_glances(db, run, glanced(found).values())

    def unsealed(self, db: sqlite3.Connection) -> dict[int, _Unsealed]:
        """Return the runs that have points which are not sealed."""
        if self._unsealed is None:
            query = "SELECT run, sum(length(rows)), min(at) FROM points GROUP BY run"
            self._unsealed = {
                run: _Unsealed(size // POINT.itemsize, at) for run, size, at in db.execute(query)
            }
        return self._unsealed

    @property
    def is_folded(self) -> bool:
        """Whether what is known of each series is up to date; from any thread, of what was answered."""
        return self._unfolded is not None and not self._unfolded and not self._folding

    def unfolded(self, db: sqlite3.Connection) -> set[int]:
        """Return the runs that have points which are not in what is known of their series."""
        if self._unfolded is None:
            query = (
                "SELECT DISTINCT run FROM points JOIN run ON run.no = points.run WHERE points.no > run.folded"
            )
            self._unfolded = {row[0] for row in db.execute(query)}
        return self._unfolded

    def is_due(self, db: sqlite3.Connection, run: int) -> bool:
        """Return whether a run has so many points that it is to be sealed."""
        waiting = self.unsealed(db).get(run)
        return waiting is not None and waiting.n >= SEALED_AT

    def link(self, db: sqlite3.Connection, model: str, dataset: str, digest: str) -> int:
        """Return the number of what points are linked to, given to it if it is new; 0 for nothing."""
        asked = (model, dataset, digest)
        if not any(asked):
            return 0
        if asked not in self._links:
            db.execute("INSERT OR IGNORE INTO link (model, dataset, digest) VALUES (?, ?, ?)", asked)
            query = "SELECT no FROM link WHERE model = ? AND dataset = ? AND digest = ?"
            self._links[asked] = db.execute(query, asked).fetchone()[0]
        return self._links[asked]

    # Sealing

    def sealing(self, due: Callable[[sqlite3.Connection, Instant], Iterable[int]]) -> Write[int]:
        """Return the work that seals the runs that `due` names, by their numbers; it returns how many it
        sealed.
        """

        def work(writing: Writing) -> int:
            runs = [run for run in due(writing.db, writing.now) if run in self.unsealed(writing.db)]
            for run in runs:
                self._seal(writing, run)
            return len(runs)

        return Write(work, stores=True)

    def waiting(self, db: sqlite3.Connection, now: Instant) -> list[int]:
        """Return the runs whose oldest point that is not sealed has waited for long enough."""
        return [
            run
            for run, one in self.unsealed(db).items()
            if now - one.since >= SEALED_AFTER or one.n >= SEALED_AT
        ]

    def _seal(self, writing: Writing, run: int) -> None:
        row = writing.db.execute("SELECT id FROM run WHERE no = ?", (run,)).fetchone()
        stored = writing.db.execute("SELECT rows FROM points WHERE run = ? ORDER BY no", (run,))
        seal = Seal.of(writing.db, run, read(blob for (blob,) in stored))

        def write(db: sqlite3.Connection) -> None:
            fold_latest(db, run)
            seal.put(db, run)
            db.execute("DELETE FROM points WHERE run = ?", (run,))
            db.execute("UPDATE run SET folded = 0 WHERE no = ?", (run,))
            self.unsealed(db).pop(run, None)
            self._folded(db, run)

        writing.store(write)
        writing.then.append(self._seen)
        if row is not None:
            writing.record(run_stream(row[0]), seal.event(row[0]))

    def take(
        self,
        writing: Writing,
        run: str,
        points: np.ndarray,
        no_now: int,
        no_of: Callable[[sqlite3.Connection], int],
    ) -> None:
        """Write the whole histories of a run that were recorded elsewhere, sealed at once.

        Parameters
        ----------
        no_now
            The number of the run, 0 if it has none yet.
        no_of
            Returns its number once its own event is folded.
        """
        seal = Seal.of(writing.db, no_now, points)

        def write(db: sqlite3.Connection) -> None:
            no = no_of(db)
            if no_now:
                fold_latest(db, no)
                _join_glances(db, no, glanced(points))
            else:
                _put_glances(db, no, glanced(points).values())
            seal.put(db, no)

        writing.store(write)
        writing.record(run_stream(run), seal.event(run))

    def folding(self) -> Write[None]:
        """Return the work that brings what is known of each series up to all points that are in the log."""

        def work(writing: Writing) -> None:
            runs = list(self.unfolded(writing.db))

            def write(db: sqlite3.Connection) -> None:
                for run in runs:
                    fold_latest(db, run)
                    self._folded(db, run)

            writing.store(write)
            writing.then.append(self._seen)

        # It can be done again from the log, so it needs no fsync.
        return Write(work)

    def _folded(self, db: sqlite3.Connection, run: int) -> None:
        # In this order: whoever asks in between has to be told that it is not.
        self._folding = True
        self.unfolded(db).discard(run)

    def _seen(self) -> None:
        self._folding = False


# What is known at a glance


def fold_latest(db: sqlite3.Connection, run: int) -> None:
    """Bring what the file knows of a run's series up to all points of the log."""
    glances, last = unfolded(db, run)
    if not last:
        return
    _join_glances(db, run, glances)
    db.execute("UPDATE run SET folded = ? WHERE no = ?", (last, run))


def _join_glances(db: sqlite3.Connection, run: int, glances: dict[int, Glance]) -> None:
    known = (one for one in stored_glances(db, run) if one.key in glances)
    _put_glances(db, run, joined(known, glances))


def _put_glances(db: sqlite3.Connection, run: int, found: Iterable[Glance]) -> None:
    rows = [
        (run, one.key, one.value, one.step, one.at_ms, one.link, one.n, one.low, one.high, one.first)
        for one in found
    ]
    db.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute("INSERT INTO changed (experiment, run) SELECT experiment, no FROM run WHERE no = ?", (run,))


def joined(known: Iterable[Glance], later: Mapping[int, Glance]) -> list[Glance]:
    """Return what is known of each series of a run once later points have come."""
    found = {one.key: one for one in known}
    for key, one in later.items():
        found[key] = found[key].joined(one) if key in found else one
    return list(found.values())


def stored_glances(db: sqlite3.Connection, run: int) -> list[Glance]:
    """Return what the file knows of each series of a run."""
    return [Glance(*row) for row in db.execute(f"SELECT {_LATEST} FROM latest WHERE run = ?", (run,))]


def unfolded(db: sqlite3.Connection, run: int) -> tuple[dict[int, Glance], int]:
    """Return what the points since the last folding say, by series, and the number of the last row."""
    query = (
        "SELECT no, rows FROM points WHERE run = ? AND no > (SELECT folded FROM run WHERE no = ?) ORDER BY no"
    )
    rows = db.execute(query, (run, run)).fetchall()
    if not rows:
        return {}, 0
    return glanced(read(blob for _, blob in rows)), rows[-1][0]


def glanced(points: np.ndarray) -> dict[int, Glance]:
    """Return what points say of their series."""
    ordered, starts = by_series(points)
    if not starts:
        return {}
    counts = [end - start for start, end in pairwise([*starts, len(ordered)])]
    values = ordered["value"]
    # fmin and fmax pass over what is no number, unless there is nothing else.
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    last = latest(ordered) if len(starts) < len(ordered) else ordered
    return {
        key: Glance(key, value, step, at, link, n, lo, hi, first)
        for key, value, step, at, link, n, lo, hi, first in zip(
            last["key"].tolist(),
            _numbers(last["value"]),
            last["step"].tolist(),
            last["at"].tolist(),
            last["link"].tolist(),
            counts,
            _numbers(low),
            _numbers(high),
            _numbers(values[starts]),
            strict=True,
        )
    }


# Histories


def history(db: sqlite3.Connection, run: int, key: int) -> np.ndarray:
    """Return the points of one series without repeats, in the order of time, step and value."""
    query = "SELECT key, data FROM chunk WHERE run = ? AND key IN (0, ?) ORDER BY number"
    parts = []
    for owner, data in db.execute(query, (run, key)):
        part = unchunk(data)
        parts.append(part if owner else part[part["key"] == key])
    rows = db.execute("SELECT rows FROM points WHERE run = ? ORDER BY no", (run,))
    waiting = read(blob for (blob,) in rows)
    return in_order(distinct(np.concatenate([*parts, waiting[waiting["key"] == key]])))


def whole_history(db: sqlite3.Connection, run: int) -> np.ndarray:
    """Return the points of all series of a run, in no order that is promised, of dtype `POINT`."""
    chunks = db.execute("SELECT data FROM chunk WHERE run = ?", (run,))
    rows = db.execute("SELECT rows FROM points WHERE run = ?", (run,))
    return np.concatenate([*(unchunk(data) for (data,) in chunks), read(blob for (blob,) in rows)])


def _numbers(values: np.ndarray) -> list[float | None]:
    found: list[float | None] = values.tolist()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        found[place] = None
    return found


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
