"""The use cases that look at runs and compare them. What they ask of a home is in `home.tracking.looking`.

Who may read runs is decided as for clients of MLflow's protocol, so with a token they are its holder's only.
"""

from __future__ import annotations

import msgspec

from varv.home.tracking.looking import RunDesk, lines_of
from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import EXPORT, verb
from varv.runs.artifacts import Artifact
from varv.runs.comparing import (
    Difference,
    MetricDifference,
    RunLine,
    differences,
    line_of,
    metric_differences,
)
from varv.runs.curves import BUCKETS, Axis, Curves
from varv.runs.filters import Part
from varv.runs.goals import Goal, goal_of
from varv.runs.model import DatasetInput, ModelInput, ModelOutput

DEFAULT_LIMIT = 100
FEW = 10


class RunsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses runs: of experiments by their ids or names, of all if none is named; `where` a filter with AND,
    OR, parentheses, min() and max(); `order` fields such as ``max(metrics.auc) desc``.
    """

    where: str = ""
    order: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    deleted: bool = False
    """Those that were deleted, in place of those that were not."""
    limit: int = DEFAULT_LIMIT
    after: str = ""


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Runs in their order, and what asks for the next ones; nothing after the last."""

    runs: tuple[RunLine, ...]
    after: str = ""


class ShowRunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names a run by its id, or by how it begins."""

    run: str


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact."""

    path: str
    size_bytes: int
    digest: str


class ModelVersionOfRun(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version that a run has made."""

    model: str
    version: int


class RunShown(msgspec.Struct, frozen=True, kw_only=True):
    """A run with what it read, made and kept."""

    run: RunLine
    experiment: str
    """Its name."""
    datasets: tuple[DatasetInput, ...]
    models: tuple[ModelInput, ...]
    outputs: tuple[ModelOutput, ...]
    versions: tuple[ModelVersionOfRun, ...]
    artifacts: tuple[KeptFile, ...]


class DiffRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Names two runs or more; with `everything` what is equal is told as well."""

    runs: tuple[str, ...]
    everything: bool = False


class RunsDiff(msgspec.Struct, frozen=True, kw_only=True):
    """In what runs differ; values are in the order of `runs`."""

    runs: tuple[RunLine, ...]
    rows: tuple[Difference, ...]
    metrics: tuple[MetricDifference, ...]


class BestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses the best runs by a metric: by its last value, or the least or the greatest it ever had."""

    metric: str
    goal: Goal | None = None
    """Left out, the metric's name has to say it."""
    by: Part = "last"
    where: str = ""
    experiments: tuple[str, ...] = ()
    limit: int = FEW


class BestRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The best runs, the best one first."""

    metric: str
    goal: Goal
    by: Part
    runs: tuple[RunLine, ...]


class CurvesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Chooses metrics of runs, and how they are drawn: over steps, or milliseconds since each run began, or
    since 1970; `smoothing` from 0 to below 1; `group` a parameter or a tag, ``params.depth``.
    """

    runs: tuple[str, ...]
    metrics: tuple[str, ...]
    axis: Axis = "step"
    buckets: int = BUCKETS
    smoothing: float = 0.0
    group: str = ""


@verb("runs.list", needs=EXPORT)
def list_runs(desk: RunDesk, asked: RunsRequest) -> RunList:
    """List runs by a filter and an order."""
    with desk.search.reading() as db:
        page = desk.page(
            db,
            experiments=asked.experiments,
            where=asked.where,
            order=asked.order,
            limit=asked.limit,
            token=asked.after,
            view="DELETED_ONLY" if asked.deleted else "ACTIVE_ONLY",
        )
    return RunList(runs=lines_of(page.runs), after=page.token)


@verb("runs.show", needs=EXPORT)
def show_run(desk: RunDesk, asked: ShowRunRequest) -> RunShown:
    """Show a run: parameters, metrics, inputs, outputs and artifacts."""
    with desk.search.reading() as db:
        run = desk.run(db, asked.run)
        return RunShown(
            run=line_of(run),
            experiment=desk.experiment(db, run.experiment).name,
            datasets=tuple(run.datasets),
            models=tuple(run.models),
            outputs=tuple(run.outputs),
            versions=tuple(
                ModelVersionOfRun(model=model, version=version)
                for model, version in desk.versions(db, run.id)
            ),
            artifacts=tuple(kept_file(one) for one in desk.files(db, run.id)),
        )


@verb("runs.diff", needs=EXPORT)
def diff(desk: RunDesk, asked: DiffRequest) -> RunsDiff:
    """Say in what runs differ: parameters, metrics, data, artifacts, code and environment."""
    with desk.search.reading() as db:
        compared = [desk.compared(db, run) for run in desk.chosen(db, asked.runs)]
    lines = lines_of(one.run for one in compared)
    return RunsDiff(
        runs=lines,
        rows=differences(compared, all_rows=asked.everything),
        metrics=metric_differences(lines, all_rows=asked.everything),
    )


@verb("runs.best", needs=EXPORT)
def best(desk: RunDesk, asked: BestRequest) -> BestRuns:
    """Find the best runs by a metric."""
    goal = asked.goal or goal_of(asked.metric)
    if goal is None:
        raise InvalidInput(
            "goal", asked.metric[:80], "is not said by the metric's name", hint="say min or max"
        )
    if "`" in asked.metric:
        raise InvalidInput("metric", asked.metric[:80], "has a backtick in its name")
    field = f"metrics.`{asked.metric}`"
    order = f"{field if asked.by == 'last' else f'{asked.by}({field})'} {'asc' if goal == 'min' else 'desc'}"
    with desk.search.reading() as db:
        page = desk.page(
            db, experiments=asked.experiments, where=asked.where, order=(order,), limit=asked.limit
        )
    # Those without the metric come last, and are not the best of anything.
    runs = tuple(one for one in lines_of(page.runs) if asked.metric in one.metrics)
    return BestRuns(metric=asked.metric, goal=goal, by=asked.by, runs=runs)


@verb("runs.curves", needs=EXPORT)
def curves(desk: RunDesk, asked: CurvesRequest) -> Curves:
    """Read curves of metrics, in buckets with their least, greatest and last value."""
    with desk.search.reading() as db:
        runs = [desk.run(db, one) for one in dict.fromkeys(asked.runs)]
        return desk.curves(
            db,
            runs,
            asked.metrics,
            axis=asked.axis,
            n_buckets=asked.buckets,
            smoothing=asked.smoothing,
            group=asked.group,
        )


def kept_file(one: Artifact) -> KeptFile:
    """Return a file as it is told."""
    return KeptFile(path=one.path, size_bytes=one.size or 0, digest=one.digest or "")
