"""What tests of packaging share: training sets, packages of what was fitted on them, and their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from varv.adapters.runtimes import installed_runtimes
from varv.kernel.environment import environment
from varv.registry import Package, open_package, signature_of
from varv.tasks import Task, task_of
from varv.training import TrainingSet, build_package

RUNTIMES = installed_runtimes()
BINARY = task_of("binary")


def given(rows: pl.DataFrame | np.ndarray, y: np.ndarray, *, seed: int = 3) -> TrainingSet:
    """Return the training set of some rows; the columns of a matrix are called a, b, c, ..."""
    if isinstance(rows, np.ndarray):
        rows = framed(rows)
    signature = signature_of(rows, tuple(rows.columns))
    return TrainingSet(rows, y, np.arange(rows.height, dtype=np.int64), signature, seed=seed)


NUMBERS = (
    *("distance", "built", "seats", "sched_hour", "sched_minute", "weekday"),
    *("flights_in_hour", "evening"),
)
CATEGORIES = ("carrier", "origin", "dest")
FEATURES = NUMBERS + CATEGORIES


def flights(january: pl.DataFrame, y: np.ndarray, names: tuple[str, ...] = FEATURES) -> TrainingSet:
    """Return the training set of a month of flights."""
    return given(january.select(names), y)


def late(january: pl.DataFrame) -> np.ndarray:
    """Return which flights were late, as 0 and 1."""
    return january["late"].cast(pl.Int64).to_numpy()


def delay(january: pl.DataFrame) -> np.ndarray:
    """Return by how many minutes each flight was late."""
    return january["arr_delay"].cast(pl.Float64).to_numpy()


def delay_class(january: pl.DataFrame) -> np.ndarray:
    """Return 0 for an early flight, 1 for one that is about on time, 2 for a late one."""
    return np.digitize(delay(january), [-5.0, 15.0])


def framed(matrix: np.ndarray) -> pl.DataFrame:
    """Return a matrix as a frame."""
    return pl.DataFrame(matrix.astype(np.float32), schema=[chr(97 + n) for n in range(matrix.shape[1])])


def built(
    estimator: Any,
    train: TrainingSet,
    probe: pl.DataFrame | None = None,
    *,
    task: Task = BINARY,
    keep_state: bool = False,
) -> bytes:
    """Return the package of an estimator that was fitted on a training set."""
    probe = train._rows if probe is None else probe
    about = {"environment": environment(), "params": {"p": 1}, "runtimes": RUNTIMES}
    return build_package(estimator, train, probe, task=task, keep_state=keep_state, **about)


def opened(estimator: Any, train: TrainingSet, **options: Any) -> Package:
    """Return the package of an estimator, opened."""
    return open_package(built(estimator, train, **options))


def served(package: Package, rows: pl.DataFrame) -> np.ndarray:
    """Return what a package says of rows, through its runtime, shape (n, width)."""
    return RUNTIMES.load(package).predict(package.signature.feed(rows))
