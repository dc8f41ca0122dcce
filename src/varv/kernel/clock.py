"""Time as a port: instants, durations, and the clocks.

An instant is an integer: microseconds since 1970-01-01T00:00Z. A duration is an integer number of
microseconds. This is the only module that reads the machine's clock; the database never computes time.
`VirtualClock` moves only when told, so a year replays in a minute and every test says what time it is.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import NewType, Protocol

from varv.kernel.errors import InvalidInput

Instant = NewType("Instant", int)
Duration = NewType("Duration", int)

MICROSECOND = Duration(1)
SECOND = Duration(1_000_000)
MINUTE = Duration(60 * SECOND)
HOUR = Duration(60 * MINUTE)
DAY = Duration(24 * HOUR)
WEEK = Duration(7 * DAY)

_UNITS = {"ms": Duration(1000), "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_LONGEST = Duration(100 * 366 * DAY)


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant:
        """Return the present instant; never earlier than the one returned before."""
        ...


class SystemClock:
    """The machine's clock, made monotonic: a step backwards is waited out, not passed on."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> Instant:
        """Return the machine's time, or the last instant told if the machine's clock went back."""
        self._last = max(self._last, time.time_ns() // 1000)
        return Instant(self._last)


class VirtualClock:
    """A clock that stands still until it is moved, and only moves forward."""

    def __init__(self, start: Instant) -> None:
        self._now = start

    def now(self) -> Instant:
        """Return the instant that the clock was last moved to."""
        return self._now

    def move_to(self, instant: Instant) -> None:
        """Move to `instant`; moving to an earlier one is refused.

        Raises
        ------
        InvalidInput
            If `instant` lies before the present of this clock.
        """
        if instant < self._now:
            raise InvalidInput("clock", "virtual", "cannot go back", now=iso(self._now), asked=iso(instant))
        self._now = instant


class HeldClock:
    """A clock that can be held at an instant; else it shows another's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: Instant | None = None

    def now(self) -> Instant:
        """Return the instant at which it is held, or the other clock's present."""
        return self._clock.now() if self._held is None else self._held

    def hold(self, at: Instant) -> None:
        """Stand still at `at`."""
        self._held = at

    def release(self) -> None:
        """Show the other clock's time again."""
        self._held = None


def cpu_seconds() -> float:
    """Return the processor seconds this process has used; a measurement, never part of a decision."""
    return time.process_time()


def wall_seconds() -> float:
    """Return a monotonic reading in seconds for measuring how long something took."""
    return time.perf_counter()


def duration(text: str | int) -> Duration:
    """Return the microseconds of a duration such as ``"90s"``, ``"3h"``, ``"2d12h"`` or ``"1w"``.

    Raises
    ------
    InvalidInput
        If `text` is not a duration, is not positive, or is longer than a century.

    Examples
    --------
    >>> duration("3h") == 3 * HOUR
    True
    >>> duration("2d12h") == 60 * HOUR
    True
    """
    hint = "write a number and a unit: 90s, 15m, 3h, 7d, 2w"
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise InvalidInput("duration", repr(text), "is not a text", hint=hint)
    if isinstance(text, int):
        found = text
    else:
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text.strip():
            raise InvalidInput("duration", text[:40], "is not understood", hint=hint)
        found = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if not 0 < found <= _LONGEST:
        raise InvalidInput("duration", str(text)[:40], "is not between 1 ms and 100 years", hint=hint)
    return Duration(found)


def instant(text: str) -> Instant:
    """Return the instant of an ISO 8601 date or time; without an offset it is UTC.

    Raises
    ------
    InvalidInput
        If `text` is not an ISO 8601 time.

    Examples
    --------
    >>> iso(instant("2013-02-01"))
    '2013-02-01T00:00:00Z'
    """
    try:
        when = dt.datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise InvalidInput(
            "time", str(text)[:40], "is not ISO 8601", hint="write 2013-02-01T05:00:00Z"
        ) from None
    aware = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return Instant((aware - _EPOCH) // dt.timedelta(microseconds=1))


def iso(when: int) -> str:
    """Return `when` as ISO 8601 in UTC, with fractions of a second only if there are any."""
    return as_datetime(when).isoformat().replace("+00:00", "Z")


def as_datetime(when: int) -> dt.datetime:
    """Return `when` as an aware `datetime` in UTC."""
    return _EPOCH + dt.timedelta(microseconds=when)


def spoken(span: int) -> str:
    """Return a duration as people write it.

    Examples
    --------
    >>> spoken(36 * HOUR), spoken(90 * SECOND)
    ('1d12h', '1m30s')
    """
    parts: list[str] = []
    left = int(span)
    for unit, size in reversed(_UNITS.items()):
        if unit == "w":
            continue
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
