"""Trainings of loops as runs: what a loop has put on record, in the words of tracking.

Nothing is recorded for it. A training's events become rows of the same tables that a client's runs are in:
the run of a version in the experiment of its model, with parameters, metrics, the rows that it was fitted on,
and how it ended. So a loop's history is there as runs from the first start on, also where it is older than
tracking.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event, digest_of
from varv.kernel.stated_tags import BECAME, CAME_FROM, with_one_more
from varv.kernel.wording import flat
from varv.loop.model import CandidateRejected, GatesJudged, RetrainTriggered
from varv.registry.model import VersionRegistered, training_run
from varv.runs import Point, RunTables, Series
from varv.runs.experiments import ARTIFACTS
from varv.runs.logged import LoggedTables
from varv.runs.logged.model import LoggedModelId, ModelDescribed
from varv.runs.logged.service import tags_of
from varv.runs.logged.tables import logged_no
from varv.runs.model import (
    DatasetInput,
    ExperimentCreated,
    ExperimentId,
    RunCreated,
    RunDescribed,
    RunEvent,
    RunId,
    RunLinked,
    RunUpdated,
    Status,
)
from varv.runs.rules import LONGEST_EXPERIMENT_TAG, LONGEST_PARAM, storable
from varv.runs.tables import METRIC

USER = "varv"
MODEL, VERSION, TRIGGERS, GATES, REJECTED = (
    f"varv.{name}" for name in ("model", "version", "triggers", "gates", "rejected")
)


class Trainings:
    """Folds what loops record of their trainings; a `kernel.recorder.Fold` over the tables of others.

    Parameters
    ----------
    tables, series
        Where runs and their metrics are.
    logged
        Where logged models are, which a version may have been brought from.
    """

    schema = ""
    events: tuple[type[Event], ...] = (RetrainTriggered, VersionRegistered, GatesJudged, CandidateRejected)

    def __init__(self, tables: RunTables, series: Series, logged: LoggedTables) -> None:
        self._tables = tables
        self._series = series
        self._logged = logged

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Take in one event; again changes nothing."""
        # Those of a loop name no model: their stream does.
        model = stream.partition("/")[2]
        match event:
            case RetrainTriggered():
                reasons = "; ".join(trigger.line() for trigger in event.triggers)
                self._begin(db, model, event.version, at, {TRIGGERS: reasons})
            case VersionRegistered():
                self._registered(db, event, at)
            case GatesJudged():
                verdicts = ", ".join(f"{result.gate} {result.verdict}" for result in event.results)
                told = f"{'passed' if event.passed else 'failed'}: {verdicts}"
                self._describe(db, training_run(model, event.version), {}, {GATES: told}, at)
            case CandidateRejected():
                self._rejected(db, model, event, at)
            case _:
                pass

    def forget(self) -> None:
        """Throw away what is remembered of rows, which is nothing."""

    def _begin(
        self, db: sqlite3.Connection, model: str, version: int, at: Instant, tags: Mapping[str, str]
    ) -> RunId:
        run = RunId(training_run(model, version))
        if self._tables.run(db, run) is None:
            event = RunCreated(
                run=run,
                experiment=self._experiment(db, model, at),
                name=f"v{version}",
                user=USER,
                started_ms=at // 1000,
                tags={MODEL: model, VERSION: str(version), "mlflow.user": USER, **tags},
            )
            self._fold(db, event, at)
        return run

    def _experiment(self, db: sqlite3.Connection, model: str, at: Instant) -> ExperimentId:
        row = db.execute("SELECT id FROM experiment WHERE name = ?", (model,)).fetchone()
        if row is not None:
            return ExperimentId(row[0])
        # An id that no client's experiment is given, and the same whenever the tables are folded.
        made = ExperimentId(str(10**17 + int(digest_of(model)[:14], 16)))
        told = {MODEL: model}
        event = ExperimentCreated(experiment=made, name=model, artifacts=f"{ARTIFACTS}/{made}", tags=told)
        self._fold(db, event, at)
        return made

    def _registered(self, db: sqlite3.Connection, event: VersionRegistered, at: Instant) -> None:
        run = self._begin(db, event.model, event.version, at, {})
        self._describe(db, run, _params(event), _tags(event), at)
        datasets = tuple(
            DatasetInput(
                name=use.dataset,
                digest=use.digest[:36],
                source_type="varv",
                source=f'{{"dataset":"{use.dataset}","version":{use.version},"digest":"{use.digest}"}}',
            )
            for use in event.datasets
        )
        self._fold(db, RunLinked(run=run, datasets=datasets), at)
        self._measure(db, run, event, at)
        self._end(db, run, "FINISHED", at)
        if event.imported is not None:
            self._became(db, event.imported.source, f"{event.model} v{event.version}", at)

    def _became(self, db: sqlite3.Connection, source: str, name: str, at: Instant) -> None:
        """Note of a logged model what came of it."""
        id = LoggedModelId(source.removeprefix("models:/"))
        no = logged_no(db, id)
        if no:
            tags = {BECAME: with_one_more(tags_of(db, no).get(BECAME, ""), name)}
            self._logged.apply(db, "", ModelDescribed(logged_model=id, tags=tags), at)

    def _measure(self, db: sqlite3.Connection, run: RunId, event: VersionRegistered, at: Instant) -> None:
        row = self._tables.run(db, run)
        assert row is not None, "it was just begun"
        points = [
            (
                self._tables.key(db, row.experiment, METRIC, one.name),
                0,
                one.at_ms,
                one.step,
                storable(one.value),
            )
            for one in _points(event, at)
        ]
        if points:
            self._series.derive(db, row.no, points)

    def _rejected(self, db: sqlite3.Connection, model: str, event: CandidateRejected, at: Instant) -> None:
        run = RunId(training_run(model, event.version))
        row = self._tables.run(db, run)
        if row is None:
            return
        self._describe(db, run, {}, {REJECTED: event.reason}, at)
        status = db.execute("SELECT ended_ms FROM run WHERE no = ?", (row.no,)).fetchone()
        if status[0] is None:
            # No version came of it.
            self._end(db, run, "FAILED", at)

    def _describe(
        self,
        db: sqlite3.Connection,
        run: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        at: Instant,
    ) -> None:
        cut = {name: value[:LONGEST_EXPERIMENT_TAG] for name, value in tags.items()}
        self._fold(db, RunDescribed(run=RunId(run), params=params, tags=cut), at)

    def _end(self, db: sqlite3.Connection, run: RunId, status: Status, at: Instant) -> None:
        self._fold(db, RunUpdated(run=run, status=status, ended_ms=at // 1000), at)

    def _fold(self, db: sqlite3.Connection, event: RunEvent, at: Instant) -> None:
        self._tables.apply(db, "", event, at)


def _params(event: VersionRegistered) -> dict[str, str]:
    told: dict[str, Any] = {
        **event.params,
        "seed": event.seed,
        "estimator": event.estimator,
        "strategy": event.strategy,
        "n_rows": event.n_rows,
    }
    return {name: str(value)[:LONGEST_PARAM] for name, value in flat(msgspec.to_builtins(told)).items()}


def _tags(event: VersionRegistered) -> dict[str, str]:
    told: dict[str, str | int | None] = {
        "varv.package": event.package,
        "varv.code": event.code,
        "varv.environment": event.environment,
        "varv.parent": event.parent,
        CAME_FROM: None if event.imported is None else event.imported.source or None,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _points(event: VersionRegistered, at: Instant) -> Iterator[Point]:
    """Yield the metrics of a version, those of each stretch that was judged as a curve, and those of a
    search.
    """
    for name, value in event.metrics.items():
        if value is not None:
            yield Point(name, value, at // 1000)
    # The last stretch is the first that is named.
    for step, fit in enumerate(reversed(event.judged)):
        for name, value in fit.metrics.items():
            if value is not None:
                yield Point(f"held-out/{name}", value, fit.until // 1000, step)
    for step, trial in enumerate(event.trials):
        if trial.loss is not None:
            yield Point("search/loss", trial.loss, at // 1000, step)
