"""Values of all runs of a shard as arrays, for searches that no index answers quickly.

An array is read once, and kept while there is room. Runs that have changed since are known by the table
`changed`, which is of the same moment as the rest of what a connection shows; whoever searches looks at those
in the file instead. So an array is never written to, and is never wrong about the others.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from varv.runs.filters import ATTRIBUTE, Field, Order
from varv.runs.grammars import METRIC
from varv.runs.model import STATUSES
from varv.runs.ordering import MISSING, NOT_A_NUMBER, VALUE, attribute
from varv.runs.probing import COLUMN, Shard, key_no
from varv.runs.tables import EVERY_RUN, first_and_last_change

MOST_BYTES = 64 << 20
MOST_CHANGED = 20_000
"""Runs that changed since an array was read; with more it is read again."""
CLOSE = 16
"""Times as many numbers as runs, among which these may lie to be found by a table."""
MOST_WORDS = 65_536
"""Different texts of a key that are held; with more, the file is asked which of them match."""


@dataclass(frozen=True, slots=True)
class Column:
    """One value of each run, in the order of its base.

    Attributes
    ----------
    values
        Numbers; of texts the place of each among all texts of the key, in their order.
    ranks
        Whether there is a value, as `ordering.Mark` has it; uint8.
    words
        The texts themselves, unless there are too many.
    """

    values: np.ndarray
    ranks: np.ndarray
    words: tuple[str, ...] | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, by and large."""
        return self.values.nbytes + self.ranks.nbytes + sum(len(word) + 57 for word in self.words or ())


@dataclass(slots=True)
class Base:
    """The runs of a shard as of one change, the latest start first, then by id."""

    since: int
    runs: np.ndarray
    by_number: np.ndarray
    """Where each run stands by its number, from the least on, if numbers lie close; else their order."""
    least: int
    """-1 if they do not lie close."""
    columns: OrderedDict[Field, Column] = field(default_factory=OrderedDict)

    def places(self, runs: np.ndarray) -> np.ndarray:
        """Return where runs stand in this base, -1 for those that do not."""
        if not len(self.runs):
            return np.full(len(runs), -1)
        if self.least >= 0:
            # The last place of the table is for what lies outside, on either side.
            at = runs - self.least
            return self.by_number[np.where((at < 0) | (at >= len(self.by_number)), -1, at)]
        at = np.searchsorted(self.runs, runs, sorter=self.by_number)
        places = self.by_number[np.minimum(at, len(self.runs) - 1)]
        return np.where(self.runs[places] == runs, places, -1)

    def mask(self, runs: Iterable[int]) -> np.ndarray:
        """Return which of the base are among `runs`; bool, shape (n,)."""
        found = np.zeros(len(self.runs) + 1, bool)
        found[self.places(np.fromiter(runs, np.int32))] = True
        return found[:-1]

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, by and large."""
        return self.runs.nbytes + self.by_number.nbytes + sum(one.size_bytes for one in self.columns.values())


class Columns:
    """Arrays of the shards that were searched last.

    Parameters
    ----------
    most_bytes
        Of memory; what was asked for longest ago goes first.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bases: OrderedDict[tuple[int, bool], Base] = OrderedDict()
        self._lock = threading.Lock()

    def base(self, db: sqlite3.Connection, shard: Shard) -> tuple[Base, set[int]]:
        """Return the runs of a shard, and the numbers of those that have changed since they were read."""
        asked = (shard.experiment, shard.deleted)
        with self._lock:
            base = self._bases.get(asked)
        if base is not None:
            changed = _changed(db, shard, base.since)
            if changed is not None:
                with self._lock:
                    self._bases[asked] = base
                    self._bases.move_to_end(asked)
                return base, changed
        base = _read_base(db, shard)
        with self._lock:
            self._bases[asked] = base
            self._bases.move_to_end(asked)
        return base, set()

    def column(self, db: sqlite3.Connection, shard: Shard, base: Base, asked: Field) -> Column:
        """Return a value of each run of a base; of those that changed since, it may be any."""
        with self._lock:
            found = base.columns.get(asked)
            if found is not None:
                base.columns.move_to_end(asked)
                return found
        found = _read_column(db, shard, base, asked)
        with self._lock:
            base.columns[asked] = found
            self._make_room(base)
        return found

    def _make_room(self, kept: Base) -> None:
        size = sum(base.size_bytes for base in self._bases.values())
        for asked, base in list(self._bases.items()):
            if size <= self._most_bytes:
                return
            if base is not kept:
                size -= base.size_bytes
                del self._bases[asked]
        while size > self._most_bytes and len(kept.columns) > 1:
            size -= kept.columns.popitem(last=False)[1].size_bytes


def _changed(db: sqlite3.Connection, shard: Shard, since: int) -> set[int] | None:
    """Return the runs of an experiment that have changed; None if they are too many, or not all known."""
    first, last = first_and_last_change(db)
    if last == since:
        return set()
    # What a later search has read is of no use to one that sees the file as it was before.
    if last < since or first > since + 1:
        return None
    query = "SELECT DISTINCT run FROM changed WHERE no > ? AND experiment = ?"
    runs = {row[0] for row in db.execute(query, (since, shard.experiment))}
    return None if EVERY_RUN in runs or len(runs) > MOST_CHANGED else runs


def _read_base(db: sqlite3.Connection, shard: Shard) -> Base:
    _, since = first_and_last_change(db)
    query = "SELECT no FROM run INDEXED BY run_by_start WHERE experiment = ? AND deleted = ?"
    rows = db.execute(f"{query} ORDER BY started_ms DESC, id", _of(shard))
    runs = np.fromiter(itertools.chain.from_iterable(rows), np.int32)
    least, most = (int(runs.min()), int(runs.max())) if len(runs) else (0, 0)
    if most - least > CLOSE * len(runs):
        return Base(since, runs, np.argsort(runs, kind="stable").astype(np.int32), -1)
    by_number = np.full(most - least + 2, -1, np.int32)
    by_number[runs - least] = np.arange(len(runs), dtype=np.int32)
    return Base(since, runs, by_number, least)


def _read_column(db: sqlite3.Connection, shard: Shard, base: Base, asked: Field) -> Column:
    if asked.entity == METRIC:
        # No value is infinite, so that stands for one that is no number.
        index = "INDEXED BY latest_by_value" if asked.part == "last" else ""
        query = f"SELECT run, ifnull({COLUMN[asked.part]}, 9e999) FROM latest {index} WHERE key = ?"
        return _aligned(base, _pairs(db, query, key_no(db, shard, asked)))
    if asked.entity == ATTRIBUTE and asked.kind == "number":
        name = attribute(Order(asked, True))
        query = f"SELECT no, {name} FROM run WHERE experiment = ? AND deleted = ? AND {name} IS NOT NULL"
        return _aligned(base, _pairs(db, query, *_of(shard)))
    if asked.entity == ATTRIBUTE and asked.key == "status":
        return _read_statuses(db, shard, base)
    return _read_words(db, shard, base, asked)


def _read_statuses(db: sqlite3.Connection, shard: Shard, base: Base) -> Column:
    words = tuple(sorted(STATUSES))
    pairs = _pairs(db, "SELECT no, status FROM run WHERE experiment = ? AND deleted = ?", *_of(shard))
    pairs[:, 1] = np.array([words.index(status) for status in STATUSES])[pairs[:, 1].astype(int)]
    column = _aligned(base, pairs)
    return Column(_codes(column), column.ranks, words)


def _of(shard: Shard) -> tuple[int, bool]:
    return shard.experiment, shard.deleted


def _codes(column: Column) -> np.ndarray:
    return np.where(column.ranks == VALUE, column.values, -1).astype(np.int32)


def _read_words(db: sqlite3.Connection, shard: Shard, base: Base, asked: Field) -> Column:
    rows, values = word_rows(db, shard, asked)
    words: list[str] = []
    runs, codes = array("i"), array("i")
    last, code = None, -1
    # Half of the time that SQLite takes to number them.
    for run, word in db.execute(f"{rows} ORDER BY value", values):
        if word != last:
            last, code = word, code + 1
            if code <= MOST_WORDS:
                words.append(word)
        runs.append(run)
        codes.append(code)
    pairs = np.column_stack([np.array(runs, np.float64), np.array(codes, np.float64)])
    column = _aligned(base, pairs)
    return Column(_codes(column), column.ranks, tuple(words) if len(words) <= MOST_WORDS else None)


def word_rows(db: sqlite3.Connection, shard: Shard, asked: Field) -> tuple[str, tuple[int | str, ...]]:
    """Return the query for (run, value) of a field that has texts, and what is bound to it."""
    if asked.entity == ATTRIBUTE:
        before = f"{shard.artifacts}/" if asked.key == "artifact_uri" else ""
        rows = f"SELECT no AS run, ? || {attribute(Order(asked, True))} AS value FROM run"
        return f"{rows} WHERE experiment = ? AND deleted = ?", (before, shard.experiment, shard.deleted)
    return "SELECT run, value FROM word INDEXED BY word_by_value WHERE key = ?", (key_no(db, shard, asked),)


def _pairs(db: sqlite3.Connection, query: str, *values: int | str) -> np.ndarray:
    """Return rows of (run, number) as doubles, which are exact for both; shape (n, 2)."""
    rows = db.execute(query, values)
    return np.fromiter(itertools.chain.from_iterable(rows), np.float64).reshape(-1, 2)


def _aligned(base: Base, pairs: np.ndarray) -> Column:
    # One more than there are, for runs that came later.
    values = np.full(len(base.runs) + 1, np.nan)
    ranks = np.full(len(base.runs) + 1, MISSING, np.uint8)
    at = base.places(pairs[:, 0].astype(np.int32))
    values[at], ranks[at] = pairs[:, 1], np.where(np.isinf(pairs[:, 1]), NOT_A_NUMBER, VALUE)
    return Column(values[:-1], ranks[:-1])
