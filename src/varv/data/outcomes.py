"""The outcome of a model's requests: which column holds it, when it is known, and what it can be.

Labelling predictions (`serving.predictions`), training and monitoring take outcomes as they are read here.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from varv.data.dataset import Dataset
from varv.data.identity import keys_of
from varv.kernel.clock import Duration, Instant, as_datetime
from varv.kernel.columns import TIME
from varv.tasks import Task


@dataclass(frozen=True, kw_only=True)
class OutcomeSpec:
    """What a model predicts.

    Parameters
    ----------
    requests
        The dataset whose base rows are the requests.
    task
        What an outcome is.
    column, known_at
        The column that holds the outcome, and the time column at which it becomes known; empty where no
        outcome ever comes.
    mature
        How long after a request its outcome has come, but for stragglers.
    no_outcome
        What the outcome of a request is that has none by then, as when no claim was made; None where it stays
        unknown. An outcome that comes later stands from then on.
    """

    requests: Dataset
    task: Task
    column: str = ""
    known_at: str = ""
    mature: Duration
    no_outcome: bool | float | str | None = None

    def settled(self, rows: pl.DataFrame, known_by: Instant) -> pl.DataFrame:
        """Return requests with what their outcome is by `known_by` where none has come.

        Parameters
        ----------
        rows
            With ``requested_at`` and ``outcome``, and maybe ``known_at``.
        """
        if self.no_outcome is None:
            return rows
        ends = pl.col("requested_at") + pl.duration(microseconds=self.mature)
        over = pl.when(pl.col("outcome").is_null() & (ends <= as_datetime(known_by)))
        value = self.task.read(pl.Series([self.no_outcome]))[0]
        columns = [over.then(pl.lit(value, self.task.outcome_dtype)).otherwise("outcome").alias("outcome")]
        if "known_at" in rows.columns:
            # Of both the first: an outcome that was there is known since it came.
            columns.append(over.then(ends).otherwise("known_at").alias("known_at"))
        return rows.with_columns(columns)

    def is_in(self, dataset: Dataset, part: str) -> bool:
        """Return whether rows of a part hold the outcome."""
        return bool(self.column) and dataset.name == self.requests.name and part == self.known_at

    def none(self) -> pl.DataFrame:
        """Return what `read` returns of no rows."""
        schema = {"key": pl.String(), "outcome": self.task.outcome_dtype, "known_at": TIME}
        return pl.DataFrame(schema=schema)

    def read(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return ``key``, ``outcome`` and ``known_at`` of rows of the part that holds the outcome.

        What cannot be an outcome is left out; a contract puts it aside before it comes here.
        """
        keys, known_at = keys_of(self.requests.key, rows), rows[self.known_at].alias("known_at")
        outcome = self.task.read(rows[self.column]).alias("outcome")
        found = pl.DataFrame([keys, outcome, known_at])
        return found if not any(found.null_count().row(0)) else found.drop_nulls()
