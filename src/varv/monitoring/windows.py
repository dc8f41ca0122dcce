"""Windows of request time: which days are mature, and which rows and outcomes belong to a window.

A day (UTC) is measured once, a fixed time after its end. Outcomes that come later than that count as missing,
so a measurement is the same whenever it is made.
"""

from __future__ import annotations

import polars as pl

from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.monitoring.model import Window


def day_of(when: int) -> Window:
    """Return the UTC day that `when` lies in.

    Examples
    --------
    >>> day_of(DAY + 5) == Window(Instant(DAY), Instant(2 * DAY))
    True
    """
    start = when - when % DAY
    return Window(Instant(start), Instant(start + DAY))


def matured(after: Instant, now: Instant, *, maturity: Duration = DAY) -> list[Window]:
    """Return the days, oldest first, that begin at or after `after` and ended at least `maturity` before
    `now`.

    Examples
    --------
    >>> len(matured(Instant(0), Instant(3 * DAY)))
    2
    """
    first = -(-after // DAY)
    last = (now - maturity) // DAY
    return [Window(Instant(day * DAY), Instant((day + 1) * DAY)) for day in range(first, last)]


def trailing(day: Window, span: Duration) -> Window:
    """Return the window of length `span` that ends with `day`."""
    return Window(Instant(day.end - span), day.end)


def closes(day: Window, every: Duration) -> bool:
    """Whether something done once per `every` (whole days) falls on `day`; the same days in every run."""
    return (day.end // DAY) % (every // DAY) == 0


def cut(frame: pl.DataFrame, window: Window, *, known_by: Instant) -> pl.DataFrame:
    """Return the rows requested within `window`, with outcomes that came after `known_by` taken out.

    Raises
    ------
    InvalidInput
        If a column is missing or a time is not Datetime("us", "UTC").
    """
    require(frame, "requested_at", "known_at", "outcome")
    # Compared as integers: polars takes ten times as long to make a literal of a datetime.
    in_time = pl.col("known_at").to_physical() <= known_by
    return within(frame, window).with_columns(outcome=pl.when(in_time).then(pl.col("outcome")))


def within(frame: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return the rows requested within `window`."""
    requested = frame["requested_at"].cast(pl.Int64).to_numpy()
    inside = (requested >= window.start) & (requested < window.end)
    # Who asked for a window mostly hands over that: the query engine is not started for nothing.
    return frame if inside.all() else frame.filter(inside)


def require(frame: pl.DataFrame, *columns: str) -> None:
    """Refuse a frame that lacks one of `columns` or has its times in another type.

    Raises
    ------
    InvalidInput
        Naming the column.
    """
    for name in columns:
        if name not in frame.columns:
            raise InvalidInput("column", name, "is missing from the predictions", columns=frame.columns[:20])
        if name.endswith("_at") and frame.schema[name] != TIME:
            hint = 'cast it to pl.Datetime("us", "UTC")'
            raise InvalidInput(
                "column", name, "is not a time in UTC", type=str(frame.schema[name]), hint=hint
            )


def day_numbers(frame: pl.DataFrame) -> pl.Series:
    """Return the UTC day of each request, counted from 1970-01-01."""
    # A cast, since what polars has for it starts the query engine.
    return frame["requested_at"].cast(pl.Int64) // DAY
