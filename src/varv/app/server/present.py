"""What a server works with at present: a home, what drives it, and the threads that keep it in time.

A changed declaration puts another in its place. Its threads are ended first; a command that one of them has
begun is finished, since whatever it decides is in the ledger, which both share.
"""

from __future__ import annotations

import threading

from varv.home.home import Home
from varv.home.live import Live


class Present:
    """A home in the present.

    Parameters
    ----------
    home, live
        The home, and what drives it.
    """

    def __init__(self, home: Home, live: Live) -> None:
        self.home = home
        self.live = live
        self.ended = threading.Event()
        """Set once its threads are to end."""
        self.threads: list[threading.Thread] = []
        """Those that must have ended before another home takes its place."""

    def pause(self) -> None:
        """End its threads, and return once timers and intake stand still."""
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def resumed(self) -> Present:
        """Return the same home, to go on with."""
        return Present(self.home, self.live)
