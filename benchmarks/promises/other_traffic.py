"""Traffic of the tasks that are not binary, as a rollout sees it: several classes, numbers, quantiles, lists.

Both versions see the truth through errors of one size, so neither is better; a worse one errs by a further
error of such a size that it costs the declared number of margins on average. Outcomes that are numbers have
tails so heavy that their variance is infinite; the range cuts them. The rows of a list are asked together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from benchmarks.promises.traffic import DAYS, START, World
from scipy import stats

from varv.kernel.clock import DAY, HOUR, Instant
from varv.rollout import Rollout
from varv.serving.scores import GROUP, score_columns
from varv.tasks import Task, task_of
from varv.tasks import task as declare

Numbers = npt.NDArray[np.float64]
LEVELS = (0.1, 0.5, 0.9)
RANGE = (-100.0, 300.0)
_TAILS = 2.0
"""Degrees of freedom of Student's t: with two there is a mean and no variance."""
_SCALE = 15.0


class Drawn(NamedTuple):
    """What is true of requests, and what happened."""

    truth: Numbers
    outcome: Numbers


class Kind(NamedTuple):
    """How requests of a task are drawn and predicted."""

    task: Task
    noise: float
    """Of both versions, in the unit of `truth`."""
    draw: Callable[[np.random.Generator, int], Drawn]
    predict: Callable[[Numbers], Numbers]
    """From a version's view of the truth to its predictions."""
    together: int = 1
    """Rows that are asked at a time: those of one list."""


def _classes(rng: np.random.Generator, n: int) -> Drawn:
    truth = np.array([0.8, 0.0, -0.8]) + rng.normal(0.0, 1.0, (n, 3))
    # The largest of logits with Gumbel errors is a draw from their softmax.
    return Drawn(truth, np.argmax(truth + rng.gumbel(size=(n, 3)), axis=1).astype(np.int16))


def _softmax(logits: Numbers) -> Numbers:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _numbers(rng: np.random.Generator, n: int) -> Drawn:
    truth = rng.normal(20.0, 20.0, (n, 1))
    return Drawn(truth, truth[:, 0] + _SCALE * rng.standard_t(_TAILS, n))


def _quantiles(view: Numbers) -> Numbers:
    return view + _SCALE * stats.t.ppf(LEVELS, _TAILS)


def _relevance(rng: np.random.Generator, n: int) -> Drawn:
    truth = rng.normal(0.0, 1.0, (n, 1))
    return Drawn(truth, np.clip(np.floor(truth[:, 0] + rng.normal(0.0, 1.0, n)), 0.0, 4.0))


KINDS: Mapping[str, Kind] = {
    "multiclass": Kind(declare.multiclass(classes=["A", "B", "C"]), 0.3, _classes, _softmax),
    "regression": Kind(declare.regression(range=RANGE), 5.0, _numbers, lambda view: view),
    "quantiles": Kind(declare.quantiles(levels=LEVELS, range=RANGE), 5.0, _numbers, _quantiles),
    "ranking": Kind(declare.ranking(group="query"), 0.3, _relevance, lambda view: view, together=10),
}


def task_named(name: str) -> Task:
    """Return the task of a world."""
    return KINDS[name].task if name in KINDS else task_of(name)


class OtherTraffic:
    """Draws the traffic of a world whose task is not binary; as `traffic.Traffic`."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng, self._kind = world, rng, KINDS[world.task]
        self._day_errors = rng.normal(0.0, world.day_sd or 0.0, (2, DAYS)) * self._kind.noise

    def between(
        self, since: Instant, until: Instant, *, broken: bool = False, silent: bool = False
    ) -> pl.DataFrame:
        """Return the requests of [since, until) with both predictions and their outcomes.

        Parameters
        ----------
        broken
            The candidate's predictions have nothing to do with the request.
        silent
            The candidate gives no answer.
        """
        world, rng, kind = self._world, self._rng, self._kind
        n_asked = int(rng.poisson(world.per_day * (until - since) / DAY / kind.together))
        at = np.repeat(np.sort(rng.integers(since, until, n_asked)), kind.together)
        n, lists = len(at), np.repeat(np.arange(n_asked) + since, kind.together)
        drawn = kind.draw(rng, n)
        days = self._day_errors[:, (at - START) // DAY]
        champion, candidate = (
            drawn.truth + rng.normal(0.0, kind.noise, drawn.truth.shape) + days[who][:, None]
            for who in (0, 1)
        )
        further = rng.normal(0.0, 1.0, drawn.truth.shape) * further_noise(world.task, abs(world.worse))
        champion = champion + (further if world.worse < 0 else 0.0)
        candidate = candidate + (further if world.worse > 0 else 0.0)
        predicted = kind.predict(rng.permutation(candidate) if broken else candidate)
        answered = np.full_like(predicted, np.nan) if silent else predicted
        none = pl.Series([None] * n, dtype=pl.Float32)
        return pl.DataFrame(
            {
                "requested_at": pl.Series(at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
                "known_at": at + np.repeat(rng.integers(int(HOUR), 6 * int(HOUR), n_asked), kind.together),
                "outcome": drawn.outcome,
                **self._columns("champion_score", kind.predict(champion)),
                **self._columns("candidate_score", answered),
                "champion_ms": none,
                "candidate_ms": none,
                "user": lists,
                **({} if kind.task.group is None else {GROUP: lists.astype(str)}),
            }
        )

    def _columns(self, role: str, predicted: Numbers) -> dict[str, Numbers]:
        names = score_columns(self._kind.task, role)
        return {name: predicted[:, number] for number, name in enumerate(names)}


@cache
def further_noise(name: str, margins: float) -> float:
    """Return the standard deviation of a further error that costs so many margins on average."""
    if not margins:
        return 0.0
    kind, rng = KINDS[name], np.random.default_rng(0)
    guard = Rollout().plan_for(kind.task).guarded[0]
    loss = kind.task.losses[guard.loss]
    drawn = kind.draw(rng, 200_000)
    error, other = (rng.normal(0.0, 1.0, drawn.truth.shape) for _ in range(2))
    lists = np.arange(len(drawn.outcome)) // kind.together

    def cost(sd: float) -> float:
        view = drawn.truth + kind.noise * error + sd * other
        return float(loss.of(drawn.outcome, kind.predict(view), lists).mean())

    before, low, high = cost(0.0), 0.0, 20 * kind.noise
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) - before < margins * guard.margin else (low, middle)
    return low
