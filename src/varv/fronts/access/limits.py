"""How many rows a client may ask for: the generic cell rate algorithm, in integers.

It keeps one number a client: when the client will have asked for no more than its rate. Each row moves that
time on, and a request is refused that would move it further ahead than a burst. ATM Forum, Traffic Management
Specification 4.1 (1999), section 4.4.2, there as virtual scheduling.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

import msgspec

from varv.kernel.errors import InvalidInput

MICROSECONDS = 1_000_000
_RATE = re.compile(r"([1-9][0-9]{0,8})\s*/\s*(s|m|h|d)")
_WINDOWS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Rate(msgspec.Struct, frozen=True):
    """So many rows in so many seconds, of which some may come at once."""

    n_rows: int
    window_s: int
    burst: int

    def __str__(self) -> str:
        unit = {window: unit for unit, window in _WINDOWS_S.items()}[self.window_s]
        return f"{self.n_rows}/{unit}"


def rate_of(text: str, burst: int | None = None) -> Rate:
    """Return the rate that a text names.

    Parameters
    ----------
    burst
        How many rows may come at once; those of one second, minute, hour or day if it is None.

    Raises
    ------
    InvalidInput
        If it is no rate, or is nothing.

    Examples
    --------
    >>> rate_of("200/s"), str(rate_of("90/m", burst=10))
    (Rate(n_rows=200, window_s=1, burst=200), '90/m')
    """
    found = _RATE.fullmatch(text.strip())
    if found is None:
        hint = 'write rows per second, minute, hour or day: "200/s", "1000/m", "50000/h", "1000000/d"'
        raise InvalidInput("rate", text[:40], "is not a rate", hint=hint)
    n_rows = int(found[1])
    return Rate(n_rows, _WINDOWS_S[found[2]], n_rows if burst is None else burst)


class RateLimit:
    """What one client may still ask one worker for.

    Parameters
    ----------
    rate
        Of the client.
    n_workers
        That answer it; each gives it an equal part of the rate and of the burst, of a row at least.
    name
        Of the policy, in headers.

    Notes
    -----
    Time is counted in parts so small that a row takes a whole number of them, whatever the rate: a
    microsecond has as many as the window has rows. So nothing is rounded.

    Examples
    --------
    >>> limit = RateLimit(rate_of("2/s"))
    >>> [limit.take(0), limit.take(0), limit.take(0), limit.take(500_000)]
    [0, 0, 500000, 0]
    """

    __slots__ = ("_burst", "_due", "_lock", "_name", "_parts", "_policy", "_row", "_seen")

    def __init__(self, rate: Rate, n_workers: int = 1, name: str = "rows") -> None:
        self._parts = rate.n_rows
        self._row = rate.window_s * MICROSECONDS * n_workers
        self._burst = max(self._row, rate.burst * rate.window_s * MICROSECONDS)
        self._due = self._seen = 0
        self._lock = threading.Lock()  # large requests are read in threads
        self._name = name
        self._policy = f'"{name}";{_quota(rate, n_workers)}'

    def take(self, now_us: int, n_rows: int = 1, n_taken: int = 0) -> int:
        """Take rows, or nothing if they are too many; return in how many microseconds they may come, 0 if
        they were taken.

        A request of more rows than a burst is taken when nothing else is owed, and holds up those that
        follow: so the rate holds over time, and no request is refused for ever.

        Parameters
        ----------
        n_taken
            Rows of the same request that were taken before.
        """
        now, most = now_us * self._parts, self._burst
        if n_rows + n_taken > 1:
            most = max(most, (n_rows + n_taken) * self._row)
        with self._lock:
            self._seen = now
            due = n_rows * self._row + (self._due if self._due > now else now)
            if due - now <= most:
                self._due = due
                return 0
        return -(-(due - now - most) // self._parts)

    def give_back(self, n_rows: int) -> None:
        """Give rows back of a request that is not answered after all."""
        with self._lock:
            self._due -= n_rows * self._row

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The policy, and what was left when a request last came, as HTTP has them (the IETF's draft
        draft-ietf-httpapi-ratelimit-headers-10).
        """
        owed = max(self._due - self._seen, 0)
        left = max(self._burst - owed, 0) // self._row
        reset_s = -(-owed // (self._parts * MICROSECONDS))
        return ("ratelimit-policy", self._policy), ("ratelimit", f'"{self._name}";r={left};t={reset_s}')


class SeveralLimits:
    """Several limits of one client, each of which has to hold.

    Parameters
    ----------
    limits
        The quicker ones first: what they refuse is not taken from the others.
    """

    __slots__ = ("_limits",)

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._limits = tuple(limits)

    def take(self, now_us: int, n_rows: int = 1, n_taken: int = 0) -> int:
        """Take rows from every limit, or from none; as `RateLimit.take`."""
        for place, limit in enumerate(self._limits):
            wait_us = limit.take(now_us, n_rows, n_taken)
            if wait_us:
                for taken in self._limits[:place]:
                    taken.give_back(n_rows)
                return wait_us
        return 0

    def give_back(self, n_rows: int) -> None:
        """Give rows back of a request that is not answered after all."""
        for limit in self._limits:
            limit.give_back(n_rows)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The policies, and what was left of each, as `RateLimit.headers`."""
        told = [dict(limit.headers) for limit in self._limits]
        return tuple((name, ", ".join(one[name] for one in told)) for name in told[0])


def _quota(rate: Rate, n_workers: int) -> str:
    """Return the part of a worker, in a window in which it is a whole number of rows."""
    if rate.n_rows % n_workers:
        return f"q={rate.n_rows};w={rate.window_s * n_workers}"
    return f"q={rate.n_rows // n_workers};w={rate.window_s}"
