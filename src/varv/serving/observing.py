"""What was asked and answered waits here for whoever is sent it: a sample, bounded, dropped and counted where
there is no room. Nothing here sends; a thread of an adapter does, so that no answer waits for an observer.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple, Protocol

from varv.kernel.clock import Instant
from varv.kernel.ids import ModelName, random_bits
from varv.serving.policy import Observer

MOST_WAITING = 1000
"""Requests that wait to be sent."""
MOST_ROWS_WAITING = 100_000
"""Of all of these."""
_WHOLE = 1 << 32


class Event(NamedTuple):
    """One thing that an observer is sent."""

    part: str
    """``"request"`` or ``"response"``."""
    id: str
    """Of the request; both parts have it."""
    at: Instant
    body: bytes
    """JSON, as the Open Inference Protocol has it."""


class Observed(Protocol):
    """A request that was answered."""

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        ...

    def events(self, observer: Observer) -> list[Event]:
        """Return what the observer is sent of it; it takes as long as writing JSON does."""
        ...


class Observing:
    """The requests of one model that wait to be sent.

    Parameters
    ----------
    model
        The model.
    observer
        Who is sent them.
    """

    def __init__(self, model: ModelName, observer: Observer) -> None:
        self.model = model
        self.observer = observer
        self._waiting: deque[Observed] = deque()
        self._n_rows = 0
        # Threads answer requests too.
        self._lock = threading.Lock()
        self.n_dropped = 0
        """Requests that found no room so far."""

    @property
    def is_due(self) -> bool:
        """Whether the next request is in the sample."""
        share = self.observer.share
        return share >= 1.0 or random_bits(32) < share * _WHOLE

    def put(self, observed: Observed) -> None:
        """Have one wait, if there is room."""
        n_rows = observed.n_rows
        with self._lock:
            if len(self._waiting) >= MOST_WAITING or self._n_rows + n_rows > MOST_ROWS_WAITING:
                self.n_dropped += 1
                return
            self._waiting.append(observed)
            self._n_rows += n_rows

    def take(self) -> Observed | None:
        """Return the one that has waited longest, which waits no more; None if none does."""
        with self._lock:
            if not self._waiting:
                return None
            taken = self._waiting.popleft()
            self._n_rows -= taken.n_rows
            return taken
