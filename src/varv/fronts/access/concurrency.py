"""How many requests may be under way in a process, found from how long they take.

A plain rule over numbers: nothing here reads a clock or counts requests. `access.door` does.
"""

from __future__ import annotations

import math

from varv.fronts.access.clients import PRIORITIES

N_FIRST = 10
"""Samples of which the usual time is the mean at first."""
LEAST_SHARE = 0.5
"""Of the limit, for the lowest priority."""


class GradientLimit:
    """The limit of requests under way: it grows while they take as long as they usually do, and shrinks once
    they take longer, since what they take longer for is waiting.

    Parameters
    ----------
    least, most
        Between which it stays; it begins with the most.
    usual_s
        How long a request may always take: shorter times are not told apart.
    tolerance
        How many times longer than usual still counts as usual.
    smoothing
        The weight of what the last sample says.
    window
        Over how many samples the usual time is averaged.

    Notes
    -----
    Gradient2 of Netflix's concurrency-limits (github.com/Netflix/concurrency-limits, 2018), with its numbers
    but for these. It begins high, so that nobody is refused before a measurement says so: requests of one
    moment are answered together here, and many of them are no sign of a queue. A sample that was taken at
    half of the limit or above never raises the usual time: it says how long the queue is, and an average that
    followed it would let a lasting overload pass for usual. And the square root of the limit may queue, as in
    its first Gradient, not four requests, so that a limit of thousands recovers as fast as one of tens.

    Examples
    --------
    >>> limit = GradientLimit(most=100)
    >>> for took_s in [0.01] * 10 + [0.5] * 50:
    ...     limit.sample(took_s, n_under_way=100)
    >>> limit.limit < 40, limit.most_of[9] > limit.most_of[0]
    (True, True)
    """

    def __init__(
        self,
        *,
        least: int = 20,
        most: int = 2000,
        usual_s: float = 0.05,
        tolerance: float = 1.5,
        smoothing: float = 0.2,
        window: int = 600,
    ) -> None:
        self._least, self._most = least, most
        self._usual_s = usual_s
        self._tolerance = tolerance
        self._smoothing = smoothing
        self._weight = 2 / (window + 1)
        self._average_s = 0.0
        self._n_first = 0
        self.limit = float(most)
        self.most_of: tuple[int, ...] = ()
        """How many requests may be under way for one of each priority to be taken, the lowest first."""
        self._share()

    @property
    def usual_s(self) -> float:
        """How long requests usually take, as far as that is told apart."""
        return max(self._average_s, self._usual_s)

    def sample(self, took_s: float, n_under_way: int) -> None:
        """Learn from requests that were answered.

        Parameters
        ----------
        took_s
            How long they took, from when they came.
        n_under_way
            How many were under way then, these among them.
        """
        is_busy = n_under_way >= self.limit / 2
        if self._n_first < N_FIRST:
            self._n_first += 1
            self._average_s += (took_s - self._average_s) / self._n_first
        elif not is_busy or took_s < self._average_s:
            self._average_s += self._weight * (took_s - self._average_s)
        # With few under way a long time says something of these requests, and nothing of a queue.
        if n_under_way < self._least:
            return
        gradient = max(0.5, min(1.0, self._tolerance * self.usual_s / took_s)) if took_s > 0 else 1.0
        if gradient == 1.0 and not is_busy:
            return
        wanted = gradient * self.limit + math.sqrt(self.limit)
        found = (1 - self._smoothing) * self.limit + self._smoothing * wanted
        found = max(self._least, min(self._most, found))
        if found != self.limit:
            self.limit = found
            self._share()

    def _share(self) -> None:
        """Let each priority have what is below it, and more: the lowest is refused first."""
        step = (1 - LEAST_SHARE) / (len(PRIORITIES) - 1)
        self.most_of = tuple(int(self.limit * (LEAST_SHARE + step * priority)) for priority in PRIORITIES)
