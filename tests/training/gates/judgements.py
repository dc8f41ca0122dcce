"""What tests of gates share: judgements of every task, and versions that are served from real packages."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.tasks import samples
from tests.training.samples import RUNTIMES, built, given

from varv.kernel.clock import DAY
from varv.kernel.codec import canonical
from varv.tasks import Task
from varv.training.gates import Judgement, Served, judge

DAYS = 20
WITH_OUTCOME = [maker.__name__ for maker in samples.MAKERS if maker.__name__ != "score"]
ROWS = 600


@cache
def case(name: str) -> samples.Case:
    """Return a task with a sample that was drawn from its predictions."""
    return getattr(samples, name)(np.random.default_rng(3))


def judgement(name: str, *, spoiled: float = 0.0, champion: float | None = None, n: int = 3000) -> Judgement:
    """Return held-out rows of a task, of which the sample's predictions are the truth.

    Parameters
    ----------
    spoiled, champion
        The share of rows whose prediction by the candidate, or the champion, is that of another row.
    """
    task, sample = case(name)
    days = np.repeat(np.arange(DAYS), n // DAYS)
    rows = pl.DataFrame({"key": [f"r-{number}" for number in range(n)], "side": ["left", "right"] * (n // 2)})
    groups = sample.groups
    if groups is not None:
        lists = np.unique(groups[:n], return_inverse=True)[1]
        rows = rows.with_columns(side=pl.Series(np.where(lists % 2, "left", "right")))
    return Judgement(
        task=task,
        outcome=sample.outcome[:n],
        candidate=shuffled(sample.predicted[:n], spoiled),
        champion=None if champion is None else shuffled(sample.predicted[:n], champion),
        at=days * DAY,
        groups=None if groups is None else groups[:n],
        rows=rows,
    )


def shuffled(predicted: np.ndarray, share: float) -> np.ndarray:
    """Return predictions of which a share are those of other rows."""
    rng = np.random.default_rng(8)
    order = np.arange(len(predicted))
    chosen = rng.random(len(predicted)) < share
    order[chosen] = rng.permutation(order[chosen])
    return predicted[order]


def one(gate: object, judged: Judgement):
    """Return the result of one gate."""
    [found] = judge((gate,), judged)  # type: ignore[arg-type]
    assert canonical(found)
    assert found.question.endswith("?")
    assert found.answer.endswith(".")
    assert "nan" not in found.line()
    return found


def requests(n: int = ROWS) -> pl.DataFrame:
    """Return held-out rows with features: a load, a route of three, and a number that says nothing."""
    rng = np.random.default_rng(11)
    return pl.DataFrame(
        {
            "key": [f"p-{number}" for number in range(n)],
            "load": pl.Series(rng.normal(size=n), dtype=pl.Float32),
            "route": np.array(["north", "south", "west"])[rng.integers(0, 3, n)],
            "heat": pl.Series(rng.normal(size=n), dtype=pl.Float32),
        }
    )


@cache
def served(name: str, *, by_route: float = 0.0, by_load: float = 2.0) -> Served:
    """Return a version whose predictions grow with the load, and with the route if they are told to.

    Parameters
    ----------
    name
        Of the case whose task it predicts.
    """
    task = case(name).task
    rows = requests(3000).drop("key")
    train = given(rows, np.zeros(rows.height))
    signal = by_load * train.X[:, 0] + by_route * train.X[:, 1] + np.random.default_rng(2).normal(size=3000)
    train.y = _outcomes(task, signal)
    learner = LogisticRegression() if task.outcome_dtype.is_integer() else LinearRegression()
    blob = built(learner.fit(train.X, train.y), train, task=task)
    return Served(lambda: blob, RUNTIMES)


def behaving(name: str, version: Served, champion: Served | None = None, **more) -> Judgement:
    """Return a judgement of how versions behave on `requests`."""
    rows = requests()
    return Judgement(
        task=case(name).task,
        outcome=np.full(rows.height, np.nan),
        candidate=version.predict(rows),
        at=np.repeat(np.arange(DAYS), rows.height // DAYS) * DAY,
        rows=rows,
        served=version,
        champion_served=champion,
        **more,
    )


def _outcomes(task: Task, signal: np.ndarray) -> np.ndarray:
    if not task.outcome_dtype.is_integer():
        return signal if task.width == 1 else np.column_stack([signal + step for step in (-1, 0, 1)])
    return np.digitize(signal, np.quantile(signal, np.linspace(0, 1, max(task.width, 2) + 1)[1:-1]))
