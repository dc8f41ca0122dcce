"""Searches of runs and experiments, and histories of metrics, as the protocol has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from varv.fronts.mlflow import experiments
from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.routes import Route
from varv.fronts.mlflow.runs import ByRun, document
from varv.kernel.errors import InvalidInput
from varv.runs import reading
from varv.runs.encoded import Encoded
from varv.runs.experiment_search import ExperimentQuery, experiment_page
from varv.runs.histories import datasets_of, page_of, points_of, sampled
from varv.runs.search import DEFAULT_RESULTS, Query, RunSearch, View

VIEWS: tuple[View, ...] = ("ACTIVE_ONLY", "DELETED_ONLY", "ALL")
MOST_RUNS = 100
"""Whose histories are asked for together."""
MOST_SAMPLES = 2500
"""Of one run."""
MOST_POINTS = 25_000
MOST_EXPERIMENTS = 20
"""Whose datasets are asked for together."""


class SearchRuns(msgspec.Struct):
    """Asks for runs."""

    experiment_ids: list[str | int] = []
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int = DEFAULT_RESULTS
    order_by: list[str] = []
    page_token: str = ""


class SearchExperiments(msgspec.Struct):
    """Asks for experiments."""

    filter: str = ""
    view_type: str | int = "ACTIVE_ONLY"
    max_results: int = DEFAULT_RESULTS
    order_by: list[str] = []
    page_token: str = ""


class SearchDatasets(msgspec.Struct):
    """Asks for the datasets that the runs of experiments have read."""

    experiment_ids: list[str | int] = []


class GetHistory(ByRun):
    """Asks for the points of a metric of one run."""

    metric_key: str = ""
    max_results: int | None = None
    page_token: str = ""


class GetHistories(msgspec.Struct):
    """Asks for the points of a metric of several runs."""

    run_id: list[str] = []
    metric_key: str = ""
    max_results: int = MOST_POINTS


class GetSamples(msgspec.Struct):
    """Asks for some points of a metric of several runs, as many as a curve needs."""

    run_ids: list[str] = []
    metric_key: str = ""
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = MOST_SAMPLES


class Point(msgspec.Struct, omit_defaults=True):
    """A point as the protocol has it."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str = ""


class Searches:
    """The desk of searches.

    Parameters
    ----------
    search
        Finds runs.
    """

    def __init__(self, search: RunSearch) -> None:
        self.search = search
        self.encoded = Encoded(_encoded)


def _encoded(db: sqlite3.Connection, runs: Sequence[int]) -> list[bytes]:
    found = reading.runs(db, runs)
    for run in found:
        # MLflow's searches name the models that a run has made, and not those that it has read.
        run.models.clear()
    return [msgspec.json.encode(document(run)) for run in found]


def _runs(desk: Searches, asked: SearchRuns) -> dict[str, Any]:
    query = Query(
        experiments=tuple(map(str, asked.experiment_ids)),
        filter=asked.filter,
        orders=tuple(asked.order_by),
        view=_view(asked.run_view_type),
        most=asked.max_results,
        token=asked.page_token,
    )
    with desk.search.reading() as db:
        page = desk.search.page(db, query)
        found = desk.encoded.of(db, page.runs)
    return _page("runs", [msgspec.Raw(run) for run in found], page.token)


def _experiments(desk: Searches, asked: SearchExperiments) -> dict[str, Any]:
    query = ExperimentQuery(
        asked.filter, tuple(asked.order_by), _view(asked.view_type), asked.max_results, asked.page_token
    )
    with desk.search.recorder.reading() as db:
        page = experiment_page(db, query)
        found = [experiments.document(one) for one in reading.experiments(db, page.runs)]
    return _page("experiments", found, page.token)


def _page(kind: str, found: Sequence[object], token: str) -> dict[str, Any]:
    return ({kind: found} if found else {}) | ({"next_page_token": token} if token else {})


def _view(view: str | int) -> View:
    for place, known in enumerate(VIEWS, 1):
        if view in (known, place, str(place)):
            return known
    raise InvalidInput("view type", str(view)[:40], "does not exist", hint=f"use {', '.join(VIEWS)}")


def _history(desk: Searches, asked: GetHistory) -> dict[str, Any]:
    given(asked, "metric_key")
    if not asked.run:
        given(asked, "run_id")
    with desk.search.recorder.reading() as db:
        page, token = page_of(points_of(db, asked.run, asked.metric_key), asked.max_results, asked.page_token)
        points = _points(asked.metric_key, page)
    return ({"metrics": points} if points else {}) | ({"next_page_token": token} if token else {})


def _histories(desk: Searches, asked: GetHistories) -> dict[str, Any]:
    _require_runs("run_id", asked.run_id)
    given(asked, "metric_key")
    most = min(asked.max_results, MOST_POINTS)
    found: list[Point] = []
    with desk.search.recorder.reading() as db:
        for run in sorted(asked.run_id):
            page, _ = page_of(points_of(db, run, asked.metric_key), most, "")
            found += _points(asked.metric_key, page, run)
    return {"metrics": found[:most]}


def _samples(desk: Searches, asked: GetSamples) -> dict[str, Any]:
    _require_runs("run_ids", asked.run_ids)
    given(asked, "metric_key")
    if not 1 <= asked.max_results <= MOST_SAMPLES:
        raise InvalidInput("max_results", asked.max_results, f"is not between 1 and {MOST_SAMPLES}")
    found: list[Point] = []
    with desk.search.recorder.reading() as db:
        for run in asked.run_ids:
            points = sampled(points_of(db, run, asked.metric_key), asked.max_results, _steps(asked))
            found += _points(asked.metric_key, points, run)
    return {"metrics": found} if found else {}


def _steps(asked: GetSamples) -> tuple[int, int] | None:
    first, last = asked.start_step, asked.end_step
    if first is None and last is None:
        return None
    if first is None or last is None:
        raise InvalidInput("request", "", "has one of start_step and end_step", hint="send both or neither")
    if first > last:
        raise InvalidInput("start_step", first, "is greater than end_step", end_step=last)
    return first, last


def _points(metric: str, points: np.ndarray, run: str = "") -> list[Point]:
    columns = (points[name].tolist() for name in ("value", "at", "step"))
    return [
        Point(metric, "NaN" if value != value else value, at, step, run)
        for value, at, step in zip(*columns, strict=True)
    ]


def _datasets(desk: Searches, asked: SearchDatasets) -> dict[str, Any]:
    n = len(asked.experiment_ids)
    if not 1 <= n <= MOST_EXPERIMENTS:
        hint = f"name between 1 and {MOST_EXPERIMENTS}"
        raise InvalidInput("request", "", "names no experiment, or too many", found=n, hint=hint)
    with desk.search.recorder.reading() as db:
        found = datasets_of(db, [str(one) for one in asked.experiment_ids])
    summaries = [
        {
            "experiment_id": one.experiment,
            "name": one.name,
            "digest": one.digest,
            **({"context": one.context} if one.context is not None else {}),
        }
        for one in found
    ]
    return {"dataset_summaries": summaries} if summaries else {}


def _require_runs(name: str, runs: Sequence[str]) -> None:
    if not 1 <= len(runs) <= MOST_RUNS:
        hint = f"name between 1 and {MOST_RUNS} in {name}"
        raise InvalidInput("request", "", "names no run, or too many", found=len(runs), hint=hint)


routes = (
    Route("POST", "runs/search", SearchRuns, _runs, slow=True),
    Route("POST", "experiments/search", SearchExperiments, _experiments, slow=True),
    Route("GET", "experiments/search", SearchExperiments, _experiments, slow=True),
    Route("POST", "experiments/search-datasets", SearchDatasets, _datasets, slow=True),
    Route("GET", "metrics/get-history", GetHistory, _history, slow=True),
    Route("GET", "metrics/get-history-bulk", GetHistories, _histories, slow=True),
    Route("GET", "metrics/get-history-bulk-interval", GetSamples, _samples, slow=True),
)
