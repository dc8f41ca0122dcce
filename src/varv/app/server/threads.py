"""Threads that a server does not go on without: one that ends before it was told to ends the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from varv.app.server.patience import Patience
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import VarvError

IDLE_S = 0.5
"""How long a thread with nothing to do waits before it looks again."""


class Threads:
    """The threads of a server, and what tells it and them to end."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Set once all of them are to end."""
        # For signals: a handler that set an event could interrupt one that does, and wait for itself.
        self.told: SimpleQueue[None] = SimpleQueue()
        """Takes whatever tells the server to end."""
        self.patience = Patience(self.stop)
        self.failure: VarvError | None = None
        """What ended one of them."""
        self.crashed = False
        """Whether one ended that must not."""
        self._started: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Let a thread of its own do some work."""

        def guarded() -> None:
            finished = False
            try:
                work()
                finished = True
            except VarvError as error:
                # Closing the ledger ends whoever still uses it; that is no failure.
                finished = self.stop.is_set()
                self.failure = self.failure if finished else error
            finally:
                self.crashed |= not finished
                if not finished:
                    self.stop.set()
                    self.told.put(None)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._started.append(thread)
        thread.start()
        return thread

    def told_to_stop(self) -> bool:
        """Wait a moment, and return whether a signal came or a thread has ended that must not."""
        try:
            self.told.get(timeout=IDLE_S)
        except Empty:
            return False
        return True

    def join_named(self, name: str, within_s: float) -> bool:
        """Wait for the threads of a name, each as long, and return whether all of them have ended."""
        named = [thread for thread in self._started if thread.name == name]
        for thread in named:
            thread.join(within_s)
        return not any(thread.is_alive() for thread in named)

    def join(self, within_s: float) -> None:
        """Wait for all of them together, but a second for one that carries out commands: what a command does
        beside its fits is not cut short, and runs again after the next start.
        """
        until = wall_seconds() + within_s
        for thread in self._started:
            thread.join(1 if thread.name.startswith("runner") else max(0.0, until - wall_seconds()))
