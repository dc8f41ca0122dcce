"""Telemetry of one model: what was predicted, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they became
known. Both are held in memory as well, for the windows that monitors, evidence and training ask for. A row counts as
labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from varv.kernel.clock import DAY, Instant
from varv.kernel.columns import Columns
from varv.serving.dataplane import ANSWER_SCHEMA

TABLE = "predictions"
LONGEST_DELAY = 45 * DAY
"""Outcomes that take longer than this still train models, but no monitor and no rollout waits for them."""

_OUTCOMES = {"key": pl.String, "outcome": pl.Int8, "known_at": pl.Datetime("us", "UTC")}


class Telemetry:
    """Predictions and outcomes of one model.

    Parameters
    ----------
    columns
        Where predictions are kept.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._predictions: list[pl.DataFrame] = []
        self._starts: list[int] = []
        self._outcomes: list[pl.DataFrame] = []

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
            self._outcomes.append(outcomes.select(_OUTCOMES).cast(_OUTCOMES))  # type: ignore[arg-type]

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), whether or not their outcome is known."""
        found = [
            rows
            for start, rows in zip(self._starts, self._predictions, strict=True)
            if start < until and _last(rows) >= since
        ]
        if not found:
            return pl.DataFrame(schema={"key": pl.String, "requested_at": pl.Datetime("us", "UTC"), **ANSWER_SCHEMA})
        return pl.concat(found).filter(_between("requested_at", since, until))

    def matured(self, since: Instant, until: Instant, *, known_by: Instant) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's columns.
        """
        rows = self.requested(since, until)
        known = self._known(since, known_by)
        return rows.join(known, on="key", how="left", maintain_order="left")

    def labelled(self, since: Instant, until: Instant, *, known_by: Instant) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome."""
        return self.matured(since, until, known_by=known_by).drop_nulls("outcome")

    def n_labelled(self, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`."""
        return sum(_n_until(outcomes["known_at"], known_by) for outcomes in self._outcomes)

    def _known(self, since: Instant, known_by: Instant) -> pl.DataFrame:
        # An outcome is never known before its request, so older batches of outcomes cannot matter.
        found = [rows for rows in self._outcomes if _epoch(rows["known_at"].max()) >= since]
        known = pl.concat([pl.DataFrame(schema=_OUTCOMES), *found])
        return known.filter(pl.col("known_at") <= _time(known_by)).unique("key", keep="first", maintain_order=True)

    def _remember(self, rows: pl.DataFrame) -> None:
        if rows.height:
            rows = rows.sort("requested_at", "key")
            self._predictions.append(rows)
            self._starts.append(_epoch(rows["requested_at"][0]))


def _last(rows: pl.DataFrame) -> int:
    return _epoch(rows["requested_at"][-1])


def _epoch(value: object) -> int:
    return pl.Series([value], dtype=pl.Datetime("us", "UTC")).to_physical()[0]


def _time(when: int) -> pl.Expr:
    return pl.lit(when, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _between(column: str, since: int, until: int) -> pl.Expr:
    return (pl.col(column) >= _time(since)) & (pl.col(column) < _time(until))


def _n_until(times: pl.Series, until: int) -> int:
    return int((times.to_physical() <= until).sum())
