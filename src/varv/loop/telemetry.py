"""Telemetry of one model: what was predicted, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they
became known. Both are held in memory as well, for the windows that monitors, evidence and training ask for. A
row counts as labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.columns import Columns
from varv.serving.dataplane import ANSWER_SCHEMA

TABLE = "predictions"
_TIME = pl.Datetime("us", "UTC")


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

    def restore(self, segments: Iterable[str]) -> None:
        """Read back the predictions of `segments`, oldest first."""
        for segment in segments:
            self._remember(self._columns.scan(TABLE, [segment]).collect())

    def predicted(self, segment: str, rows: pl.DataFrame) -> None:
        """Keep a batch of predictions: ``key``, ``requested_at``, the answer's columns, and the features.

        Parameters
        ----------
        segment
            Names the batch; keeping the same batch again changes nothing.
        """
        self._columns.append(TABLE, segment, rows)
        self._remember(rows)

    def known(self, outcomes: pl.DataFrame) -> None:
        """Take in outcomes that became known: ``key``, ``outcome`` (0 or 1) and ``known_at``."""
        if outcomes.is_empty():
            return
        ordered = outcomes.sort("known_at", "key")
        times = ordered["known_at"].cast(_TIME).to_physical()
        self._known_at.append(times.to_numpy())
        self._truths.learn(ordered["key"].to_list(), ordered["outcome"].to_list(), times.to_list())

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), whether or not their outcome is known."""
        found = [batch.rows[first:last] for batch, first, last in self._within(since, until)]
        return pl.concat(found) if found else _no_predictions()

    def matured(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was
        not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's
        columns, or those of them that are in `columns`.
        """
        found = self._within(since, until)
        asked = [batch.rows[first:last] for batch, first, last in found] or [_no_predictions()]
        truths = self._truths.at([(batch.start + first, batch.start + last) for batch, first, last in found])
        if columns is not None:
            kept = [name for name in columns if name in asked[0].columns]
            asked = [rows.select(kept) for rows in asked]
        seen = pl.when(pl.col("known_at") <= as_datetime(known_by))
        return pl.concat(asked).hstack(truths.select(seen.then("outcome"), seen.then("known_at")))

    def labelled(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome."""
        return self.matured(since, until, known_by=known_by, columns=columns).drop_nulls("outcome")

    def n_labelled(self, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`."""
        return sum(int(np.searchsorted(times, known_by, side="right")) for times in self._known_at)

    def _within(self, since: Instant, until: Instant) -> list[tuple[_Batch, int, int]]:
        """Return the batches with rows in [since, until), and the first and last but one of those rows."""
        spans = [
            (batch, *np.searchsorted(batch.times, (since, until)).tolist())
            for batch in self._batches
            if batch.times[0] < until and batch.times[-1] >= since
        ]
        return [(batch, first, last) for batch, first, last in spans if first < last]

    def _remember(self, rows: pl.DataFrame) -> None:
        if rows.height:
            ordered = rows.sort("requested_at", "key")
            start = self._truths.expect(ordered["key"].to_list())
            times = ordered["requested_at"].to_physical().to_numpy()
            self._batches.append(_Batch(ordered, times, start))


class _Batch(NamedTuple):
    """Predictions in the order of their requests, the instants of these, and where their truths begin."""

    rows: pl.DataFrame
    times: npt.NDArray[np.int64]
    start: int


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

    def at(self, spans: list[tuple[int, int]]) -> pl.DataFrame:
        """Return ``outcome`` and ``known_at`` at the positions [first, last) of each span."""
        known_at = b"".join(self._known_at[first:last].tobytes() for first, last in spans)
        outcome = b"".join(self._outcome[first:last].tobytes() for first, last in spans)
        return pl.DataFrame(
            {
                "outcome": np.frombuffer(outcome, np.int8),
                "known_at": np.frombuffer(known_at, np.int64).astype("datetime64[us]"),
            },
            schema={"outcome": pl.Int8, "known_at": _TIME},
        )


def _no_predictions() -> pl.DataFrame:
    return pl.DataFrame(schema={"key": pl.String, "requested_at": _TIME, **ANSWER_SCHEMA})
