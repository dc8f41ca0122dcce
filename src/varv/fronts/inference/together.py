"""Requests of one moment, of all models and protocols: those of one turn of the event loop are scored in one
call a model and captured in one record. Batches form under load, and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from varv.fronts.access.deadlines import sooner
from varv.fronts.inference.oip import Asked
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit
from varv.fronts.inference.turns import FAILED, Turns, Waiting, Writer, generally
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.serving import Answering
from varv.serving.answering import Ready

INLINE_BYTES = 16 << 10
"""Above this a request that no plan takes is answered in a thread; some sixty rows."""


class Together:
    """Collects requests, and has them answered at the end of this turn of the event loop.

    Parameters
    ----------
    inference
        What answers for each model.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._turns: dict[ModelName, Turns] = {}
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(
        self,
        writer: Writer,
        answering: Answering,
        visit: Visit,
        read: Callable[[], Asked],
        send: Callable[[Any], None],
        n_bytes: int,
        wait_s: float = 0.0,
    ) -> None:
        """Read a request that the door has taken, and let it be answered with the others of this turn, or by
        itself if no plan takes it.

        Parameters
        ----------
        read
            Returns what it asks, or raises.
        send
            Takes what `writer` makes of the answer or the refusal, or `FAILED`; later, on the event loop.
        n_bytes
            Of the request.
        wait_s
            So long it may wait for others that are about to come, in seconds; 0 for those of this turn only.

        Raises
        ------
        VarvError
            If it is not sound, or its rows are more than its caller's rate allows; it is counted, and
            nothing will be sent.
        Unavailable
            If too many wait for the model already.
        """
        inference, caller = self._inference, visit.caller
        try:
            asked = read()
            ready = answering.ready(asked.columns, asked.id)
            now = wall_seconds()
            if caller.limit is not None:
                n_rows = asked.n_rows if ready is None else len(ready.rows.keys)
                inference.door.admit_rows(caller, answering.model, n_rows, now)
        except VarvError:
            inference.statistics[answering.model].failed(wall_seconds() - visit.began)
            raise
        deadline = visit.deadline
        if asked.timeout_us:
            deadline = sooner(deadline, visit.began, asked.timeout_us)
        waits = answering.waits
        waiting = Waiting(
            writer, answering, asked, send, now, visit.began, deadline, caller, not waits, visit.watch
        )
        if ready is None and n_bytes > INLINE_BYTES:
            self._answer_apart(waiting)
        else:
            self._wait(waiting, ready, wait_s)
        if waits:
            inference.door.done()

    def flush(self) -> None:
        """Answer all that waits, but for models whose calls run in a thread."""
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for turns in self._turns.values():
            turns.flush()

    def _wait(self, waiting: Waiting, ready: Ready | None, wait_s: float) -> None:
        model = waiting.answering.model
        if model not in self._turns:
            self._turns[model] = Turns(self._inference, model)
        self._turns[model].add(waiting, ready)
        if self._is_due:
            return
        if not wait_s:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.flush)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.flush)

    def _answer_apart(self, waiting: Waiting) -> None:
        task = asyncio.get_running_loop().create_task(self._answer_large(waiting))
        # The loop itself holds no task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_large(self, waiting: Waiting) -> None:
        told: Any = FAILED
        try:
            async with self._inference.turn_of(waiting.answering):
                told = await run_in_threadpool(generally, self._inference, waiting)
        finally:
            if waiting.is_counted:
                self._inference.door.done()
            waiting.send(told)
