"""Rows of a home as frames, for readers that are no part of it: predictions with outcomes, entries of the
ledger, and rows of datasets.

Everything is bounded: a reader asks for a window, and gets a page of it and where the next one begins. What a
page needs is read from the columns by window. `home.verbs` offers these tables to notebooks and to clients;
nothing here changes a home.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from varv.data import Datasets
from varv.data.dataset import Dataset
from varv.data.outcomes import OutcomeSpec
from varv.data.registered import registered_dataset
from varv.data.versions import versions_of
from varv.home.listing import dataset_versions_frame
from varv.kernel.catalogue import Extent, digests
from varv.kernel.clock import Clock, Duration, Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.columns import SEGMENT, TIME
from varv.kernel.errors import InvalidInput
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.views import Views
from varv.kernel.wording import brief
from varv.loop.views import LoopView
from varv.registry import RegistryView
from varv.serving.backfill import with_later
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView

MOST_ROWS = 10_000
"""Rows of one answer of a server."""
MOST_LOOKED_AT = 20_000
"""Entries that one answer of a server looks through; the next one goes on from there."""
DECISIONS = frozenset(
    {
        *("loop.retrain_triggered", "loop.gates_judged", "loop.candidate_rejected"),
        *("loop.training_suspended", "loop.fault_planted", "registry.version_registered"),
        *("rollout.started", "rollout.shadow_started", "rollout.stepped", "rollout.held"),
        *("rollout.version_promoted", "rollout.rolled_back", "rollout.needs_human"),
        *("monitoring.alarm_raised", "monitoring.alarm_cleared", "monitoring.offset_allowed"),
        "data.batch_quarantined",
    }
)
"""Events that say what a loop decided, or what it decided on."""
_BATCH = 1000


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table; there are more if `after` is not empty: ask again with it."""

    rows: pl.DataFrame
    after: str = ""


class EntryFilter(NamedTuple):
    """Which entries of the ledger are asked for; what is empty leaves nothing out."""

    model: str = ""
    stream: str = ""
    event: str = ""
    decisions: bool = False
    since: Instant | None = None
    until: Instant | None = None

    def takes(self, entry: Entry) -> bool:
        """Return whether an entry is among them."""
        return (
            (not self.stream or entry.stream == self.stream)
            and (not self.event or entry.name == self.event)
            and (not self.model or _is_of(entry.stream, self.model))
            and (not self.decisions or _decides(entry))
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )


class _Span(NamedTuple):
    """When the requests of a segment were made, and how many there are."""

    first: int
    last: int
    n_rows: int


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
        self._spans: dict[str, dict[str, _Span]] = {}
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
        start, n_seen = _place(after, since)
        with self._views.reading(RoutingView) as routing:
            extents = routing.catalogue(model).extents()
        with self._lock:
            rows, end = self._requests(model, extents, (start, until), _plus(limit, n_seen))
            table = _cut(rows, "requested_at", n_seen, limit, end, until)
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
        start, n_seen = _place(after, since)
        spans = [
            _Span(one.first, one.last, one.n_rows)
            for one in self._datasets.extents(dataset, dataset.event_time, upto=version, remaining=remaining)
            if one.first is not None and one.last is not None
        ]
        spans = sorted(span for span in spans if span.first < until and span.last >= start)
        end = until if limit is None else _end(spans, limit + n_seen, start, until)
        with self._lock:
            found = self._datasets.read(
                dataset,
                version=version,
                known_at=known_at,
                since=start,
                until=Instant(end),
                remaining=remaining,
            )
        return _cut(found, dataset.event_time, n_seen, limit, end, until)

    def entries(self, wanted: EntryFilter, *, after: str = "", limit: int | None = None) -> Table:
        """Return entries of the ledger in their order, each as a line."""
        position, budget = _number(after), MOST_LOOKED_AT
        found: list[Entry] = []
        while entries := self._ledger.read(position, limit=_BATCH):
            for entry in entries:
                position = entry.seq
                found += [entry] if wanted.takes(entry) else []
                if limit is not None and len(found) == limit:
                    return Table(rows=_lines(found), after=str(position))
            budget -= len(entries)
            if limit is not None and budget <= 0:
                return Table(rows=_lines(found), after=str(position))
        return Table(rows=_lines(found))

    def listed(self, rows: pl.DataFrame, *, after: str = "", limit: int | None = None) -> Table:
        """Return a page of rows that are all there."""
        first = _number(after)
        page = rows.slice(first, limit)
        more = first + page.height < rows.height
        return Table(rows=page, after=str(first + page.height) if more else "")

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
        position, version = _place(after, Instant(0))
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
            upto = _enough([span for span, _ in order], taken, most)
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

    def _span_of(self, table: str, one: Extent) -> _Span:
        """Return when the requests of an extent were made; where no entry says it, it is looked at once."""
        if one.first is not None and one.last is not None:
            return _Span(one.first, one.last, one.n_rows)
        spans = self._spans.setdefault(table, {})
        if one.name not in spans:
            [rows] = self._columns.batches(table, digests([one]), columns=["requested_at"])
            at = rows["requested_at"].to_physical().to_numpy()
            spans[one.name] = _Span(int(at.min()), int(at.max()), len(at))
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


def _lines(entries: Sequence[Entry]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "seq": [entry.seq for entry in entries],
            "at": pl.Series([entry.at for entry in entries], dtype=pl.Int64).cast(TIME),
            "stream": [entry.stream for entry in entries],
            "event": [entry.name for entry in entries],
            "line": [brief(entry.event.line()) for entry in entries],
            "cause": [entry.cause for entry in entries],
        },
        schema_overrides={"seq": pl.Int64, "cause": pl.Int64, **dict.fromkeys(_TEXTS, pl.String)},
    )


_TEXTS = ("stream", "event", "line")


def _is_of(stream: str, model: str) -> bool:
    return stream.partition("/")[2].partition("/")[0] == model


def _decides(entry: Entry) -> bool:
    """Return whether an entry is a decision; an alarm is stated once and told to the loop once."""
    told = entry.name.startswith("monitoring.alarm_") and not entry.stream.startswith("alarms/")
    return entry.name in DECISIONS and not told


def _enough(spans: Sequence[_Span], taken: int, most: int | None) -> int:
    """Return up to which span to read on for `most` rows more."""
    n = 0
    for number in range(taken, len(spans)):
        n += spans[number].n_rows
        if most is not None and n >= most:
            return number + 1
    return len(spans)


def _end(spans: Sequence[_Span], most: int, start: Instant, until: Instant) -> int:
    """Return an instant up to which spans, in order, hold some `most` rows, after `start`."""
    n = 0
    for span, following in pairwise(spans):
        n += span.n_rows
        if n >= most and following.first > start:
            return following.first
    return until


def _cut(rows: pl.DataFrame, time: str, n_seen: int, limit: int | None, end: int, until: int) -> Table:
    """Return a page of rows in their order, all of those before `end`; `n_seen` were on the page before."""
    if limit is None:
        return Table(rows=rows)
    page = rows.slice(n_seen, limit)
    if n_seen + page.height == rows.height:
        return Table(rows=page, after=f"{end}.0" if end < until else "")
    last = page[time].to_physical()[-1]
    n_equal = int((rows[: n_seen + page.height][time].to_physical() == last).sum())
    return Table(rows=page, after=f"{last}.{n_equal}")


def _plus(limit: int | None, n: int) -> int | None:
    return None if limit is None else limit + n


def _place(after: str, since: Instant) -> tuple[Instant, int]:
    """Return where a page begins: an instant, and how many rows of that instant were given before."""
    at, _, n_seen = after.partition(".")
    return (Instant(_number(at)), _number(n_seen)) if after else (since, 0)


def _number(text: str) -> int:
    """Return a number out of a caller's `after`.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    digits = text.removeprefix("-")
    if text and not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        hint = "give what the page before said, or nothing for the first"
        raise InvalidInput("field", "after", "names no page", given=text[:40], hint=hint)
    return int(text or 0)
