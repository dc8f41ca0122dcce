"""Where intervals of a calendar begin: whole days of a time zone, or equal lengths in UTC.

Intervals of several days begin on a Monday. A day begins at midnight, or, where clocks skip it, at the next
hour that exists.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.clock import DAY, as_datetime, instant
from varv.kernel.errors import InvalidDeclaration

Ints = npt.NDArray[np.int64]
_MONDAY = instant("1900-01-01")
_END = instant("2200-01-01")


def require_zone(kind: str, name: str, zone: str) -> None:
    """Refuse a zone that does not exist.

    Raises
    ------
    InvalidDeclaration
        If there is none of that name.
    """
    try:
        pl.Series([0], dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    except pl.exceptions.PolarsError:
        hint = "write a name of the IANA database: Europe/Berlin"
        raise InvalidDeclaration(kind, name, f"have no zone {zone!r}", hint=hint) from None


class Boundaries(NamedTuple):
    """Where intervals begin and end."""

    every: int
    offset: int
    days: tuple[int, ...] = ()
    """The instants at which days of a zone begin; none for UTC."""

    def last_whole(self, instants: Ints) -> tuple[Ints, Ints]:
        """Return start and end of the last interval that had ended by each instant."""
        if not self.days:
            ends = instants - (instants - _MONDAY - self.offset) % self.every
            return ends - self.every, ends
        days = np.array(self.days, np.int64)
        place = np.clip(np.searchsorted(days, instants, side="right") - 1, 1, None)
        return days[place - 1], days[place]

    def last_whole_at(self, at: int) -> tuple[int, int]:
        """Return what `last_whole` does of one instant."""
        if not self.days:
            end = at - (at - _MONDAY - self.offset) % self.every
            return end - self.every, end
        place = max(bisect_right(self.days, at) - 1, 1)
        return self.days[place - 1], self.days[place]


@lru_cache(maxsize=64)
def boundaries(every: int, offset: int, zone: str) -> Boundaries:
    """Return the boundaries of intervals.

    Parameters
    ----------
    every, offset
        Microseconds; of a zone other than UTC whole days.
    zone
        As `require_zone` has found it.
    """
    if zone == "UTC":
        return Boundaries(every, offset)
    first, last = (as_datetime(at).replace(tzinfo=None) for at in (_MONDAY, _END))
    days = pl.datetime_range(first, last, f"{every // DAY}d", time_unit="us", eager=True)
    shifted = [
        (pl.col("at") + pl.duration(microseconds=offset, hours=hours)).dt.replace_time_zone(
            zone, ambiguous="earliest", non_existent="null"
        )
        for hours in (0, 1, 24)
    ]
    found = days.to_frame("at").select(pl.coalesce(shifted).cast(pl.Int64)).to_series().unique().sort()
    return Boundaries(every, offset, tuple(found.to_list()))
