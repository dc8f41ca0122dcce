"""Whether a call waits a moment for others to be answered with it.

gRPC hands calls over one by one, each in several turns of the event loop, so those that came together never
meet in one turn as requests over HTTP do. Two milliseconds bring them together, which is worth it only while
enough of them come: a rule over numbers, which reads no clock.
"""

from __future__ import annotations

WAIT_S = 0.002
"""So long the first of several waits."""
ENOUGH = 4
"""As many calls make waiting worth it: what they share then is more than what the first of them loses."""
TRIES_EVERY = 64
"""One in so many calls waits to see whether others come, as long as they do not."""
_TRUST = 8


class Gathering:
    """Learns from what came whether the next is to wait.

    Examples
    --------
    >>> gathering = Gathering()
    >>> waits = [gathering.wait_s(0.0001 * n) for n in range(1000)]
    >>> waits[0], waits[-1] == WAIT_S
    (0.0, True)
    >>> alone = [gathering.wait_s(1.0 + 0.01 * n) for n in range(640)]
    >>> sum(wait > 0 for wait in alone[64:])
    9
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._n = 0
        self._n_calls = 0
        self._trust = 0

    def wait_s(self, now: float) -> float:
        """Return how long a call that is there now may wait for others, in seconds."""
        if now < self._until:
            self._n += 1
            return WAIT_S
        if self._until:
            self._trust = _TRUST if self._n >= ENOUGH else max(0, self._trust - 1)
        self._n_calls += 1
        if not self._trust and self._n_calls % TRIES_EVERY:
            self._until = 0.0
            return 0.0
        self._until, self._n = now + WAIT_S, 1
        return WAIT_S
