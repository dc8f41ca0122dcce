"""Telemetry of one model: what was predicted, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they
became known. Both are held in memory as well, for the windows that monitors, evidence and training ask for. A
row counts as labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.kernel.clock import Instant, as_datetime
from varv.kernel.columns import Columns
from varv.serving.dataplane import ANSWER_SCHEMA

TABLE = "predictions"
_TIME = pl.Datetime("us", "UTC")
_OUTCOMES = {"key": pl.String, "outcome": pl.Int8, "known_at": _TIME}


class Telemetry:
    """Predictions and outcomes of one model.

    Parameters
    ----------
    columns
        Where predictions are kept.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._predictions: list[_Batch] = []
        self._outcomes: list[_Batch] = []

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
        """Take in outcomes that became known: ``key``, ``outcome`` and ``known_at``."""
        if outcomes.height:
            rows = outcomes.select(*_OUTCOMES).cast(_OUTCOMES)  # type: ignore[arg-type]
            self._outcomes.append(_batch(rows, "known_at"))

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), whether or not their outcome is known."""
        found = [batch.rows for batch in self._predictions if batch.first < until and batch.last >= since]
        if not found:
            return pl.DataFrame(schema={"key": pl.String, "requested_at": _TIME, **ANSWER_SCHEMA})
        return pl.concat(found).filter(_between("requested_at", since, until))

    def matured(self, since: Instant, until: Instant, *, known_by: Instant) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was
        not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's
        columns.
        """
        rows = self.requested(since, until)
        known = self._known(since, known_by)
        return rows.join(known, on="key", how="left", maintain_order="left")

    def labelled(self, since: Instant, until: Instant, *, known_by: Instant) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome."""
        return self.matured(since, until, known_by=known_by).drop_nulls("outcome")

    def n_labelled(self, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`."""
        return sum(batch.n_until(known_by) for batch in self._outcomes)

    def _known(self, since: Instant, known_by: Instant) -> pl.DataFrame:
        # An outcome is never known before its request, so older batches of outcomes cannot matter.
        found = [batch.rows for batch in self._outcomes if batch.last >= since and batch.first <= known_by]
        known = pl.concat([pl.DataFrame(schema=_OUTCOMES), *found])
        return known.filter(pl.col("known_at") <= _time(known_by)).unique(
            "key", keep="first", maintain_order=True
        )

    def _remember(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self._predictions.append(_batch(rows, "requested_at"))


class _Batch(NamedTuple):
    """Rows in the order of a time column, and the first and last of its instants."""

    rows: pl.DataFrame
    times: np.ndarray
    first: int
    last: int

    def n_until(self, until: int) -> int:
        return int(np.searchsorted(self.times, until, side="right"))


def _batch(rows: pl.DataFrame, time: str) -> _Batch:
    ordered = rows.sort(time, "key")
    times = ordered[time].to_physical().to_numpy()
    return _Batch(ordered, times, int(times[0]), int(times[-1]))


def _time(when: int) -> pl.Expr:
    return pl.lit(as_datetime(when)).cast(_TIME)


def _between(column: str, since: int, until: int) -> pl.Expr:
    return (pl.col(column) >= _time(since)) & (pl.col(column) < _time(until))
