"""The predictions of one model: what was answered, with which inputs, and what turned out.

Predictions live in columns, one segment a batch; outcomes in the requests' dataset, by the time at which they
became known. The latest rows are held in memory as well, for the windows that monitors and evidence ask for;
a replay holds all. What lies further back is read from the columns when somebody asks, as a training does. A
row counts as labelled at an instant only if its outcome was known by then.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import count, pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.intake import Batch as KnownRows
from varv.data.outcomes import OutcomeSpec
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import TIME, Columns
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName
from varv.serving.backfill import Recorded
from varv.serving.batches import Batch, batch_of, merged, order_of, tidied
from varv.serving.known_times import FIRST, Counted, KnownTimes
from varv.serving.stored import Stored, StoredPredictions
from varv.serving.truths import Truths
from varv.tasks import Task


class Predictions:
    """Predictions and outcomes of one model. It listens to ingestion, for the outcomes.

    One thread takes in; others may ask meanwhile.

    Parameters
    ----------
    model
        Whose they are.
    columns
        Where predictions are kept.
    outcome
        What the model predicts.
    stored
        Where what is not held in memory is found, and how much is held.
    features
        The features of a row and their types; by default whatever was stored.
    backfilled
        Returns where features are that were computed later.
    """

    def __init__(
        self,
        model: ModelName,
        columns: Columns,
        outcome: OutcomeSpec,
        stored: Stored,
        *,
        features: Mapping[str, pl.DataType] | None = None,
        backfilled: Recorded = dict,
    ) -> None:
        self.stored = StoredPredictions(model, columns, outcome.task, stored, features, backfilled)
        """What is on disk."""
        self._outcome = outcome
        self._segments: dict[str, int] = {}  # that are held, with their numbers
        self._stored = stored
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._n_rows = 0
        self._truths = Truths(outcome.task.outcome_dtype)
        self._known_at = KnownTimes()
        # By number of the segment, counted in the order in which they were taken in.
        self._last = self._forgotten_upto = 0
        self._n_rows_forgotten = 0

    @property
    def task(self) -> Task:
        """What a prediction and an outcome are."""
        return self._outcome.task

    def restore(self, counted: Counted | None = None) -> None:
        """Read the latest predictions and their outcomes back, as many as are held.

        Parameters
        ----------
        counted
            How many outcomes there were, as `counted` gave it once; they are read and counted by default.
        """
        extents = self._stored.extents()
        runs = self.stored.latest(extents, self._stored.most_held)
        self._n_rows_forgotten = self._stored.n_ever() - sum(run.rows.height for run in runs)
        self._last = self._forgotten_upto = runs[0].number - 1 if runs else 0
        for run in runs:
            self._remember(run.segments, run.rows)
        self._last = max((one.last_number for one in extents), default=0)
        if self._outcome.column:
            self._restore_outcomes(counted or Counted(0, FIRST))

    def _restore_outcomes(self, counted: Counted) -> None:
        since = min([counted.before, *(int(batch.times[0]) for batch in self._batches)])
        rows = self._stored.outcomes(Instant(since), None)
        self.known(rows.filter(pl.col("known_at").to_physical() < counted.before))
        self._known_at = KnownTimes(counted)
        self.known(rows.filter(pl.col("known_at").to_physical() >= counted.before))

    def predicted(self, segment: str, rows: pl.DataFrame) -> Digest:
        """Keep a batch of predictions: ``key``, ``requested_at``, the answer's columns, and the features.
        Return the digest of its rows.

        Parameters
        ----------
        segment
            Names the batch. A batch is kept once: what may have to be tried again is stored first, and
            remembered once it counts.
        """
        content = self.stored.append(segment, rows)
        self.remember(segment, rows)
        return content

    def rows_known(self, batch: KnownRows) -> None:
        """Take in the outcomes that a batch holds, if it does; the same ones again change nothing."""
        if self._outcome.is_in(batch.dataset, batch.part):
            self.known(self._outcome.read(batch.rows))

    def known(self, outcomes: pl.DataFrame) -> None:
        """Take in outcomes that became known: ``key``, ``outcome`` as the task has it, and ``known_at``."""
        if outcomes.is_empty():
            return
        times = outcomes["known_at"].cast(TIME).cast(pl.Int64).to_numpy()
        if (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            outcomes, times = outcomes[order], times[order]
        with self._lock:
            fresh = self._truths.learn(outcomes["key"], outcomes["outcome"].to_numpy(), times)
            self._truths.forget_ahead(self._stored.most_held // 10)
            self._known_at.add(times[fresh], self._stored.most_held)

    @property
    def counted(self) -> Counted:
        """How many outcomes there were before the earliest one that is remembered by its time."""
        return self._known_at.counted

    def requested(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), in their order, whether or not their outcome
        is known.
        """
        return self._rows(since, until, None, until).drop("outcome", "known_at")

    def matured(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return requests made in [since, until) with the outcome as known at `known_by`, null where it was
        not.

        Rows come in the order of the requests, with ``outcome`` and ``known_at`` beside the prediction's
        columns, or those of them that are in `columns`.
        """
        return self._rows(since, until, columns, known_by)

    def asked(self, since: Instant, until: Instant, columns: Sequence[str]) -> pl.DataFrame:
        """Return ``key``, ``requested_at`` and `columns` of the requests of [since, until), in order."""
        named = tuple(dict.fromkeys(("key", "requested_at", *columns)))
        with self._lock:
            upto = self._forgotten_upto
            rows, _ = self._held(since, until, named)
        stored = self.stored.rows(since, until, named, upto)
        if stored is None:
            return rows
        return pl.concat([stored, rows.select(stored.columns)]).sort(
            "requested_at", "key", maintain_order=True
        )

    def settled(self, rows: pl.DataFrame, known_by: Instant) -> pl.DataFrame:
        """Return requests with what is declared of those without an outcome; see `OutcomeSpec.settled`."""
        return self._outcome.settled(rows, known_by)

    def outcomes(self, since: Instant, known_by: Instant) -> pl.DataFrame:
        """Return ``key``, ``outcome`` and ``known_at`` of what became known in [since, known_by]."""
        return self._stored.outcomes(since, known_by)

    def labelled(
        self, since: Instant, until: Instant, *, known_by: Instant, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of `matured` that have an outcome; all of them if the task has none, since a model
        without outcomes trains on its requests.
        """
        rows = self.matured(since, until, known_by=known_by, columns=columns)
        return rows.drop_nulls("outcome") if self._outcome.column else rows

    def n_labelled(self, until: Instant, *, known_by: Instant) -> int:
        """Return how many outcomes were known at `known_by`, without those of requests made from `until`
        on; how many requests were made before `until` if the task has no outcome.
        """
        if not self._outcome.column:
            return self._n_requested(until)
        if self._outcome.no_outcome is not None:
            settled = Instant(min(until, known_by - self._outcome.mature))
            return self._n_requested(settled) + self.labelled(settled, until, known_by=known_by).height
        young = self.labelled(until, Instant(known_by + 1), known_by=known_by, columns=()).height
        n_known = self._known_at.n_by(known_by)
        n_known = self._stored.outcomes(FIRST, known_by).height if n_known is None else n_known
        return n_known - young

    def _n_requested(self, until: Instant) -> int:
        with self._lock:
            n_held = sum(int(np.searchsorted(batch.times, until)) for batch in self._batches)
            n_gone, upto = self._n_rows_forgotten, self._forgotten_upto
        stored = self._stored.extents() if upto else ()
        if all(one.last is not None and one.last < until for one in stored if one.number <= upto):
            return n_gone + n_held
        return self.matured(Instant(0), until, known_by=until, columns=()).height

    def _rows(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, known_by: Instant
    ) -> pl.DataFrame:
        """Return the requests made in [since, until) in order, each with what was known of it by then."""
        wanted = None if columns is None else tuple(dict.fromkeys(("key", "requested_at", *columns)))
        with self._lock:
            upto = self._forgotten_upto
            rows, positions = self._held(since, until, wanted)
            # What is known before the request is not what was predicted.
            requested_at = rows["requested_at"].cast(pl.Int64).to_numpy()
            rows = rows.hstack(self._truths.at(positions, requested_at, known_by))
        earlier = self._forgotten(since, until, wanted, known_by, upto)
        if earlier.height:
            parts = [earlier, rows.select(earlier.columns)] if rows.height else [earlier]
            rows = pl.concat(parts).sort("requested_at", "key", maintain_order=True)
        rows = self._outcome.settled(rows, known_by)
        named = rows.columns if columns is None else (*columns, "outcome", "known_at")
        return rows[[name for name in dict.fromkeys(named) if name in rows.columns]]

    def _forgotten(
        self, since: Instant, until: Instant, columns: Sequence[str] | None, known_by: Instant, upto: int
    ) -> pl.DataFrame:
        """Return the rows of a window that are in the columns only, of the segments up to a number, with what
        became known of them.
        """
        rows = self.stored.rows(since, until, columns, upto)
        if rows is None:
            return self.stored.none()
        known = self._stored.outcomes(since, known_by).join(rows.select("key"), on="key", how="semi")
        rows = rows.join(known, on="key", how="left", maintain_order="left")
        in_time = pl.when(pl.col("known_at").is_between("requested_at", as_datetime(known_by)))
        return rows.with_columns(in_time.then("outcome"), in_time.then("known_at"))

    def _held(
        self, since: Instant, until: Instant, columns: Sequence[str] | None
    ) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
        """Return the requests of [since, until) that are in memory, and the positions of their truths."""
        spans = [
            (batch, *np.searchsorted(batch.times, (since, until)).tolist())
            for batch in self._batches
            if batch.times[0] < until and batch.times[-1] >= since
        ]
        found = [batch.between(first, last) for batch, first, last in spans if first < last]
        if not found:
            found = [batch_of(self.stored.none(), np.empty(0, np.int64))]
        parts = [batch.rows for batch in found]
        if columns is not None:
            kept = [name for name in columns if name in parts[0].columns]
            parts = [rows[kept] for rows in parts]
        if len(found) == 1:
            return parts[0], found[0].positions
        rows, positions = pl.concat(parts), np.concatenate([batch.positions for batch in found])
        if all(one.times[-1] < other.times[0] for one, other in pairwise(found)):
            return rows, positions
        # Live, several workers answer at a time.
        order = order_of(batch.rows for batch in found)
        return rows[order], positions[order.to_numpy()]

    def remember(self, segment: str, rows: pl.DataFrame) -> None:
        """Hold a stored batch in memory, once; batches are remembered in the order of their segments."""
        if segment in self._segments:
            return
        if rows.is_empty():
            raise InvalidInput("batch", "", "holds no predictions", hint="keep batches that have rows")
        self._remember([segment], self.stored.completed(rows))

    def _remember(self, segments: Sequence[str], rows: pl.DataFrame) -> None:
        """Hold the rows of segments that follow the last one."""
        ordered = rows.sort("requested_at", "key")
        with self._lock:
            self._segments.update(zip(segments, count(self._last + 1), strict=False))
            self._last += len(segments)
            start = self._truths.expect(ordered["key"])
            batch = batch_of(ordered, np.arange(start, start + ordered.height), last_number=self._last)
            self._batches = tidied(self._batches, batch, lambda one: one.rows.height, merged)
            self._n_rows += ordered.height
            self._forget()

    def _forget(self) -> None:
        """Let go of the oldest batches beyond what is to be held, a tenth of it at a time."""
        most = self._stored.most_held
        if self._n_rows <= most + most // 10:
            return
        n = 0
        while self._n_rows > most and n < len(self._batches) - 1:
            gone = self._batches[n]
            self._n_rows -= gone.rows.height
            self._forgotten_upto = gone.last_number
            self._n_rows_forgotten += gone.rows.height
            n += 1
        self._batches = self._batches[n:]
        self._segments = {
            name: number for name, number in self._segments.items() if number > self._forgotten_upto
        }
        before = min(int(batch.positions.min()) for batch in self._batches if batch.positions.size)
        self._truths.forget(before)
