"""Traffic of many kinds: requests that two versions score, with outcomes, as a rollout sees them.

A `World` says what is unusual about its traffic; `Traffic` draws it, a stretch at a time. Errors of a version
are errors of its logits. "Harmless" means that the mean loss difference over requests is zero.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from varv.kernel.clock import DAY, HOUR, Instant, instant

START = instant("2026-03-02T00:00:00Z")
DAYS = 60
"""Days of which conditions are drawn beforehand: a month of history, and the rollout."""
HISTORY = 28
NOISE = 0.3
MARGIN = 0.01
_N_USERS = 3000


class World(NamedTuple):
    """What is unusual about one kind of traffic."""

    name: str
    per_day: int = 2000
    base_rate: float = 0.25
    day_sd: float = 0.0
    """Each version has a condition of its own each day: the standard deviation of its error."""
    users: str = ""
    """``"sticky"``: errors belong to users; ``"heavy"``: and few users make most requests; ``"split"``: on
    half of the requests, by users, one version is the better, on the other half the other."""
    storms: bool = False
    worse: float = 0.0
    """Mean loss of the candidate minus that of the champion, in margins."""
    rare: float = 0.0
    """If above zero, all of `worse` falls on this share of blocks of six hours."""
    early_ones: bool = False
    task: str = "binary"


class Traffic:
    """Draws the traffic of one world.

    Parameters
    ----------
    world
        What is unusual.
    rng
        All chance.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._day_errors = rng.normal(0.0, world.day_sd or 0.0, (2, DAYS))
        self._bad_blocks = rng.random(4 * DAYS) < world.rare
        # The harm is the candidate's; versions before it had none.
        self._bad_blocks[: 4 * HISTORY] = False
        self._storm = _storms(rng) if world.storms else np.zeros(24 * DAYS, dtype=bool)
        weight = rng.pareto(1.3, _N_USERS) + 1 if world.users == "heavy" else np.ones(_N_USERS)
        self._cumulative = np.cumsum(weight / weight.sum())
        self._cumulative[-1] = 1.0
        # Errors of one size for both versions and of either sign: no user is better served by one of them.
        self._user_errors = rng.normal(0.0, 2 * NOISE, _N_USERS) * rng.choice((-1.0, 1.0), (2, _N_USERS))
        half = self._cumulative < 0.5
        self._favours = np.where(half, 0, 1)

    def between(
        self, since: Instant, until: Instant, *, broken: bool = False, silent: bool = False
    ) -> pl.DataFrame:
        """Return the requests of [since, until) with both scores and their outcomes.

        Parameters
        ----------
        broken
            The candidate's scores have nothing to do with the request.
        silent
            The candidate gives no answer.
        """
        world, rng = self._world, self._rng
        n = int(rng.poisson(world.per_day * (until - since) / DAY))
        at = np.sort(rng.integers(since, until, n))
        day, hour, block = ((at - START) // span for span in (DAY, HOUR, 6 * HOUR))
        truth = _logit(world.base_rate) + rng.normal(0.0, 1.0, n)
        truth = truth + np.where(self._storm[hour], 1.5, 0.0)
        outcome = (rng.random(n) < _sigmoid(truth)).astype(np.int8)
        user = (
            np.searchsorted(self._cumulative, rng.random(n)) if world.users else np.zeros(n, dtype=np.int64)
        )
        champion, candidate = self._errors(n, day, hour, user)
        harm = self._harm(n, block)
        # On top of what the version errs anyway, its day and its users included.
        candidate = candidate + rng.normal(0.0, 1.0, n) * np.maximum(harm, 0.0)
        champion = champion + rng.normal(0.0, 1.0, n) * np.maximum(-harm, 0.0)
        scores = [_sigmoid(truth + champion), _sigmoid(truth + candidate)]
        if broken:
            scores[1] = _sigmoid(rng.normal(0.0, 2.0, n))
        return pl.DataFrame(
            {
                "requested_at": pl.Series(at, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
                "known_at": at + self._delays(outcome),
                "outcome": outcome,
                "champion_score": scores[0],
                "candidate_score": np.full(n, np.nan) if silent else scores[1],
                "champion_ms": pl.Series([None] * n, dtype=pl.Float32),
                "candidate_ms": pl.Series([None] * n, dtype=pl.Float32),
                "user": user if world.users else np.arange(n) + since,
            }
        )

    def _errors(self, n, day, hour, user):
        rng, world = self._rng, self._world
        both = rng.normal(0.0, NOISE, (2, n)) + self._day_errors[:, day]
        if world.users in ("sticky", "heavy"):
            both += self._user_errors[:, user]
        if world.users == "split":
            both += np.where(self._favours[user] == np.arange(2)[:, None], rng.normal(0.0, 1.0, (2, n)), 0.0)
        # A storm surprises both alike, and shakes each a little on its own.
        shared = np.where(self._storm[hour], rng.normal(-1.0, 0.5, n), 0.0)
        return both + shared + np.where(self._storm[hour], rng.normal(0.0, NOISE, (2, n)), 0.0)

    def _harm(self, n, block):
        world = self._world
        if not world.worse:
            return np.zeros(n)
        if not world.rare:
            return np.full(
                n, np.sign(world.worse) * harmful_noise(world.base_rate, abs(world.worse) * MARGIN)
            )
        return np.where(
            self._bad_blocks[block], harmful_noise(world.base_rate, world.worse * MARGIN / world.rare), 0.0
        )

    def _delays(self, outcome):
        n, hour = outcome.size, int(HOUR)
        if self._world.early_ones:
            return np.where(outcome == 1, hour, 22 * hour)
        return self._rng.integers(hour, 6 * hour, n)


@cache
def harmful_noise(base_rate: float, difference: float) -> float:
    """Return the standard deviation of a further error that costs `difference` nats on average."""
    rng = np.random.default_rng(0)
    truth = _logit(base_rate) + rng.normal(0.0, 1.0, 400_000)
    outcome = rng.random(truth.size) < _sigmoid(truth)
    error, before = (
        rng.normal(0.0, 1.0, truth.size),
        _loss(outcome, truth + rng.normal(0.0, NOISE, truth.size)),
    )
    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        after = _loss(outcome, truth + error * np.sqrt(NOISE**2 + middle**2))
        low, high = (middle, high) if after - before < difference else (low, middle)
    return low


def _loss(outcome, logits):
    p = np.clip(_sigmoid(logits), 0.001, 0.999)
    return float(-np.mean(np.where(outcome, np.log(p), np.log1p(-p))))


def _storms(rng):
    hours = np.zeros(24 * DAYS, dtype=bool)
    for start in np.flatnonzero(rng.random(hours.size) < 0.15 / 24):
        hours[start : start + rng.integers(6, 24)] = True
    return hours


@cache
def _logit(base_rate: float) -> float:
    """Return the mean logit at which so large a share of outcomes is 1."""
    draws = np.random.default_rng(1).normal(0.0, 1.0, 200_000)
    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(middle + draws).mean() < base_rate else (low, middle)
    return low


def _sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-logits))
