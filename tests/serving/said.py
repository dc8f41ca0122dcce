"""Models of every task that always say the same, behind everything that answers requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.environment import environment
from varv.kernel.ids import ModelName
from varv.registry import Column, Package, Rows, Signature
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema
from varv.tasks import Task

NOW = instant("2024-05-02T09:30:00Z")
CLASSES = ["on time", "late", "lost"]
SAID = {
    "binary": (varv.task.binary(), (0.25,)),
    "multiclass": (varv.task.multiclass(classes=CLASSES), (0.5, 0.25, 0.25)),
    "regression": (varv.task.regression(range=(-60, 600)), (12.5,)),
    "quantiles": (varv.task.quantiles(levels=[0.1, 0.5, 0.9], range=(-60, 600)), (-1.5, 3.0, 40.0)),
    "ranking": (varv.task.ranking(group="query"), (2.5,)),
    "score": (varv.task.score(), (-0.75,)),
}
"""By name a task, and what its model says of every row."""


class Fixed(msgspec.Struct, frozen=True):
    """A model that says the same numbers of every row."""

    row: tuple[float, ...]

    def predict(self, rows: Rows) -> np.ndarray:
        """Return the numbers for every row."""
        return np.tile(np.array(self.row, dtype=np.float32), (len(rows), 1))


class FixedRuntime:
    """A runtime of models that say the same."""

    def load(self, package: Package, *, threads: int = 1) -> Fixed:
        """Return the model of a package."""
        return Fixed(msgspec.json.decode(package.file("row"), type=tuple[float, ...]))


def fixed(task: Task, row: Sequence[float]) -> Package:
    """Return a package whose model says `row` of everything."""
    return Package(
        estimator="fixed",
        signature=Signature((Column("x", "number"),)),
        environment=environment(),
        params={},
        seed=0,
        n_rows=1,
        task=task.spec,
        runtime="fixed",
        files={"row": msgspec.json.encode(list(row))},
        probe=((1.0,),),
        probe_scores=(tuple(row),),
    )


def schema_of(name: str, task: Task) -> RequestSchema:
    """Return the requests of a model that reads one number, ``x``, and is asked within a ``query``."""
    past = pl.DataFrame(
        {"id": ["a"], "asked_at": [NOW], "query": ["q"], "x": [1.0]},
        schema_overrides={"asked_at": pl.Datetime("us", "UTC")},
    )
    data = varv.Dataset("asked", source=varv.Frame(past), key="id", event_time="asked_at", known_at={})
    return RequestSchema(ModelName(name), data, FeatureSet(("x",), data), task, task.group)


def answering(folder: Path, name: str, task: Task, row: Sequence[float] | None) -> Answering:
    """Return what answers `row` to every request of a model, or nothing yet if it is None."""
    schema = schema_of(name, task)
    plane = DataPlane(task, FixedRuntime())
    if row is not None:
        plane.warm(1, fixed(task, row))
        plane.swap(table(1))
    log = CaptureLog(folder / name)
    engine = FeatureEngine(schema.features, schema.requests, FeatureStore())
    return Answering(schema, engine, plane, log, VirtualClock(NOW))


def all_answering(folder: Path) -> dict[ModelName, Answering]:
    """Return what answers for a model of each task, by its name."""
    return {ModelName(name): answering(folder, name, task, row) for name, (task, row) in SAID.items()}
