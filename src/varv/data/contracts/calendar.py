"""What rows are like day by day and hour by hour, in memory that grows with time and not with rows.

A contract is learned of it beside a profile (`data.contracts.inference`): a profile is of a whole period, and
a contract asks for its worst day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY, HOUR, Instant


class Hours(NamedTuple):
    """The rows of each hour from the first one on; hours are counted from the epoch."""

    first: int
    n_rows: npt.NDArray[np.int64]


class Calendar:
    """Counts rows by hour, and rows and nulls by day.

    Parameters
    ----------
    time
        The column of times that says when a row is of; rows without one are a day of their own.
    """

    def __init__(self, time: str) -> None:
        self._time = time
        self._days = Counter[int | None]()
        self._nulls = dict[str, Counter[int | None]]()
        self._hours = Counter[int]()

    def counting(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield frames as they are, and count their rows on the way."""
        for frame in frames:
            self._add(frame)
            yield frame

    def _add(self, frame: pl.DataFrame) -> None:
        when = frame[self._time].to_physical()
        hours = _counted(when.drop_nulls() // HOUR)
        self._hours.update({hour: n for hour, n in hours.items() if hour is not None})
        days = (when // DAY).alias("day")
        self._days.update(_counted(days))
        for name in frame.columns:
            if frame[name].null_count():
                self._nulls.setdefault(name, Counter()).update(_counted(days.filter(frame[name].is_null())))

    def null_share(self, name: str) -> float:
        """Return the share of rows without a value on the day that has the greatest."""
        missing = self._nulls.get(name, Counter[int | None]())
        return max((n / self._days[day] for day, n in missing.items()), default=0.0)

    def hours(self) -> Hours:
        """Return the rows of every hour, from the first that has one to the last."""
        if not self._hours:
            return Hours(0, np.empty(0, np.int64))
        first = min(self._hours)
        found = np.zeros(max(self._hours) - first + 1, np.int64)
        found[[hour - first for hour in self._hours]] = list(self._hours.values())
        return Hours(first, found)

    def span(self, stray: float) -> tuple[Instant, Instant] | None:
        """Return the hours between which all rows but a share on either side lie; None if none has a time."""
        if not self._hours:
            return None
        hours = sorted(self._hours)
        below = np.cumsum([self._hours[hour] for hour in hours])
        first = int(np.searchsorted(below, stray * below[-1], side="right"))
        last = int(np.searchsorted(below, (1 - stray) * below[-1]))
        return Instant(hours[first] * HOUR), Instant(hours[last] * HOUR)

    def n_before(self, instant: Instant) -> int:
        """Return how many rows have a time in an hour that ends before an instant."""
        return sum(n for hour, n in self._hours.items() if (hour + 1) * HOUR <= instant)


def _counted(values: pl.Series) -> dict[int | None, int]:
    found = values.alias("value").value_counts(name="n")
    return dict(zip(found["value"].to_list(), found["n"].to_list(), strict=True))
