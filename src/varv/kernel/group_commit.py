"""Group commit: many threads, one writer at a time, one fsync for all who wait.

Whoever finds no leader leads: it takes all that is queued and has it written as one batch. The batch is then
woken in a chain, each thread by the one before it, and the last calls the next leader. Woken all at once,
threads would queue a second time, for the interpreter; called earlier, the next leader would find half of
them not back yet, and pay an fsync for each half. A caller that is alone leads at once and pays no hand-over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Ticket(Generic[A]):
    """A piece of work on its way through the writer, with its result or its error."""

    __slots__ = ("_called", "_wake", "error", "finished", "next", "result", "work")

    def __init__(self, work: A) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.next: Ticket[A] | None = None  # to be called by this one's thread
        self._called = False
        self._wake = threading.Lock()
        self._wake.acquire()

    def wait(self) -> KeyboardInterrupt | None:
        """Wait for the call; an interrupt is kept until then, since the work may be committed anyway."""
        interrupt = None
        while not self._called:
            try:
                self._wake.acquire()
            except KeyboardInterrupt as error:
                interrupt = error
        return interrupt

    def call(self) -> None:
        """Let the thread that waits go on: its work is finished, or it is to lead."""
        self._called = True
        self._wake.release()


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
        interrupt = None
        try:
            if follows:
                interrupt = ticket.wait()
            if not ticket.finished:
                self._lead()
        finally:
            # Also when the batch has failed: who else is in it, or queued, would wait for ever.
            self._pass_on(ticket)
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
            for ticket in batch:
                ticket.finished = True
            for ticket, following in pairwise(batch):
                ticket.next = following

    def _pass_on(self, ticket: Ticket[A]) -> None:
        if ticket.next is not None:
            ticket.next.call()
            return
        with self.lock:
            self._leading = bool(self._queue)
            if self._queue:
                self._queue[0].call()
