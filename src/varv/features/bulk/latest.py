"""The last row that each request sees, from rows that come in any order.

What is kept is the number of a row, never its values: those are fetched once it is certain which rows won.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.features.bulk.points import Points
from varv.features.run import Ints

_NEVER = np.iinfo(np.int64).min


class TimedRows(NamedTuple):
    """Rows of a history, each array of shape (n,): the code of the entity, from 0, the time from which the
    row counts, what decides between rows of one entity and time (first `seconds` if there are any, then
    `ties`), and the number by which the row is found again.
    """

    codes: Ints
    times: Ints
    seconds: Ints | None
    ties: npt.NDArray[np.uint64]
    numbers: Ints

    def only(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> TimedRows:
        """Return the chosen rows."""
        seconds = None if self.seconds is None else self.seconds[chosen]
        codes, times, ties = self.codes[chosen], self.times[chosen], self.ties[chosen]
        return TimedRows(codes, times, seconds, ties, self.numbers[chosen])

    def in_order(self, rows: Ints) -> Ints:
        """Return chosen rows of one time in order, the one that stands last."""
        seconds = () if self.seconds is None else (self.seconds[rows],)
        return rows[np.lexsort((self.ties[rows], *seconds))]


class LastRows:
    """The last row that each point sees.

    Parameters
    ----------
    points
        Requests by entity and instant.
    has_seconds
        Whether rows have them.
    """

    def __init__(self, points: Points, *, has_seconds: bool) -> None:
        n = len(points)
        self._points = points
        self._times = np.full(n, _NEVER, np.int64)
        self._seconds = np.full(n if has_seconds else 0, _NEVER, np.int64)
        self._ties = np.zeros(n, np.uint64)
        self._numbers = np.full(n, -1, np.int64)
        self._best = np.full(n, -1, np.int64)

    def add(self, rows: TimedRows) -> None:
        """Take in rows, in any order."""
        places = self._points.places(rows.codes, rows.times)
        seen = places >= 0
        if not seen.all():
            rows, places = rows.only(seen), places[seen]
        if not len(places):
            return
        if (np.diff(rows.times) < 0).any():
            order = np.argsort(rows.times, kind="stable")
            rows, places = rows.only(order), places[order]
        best = self._best
        # Of several rows at one place the assignment keeps the last, which is the latest.
        best[places] = np.arange(len(places))
        self._settle_ties(rows, places)
        touched = np.flatnonzero(best >= 0)
        self._take(touched, rows.only(best[touched]))
        best[touched] = -1

    def _settle_ties(self, rows: TimedRows, places: Ints) -> None:
        """Let the largest of rows of one place and time be the best, not the one that comes last."""
        best = self._best
        last = np.flatnonzero(rows.times == rows.times[best[places]])
        if len(last) > np.count_nonzero(best >= 0):
            last = rows.in_order(last)
            best[places[last]] = last

    def _take(self, places: Ints, rows: TimedRows) -> None:
        """Keep rows at places, one each, where they are later than what is kept."""
        times = self._times[places]
        later = rows.times > times
        equal = rows.times == times
        if equal.any():
            later |= equal & self._is_larger(places, rows)
        places, rows = places[later], rows.only(later)
        self._times[places], self._ties[places], self._numbers[places] = rows.times, rows.ties, rows.numbers
        if rows.seconds is not None:
            self._seconds[places] = rows.seconds

    def _is_larger(self, places: Ints, rows: TimedRows) -> npt.NDArray[np.bool_]:
        larger = rows.ties > self._ties[places]
        if rows.seconds is None:
            return larger
        seconds = self._seconds[places]
        return (rows.seconds > seconds) | ((rows.seconds == seconds) & larger)

    def found(self) -> tuple[Ints, Ints]:
        """Return the number of the row that each point sees, in the order in which points were given, -1 for
        none, and the time of that row.
        """
        # A point sees what the points of its entity before it see, and the latest of it came last.
        reached = np.where(self._numbers >= 0, np.arange(len(self._points)), -1)
        np.maximum.accumulate(reached, out=reached)
        reached[reached < self._points.first_of_entity()] = -1
        numbers, times = np.empty_like(reached), np.empty_like(reached)
        order = self._points.order
        numbers[order] = np.where(reached >= 0, self._numbers[reached], -1)
        times[order] = self._times[reached]
        return numbers, times
