"""When an endpoint is asked again, and when it is not asked at all; no clock, no network."""

from __future__ import annotations

from typing import Literal

from varv.kernel.ids import coin

SHARE = 0.1
"""Of all calls, so many may be tries of the same once more."""
RESERVE = 3.0
"""Tries that are there from the start, and the most that are saved up."""
MOST_FAILURES = 5
"""In a row; then nobody asks for a while."""
FIRST_S, MOST_S = 1.0, 30.0
"""How long nobody asks the first time, and the most."""


class RetryBudget:
    """A token bucket that calls fill and retries empty, so that whoever has too much to do is not sent more.

    Examples
    --------
    >>> budget = RetryBudget()
    >>> [budget.take() for _ in range(4)]
    [True, True, True, False]
    >>> for _ in range(11):
    ...     budget.called()
    >>> budget.take(), budget.take()
    (True, False)
    """

    def __init__(self) -> None:
        self._tokens = RESERVE

    def called(self) -> None:
        """Take note of a call."""
        self._tokens = min(RESERVE, self._tokens + SHARE)

    def take(self) -> bool:
        """Return whether a call may be tried once more, and count that."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


State = Literal["closed", "open", "half-open"]


class Breaker:
    """A circuit breaker: closed while an endpoint answers, open after failures in a row, half-open for the
    one call that tries whether it answers again.

    Parameters
    ----------
    salt
        What chance depends on, so that processes do not try at the same moment.

    Examples
    --------
    >>> breaker = Breaker("a")
    >>> for _ in range(MOST_FAILURES):
    ...     breaker.failed(now_s=0.0)
    >>> breaker.state, breaker.wait_s(0.0) > 0.4, breaker.wait_s(2.0), breaker.state
    ('open', True, 0.0, 'half-open')
    >>> breaker.wait_s(2.0) > 0
    True
    >>> breaker.answered()
    >>> breaker.state
    'closed'
    """

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._n_failures = 0
        self._n_openings = 0
        self._until_s = 0.0
        self.state: State = "closed"

    def wait_s(self, now_s: float) -> float:
        """Return for how long an endpoint is not to be asked: nothing if this call may ask it. A call that
        may when the breaker is open is the one that tries.
        """
        if self.state == "closed":
            return 0.0
        if now_s < self._until_s:
            return self._until_s - now_s
        self.state = "half-open"
        # Others wait for what this one finds, or for so long if it never says.
        self._until_s = now_s + FIRST_S
        return 0.0

    def answered(self) -> None:
        """Take note that it answered."""
        self._n_failures = self._n_openings = 0
        self.state = "closed"

    def failed(self, now_s: float) -> None:
        """Take note that it did not."""
        self._n_failures += 1
        if self.state == "half-open" or self._n_failures >= MOST_FAILURES:
            usual_s = min(MOST_S, FIRST_S * 2**self._n_openings)
            self._n_openings += 1
            self._until_s = now_s + usual_s * (0.5 + coin(self._salt, str(self._n_openings)) / 2)
            self.state = "open"
