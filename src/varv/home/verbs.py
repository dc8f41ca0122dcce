"""The use cases that read a home: its state, why things are as they are, and its rows as tables.

A table comes a page at a time: `limit` rows at most, or as many as one answer holds, and `after` of the page
before to go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import polars as pl

from varv.data.versioning.references import parse_reference, version_meant
from varv.data.views import DatasetsView
from varv.home.comparison import COMPARISON_FILE, read_comparisons
from varv.home.data_status import PartStatus, data_status
from varv.home.entry_pages import EntryFilter, entries_page
from varv.home.listing import (
    alarms_frame,
    performance_frame,
    rollouts_frame,
)
from varv.home.model import Comparisons
from varv.home.paging import Table, page_of
from varv.home.records import Records
from varv.home.requirements import RequirementMatrix, requirements_of
from varv.home.status import StatusReport, status_report
from varv.home.why import Explanation, explain
from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.errors import NotFound
from varv.kernel.verbs import EXPORT, READ, verb
from varv.loop.views import LoopView
from varv.monitoring.views import MonitoringView
from varv.rollout.views import RolloutsView

_LAST = Instant(253_370_764_800_000_000)
"""The year 9999, after which there are no requests."""
T = TypeVar("T")


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""


class OfVersionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a version of a model: the champion if it is left out, of the only model of the home."""

    model: str = ""
    version: int | None = None


class WhyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to explain: a model, ``model/7``, a seq, a rollout, or the key of a prediction."""

    subject: str


class ReadAll(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses nothing: all that there is."""


class PredictionsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses predictions of a model, the only one of the home if it is left out, by the time of the request:
    from `since` on and before `until`, ISO 8601.
    """

    model: str = ""
    since: str = ""
    until: str = ""
    labelled: bool | None = None
    """Only those whose outcome is known, or only those whose is not; both if it is left out."""
    after: str = ""
    limit: int = 0


class MeasuredRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses days of a model that begin from `since` on and before `until`, ISO 8601."""

    model: str = ""
    since: str = ""
    until: str = ""
    after: str = ""
    limit: int = 0


class OfModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a model; the only one of the home if it is left out."""

    model: str = ""
    after: str = ""
    limit: int = 0


class EntriesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses entries of the ledger: of a model, a stream, an event's name, or decisions alone; from `since`
    on and before `until`, ISO 8601.
    """

    model: str = ""
    stream: str = ""
    event: str = ""
    decisions: bool = False
    since: str = ""
    until: str = ""
    after: str = ""
    limit: int = 0


class VersionsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a dataset."""

    dataset: str
    after: str = ""
    limit: int = 0


class RowsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses rows of a dataset: of a version, the latest if it is left out, with what was known at
    `known_at`, all if it is left out; and those whose event time is from `since` on and before `until`. The
    name may say which version: ``flights@12``, ``flights@tag``, ``flights@2013-05-01``. Of a version of which
    rows were erased the others are given if `remaining` asks for them.
    """

    dataset: str
    version: int | None = None
    known_at: str = ""
    since: str = ""
    until: str = ""
    remaining: bool = False
    after: str = ""
    limit: int = 0


class DatasetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset: its shape, its last version, and what became of the rows of each part."""

    dataset: str
    key: tuple[str, ...]
    event_time: str
    known_at: dict[str, tuple[str, ...]]
    types: dict[str, str]
    version: int
    parts: tuple[PartStatus, ...]


class DatasetList(msgspec.Struct, frozen=True, kw_only=True):
    """Every dataset that is registered, by name."""

    datasets: tuple[DatasetStatus, ...]


@verb("model.status", needs=READ)
def status(records: Records, asked: ModelRequest) -> StatusReport:
    """Show models, versions, shares, rollouts and alarms."""
    now, state = records.clock.now(), records.state
    return status_report(records.views, records.ledger, now, model=asked.model, state=state)


@verb("model.predictions", needs=EXPORT)
def predictions(records: Records, asked: PredictionsRequest) -> Table:
    """Read predictions of a window with features and outcomes."""
    since, until = _window(asked.since, asked.until)
    limit = records.tables.limit(asked.limit)
    model = records.model(asked.model)
    found = records.tables.predictions(model, since, until, after=asked.after, limit=limit)
    if asked.labelled is None:
        return found
    known = pl.col("outcome").is_not_null()
    return Table(rows=found.rows.filter(known if asked.labelled else ~known), after=found.after)


@verb("model.performance", needs=READ)
def performance(records: Records, asked: MeasuredRequest) -> Table:
    """Read what was measured day by day, of champions and of candidates that answered."""
    since, until = _window(asked.since, asked.until)
    model = records.model(asked.model)
    with records.views.reading(MonitoringView) as view, records.views.reading(LoopView) as loops:
        measured = [one for version in view.versions(model) for one in view.series(model, version)]
        within = [one for one in measured if since <= one.window.start < until]
        ordered = sorted(within, key=lambda one: (one.window, one.version))
        return _page(records, performance_frame(ordered, loops.task(model)), asked)


@verb("model.alarms", needs=READ)
def alarms(records: Records, asked: OfModelRequest) -> Table:
    """Read every alarm of a model, the newest first."""
    model = records.model(asked.model)
    with records.views.reading(MonitoringView) as view:
        return _page(records, alarms_frame(view.alarms(model)), asked)


@verb("model.rollouts", needs=READ)
def rollouts(records: Records, asked: OfModelRequest) -> Table:
    """Read every rollout of a model, the oldest first."""
    model = records.model(asked.model)
    with records.views.reading(RolloutsView) as view:
        return _page(records, rollouts_frame(view.of_model(model)), asked)


@verb("model.requirements", needs=READ)
def requirements(records: Records, asked: OfVersionRequest) -> RequirementMatrix:
    """Show what is required of a model, and what is proved of a version by which entry."""
    return requirements_of(records.views, records.model(asked.model), asked.version)


@verb("ledger.why", needs=READ)
def why(records: Records, asked: WhyRequest) -> Explanation:
    """Explain a decision, a version or a prediction to its root."""
    return explain(records.home, records.ledger, records.views, asked.subject)


@verb("ledger.entries", needs=READ)
def entries(records: Records, asked: EntriesRequest) -> Table:
    """Read entries of the ledger, each as a line."""
    wanted = EntryFilter(
        model=records.model(asked.model) if asked.model else "",
        stream=asked.stream,
        event=asked.event,
        decisions=asked.decisions,
        since=_given(asked.since, instant),
        until=_given(asked.until, instant),
    )
    return entries_page(records.ledger, wanted, after=asked.after, limit=records.tables.limit(asked.limit))


@verb("dataset.list", needs=READ)
def datasets(records: Records, asked: ReadAll) -> DatasetList:
    """Show every dataset: its shape, its last version, and what became of its rows."""
    parts = data_status(records.views)
    with records.views.reading(DatasetsView) as view:
        return DatasetList(
            datasets=tuple(
                DatasetStatus(
                    dataset=one.dataset,
                    key=one.key,
                    event_time=one.event_time,
                    known_at=dict(one.known_at),
                    types=one.types,
                    version=view.version(one.dataset),
                    parts=tuple(part for part in parts if part.dataset == one.dataset),
                )
                for one in view.datasets()
            )
        )


@verb("dataset.versions", needs=READ)
def dataset_versions(records: Records, asked: VersionsRequest) -> Table:
    """Read the versions of a dataset, each with the batch that made it."""
    tables = records.tables
    name = tables.dataset(asked.dataset).name
    return tables.versions(name, after=asked.after, limit=tables.limit(asked.limit))


@verb("dataset.rows", needs=EXPORT)
def dataset_rows(records: Records, asked: RowsRequest) -> Table:
    """Read rows of a dataset as of any version and instant."""
    since, until = _window(asked.since, asked.until)
    reference, version = parse_reference(asked.dataset), asked.version
    if version is None and str(reference) != reference.dataset:
        version = version_meant(reference, records.views, records.ledger)
    return records.tables.rows(
        reference.dataset,
        since,
        until,
        version=version,
        known_at=_given(asked.known_at, instant),
        remaining=asked.remaining,
        after=asked.after,
        limit=records.tables.limit(asked.limit),
    )


@verb("replay.comparison", needs=READ)
def comparison(records: Records, asked: ReadAll) -> Comparisons:
    """Show how the policies of the home's replay compare.

    Raises
    ------
    NotFound
        If the home holds no finished replay.
    """
    try:
        return read_comparisons((records.home / COMPARISON_FILE).read_bytes())
    except FileNotFoundError:
        hint = "finish one: varv replay FILE, or varv.replay(model)"
        raise NotFound("replay", "", "has not been finished in this home", hint=hint) from None


def _window(since: str, until: str) -> tuple[Instant, Instant]:
    return _given(since, instant) or Instant(-DAY), _given(until, instant) or _LAST


def _given(text: str, read: Callable[[str], T]) -> T | None:
    return read(text) if text else None


def _page(
    records: Records, rows: pl.DataFrame, asked: MeasuredRequest | OfModelRequest | VersionsRequest
) -> Table:
    """Return the page of rows that was asked for."""
    return page_of(rows, after=asked.after, limit=records.tables.limit(asked.limit))
