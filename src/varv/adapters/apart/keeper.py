"""The one thread of a worker that starts the processes of its models and looks at them.

The kernel ends such a process with the thread that started it, so this one never ends. Ten times a second it
looks at what each holds, and whether it is still there; without one it sleeps.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from varv.adapters.jobs import tree
from varv.kernel.observe import log

EVERY_S = 0.1
_LOG = logging.getLogger(__name__)


class Watched(Protocol):
    """A process that is looked at."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much it may hold, with all that it has started."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        ...

    def outgrew(self, n_bytes: int) -> None:
        """End it, since it holds more than it may."""
        ...

    def noticed(self) -> None:
        """Take note that it has ended."""
        ...


P = TypeVar("P", bound=Watched)


class Keeper:
    """The thread, started with the first process."""

    def __init__(self) -> None:
        self._wishes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._watched: set[Watched] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, make: Callable[[], P]) -> P:
        """Return the process that `make` starts, and look at it from now on; it raises what `make` does."""
        done: Future[P] = Future()

        def wish() -> None:
            try:
                made = make()
            except Exception as error:  # noqa: BLE001 - whoever wished for it is told
                done.set_exception(error)
                return
            self._watched.add(made)
            done.set_result(made)

        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="models-apart", daemon=True)
                self._thread.start()
        self._wishes.put(wish)
        return done.result()

    def _keep(self) -> None:
        while True:
            try:
                self._wishes.get(timeout=EVERY_S if self._watched else None)()
            except Empty:
                for process in tuple(self._watched):
                    self._look_at(process)

    def _look_at(self, process: Watched) -> None:
        try:
            if process.has_ended:
                self._watched.discard(process)
                process.noticed()
            elif (held := _memory(process.pid, process.memory_bytes)) > process.memory_bytes:
                process.outgrew(held)
        except Exception as error:  # noqa: BLE001 - all processes end with this thread
            log(_LOG, logging.ERROR, "model.unwatched", pid=process.pid, why=str(error))


def _memory(pid: int, most: int) -> int:
    """Return what a process and all that it has started hold; an upper bound where that is not too much."""
    pids = [pid, *(process.pid for process in tree.descendants(pid))]
    held = sum(map(tree.private_memory, pids))
    return held if held <= most or len(pids) == 1 else sum(map(tree.proportional_memory, pids))
