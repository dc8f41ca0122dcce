"""Source and home compared, once all is here: how many runs there are, all of the registry, and a hundredth
of the runs with every point and of the traces with every span.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from varv.home.moving.places import Places
from varv.home.moving.ports import Source
from varv.home.moving.report import MoveReport
from varv.home.moving.taking import Taker
from varv.kernel.codec import digest_of
from varv.kernel.errors import NotFound
from varv.kernel.stated_tags import free
from varv.registry import reading as registry_reading
from varv.registry.imports import SourceRegistered, SourceVersion
from varv.runs import Point, reading
from varv.runs.histories import points_of
from varv.runs.imports import SourceExperiment, SourceRun, SourceTrace
from varv.runs.imports.traces import same_spans
from varv.runs.rules import storable
from varv.runs.tables import experiment_no
from varv.runs.traces import reading as trace_reading
from varv.runs.traces.model import Span
from varv.runs.traces.rules import require_words

ONE_IN = 100
LEAST = 20
"""Runs that are compared with all their points, if there are so many."""
MOST = 2000


class Checking:
    """The comparison of a source with a home.

    Parameters
    ----------
    source
        Is asked again for what is compared.
    report
        Gets what differs.
    """

    def __init__(self, source: Source, taker: Taker, places: Places, report: MoveReport) -> None:
        self._source, self._taker, self._places, self._report = source, taker, places, report
        self._n_runs: Counter[str] = Counter()
        self._sample: list[SourceRun] = []
        self._traces: list[SourceTrace] = []

    def seen(self, runs: Sequence[SourceRun]) -> None:
        """Take note of runs that were brought, and choose some of them."""
        for run in runs:
            self._n_runs[run.experiment] += 1
            if _is_chosen(len(self._sample), run.id):
                self._sample.append(run)

    def seen_traces(self, traces: Sequence[SourceTrace]) -> None:
        """Take note of traces that were brought, and choose some of them."""
        self._traces += [
            one for place, one in enumerate(traces, len(self._traces)) if _is_chosen(place, one.info.id)
        ]

    def compare(self, experiments: Iterable[SourceExperiment]) -> None:
        """Compare what is at the source now with what is here."""
        with self._taker.reading() as db:
            for one in experiments:
                for difference in self._counts(db, one):
                    self._report.differences.add(difference)
            for run, points in self._source.points(self._sample):
                self._report.n_compared += 1
                for difference in _run_differences(db, run, points):
                    self._report.differences.add(difference)
            for trace, spans in self._source.spans(self._traces):
                self._report.n_traces_compared += 1
                for difference in _trace_differences(db, trace, spans):
                    self._report.differences.add(difference)
            for model in self._source.registered():
                for difference in _model_differences(db, self._places.moved(model)):
                    self._report.differences.add(difference)

    def _counts(self, db: sqlite3.Connection, one: SourceExperiment) -> Iterator[str]:
        query = "SELECT count(*) FROM run WHERE experiment = ?"
        here = db.execute(query, (experiment_no(db, one.id),)).fetchone()[0]
        if here < self._n_runs[one.id]:
            yield f"experiment {one.id} has {here} runs here and {self._n_runs[one.id]} at the source"


def _is_chosen(n_chosen: int, id: str) -> bool:
    """Return whether one more is compared: the first few, and then one in a hundred."""
    return n_chosen < LEAST or (n_chosen < MOST and int(digest_of(id)[:8], 16) % ONE_IN == 0)


def _run_differences(db: sqlite3.Connection, run: SourceRun, points: Sequence[Point]) -> Iterator[str]:
    try:
        here = reading.run(db, run.id)
    except NotFound:
        yield f"run {run.id} is not here"
        return
    for name, mine, theirs in (
        ("experiment", here.experiment, run.experiment),
        ("name", here.name, run.name),
        ("user", here.user, run.user),
        ("status", here.status, run.status),
        ("start", here.started_ms, run.started_ms),
        ("end", here.ended_ms, run.ended_ms),
        ("stage", here.deleted, run.deleted),
        ("n_datasets", len(here.datasets), len(run.datasets)),
        ("n_outputs", len(here.outputs), len(run.outputs)),
    ):
        if mine != theirs:
            yield f"run {run.id} has {name} {mine!r} here and {theirs!r} at the source"
    yield from _words_missing(f"run {run.id}", {**here.params, **here.tags}, {**run.params, **run.tags})
    yield from _points_missing(db, run, points)


def _trace_differences(db: sqlite3.Connection, one: SourceTrace, spans: Sequence[Span]) -> Iterator[str]:
    subject = f"trace {one.info.id}"
    try:
        here = trace_reading.trace(db, one.info.id)
    except NotFound:
        yield f"{subject} is not here"
        return
    fields = ("experiment", "at_ms", "took_ms", "state", "client_request")
    yield from _different(subject, here.info, one.info, fields)
    there = require_words("tags", one.info.tags) | require_words("metadata", one.info.metadata)
    yield from _words_missing(subject, {**here.info.metadata, **here.info.tags}, there)
    judged = {made.id: made for made in here.assessments}
    for made in one.assessments:
        if judged.get(made.id) != made:
            yield f"{subject} has another assessment {made.id} here than at the source"
    mine = trace_reading.spans(db, here, partial=True) if here.has_spans else []
    if not same_spans(mine, spans):
        yield f"{subject} has {len(mine)} spans here that are not the {len(spans)} at the source"


def _points_missing(db: sqlite3.Connection, run: SourceRun, points: Sequence[Point]) -> Iterator[str]:
    there = defaultdict[str, set[tuple[int, int, str]]](set)
    for point in points:
        there[point.name].add(_shown(point.at_ms, point.step, storable(point.value)))
    for name, shown in there.items():
        found = points_of(db, run.id, name)
        if missing := shown - {_shown(*point) for point in found[["at", "step", "value"]].tolist()}:
            yield f"metric {name} of run {run.id} lacks {len(missing)} points here"


def _shown(at_ms: int, step: int, value: float) -> tuple[int, int, str]:
    return at_ms, step, repr(value)  # what is no number is not equal to itself


def _words_missing(subject: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    for name, value in there.items():
        if here.get(name) != value:
            yield f"{subject} has another {name} here than at the source"


def _model_differences(db: sqlite3.Connection, one: SourceRegistered) -> Iterator[str]:
    subject = f"registered model {one.name}"
    try:
        here = registry_reading.registered_model(db, one.name)
    except NotFound:
        yield f"{subject} is not here"
        return
    yield from _words_missing(subject, here.tags, one.tags)
    yield from _different(subject, here, one, ("description", "created_ms", "updated_ms"))
    for alias, number in one.aliases.items():
        if (mine := here.aliases.get(alias)) != number:
            yield f"{subject} has alias {alias} at v{mine} here and at v{number} at the source"
    for version in one.versions:
        yield from _version_differences(db, one.name, version)


def _version_differences(db: sqlite3.Connection, name: str, one: SourceVersion) -> Iterator[str]:
    subject = f"model version {name} v{one.number}"
    try:
        here = registry_reading.version(db, name, one.number)
    except NotFound:
        yield f"{subject} is not here"
        return
    yield from _words_missing(subject, here.tags, free(one.tags))
    fields = ("source", "storage", "stage", "run", "run_link", "description", "created_ms", "updated_ms")
    yield from _different(subject, here, one, fields)


def _different(subject: str, here: Any, there: Any, fields: Iterable[str]) -> Iterator[str]:
    for field in fields:
        mine, theirs = getattr(here, field), getattr(there, field)
        if mine != theirs:
            yield f"{subject} has {field} {mine!r} here and {theirs!r} at the source"
