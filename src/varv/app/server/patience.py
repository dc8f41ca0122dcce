"""What the threads of a server do when work is refused for now, as by a full disk: wait, try again, go on.

Nothing is given up for it: what was refused is done again from its last commit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from varv.kernel.errors import VarvError
from varv.kernel.observe import log

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 4.0
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Patience:
    """Does work again while it is refused by an error that may pass.

    Parameters
    ----------
    stop
        Ends all waiting.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._refused: dict[int, str] = {}

    @property
    def problem(self) -> str:
        """Why some thread waits, as a sentence; empty if none does."""
        with self._lock:
            return next(iter(self._refused.values()), "")

    def until_done(self, work: Callable[[], T]) -> T | None:
        """Return the result of `work`, done again while it is refused for now; None if stopped before."""
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                result = work()
            except VarvError as error:
                if not error.retryable:
                    raise
                if self._stop.is_set():
                    break
                self._note(str(error))
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._note("")
                return result
        return None

    def _note(self, problem: str) -> None:
        """Keep what this thread waits for; the first that waits and the last that goes on are logged."""
        thread = threading.get_ident()
        with self._lock:
            waited = bool(self._refused)
            if problem:
                self._refused[thread] = problem
            else:
                self._refused.pop(thread, None)
            waits = bool(self._refused)
        if waits and not waited:
            log(_LOG, logging.ERROR, "server.waits", why=problem)
        elif waited and not waits:
            log(_LOG, logging.INFO, "server.goes_on")
