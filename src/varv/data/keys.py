"""The keys of a dataset: which have been stated, with which values, and when.

A key takes 24 bytes, and a part is sorted runs that merge as they grow, so a lookup costs a few binary
searches; long runs lie in files (`data.key_runs`). Keys and rows are known by 64-bit hashes: that two of a
million keys share one has a chance of one in thirty million.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data.key_runs import (
    NO_ROWS,
    Flags,
    Hashes,
    Run,
    Stated,
    StatedState,
    Times,
    joined,
    merged,
    sorted_run,
)
from varv.kernel.mapped import MappedFile


class KeysState(msgspec.Struct, frozen=True):
    """The keys of a dataset up to one of its versions, by part."""

    identity: str
    """What they are keys of: its name, parts, columns and types."""
    version: int
    runs: dict[str, list[StatedState]]
    waiting: dict[str, StatedState]


class Found(NamedTuple):
    """What is remembered of some keys: whether anything is, and the row and time that stand."""

    known: Flags
    rows: Hashes
    times: Times

    def only(self, chosen: Flags) -> Found:
        """Return what is remembered of the chosen keys."""
        return Found(self.known[chosen], self.rows[chosen], self.times[chosen])


def stated(frame: pl.DataFrame, key: Sequence[str], time: str, *, is_base: bool) -> Stated:
    """Return the rows of a part, in kept types, as they are remembered.

    When something is said again of a row, only what is said counts: a sender that tries again says it later.
    """
    # Frames are put together from columns: a query would cost more than a small batch's hashes.
    keys = frame[list(key)].hash_rows(seed=0).to_numpy()
    said = frame if is_base else frame[[name for name in frame.columns if name != time]]
    times = frame[time].cast(pl.Int64)
    if times.null_count():
        times = times.fill_null(0)
    return Stated(keys, said.hash_rows(seed=0).to_numpy(), times.to_numpy())


class Standing(NamedTuple):
    """What is remembered of the keys of rows of one part: by that part, and by the base part, which is None
    if the rows are of that.
    """

    own: Found
    base: Found | None

    def early(self, given: Stated) -> Flags:
        """Return which rows say something before the row they are about existed."""
        if self.base is None:
            return np.zeros(len(given.keys), np.bool_)
        return self.base.known & (given.times < self.base.times)

    def ahead(self) -> Flags:
        """Return which rows are about a row that is not there (yet)."""
        return np.zeros(len(self.own.known), np.bool_) if self.base is None else ~self.base.known

    def only(self, chosen: Flags) -> Standing:
        """Return what is remembered of the chosen rows."""
        return Standing(self.own.only(chosen), None if self.base is None else self.base.only(chosen))


class KeyIndex:
    """The keys of one part. What was added last of a key stands: the first statement, as long as nobody
    corrects it.
    """

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def find(self, keys: Hashes) -> Found:
        """Return what is remembered of `keys`."""
        found = Found(*_nothing(len(keys)))
        # In order, neighbours are looked for in the same pages of a run.
        order = np.argsort(keys)
        asked = keys[order]
        for run in self._runs:
            places = run.places(asked)
            hit = np.flatnonzero(run.rows.keys[places] == asked)
            if hit.size:
                rows, there = order[hit], places[hit]
                found.known[rows] = True
                found.rows[rows], found.times[rows] = run.rows.rows[there], run.rows.times[there]
            run.let_go()
        return found

    def add(self, new: Stated) -> None:
        """Remember rows, each key once."""
        if not len(new.keys):
            return
        # Later runs are looked into last, and of equal keys in one run the latest comes first.
        runs, together = list(self._runs), [sorted_run(new)]
        # Nothing is merged into what is twice as large, so a row is copied only as its run doubles.
        while runs and len(runs[-1]) < 2 * sum(map(len, together)):
            together.append(runs.pop())
        # A list of its own, since another thread may be looking.
        self._runs = [*runs, merged(together)]

    def without(self, others: KeyIndex) -> Stated:
        """Return what stands of the keys that others do not have."""
        left = [run.rows.only(~others.find(run.rows.keys).known) for run in reversed(self._runs)]
        rows = joined(left)
        latest = np.zeros(len(rows.keys), np.bool_)
        latest[np.unique(rows.keys, return_index=True)[1]] = True
        return rows.only(latest)

    def as_state(self) -> list[StatedState]:
        """Return what it holds; nothing changes it any more."""
        return [StatedState(*run.rows) for run in self._runs]

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        for run in self._runs:
            run.let_go()

    def restore(self, state: Sequence[StatedState], lies_in: MappedFile) -> None:
        """Hold what another one held; the longer arrays go on lying in their file."""
        self._runs = [Run.restored(run, lies_in) for run in state]


class DatasetKeys:
    """The keys of every part of a dataset, and the statements that wait for the row they are about.

    Parameters
    ----------
    base, later
        The names of the parts.
    """

    def __init__(self, base: str, later: Sequence[str]) -> None:
        self._base = base
        self._parts = {part: KeyIndex() for part in (base, *later)}
        self._waiting = dict.fromkeys(later, NO_ROWS)

    def restore(self, part: str, batches: Iterable[Stated]) -> None:
        """Remember what is stored of a part, oldest first; the base part comes before the others."""
        for batch in batches:
            fresh = np.zeros(len(batch.keys), np.bool_)
            fresh[np.unique(batch.keys, return_index=True)[1]] = True
            kept = batch.only(fresh & ~self._parts[part].find(batch.keys).known)
            self.add(part, kept, self.standing(part, kept))

    def as_state(self, identity: str, version: int) -> KeysState:
        """Return what is remembered; nothing changes it any more."""
        runs = {part: index.as_state() for part, index in self._parts.items()}
        waiting = {part: StatedState(*rows) for part, rows in self._waiting.items()}
        return KeysState(identity, version, runs, waiting)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        for index in self._parts.values():
            index.let_go()

    def take(self, state: KeysState, lies_in: MappedFile) -> None:
        """Remember what another one of the same dataset did, before anything else."""
        for part, index in self._parts.items():
            index.restore(state.runs[part], lies_in)
        self._waiting = {part: rows.stated() for part, rows in state.waiting.items()}

    def find(self, part: str, keys: Hashes) -> Found:
        """Return what is remembered of `keys` in a part."""
        return self._parts[part].find(keys)

    def standing(self, part: str, given: Stated) -> Standing:
        """Return what is remembered of the keys of rows of a part."""
        base = None if part == self._base else self.find(self._base, given.keys)
        return Standing(self.find(part, given.keys), base)

    def n_waiting_for(self, part: str, keys: Hashes) -> int:
        """Return how many rows of a later part wait for one of these keys."""
        return 0 if part == self._base else int(np.isin(self._waiting[part].keys, keys).sum())

    def add(self, part: str, new: Stated, standing: Standing) -> dict[str, tuple[int, int]]:
        """Remember rows whose keys are new, and return, of each later part, how many rows had waited for
        them, and how many of those say something before their row existed.
        """
        if part != self._base:
            ahead = standing.ahead()
            if ahead.any():
                self._waiting[part] = joined([self._waiting[part], new.only(ahead)])
            self._parts[part].add(new)
            return {}
        self._parts[part].add(new)
        found: dict[str, tuple[int, int]] = {}
        for later, waiting in self._waiting.items():
            if len(waiting.keys) and len(new.keys):
                base = self.find(part, waiting.keys)
                if base.known.any():
                    n_early = int((waiting.times[base.known] < base.times[base.known]).sum())
                    found[later] = (int(base.known.sum()), n_early)
                    self._waiting[later] = waiting.only(~base.known)
        return found

    def correct(self, part: str, rows: Stated) -> None:
        """Remember rows, each key once, that stand from now on whatever stood before."""
        self._parts[part].add(rows)
        if part == self._base:
            for later, waiting in self._waiting.items():
                self._waiting[later] = waiting.only(~self.find(part, waiting.keys).known)
        else:
            waiting = self._waiting[part]
            left = waiting.only(~np.isin(waiting.keys, rows.keys))
            self._waiting[part] = joined([left, self._ahead(rows)])

    def replace(self, part: str, rows: Stated) -> None:
        """Remember of a part these rows, each key once, and nothing else."""
        self._parts[part] = KeyIndex()
        self._parts[part].add(rows)
        if part != self._base:
            self._waiting[part] = self._ahead(rows)
            return
        for later in self._waiting:
            self._waiting[later] = self._parts[later].without(self._parts[part])

    def forget(self, part: str, rows: Stated) -> None:
        """Remember nothing of the keys of rows of a part any more."""
        gone = KeyIndex()
        gone.add(rows)
        self.replace(part, self._parts[part].without(gone))

    def n_waiting(self) -> dict[str, int]:
        """Return how many rows of each later part wait for the row that they are about."""
        return {part: len(rows.keys) for part, rows in self._waiting.items()}

    def _ahead(self, rows: Stated) -> Stated:
        return rows.only(~self.find(self._base, rows.keys).known)


def repeats(given: Stated, standing: Found) -> tuple[Flags, Flags]:
    """Return which rows repeat a key, that stands or that an earlier row of the batch has; and which of these
    have the same values.
    """
    if not standing.known.any() and len(np.unique(given.keys)) == len(given.keys):
        return standing.known, standing.known
    _, first, place = np.unique(given.keys, return_index=True, return_inverse=True)
    leader = first[place]
    within = leader != np.arange(len(given.keys))
    against = np.where(standing.known, standing.rows, given.rows[leader])
    repeated = within | standing.known
    return repeated, repeated & (against == given.rows)


def _nothing(n: int) -> tuple[Flags, Hashes, Times]:
    return np.zeros(n, np.bool_), np.zeros(n, np.uint64), np.zeros(n, np.int64)
