"""What waits to be sent to where it is only looked at: bounded, so that it never holds up who puts it there.

One process puts and one thread takes. What finds no room is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Things in the order in which they came.

    Parameters
    ----------
    most
        That wait at a time.

    Examples
    --------
    >>> box = Outbox(2)
    >>> for number in range(3):
    ...     box.put(number)
    >>> box.take(10), box.n_dropped
    ([0, 1], 1)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[T] = deque()
        self.n_dropped = 0
        """What found no room so far."""

    def put(self, one: T) -> None:
        """Have one wait, if there is room."""
        if len(self._waiting) >= self._most:
            self.n_dropped += 1
        else:
            self._waiting.append(one)

    def take(self, most: int) -> list[T]:
        """Return those that have waited longest, which wait no more."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
