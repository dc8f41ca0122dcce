"""Group commit: many threads, one writer at a time, one fsync for all who wait.

Whoever finds no leader leads: it takes all that is queued, has it written as one batch, wakes those it wrote
for, and hands over to the first that has queued meanwhile. A caller that is alone leads at once and pays no
hand-over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Ticket(Generic[A]):
    """A piece of work on its way through the writer, with its result or its error."""

    __slots__ = ("error", "finished", "result", "wake", "work")

    def __init__(self, work: A) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.wake = threading.Lock()
        self.wake.acquire()

    def wait(self) -> KeyboardInterrupt | None:
        """Wait for the leader; an interrupt is kept until then, since the work may be committed anyway."""
        interrupt = None
        while True:
            try:
                self.wake.acquire()
            except KeyboardInterrupt as error:
                interrupt = error
            else:
                return interrupt


class GroupCommit(Generic[A]):
    """A queue of work that `flush` writes batch by batch, in the order of the queue.

    Parameters
    ----------
    flush
        Writes a batch and gives every ticket its result or its error. If it raises, it has given errors
        first. Never called by two threads at once.
    closed
        Raises if no more work is taken; called under the lock of the queue.
    """

    def __init__(self, flush: Callable[[list[Ticket[A]]], None], closed: Callable[[], None]) -> None:
        self._flush, self._closed = flush, closed
        self._queue: deque[Ticket[A]] = deque()
        self.lock = threading.Lock()
        """Guards the queue, and whatever `closed` looks at."""
        self._leading = False

    def submit(self, work: A) -> Any:
        """Return the result of `work` once its batch is written, or raise its error."""
        ticket = Ticket(work)
        with self.lock:
            self._closed()
            self._queue.append(ticket)
            follows, self._leading = self._leading, True
        interrupt = ticket.wait() if follows else None
        if not ticket.finished:
            self._lead()
        if interrupt is not None:
            raise interrupt
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

    def _lead(self) -> None:
        with self.lock:
            batch = list(self._queue)
            self._queue.clear()
        try:
            self._flush(batch)
        finally:
            with self.lock:
                self._leading = bool(self._queue)
                if self._queue:
                    self._queue[0].wake.release()
            for ticket in batch:
                ticket.finished = True
            for follower in batch[1:]:  # the leader is always the first of its batch
                follower.wake.release()
