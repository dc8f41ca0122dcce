"""Worlds in which scores are right on average, and what days and hours add to chance in each.

A row's true log odds are the model's plus a shock that rows of its hour or day share. Scores are recalibrated
to the mixture, so the mean of outcome less score is zero and stays so, whatever the shocks do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Numbers = npt.NDArray[np.float64]
Shocks = Callable[[np.random.Generator, int], Numbers]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_GRID = np.linspace(-12, 12, 2001)
_WEEK = np.array([-0.12] * 5 + [0.3] * 2)


class World(NamedTuple):
    """Shocks in log odds, shape (days, 24), and their standard deviation over time."""

    name: str
    shocks: Shocks
    sd: float


class Scored(NamedTuple):
    """One day of requests: scores, their log odds before recalibration, outcomes, and hours, shape (n,)."""

    score: Numbers
    outcome: npt.NDArray[np.int8]
    hour: npt.NDArray[np.int64]


def autoregression(rng: np.random.Generator, n: int, *, correlation: float, sd: float) -> Numbers:
    """Return a stationary first-order autoregression, shape (n,)."""
    found = rng.normal(size=n)
    for t in range(1, n):
        found[t] = correlation * found[t - 1] + np.sqrt(1 - correlation**2) * found[t]
    return sd * found


def _none(rng: np.random.Generator, n_days: int) -> Numbers:
    return np.zeros((n_days, 24))


def _weekly(rng: np.random.Generator, n_days: int) -> Numbers:
    return np.repeat(_WEEK[(np.arange(n_days) + rng.integers(0, 7)) % 7][:, None], 24, axis=1)


def _hourly(rng: np.random.Generator, n_days: int) -> Numbers:
    return autoregression(rng, n_days * 24, correlation=0.9, sd=0.4).reshape(n_days, 24)


def _daily(rng: np.random.Generator, n_days: int) -> Numbers:
    return np.repeat(autoregression(rng, n_days, correlation=0.5, sd=0.3)[:, None], 24, axis=1)


IID = World("independent rows", _none, 0.0)
WORLDS = (
    IID,
    World("weekly pattern, sd .19", _weekly, float(_WEEK.std())),
    World("hourly shocks, sd .4, correlation .9", _hourly, 0.4),
    World("day effects, sd .3, correlation .5", _daily, 0.3),
)


class Requests:
    """Requests of one world, day by day.

    Parameters
    ----------
    base, slope
        The model's log odds are `base` plus `slope` times a standard normal.
    """

    def __init__(
        self, world: World, rng: np.random.Generator, n_days: int, *, rows: int, base: float, slope: float
    ) -> None:
        self._rng = rng
        self._rows = rows
        self._shocks = world.shocks(rng, n_days)
        self._base, self._slope = base, slope
        mixed = special.expit(_GRID[:, None] + world.sd * _NODES) @ (_WEIGHTS / _WEIGHTS.sum())
        self._mixed = mixed

    def day(self, number: int, *, bias: float = 0.0, turned: float = 0.0) -> Scored:
        """Return the requests of a day.

        Parameters
        ----------
        bias
            What is added to the probability of every outcome.
        turned
            The angle by which the truth has turned away from what the model knows, in radians.
        """
        rng, n = self._rng, self._rows
        known = rng.normal(size=n)
        truth = np.cos(turned) * known + np.sin(turned) * rng.normal(size=n) if turned else known
        hour = np.sort(rng.integers(0, 24, size=n))
        chance = special.expit(self._base + self._slope * truth + self._shocks[number][hour]) + bias
        outcome = (rng.uniform(size=n) < chance).astype(np.int8)
        return Scored(np.interp(self._base + self._slope * known, _GRID, self._mixed), outcome, hour)


def turn_for(points: float, *, slope: float) -> float:
    """Return the angle at which accuracy at one half falls by `points`, for log odds without a base."""
    grid, weight = np.polynomial.hermite_e.hermegauss(101)
    weight = weight / weight.sum()
    inner = np.linspace(-5, 5, 401)
    density = np.exp(-(inner**2) / 2) / np.exp(-(inner**2) / 2).sum()

    def accuracy(angle: float) -> float:
        truth = np.cos(angle) * grid[:, None] + np.sin(angle) * inner
        right = special.expit(slope * truth * np.sign(grid)[:, None])
        # The node at zero is right half of the time, whichever way it is called.
        right[grid == 0] = 0.5
        return float(weight @ (right @ density))

    low, high, aim = 0.0, np.pi / 2, accuracy(0.0) - points
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if accuracy(middle) > aim else (low, middle)
    return (low + high) / 2
