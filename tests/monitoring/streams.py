"""Seeded streams of scored requests, with outcomes that arrive eight hours later."""

import numpy as np
import polars as pl

from varv.kernel.clock import DAY, HOUR, Instant, as_datetime, instant

START = instant("2013-01-01")
REFERENCE_DAYS = 40


def expit(x):
    return 1 / (1 + np.exp(-x))


def stream(
    seed,
    *,
    n_days,
    rows=60,
    warming=0.0,
    bias=0.0,
    bias_from=10**6,
    slope=0.8,
    storms=0.2,
    missing=0.0,
    bias_where=None,
):
    """Return requests with a feature that matters (``load``), a season (``temperature``) and a text
    (``carrier``).

    The model knows the truth except for a storm of the day and for `bias`, added to the log odds of the
    outcome from day `bias_from` on, on rows whose temperature is above `bias_where`.
    """
    rng = np.random.default_rng(seed)
    n = n_days * rows
    day = np.repeat(np.arange(n_days), rows)
    requested = START + day * DAY + np.sort(rng.integers(0, DAY, size=(n_days, rows)), axis=1).ravel()
    weather = np.zeros(n_days)
    for t in range(1, n_days):
        weather[t] = 0.4 * weather[t - 1] + rng.normal(0, 3)
    season = np.clip(day - REFERENCE_DAYS, 0, None) * warming
    temperature = 5 + weather[day] + season + rng.normal(0, 2, size=n)
    load = rng.normal(size=n)
    log_odds = -1.2 + slope * load
    storm = rng.normal(0, storms, size=n_days)[day]
    biased = (day >= bias_from) & (temperature > (-np.inf if bias_where is None else bias_where))
    outcome = rng.uniform(size=n) < expit(log_odds + storm + bias * biased)
    late = rng.uniform(size=n) < missing
    frame = pl.DataFrame(
        {
            "requested_at": requested,
            "known_at": requested + 8 * HOUR,
            "score": expit(log_odds),
            "outcome": outcome.astype(np.int8),
            "load": load.astype(np.float32),
            "temperature": temperature.astype(np.float32),
            "carrier": np.array(["UA", "B6", "AA", "DL"])[rng.integers(0, 4, size=n)],
        }
    ).with_columns(pl.col("requested_at", "known_at").cast(pl.Datetime("us", "UTC")))
    gone = pl.Series(late)
    return frame.with_columns(
        known_at=pl.when(~gone).then(pl.col("known_at")), outcome=pl.when(~gone).then(pl.col("outcome"))
    )


def day_instant(day):
    """Return the start of the n-th day of a stream."""
    return Instant(START + day * DAY)


def before(day):
    """Return the expression for rows requested before the n-th day of a stream."""
    return pl.col("requested_at") < as_datetime(day_instant(day))
