"""What a run is at a glance, and in what several runs differ. Pure: runs in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from varv.runs.goals import Goal, goal_of
from varv.runs.model import Status
from varv.runs.reading import Metric, Run

Part = Literal["run", "param", "tag", "dataset", "model", "artifact", "source", "made from"]
PARTS: tuple[Part, ...] = ("run", "param", "source", "made from", "dataset", "model", "artifact", "tag")
"""In the order in which they are shown; ``made from`` is what `varv run` has captured."""
SYSTEM = "system/"
"""Begins the names of what was measured of the machine."""
CONTEXT = "mlflow.data.context"
SOURCE = {
    "mlflow.source.name": "entry point",
    "mlflow.source.git.commit": "commit",
    "mlflow.source.git.branch": "branch",
    "mlflow.source.git.repoURL": "repository",
    "mlflow.docker.image.name": "image",
}
"""Tags that say what code ran."""
_SHOWN_ELSEWHERE = frozenset({*SOURCE, "mlflow.runName", "mlflow.user", "mlflow.log-model.history"})


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a metric of a run: its last value and its bounds. What is no number is None."""

    last: float | None
    step: int
    at_ms: int
    n: int
    min: float | None
    max: float | None
    first: float | None


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run at a glance."""

    run: str
    experiment: str
    """Its id."""
    name: str
    user: str
    status: Status
    started_ms: int
    ended_ms: int | None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: dict[str, Measured] = {}
    deleted: bool = False


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something in which runs differ: a value for each, in their order; None where a run has none."""

    part: Part
    name: str
    values: tuple[str | None, ...]


class MetricDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that is not the same in all runs, in their order.

    `goal` is which way it is better, if its name says so, and `best` the place of the run whose last value
    is; -1 for none.
    """

    name: str
    values: tuple[Measured | None, ...]
    goal: Goal | None
    best: int = -1


@dataclass(frozen=True, slots=True)
class Compared:
    """A run with what is compared beside its own fields.

    Attributes
    ----------
    files
        The digest of each artifact by path.
    made_from
        What `varv run` has captured, by dotted name.
    """

    run: Run
    files: Mapping[str, str] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)


def line_of(run: Run) -> RunLine:
    """Return a run at a glance."""
    return RunLine(
        run=run.id,
        experiment=run.experiment,
        name=run.name,
        user=run.user,
        status=run.status,
        started_ms=run.started_ms,
        ended_ms=run.ended_ms,
        params=dict(sorted(run.params.items())),
        tags=dict(sorted(run.tags.items())),
        metrics={one.name: measured(one) for one in sorted(run.metrics, key=lambda one: one.name)},
        deleted=run.deleted,
    )


def measured(metric: Metric) -> Measured:
    """Return what is known of a metric."""
    known = metric.glance
    return Measured(
        last=known.value,
        step=known.step,
        at_ms=known.at_ms,
        n=known.n,
        min=known.low,
        max=known.high,
        first=known.first,
    )


def differences(runs: Sequence[Compared], *, all_rows: bool = False) -> tuple[Difference, ...]:
    """Return in what runs differ but for their metrics, by `PARTS` and name; with `all_rows` what is equal as
    well.
    """
    rows = []
    for part, values_of in _VALUES.items():
        told = [values_of(one) for one in runs]
        for name in dict.fromkeys(name for some in told for name in sorted(some)):
            values = tuple(some.get(name) for some in told)
            if all_rows or any(value != values[0] for value in values):
                rows.append(Difference(part=part, name=name, values=values))
    return tuple(sorted(rows, key=lambda row: PARTS.index(row.part)))


def metric_differences(runs: Sequence[RunLine], *, all_rows: bool = False) -> tuple[MetricDifference, ...]:
    """Return in which metrics runs differ, by name: in their last, least or greatest value, or in having
    them.
    """
    rows = []
    for name in sorted({name for run in runs for name in run.metrics}):
        values = tuple(run.metrics.get(name) for run in runs)
        told = {None if one is None else (one.last, one.min, one.max) for one in values}
        if all_rows or len(told) > 1:
            goal = goal_of(name)
            rows.append(MetricDifference(name=name, values=values, goal=goal, best=_best(values, goal)))
    return tuple(rows)


def _best(values: Sequence[Measured | None], goal: Goal | None) -> int:
    known = [
        (one.last, place) for place, one in enumerate(values) if one is not None and one.last is not None
    ]
    if goal is None or len({value for value, _ in known}) < 2:
        return -1
    return (min if goal == "min" else max)(known, key=lambda one: one[0])[1]


def _of_run(one: Compared) -> dict[str, str]:
    run = one.run
    took = {} if run.ended_ms is None else {"took": f"{(run.ended_ms - run.started_ms) / 1000:.1f} s"}
    return {"experiment": run.experiment, "status": run.status, "user": run.user, **took}


def _datasets(one: Compared) -> dict[str, str]:
    found = {}
    for dataset in one.run.datasets:
        context = next((tag.value for tag in dataset.tags if tag.key == CONTEXT), "")
        found[f"{dataset.name} ({context})" if context else dataset.name] = dataset.digest
    return found


def _models(one: Compared) -> dict[str, str]:
    read = {f"read {place}": model.model_id for place, model in enumerate(one.run.models, 1)}
    made = {f"made at step {model.step}": model.model_id for model in one.run.outputs}
    return read | made


def _tags(one: Compared) -> dict[str, str]:
    return {name: value for name, value in one.run.tags.items() if name not in _SHOWN_ELSEWHERE}


def _source(one: Compared) -> dict[str, str]:
    return {told: one.run.tags[tag] for tag, told in SOURCE.items() if tag in one.run.tags}


_VALUES: dict[Part, Callable[[Compared], Mapping[str, str]]] = {
    "run": _of_run,
    "param": lambda one: one.run.params,
    "source": _source,
    "made from": lambda one: one.made_from,
    "dataset": _datasets,
    "model": _models,
    "artifact": lambda one: one.files,
    "tag": _tags,
}


def leaves(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield all that a document of JSON holds, each with its dotted name, as text.

    Examples
    --------
    >>> dict(leaves({"source": {"commit": "ab12"}, "data": ["a", "b"], "lock": None}))
    {'source.commit': 'ab12', 'data.0': 'a', 'data.1': 'b'}
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{name}.{place}")
    elif value is not None:
        yield name, str(value)


def varying(lines: Sequence[RunLine]) -> tuple[list[str], list[str]]:
    """Return the parameters that are not the same in all runs, by name, and the metrics, those that vary
    first.
    """
    params = sorted({name for line in lines for name in line.params})
    vary = [name for name in params if len({line.params.get(name) for line in lines}) > 1]
    metrics = sorted({name for line in lines for name in line.metrics if not name.startswith(SYSTEM)})
    last = {
        name: {one.last if (one := line.metrics.get(name)) else None for line in lines} for name in metrics
    }
    return vary, sorted(metrics, key=lambda name: len(last[name]) < 2)
