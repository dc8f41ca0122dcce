"""When the process of a model that ended is started again; no clock, no process."""

from __future__ import annotations

from varv.kernel.ids import coin

FIRST_S = 0.2
"""Before the first new process, as all waits half more or less by chance: workers lose theirs together."""
MOST_IN_A_ROW = 5
"""From so many ends on the breaker is open: a model is tried only once in a while."""
OPEN_S = 30.0
SOUND_S = 10.0
"""A model that has answered for so long starts at the first wait again."""


class Restarts:
    """The ends of one model's processes: exponential back-off with jitter, then a circuit breaker.

    Parameters
    ----------
    salt
        What chance depends on, such as the model and the process that asks.

    Examples
    --------
    >>> restarts = Restarts("a")
    >>> waits = [restarts.wait_s(answered_s=0.0) for _ in range(6)]
    >>> [.5 * FIRST_S * 2**n <= wait < 1.5 * FIRST_S * 2**n for n, wait in enumerate(waits[:4])]
    [True, True, True, True]
    >>> [.5 * OPEN_S <= wait < 1.5 * OPEN_S for wait in waits[4:]], restarts.is_open
    ([True, True], True)
    """

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self.n_in_a_row = 0
        """Ends without a sound process between."""

    @property
    def is_open(self) -> bool:
        """Whether the model is tried only once in a while."""
        return self.n_in_a_row >= MOST_IN_A_ROW

    def wait_s(self, answered_s: float) -> float:
        """Take note of an end, and return the seconds before the next start.

        Parameters
        ----------
        answered_s
            How long the process that ended had given answers: from when it could to the last that it gave.
        """
        self.n_in_a_row = 1 if answered_s >= SOUND_S else self.n_in_a_row + 1
        usual_s = OPEN_S if self.is_open else FIRST_S * 2 ** (self.n_in_a_row - 1)
        return usual_s * (0.5 + coin(self._salt, str(self.n_in_a_row)))
