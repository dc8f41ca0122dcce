"""Rows of a home as frames, for readers that are no part of it: predictions with outcomes, and rows of
datasets.

Everything is bounded: a reader asks for a window, and gets a page of it and where the next one begins
(`home.paging`). What a page needs is read from the columns by window. `home.verbs` offers these tables to
notebooks and to clients; nothing here changes a home.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from varv.data import Datasets
from varv.data.dataset import Dataset
from varv.data.outcomes import OutcomeSpec
from varv.data.registered import registered_dataset
from varv.data.versions import versions_of
from varv.home.listing import dataset_versions_frame
from varv.home.paging import Span, Table, cut_page, end_of, enough, place_of, plus
from varv.kernel.catalogue import Extent, digests
from varv.kernel.clock import Clock, Duration, Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, TIME
from varv.kernel.errors import InvalidInput
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.registry import RegistryView
from varv.serving.backfill import with_later
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView

MOST_ROWS = 10_000
"""Rows of one answer of a server."""


class Tables:
    """What can be read of one home. Several threads may ask; they are answered in turn.

    Parameters
    ----------
    home, ledger, views, clock
        Of the home.
    most_rows
        Of one answer, whatever is asked for; None for as many as there are.
    """

    def __init__(
        self, home: Path, ledger: Ledger, views: Views, clock: Clock, *, most_rows: int | None = MOST_ROWS
    ) -> None:
        self._ledger = ledger
        self._views = views
        self._most_rows = most_rows
        self._columns = FolderColumns(home / "columns")
        self._datasets = Datasets(ledger, self._columns, clock, views, Secret(home / SECRET_FILE))
        self._spans: dict[str, dict[str, Span]] = {}
        self._lock = threading.Lock()

    @property
    def datasets(self) -> Datasets:
        """The datasets of the home, to be read."""
        return self._datasets

    def limit(self, asked: int) -> int | None:
        """Return how many rows to give of those asked for; 0 asks for as many as one answer holds.

        Raises
        ------
        InvalidInput
            If the number is negative.
        """
        if asked < 0:
            raise InvalidInput("limit", asked, "is not a number of rows", hint="give 0 or more")
        most = self._most_rows
        return asked or most if most is None else min(asked or most, most)

    def predictions(
        self, model: ModelName, since: Instant, until: Instant, *, after: str = "", limit: int | None = None
    ) -> Table:
        """Return predictions of requests made in [since, until), in their order, each with its outcome.

        Returns
        -------
        Table
            The columns of `serving.scores.answer_schema` and the features, with ``outcome`` and ``known_at``,
            null where the outcome is not known.
        """
        start, n_seen = place_of(after, since)
        with self._views.reading(RoutingView) as routing:
            extents = routing.catalogue(model).extents()
        with self._lock:
            rows, end = self._requests(model, extents, (start, until), plus(limit, n_seen))
            table = cut_page(rows, "requested_at", n_seen, limit, end, until)
            return Table(rows=self._with_outcomes(model, table.rows), after=table.after)

    def marked(
        self, model: ModelName, since: Instant, until: Instant, marks: Collection[str]
    ) -> pl.DataFrame:
        """Return predictions of requests made in [since, until), in their order, that were answered in one of
        some ways (`serving.policy.Mark`).
        """
        with self._views.reading(RoutingView) as routing:
            extents = routing.catalogue(model).extents()
        table = predictions_of(model, self._columns)
        mark = pl.col("answered_by").str.split(":").list.first()
        found: list[pl.DataFrame] = []
        with self._lock:
            for one in extents:
                span = self._span_of(table, one)
                if span.first >= until or span.last < since:
                    continue
                [marks_of] = self._columns.batches(table, digests([one]), columns=["answered_by"])
                # Of most files nothing is marked, and of those of before there is no such column.
                if "answered_by" in marks_of.columns and marks_of["answered_by"].null_count() < one.n_rows:
                    rows = self._read(model, digests([one]), since, until)
                    found += [part.filter(mark.is_in(list(marks))) for part in rows]
        if not found:
            return pl.DataFrame(schema={"key": pl.String, "requested_at": TIME, "answered_by": pl.String})
        return pl.concat(found, how="diagonal").sort("requested_at", "key", maintain_order=True)

    def rows(
        self,
        name: str,
        since: Instant,
        until: Instant,
        *,
        version: int | None = None,
        known_at: Instant | None = None,
        remaining: bool = False,
        after: str = "",
        limit: int | None = None,
    ) -> Table:
        """Return rows of a dataset whose event time is in [since, until), as `data.Datasets.read` gives them.

        Raises
        ------
        NotFound
            If there is no such dataset or version.
        Erased
            If rows of the version were erased, and the remaining ones are not what is asked for.
        """
        dataset = self.dataset(name)
        start, n_seen = place_of(after, since)
        spans = [
            Span(one.first, one.last, one.n_rows)
            for one in self._datasets.extents(dataset, dataset.event_time, upto=version, remaining=remaining)
            if one.first is not None and one.last is not None
        ]
        spans = sorted(span for span in spans if span.first < until and span.last >= start)
        end = until if limit is None else end_of(spans, limit + n_seen, start, until)
        with self._lock:
            found = self._datasets.read(
                dataset,
                version=version,
                known_at=known_at,
                since=start,
                until=Instant(end),
                remaining=remaining,
            )
        return cut_page(found, dataset.event_time, n_seen, limit, end, until)

    def dataset(self, name: str) -> Dataset:
        """Return a registered dataset.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return registered_dataset(self._views, name)

    def versions(self, name: str, *, after: str = "", limit: int | None = None) -> Table:
        """Return the versions of a dataset, each with the batch that made it."""
        position, version = place_of(after, Instant(0))
        found = list(islice(versions_of(self._ledger, name, after=position, version=version), limit))
        rows = dataset_versions_frame([one for _, one in found])
        more = len(found) == limit and found[-1][1].version < self._datasets.version(self.dataset(name))
        return Table(rows=rows, after=f"{found[-1][0]}.{found[-1][1].version}" if more else "")

    def _requests(
        self,
        model: ModelName,
        extents: Sequence[Extent],
        window: tuple[Instant, Instant],
        most: int | None,
    ) -> tuple[pl.DataFrame, int]:
        """Return predictions of a window in their order, and up to which instant they are all there: those of
        the whole window, or `most` at least.
        """
        start, until = window
        table = predictions_of(model, self._columns)
        order = sorted((self._span_of(table, one), one.name) for one in extents if one.n_rows)
        held = digests(extents)
        order = [(span, name) for span, name in order if span.first < until and span.last >= start]
        frames: list[pl.DataFrame] = []
        taken = 0
        end: int = until
        rows = pl.DataFrame(schema={"key": pl.String, "requested_at": TIME})
        while taken < len(order):
            upto = enough([span for span, _ in order], taken, most)
            names = [name for _, name in order[taken:upto]]
            frames += self._read(model, {name: held[name] for name in names}, start, until)
            taken, end = upto, until if upto == len(order) else order[upto][0].first
            rows = pl.concat(frames, how="diagonal").filter(pl.col("requested_at") < as_datetime(end))
            if most is not None and rows.height >= most:
                break
        return rows.sort("requested_at", "key", maintain_order=True), end

    def _read(
        self, model: ModelName, segments: Mapping[str, Digest], start: Instant, until: Instant
    ) -> list[pl.DataFrame]:
        table = predictions_of(model, self._columns)
        window = pl.col("requested_at").is_between(as_datetime(start), as_datetime(until), closed="left")
        with self._views.reading(RoutingView) as routing:
            backfilled = dict(routing.backfilled.get(model, {}))
        if not backfilled:
            return [rows.filter(window) for rows in self._columns.batches(table, segments)]
        batches = self._columns.batches(table, segments, segment_as=SEGMENT)
        return [with_later(rows, self._columns, lambda: backfilled).filter(window) for rows in batches]

    def _span_of(self, table: str, one: Extent) -> Span:
        """Return when the requests of an extent were made; where no entry says it, it is looked at once."""
        if one.first is not None and one.last is not None:
            return Span(one.first, one.last, one.n_rows)
        spans = self._spans.setdefault(table, {})
        if one.name not in spans:
            [rows] = self._columns.batches(table, digests([one]), columns=["requested_at"])
            at = rows["requested_at"].to_physical().to_numpy()
            spans[one.name] = Span(int(at.min()), int(at.max()), len(at))
        return spans[one.name]

    def _with_outcomes(self, model: ModelName, rows: pl.DataFrame) -> pl.DataFrame:
        outcome = self.outcome(model)
        if outcome is None or rows.is_empty():
            return rows.with_columns(outcome=pl.lit(None), known_at=pl.lit(None, TIME))
        first = Instant(int(rows["requested_at"].to_physical()[0]))
        known = outcome.read(self._datasets.read_part(outcome.requests, outcome.known_at, since=first))
        rows = rows.join(known, on="key", how="left", maintain_order="left")
        # What is known before the request is not what was predicted.
        in_time = pl.when(pl.col("known_at") >= pl.col("requested_at"))
        return rows.with_columns(in_time.then("outcome"), in_time.then("known_at"))

    def first_request(self, model: ModelName) -> Instant | None:
        """Return when the earliest request was made that is stored; None if there is none."""
        with self._views.reading(RoutingView) as routing:
            extents = [one for one in routing.catalogue(model).extents() if one.n_rows]
        with self._lock:
            table = predictions_of(model, self._columns)
            return min((Instant(self._span_of(table, one).first) for one in extents), default=None)

    def outcome(self, model: ModelName) -> OutcomeSpec | None:
        """Return what a model predicts; None if nothing ever comes of it, or no version says of which
        dataset.
        """
        with self._views.reading(LoopView) as loops, self._views.reading(RegistryView) as registry:
            loop, record = loops.loops.get(model), registry.models.get(model)
            task = loops.task(model)
        made = record.versions[max(record.versions)].registered if record and record.versions else None
        defined = loop.definition[0] if loop and loop.definition else ("outcome", "", "")
        if made is None or not made.datasets or not defined[1]:
            return None
        return OutcomeSpec(
            requests=self.dataset(made.datasets[0].dataset),
            task=task,
            column=defined[1],
            known_at=defined[2],
            mature=Duration(0),
        )
