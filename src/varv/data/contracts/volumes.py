"""How many rows come in which hour of the week, learned from a reference period and held against a batch.

Only whole hours are counted: those between the first and the last of a batch, in which rows may be missing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.contracts.calendar import Hours
from varv.data.contracts.model import HourlyRows
from varv.kernel.clock import HOUR, WEEK, iso
from varv.kernel.wording import count

LEAST_WEEKS = 3
"""Of fewer weeks nobody can say how much an hour of the week differs from itself."""
_HOURS = WEEK // HOUR
_MONDAY = 4 * 24
"""Hours from the epoch, a Thursday, to the first Monday."""


class OddHours(NamedTuple):
    """Whole hours with too few or too many rows."""

    n_odd: int
    n_hours: int
    first: str = ""
    """The first odd one, in words."""


def learned_hours(hours: Hours) -> HourlyRows | None:
    """Return how many rows come in an hour of the week; None if the hours span less than three weeks.

    Notes
    -----
    Rows n are looked at as √(n + 3/8), whose variance is 1/4 for a Poisson count of any mean but a small one
    (Anscombe 1948). Where the rate itself varies by a share s, it is (1 + m s²) / 4 for a mean of m rows; s
    is estimated by moments, one for all hours, with a degree of freedom less for each hour of the week.
    """
    first, n_rows = _whole(hours)
    if len(n_rows) < LEAST_WEEKS * _HOURS:
        return None
    roots, week_hour = _roots(n_rows), _of_week(first, len(n_rows))
    level = np.bincount(week_hour, roots, _HOURS) / np.bincount(week_hour, minlength=_HOURS)
    left = 4 * (roots - level[week_hour]) ** 2 * len(roots) / (len(roots) - _HOURS)
    beyond = float((left - 1).sum()) / max(float(n_rows.sum()), 1.0)
    return HourlyRows(
        level=tuple(round(float(value), 6) for value in level), spread=round(math.sqrt(max(0.0, beyond)), 6)
    )


def odd_hours(times: pl.Series, usual: HourlyRows, deviations: float) -> OddHours:
    """Return how many whole hours of a batch lie more than so many standard deviations from the usual."""
    first, n_rows = _whole(_hours_of(times))
    expected = np.array(usual.level)[_of_week(first, len(n_rows))]
    mean = np.maximum(expected**2 - 3 / 8, 0)
    deviation = np.sqrt(1 + mean * usual.spread**2) / 2
    odd = np.flatnonzero(np.abs(_roots(n_rows) - expected) > deviations * deviation)
    if not len(odd):
        return OddHours(0, len(n_rows))
    place = int(odd[0])
    hour = iso((first + place) * HOUR)[:13]
    return OddHours(
        len(odd), len(n_rows), f"{count(n_rows[place])} rows at {hour}h, usually {count(mean[place])}"
    )


def _roots(n_rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.sqrt(n_rows + 3 / 8)


def _hours_of(times: pl.Series) -> Hours:
    hours = times.drop_nulls().cast(pl.Int64) // HOUR
    least = hours.min()
    if not isinstance(least, int):
        return Hours(0, np.empty(0, np.int64))
    return Hours(least, np.bincount((hours - least).to_numpy()))


def _whole(hours: Hours) -> Hours:
    """Return the hours of which no row can be missing, all but the first and the last."""
    return Hours(hours.first + 1, hours.n_rows[1:-1])


def _of_week(first: int, n: int) -> npt.NDArray[np.int64]:
    return (np.arange(first, first + n) - _MONDAY) % _HOURS
