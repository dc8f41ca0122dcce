"""The quality of a stretch of days: a month, or the last thirty days.

Put together from what was measured day by day, so it says of past days what was measured then, in every place
that shows it. Pure functions; which days are asked for is decided by who shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec
import numpy as np

from varv.kernel.clock import DAY, Instant, as_datetime
from varv.kernel.codec import finite
from varv.monitoring.model import PerformanceMeasured
from varv.stats.intervals import Estimate, mean_of_clusters
from varv.stats.ranking import N_CELLS, auc_of_counts

GLOSSARY = {
    "log-loss": "mean of −log(predicted probability of what happened), in nats; lower is better",
    "excess loss": "log-loss less what the scores themselves promise; zero on average for a calibrated model",
    "bias": "outcome rate less mean score; zero on average for a calibrated model",
    "AUC": "chance that a request with outcome 1 scored above one with outcome 0, over all requests of the "
    "window together (pooled), so that telling bad days from good ones counts too",
    "AUC within days": "the same over requests of one day only, averaged over days by their requests: how "
    "well requests of the same day are told apart",
    "ECE": "expected calibration error: mean gap between score and outcome rate over 15 groups of like score",
}
"""What each number means, in words that every place uses."""


_NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What champions showed over a stretch of days; limits are 95 %, clustered by the day."""

    since: Instant
    until: Instant
    n_days: int
    n_requests: int
    n: int
    """Requests with a score and an outcome."""
    log_loss: float
    log_loss_low: float | None
    log_loss_high: float | None
    excess_loss: float | None
    excess_loss_low: float | None
    excess_loss_high: float | None
    bias: float | None
    bias_low: float | None
    bias_high: float | None
    auc: float | None
    """Pooled over all rows of the stretch; None where one outcome is missing or days were not counted so."""
    auc_low: float | None
    auc_high: float | None
    auc_within_days: float | None
    """Mean of the days' AUC, weighted by their rows."""


def summarised(days: Iterable[PerformanceMeasured]) -> Summary | None:
    """Return the quality over `days`; None if none of them has an outcome."""
    every = sorted(days, key=lambda one: (one.window, one.version))
    known = [one for one in every if one.n and one.log_loss is not None]
    loss = _mean((one, one.log_loss) for one in known)
    if loss is None:
        return None
    excess = _mean((one, one.excess_loss) for one in known) or _NOTHING
    bias = _mean((one, one.watched().get("bias", (None, 0.0))[0]) for one in known) or _NOTHING
    within = _mean((one, one.auc) for one in known) or _NOTHING
    ranking = _pooled(known) or _NOTHING
    return Summary(
        since=every[0].window.start,
        until=max(one.window.end for one in every),
        n_days=len({one.window for one in known}),
        n_requests=sum(one.n_requests for one in every),
        n=sum(one.n for one in known),
        log_loss=loss.value,
        log_loss_low=finite(loss.low),
        log_loss_high=finite(loss.high),
        excess_loss=finite(excess.value),
        excess_loss_low=finite(excess.low),
        excess_loss_high=finite(excess.high),
        bias=finite(bias.value),
        bias_low=finite(bias.low),
        bias_high=finite(bias.high),
        auc=finite(ranking.value),
        auc_low=finite(ranking.low),
        auc_high=finite(ranking.high),
        auc_within_days=finite(within.value),
    )


def by_month(days: Iterable[PerformanceMeasured]) -> list[tuple[str, Summary]]:
    """Return the quality of each calendar month (UTC), such as ``2013-04``, oldest first."""
    ordered = sorted(days, key=lambda one: (one.window, one.version))
    months = groupby(ordered, key=lambda one: f"{as_datetime(one.window.start):%Y-%m}")
    found = [(month, summarised(part)) for month, part in months]
    return [(month, summary) for month, summary in found if summary is not None]


def _mean(values: Iterable[tuple[PerformanceMeasured, float | None]]) -> Estimate | None:
    """The mean over rows; two versions that shared a day are one cluster."""
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for one, value in values:
        if value is not None:
            day = one.window.start // DAY
            sums[day] = sums.get(day, 0.0) + one.n * value
            counts[day] = counts.get(day, 0) + one.n
    return mean_of_clusters(list(sums.values()), list(counts.values())) if counts else None


def _pooled(known: Sequence[PerformanceMeasured]) -> Estimate | None:
    days = sorted({one.window.start for one in known})
    row = {day: index for index, day in enumerate(days)}
    up, down = np.zeros((2, len(days), N_CELLS))
    for one in known:
        if one.scored is None:
            return None
        cells = slice(one.scored.first, one.scored.first + len(one.scored.positives))
        up[row[one.window.start], cells] += one.scored.positives
        down[row[one.window.start], cells] += one.scored.negatives
    return auc_of_counts(up, down)
