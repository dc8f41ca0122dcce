"""Telemetry of one model: what was predicted, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they
became known. Both are held in memory as well, for the windows that monitors, evidence and training ask for. A
row counts as labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.columns import Columns
from varv.serving.dataplane import ANSWER_SCHEMA

TABLE = "predictions"
_TIME = pl.Datetime("us", "UTC")
_SMALL = 256
T = TypeVar("T")


class Telemetry:
    """Predictions and outcomes of one model.

    One thread takes in; others may ask meanwhile.

    Parameters
    ----------
    columns
        Where predictions are kept.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._batches: list[_Batch] = []
        self._truths = _Truths()
        self._known_at: list[npt.NDArray[np.int64]] = []

    def restore(self, segments: Sequence[str]) -> None:
        """Read back the predictions of `segments`, oldest first."""
        for rows in self._columns.batches(TABLE, segments):
            self.remember(rows)

    def compact(self, segments: Sequence[str]) -> None:
        """Store small ones of `segments`, oldest first, together."""
        self._columns.compact(TABLE, segments)

    def predicted(self, segment: str, rows: pl.DataFrame) -> None:
        """Keep a batch of predictions: ``key``, ``requested_at``, the answer's columns, and the features.

        Parameters
        ----------
        segment
            Names the batch. A batch is kept once: what may have to be tried again is stored first, and
            remembered once it counts.
        """
        self.store(segment, rows)
        self.remember(rows)

    def store(self, segment: str, rows: pl.DataFrame) -> None:
        """Store a batch durably, not in memory; storing the same batch again changes nothing."""
        self._columns.append(TABLE, segment, rows)

    def known(self, outcomes: pl.DataFrame) -> None:
        """Take in outcomes that became known: ``key``, ``outcome`` (0 or 1) and ``known_at``."""
        if outcomes.is_empty():
            return
        ordered = outcomes.sort("known_at", "key")
        times = ordered["known_at"].cast(_TIME).to_physical()
        self._known_at = _tidied(self._known_at, times.to_numpy(), len, _sorted_together)
        self._truths.learn(ordered["key"].to_list(), ordered["outcome"].to_list(), times.to_list())

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), in their order, whether or not their outcome
        is known.
        """
        return self._requested(since, until, None)[0]

    def matured(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was
        not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's
        columns, or those of them that are in `columns`.
        """
        rows, positions = self._requested(since, until, columns)
        truths = self._truths.at(positions)
        seen = pl.when(pl.col("known_at") <= as_datetime(known_by))
        return rows.hstack(truths.select(seen.then("outcome"), seen.then("known_at")))

    def labelled(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome."""
        return self.matured(since, until, known_by=known_by, columns=columns).drop_nulls("outcome")

    def n_labelled(self, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`."""
        return sum(int(np.searchsorted(times, known_by, side="right")) for times in self._known_at)

    def _requested(
        self, since: Instant, until: Instant, columns: Sequence[str] | None
    ) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
        """Return the requests made in [since, until), and the positions of their truths."""
        spans = [
            (batch, *np.searchsorted(batch.times, (since, until)).tolist())
            for batch in self._batches
            if batch.times[0] < until and batch.times[-1] >= since
        ]
        found = [batch.between(first, last) for batch, first, last in spans if first < last]
        if not found:
            found = [_batch(_no_predictions(), np.empty(0, np.int64))]
        parts = [batch.rows for batch in found]
        if columns is not None:
            kept = [name for name in columns if name in parts[0].columns]
            parts = [rows.select(kept) for rows in parts]
        rows, positions = pl.concat(parts), np.concatenate([batch.positions for batch in found])
        if all(one.times[-1] < other.times[0] for one, other in pairwise(found)):
            return rows, positions
        # Live, several workers answer at a time.
        order = _order(batch.rows for batch in found)
        return rows[order], positions[order.to_numpy()]

    def remember(self, rows: pl.DataFrame) -> None:
        """Hold a stored batch in memory, once."""
        if rows.height:
            ordered = rows.sort("requested_at", "key")
            start = self._truths.expect(ordered["key"].to_list())
            batch = _batch(ordered, np.arange(start, start + ordered.height))
            self._batches = _tidied(self._batches, batch, lambda one: one.rows.height, _merged)


class _Batch(NamedTuple):
    """Predictions in the order of their requests, the instants of these, and where their truths are."""

    rows: pl.DataFrame
    times: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]

    def between(self, first: int, last: int) -> _Batch:
        return _Batch(self.rows[first:last], self.times[first:last], self.positions[first:last])


def _batch(rows: pl.DataFrame, positions: npt.NDArray[np.int64]) -> _Batch:
    return _Batch(rows, rows["requested_at"].to_physical().to_numpy(), positions)


def _order(parts: Iterable[pl.DataFrame]) -> pl.Series:
    """Return the order of the requests in `parts`, one below the other."""
    both = pl.concat([rows.select("requested_at", "key") for rows in parts])
    return both.select(pl.arg_sort_by("requested_at", "key")).to_series()


def _merged(one: _Batch, other: _Batch) -> _Batch | None:
    if one.rows.schema != other.rows.schema:
        return None
    order = _order([one.rows, other.rows])
    # In one piece: a frame of many chunks would cost as much as many frames.
    rows = pl.concat([one.rows, other.rows])[order].rechunk()
    return _batch(rows, np.concatenate([one.positions, other.positions])[order.to_numpy()])


def _sorted_together(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.sort(np.concatenate([one, other]))


def _tidied(held: list[T], new: T, height: Callable[[T], int], merge: Callable[[T, T], T | None]) -> list[T]:
    """Return `held` with `new` at its end, small neighbours there made one.

    Live, a batch is what came in five seconds. Three rows in a frame of their own take 20 KB, and a day has
    thousands of such frames. Nothing is merged into what is twice as large, so that a row is copied only as
    often as its batch grows by half. The list is a new one, since others may be reading the old.
    """
    held = list(held)
    while held and max(height(new), height(held[-1])) < _SMALL and height(held[-1]) < 2 * height(new):
        both = merge(held[-1], new)
        if both is None:
            break
        held.pop()
        new = both
    return [*held, new]


class _Truths:
    """The outcome of every prediction, at the position at which the prediction was expected.

    Joining outcomes to predictions anew for each question cost a tenth of a replay.
    """

    _NEVER = np.iinfo(np.int64).max

    def __init__(self) -> None:
        self._outcome, self._known_at = array("b"), array("q")
        # A key may be asked about more than once: its latest position, and from each the one before.
        self._latest: dict[str, int] = {}
        self._before: dict[int, int] = {}
        self._ahead: dict[str, tuple[int, int]] = {}  # outcomes that came before any prediction

    def expect(self, keys: list[str]) -> int:
        """Make room for the truths of `keys` and return the position of the first."""
        start = len(self._outcome)
        for position, key in enumerate(keys, start):
            truth = self._ahead.pop(key, None)
            earlier = self._latest.get(key)
            if earlier is not None:
                self._before[position] = earlier
                truth = self._outcome[earlier], self._known_at[earlier]
            self._latest[key] = position
            outcome, known_at = truth or (0, self._NEVER)
            self._outcome.append(outcome)
            self._known_at.append(known_at)
        return start

    def learn(self, keys: list[str], outcomes: list[int], known_at: list[int]) -> None:
        """Take in outcomes; the first of a key stands."""
        for key, outcome, instant in zip(keys, outcomes, known_at, strict=True):
            position = self._latest.get(key)
            if position is None:
                self._ahead.setdefault(key, (outcome, instant))
                continue
            if self._known_at[position] != self._NEVER:
                continue
            while position is not None:
                # In this order, since another thread may look: what has no time yet does not count.
                self._outcome[position] = outcome
                self._known_at[position] = instant
                position = self._before.get(position)

    def at(self, positions: npt.NDArray[np.int64]) -> pl.DataFrame:
        """Return ``outcome`` and ``known_at`` at `positions`."""
        first, last = (int(positions.min()), int(positions.max()) + 1) if positions.size else (0, 0)
        # A copy, since an array that is looked into cannot grow.
        known_at = np.frombuffer(self._known_at[first:last].tobytes(), np.int64)[positions - first]
        outcome = np.frombuffer(self._outcome[first:last].tobytes(), np.int8)[positions - first]
        return pl.DataFrame(
            {"outcome": outcome, "known_at": known_at.astype("datetime64[us]")},
            schema={"outcome": pl.Int8, "known_at": _TIME},
        )


def _no_predictions() -> pl.DataFrame:
    return pl.DataFrame(schema={"key": pl.String, "requested_at": _TIME, **ANSWER_SCHEMA})
