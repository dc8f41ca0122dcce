"""Axes of charts: round numbers, calendar steps, and where a value lies between two ends.

Pure arithmetic; `charts` draws with it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence

import msgspec

from varv.kernel.clock import DAY, HOUR, MINUTE, Duration, Instant, as_datetime

_STEPS = tuple(
    Duration(step)
    for step in (
        *(MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR),
        *(DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY),
    )
)
_MONTH_STEPS = (1, 2, 3, 6, 12)
MOST_DIGITS = 5
"""Behind the point of a tick."""
LONGEST_TICK = 1e8
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Tick(msgspec.Struct, frozen=True):
    """A place on an axis and what is written there."""

    at: float
    text: str


class Range(msgspec.Struct, frozen=True):
    """What an axis spans; `high` is above `low`."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where `value` lies, 0 at the low end and 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def covering(values: Iterable[float], *, zero: bool = False) -> Range:
    """Return a range with a little air around `values`; with `zero`, one that begins there.

    Examples
    --------
    >>> covering([0.0, 10.0], zero=True)
    Range(low=0.0, high=10.5)
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    air = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Range(0.0 if zero and low >= 0 else low - air, high + air)


def round_ticks(span: Range, most: int = 5) -> list[Tick]:
    """Return at most `most` round numbers inside `span`: multiples of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> [tick.text for tick in round_ticks(Range(0.43, 0.62))]
    ['0.45', '0.50', '0.55', '0.60']
    """
    rough = (span.high - span.low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.999)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(span.low / step - 1e-9), math.floor(span.high / step + 1e-9)
    return [Tick(n * step, _tick_text(n * step, digits)) for n in range(first, last + 1)]


def _tick_text(value: float, digits: int) -> str:
    # What metrics may be has no bounds; the room beside an axis has.
    is_long = digits > MOST_DIGITS or abs(value) >= LONGEST_TICK
    return (f"{value:.3g}" if is_long else f"{value:,.{digits}f}").replace("-", "−")


def time_ticks(since: Instant, until: Instant, most: int = 7) -> list[Tick]:
    """Return at most `most` round times from `since` to `until`, in UTC.

    Examples
    --------
    >>> from varv.kernel.clock import instant
    >>> [tick.text for tick in time_ticks(instant("2013-02-01"), instant("2013-07-01"))]
    ['Feb 2013', 'Mar', 'Apr', 'May', 'Jun', 'Jul']
    """
    step = next((step for step in _STEPS if (until - since) / step <= most - 1), None)
    if step is None:
        return _months(since, until, most)
    first = -(-since // step) * step
    times = range(first, until + 1, step)
    # The first one is dated, and long, only if no midnight is.
    dated = {at for at in times if at % DAY == 0} or set(times[:1])
    return [Tick(at, _day(at) if at in dated else f"{as_datetime(at):%H:%M}") for at in times]


def _day(at: int) -> str:
    when = as_datetime(at)
    return f"{when.day} {when:%b}" if at % DAY == 0 else f"{when.day} {when:%b %H:%M}"


def _months(since: Instant, until: Instant, most: int) -> list[Tick]:
    n_months = (until - since) / (30.44 * DAY)
    step = next((step for step in _MONTH_STEPS if n_months / step <= most - 0.5), 24)
    when = as_datetime(since)
    month = when.year * 12 + when.month - 1
    ticks: list[Tick] = []
    for number in range(-(-month // step) * step, month + int(n_months) + 3, step):
        start = dt.datetime(number // 12, number % 12 + 1, 1, tzinfo=dt.UTC)
        at = (start - _EPOCH) // dt.timedelta(microseconds=1)
        if since <= at <= until:
            fresh = not ticks or start.month == 1
            ticks.append(Tick(at, f"{start:%b %Y}" if fresh else f"{start:%b}"))
    return ticks


def thinned(
    points: Sequence[tuple[float, float | None]], most: int = 400
) -> list[tuple[float, float | None]]:
    """Return at most about `most` of `points`, the least and the greatest of each stretch: no peak is lost.

    Examples
    --------
    >>> wave = [(float(n), 1.0 if n == 777 else 0.0) for n in range(10_000)]
    >>> len(thinned(wave)) <= 400, (777.0, 1.0) in thinned(wave)
    (True, True)
    """
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / (most // 2))
    kept: list[tuple[float, float | None]] = []
    for start in range(0, len(points), size):
        known = [point for point in points[start : start + size] if point[1] is not None]
        if not known:
            kept.append(points[start])
            continue
        low = min(known, key=lambda point: point[1] or 0.0)
        high = max(known, key=lambda point: point[1] or 0.0)
        kept.extend(sorted({low, high}))
    return kept


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions close to `wanted` that are `gap` apart, within `low` and `high` if there is room.

    Examples
    --------
    >>> spread([10.0, 12.0, 90.0], 14.0, 0.0, 100.0)
    [10.0, 24.0, 90.0]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
