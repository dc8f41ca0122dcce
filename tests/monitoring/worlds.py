"""Seeded requests of every task, whose predictions are right until day `wrong_from`.

Features are those of `streams`: a load that matters, a temperature that may warm, and a carrier. Numbers are
heavy-tailed (Student's t of 3 degrees of freedom), and harder to predict the warmer it is.
"""

import numpy as np
import polars as pl
from scipy import special, stats

from varv import task
from varv.kernel.clock import DAY, HOUR
from varv.serving.scores import score_series

from .streams import START, expit

NEVER = 10**6
LEVELS = (0.1, 0.5, 0.9)
RANGE = (-100.0, 160.0)
TASKS = {
    "binary": task.binary(),
    "multiclass": task.multiclass(classes=["A", "B", "C"]),
    "absolute": task.regression(range=RANGE, loss="absolute"),
    "squared": task.regression(range=RANGE, loss="squared"),
    "quantiles": task.quantiles(levels=LEVELS, range=RANGE),
    "ranking": task.ranking(group="query", at=5),
    "score": task.score(),
}


def world(
    kind, seed, *, n_days, rows=60, warming=0.0, ua_from=NEVER, wrong=0.0, wrong_from=NEVER, where=-np.inf
):
    """Return requests of `TASKS[kind]`, as predictions are kept.

    It gets warmer by `warming` a day from day 40 on, and from day `ua_from` on most requests are UA's.
    From day `wrong_from` on the world is off by `wrong` from what the model knows, on rows warmer than
    `where`: log odds, standard deviations of the outcome, or how much of the order of a list is lost.
    """
    rng = np.random.default_rng(seed)
    n, day = n_days * rows, np.repeat(np.arange(n_days), rows)
    requested = START + day * DAY + np.sort(rng.integers(0, DAY, size=(n_days, rows)), axis=1).ravel()
    weather = rng.normal(0, 3, size=n_days)[day]
    temperature = 5 + weather + np.clip(day - 40, 0, None) * warming + rng.normal(0, 2, size=n)
    load = rng.normal(size=n)
    off = wrong * ((day >= wrong_from) & (temperature > where))
    is_ua = rng.uniform(size=n) < np.where(day >= ua_from, 0.8, 0.25)
    outcome, predicted = _MAKERS[kind](rng, load, is_ua, off)
    lists = np.repeat(np.arange(n // 5), 5)  # of five rows that are asked for at once
    if kind == "ranking":
        requested = requested[lists * 5]
    frame = pl.DataFrame(
        {
            "requested_at": requested,
            "known_at": requested + 8 * HOUR,
            "outcome": pl.Series(outcome).cast(TASKS[kind].outcome_dtype),
            "load": load.astype(np.float32),
            "temperature": temperature.astype(np.float32),
            "carrier": np.where(is_ua, "UA", np.array(["B6", "AA", "DL"])[rng.integers(0, 3, size=n)]),
            "group": lists.astype(str),
        }
    ).with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))
    return frame.with_columns(score_series(TASKS[kind], "score", predicted.astype(np.float32)))


def _binary(rng, load, is_ua, off):
    log_odds = -1.2 + 0.8 * load
    return (rng.uniform(size=load.size) < expit(log_odds + off)).astype(np.int8), expit(log_odds)[:, None]


def _multiclass(rng, load, is_ua, off):
    logits = np.stack([0.8 * load, -0.5 * load, np.zeros(load.size)], axis=1)
    truth = special.softmax(logits + np.stack([off, -off, 0 * off], axis=1), axis=1)
    drawn = (rng.uniform(size=load.size)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    return np.minimum(drawn, 2), special.softmax(logits, axis=1)


def _numbers(rng, load, is_ua, off):
    spread = np.where(is_ua, 6.0, 3.0)
    middle = 20 + 5 * load
    return middle + spread * (stats.t(3).rvs(load.size, random_state=rng) + off), middle, spread


def _regression(rng, load, is_ua, off):
    outcome, middle, _ = _numbers(rng, load, is_ua, off)
    return outcome, middle[:, None]


def _quantiles(rng, load, is_ua, off):
    outcome, middle, spread = _numbers(rng, load, is_ua, off)
    return outcome, middle[:, None] + spread[:, None] * stats.t(3).ppf(LEVELS)


def _ranking(rng, load, is_ua, off):
    noise = rng.normal(0, 1 + 4 * off, size=load.size)
    return np.clip(np.round(1 + load), 0, 4), (load + noise)[:, None]


def _score(rng, load, is_ua, off):
    return np.full(load.size, None), load[:, None]


_MAKERS = {
    "binary": _binary,
    "multiclass": _multiclass,
    "absolute": _regression,
    "squared": _regression,
    "quantiles": _quantiles,
    "ranking": _ranking,
    "score": _score,
}
