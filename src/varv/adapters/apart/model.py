"""A model over the processes that it has one after the other: asked in the one that is there, and given a new
one when that ends.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from varv.adapters.apart.keeper import Keeper
from varv.adapters.apart.process import Ended, ModelProcess, Surroundings
from varv.adapters.apart.restarts import Restarts
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Unavailable, VarvError
from varv.kernel.observe import log
from varv.registry import Rows, n_rows

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class ApartModel:
    """A model whose calls are answered by other processes; these end with this object.

    Parameters
    ----------
    lives
        Its processes, one at a time of each; a call goes to one that is there and has none.
    width
        How many numbers a prediction has.
    """

    waits: ClassVar[bool] = True

    def __init__(self, lives: Sequence[Life], width: int) -> None:
        self._lives = tuple(lives)
        self._width = width
        for life in lives:
            weakref.finalize(self, life.close)

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width).

        Raises
        ------
        DeadlineExceeded
            If the model took longer than it may; its process is ended then.
        UserCodeFailed
            If it raised, used more memory than it may, or ended its process.
        Unavailable
            If its process is gone by somebody else's doing, or is being started again.
        """
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        return self._chosen().during(lambda process: process.ask(rows, n, self._width))

    def _chosen(self) -> Life:
        if len(self._lives) == 1:
            return self._lives[0]
        there = [life for life in self._lives if life.is_there] or self._lives
        return next((life for life in there if not life.is_busy), there[0])


class Life:
    """The processes of one model, or of one function.

    Parameters
    ----------
    surroundings
        What they are started with.
    keeper
        Starts and watches them.
    """

    def __init__(self, surroundings: Surroundings, keeper: Keeper) -> None:
        self._around = surroundings
        self._keeper = keeper
        self._restarts = Restarts(f"{surroundings.name}/{os.getpid()}")
        self._turn = threading.Lock()
        # The end of a process is seen by whoever asks and by the keeper.
        self._state = threading.RLock()
        self._process: ModelProcess | None = None
        self._closed = threading.Event()
        self._why = ""
        self._next_at = 0.0

    @property
    def name(self) -> str:
        """What errors call what runs there."""
        return self._around.name

    def begin(self) -> None:
        """Start the first process; it raises why there is none."""
        self._process = self._started()

    @property
    def is_there(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def is_busy(self) -> bool:
        """Whether it has a call."""
        return self._turn.locked()

    def begin_apart(self) -> None:
        """Start the first process beside what else is done."""
        self._begin_again(0.0)

    def begin_later(self) -> None:
        """Start the first process, and go on trying if there is none."""
        try:
            self.begin()
        except VarvError as error:
            self._begin_again(self._ended(0.0, error))

    def during(self, use: Callable[[ModelProcess], T]) -> T:
        """Return what `use` gets of the process, one call at a time; it raises as `ApartModel.predict`."""
        # At once, since nobody gets anything of waiting for the turn.
        if self._process is None:
            raise self._unavailable()
        if not self._turn.acquire(timeout=self._around.time_s):
            hint = "send fewer requests, or retry later"
            raise Unavailable(self._around.kind, self._around.name, "is busy with other calls", hint=hint)
        try:
            process = self._process
            if process is None:
                raise self._unavailable()
            try:
                return use(process)
            except Ended as ended:
                self._is_over(process, ended.error)
                raise ended.error from None
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the process, and start none any more."""
        with self._state:
            self._closed.set()
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _started(self) -> ModelProcess:
        process = self._keeper.start(partial(ModelProcess, self._around, self._noticed))
        try:
            process.load()
        except Ended as ended:
            process.end()
            raise ended.error from None
        return process

    def _noticed(self, process: ModelProcess) -> None:
        # One that is being loaded or asked is seen by whoever does it, a moment earlier or later.
        if self._process is process and not self._turn.locked():
            self._is_over(process, process.why_ended())

    def _is_over(self, process: ModelProcess, why: VarvError) -> None:
        with self._state:
            if self._process is not process:
                return
            self._process = None
            wait_s = self._ended(process.answered_s, why)
        process.end()
        if not self._closed.is_set():
            self._begin_again(wait_s)

    def _begin_again(self, wait_s: float) -> None:
        threading.Thread(target=self._start_again, args=(wait_s,), name="model-again", daemon=True).start()

    def _ended(self, answered_s: float, why: VarvError) -> float:
        """Take note of an end, and return the seconds before the next start."""
        wait_s = self._restarts.wait_s(answered_s)
        self._why, self._next_at = why.problem, wall_seconds() + wait_s
        facts = {"in_a_row": self._restarts.n_in_a_row, "again_in_s": round(wait_s, 1)}
        named = {self._around.kind: self._around.name}
        log(_LOG, logging.ERROR, f"{self._around.kind}.process_ended", why=str(why), **named, **facts)
        return wait_s

    def _start_again(self, wait_s: float) -> None:
        while not self._closed.wait(wait_s):
            try:
                process = self._started()
            except VarvError as error:
                wait_s = self._ended(0.0, error)
                continue
            with self._state:
                if not self._closed.is_set():
                    self._process = process
                    return
            process.end()

    def _unavailable(self) -> Unavailable:
        left_s = max(1, math.ceil(self._next_at - wall_seconds()))
        n = self._restarts.n_in_a_row
        problem = "is not asked for now, since its process ends again and again"
        if not self._restarts.is_open:
            problem = "is being started again"
        hint = "try again in a moment"
        facts = {"why": self._why, "ended_in_a_row": n, "retry_after_s": left_s}
        return Unavailable(self._around.kind, self._around.name, problem, hint=hint, **facts)
