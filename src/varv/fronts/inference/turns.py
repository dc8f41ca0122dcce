"""Requests that wait for one model, and how they are answered: all of one turn of the event loop in one call.

A model whose calls are quick is asked where its requests arrived. One whose calls take longer, or for which
another process answers, is asked in a thread, one call after the other, so that no other model and no other
connection waits for it; what comes meanwhile is the next call's batch.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool

from varv.fronts.access import Caller
from varv.fronts.access.deadlines import too_late
from varv.fronts.inference import oip
from varv.fronts.inference.forms import Reply
from varv.fronts.inference.pace import Pace
from varv.fronts.inference.served import Inference, Took
from varv.fronts.inference.watch import Watch
from varv.fronts.inference.watching import Watcher, call_of
from varv.fronts.problems import in_json
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.errors import DeadlineExceeded, Unavailable, UserCodeFailed, VarvError
from varv.kernel.ids import ModelName
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Within
from varv.serving import Answering, Answers
from varv.serving.answering import Ready
from varv.serving.plain import Unplanned

MOST_WAITING = 10_000
"""Requests that may wait for one model."""
MOST_WAITING_ELSEWHERE = 1000
"""Requests that may wait for a model for which another process answers."""
_CLOCK = SystemClock()
_OF_THE_MODEL = (DeadlineExceeded, Unavailable)
FAILED = Reply(in_json({"error": "the server failed to answer; its log says why"}), 500)


class Writer(Protocol):
    """What makes replies of a protocol."""

    def write(self, asked: oip.Asked, answering: Answering, answered: Answers) -> Any:
        """Return an answer."""
        ...

    def refused(self, error: VarvError) -> Any:
        """Return a refusal."""
        ...


class Waiting(NamedTuple):
    """A request that is understood and not answered yet."""

    writer: Writer
    answering: Answering
    asked: oip.Asked
    send: Callable[[Any], None]
    read_at: float
    began: float
    deadline: float
    caller: Caller
    is_counted: bool = True
    """Whether it is under way for the door; what waits for another process takes nobody's place."""
    watch: Watch | None = None


def generally(inference: Inference, waiting: Waiting) -> Any:
    """Return the reply to a request as the application gives it, be it a refusal."""
    statistics = inference.statistics[waiting.answering.model]
    asked, began = waiting.asked, wall_seconds()
    if waiting.deadline <= began:
        return told_too_late(inference, waiting, began)
    try:
        with Within(None if waiting.watch is None else waiting.watch.context):
            answered = waiting.answering.answer_generally(asked.columns, asked.id)
        found = wall_seconds()
        reply = waiting.writer.write(asked, waiting.answering, answered)
    except VarvError as error:
        statistics.failed(wall_seconds() - waiting.began)
        return waiting.writer.refused(error)
    request = Took(waiting.read_at - waiting.began, began - waiting.read_at)
    ended = wall_seconds()
    call = Took(answer_s=found - began, write_s=ended - found)
    statistics.answered([request], [answered], call, _CLOCK.now() / 1e6)
    if inference.observing:
        inference.observe(waiting.answering, asked, answered)
    if waiting.watch is not None:
        waiting.watch.answered(asked.id, waiting.read_at, began, found, ended, answered)
    return reply


def told_too_late(inference: Inference, waiting: Waiting, now: float) -> Any:
    """Count a request that nobody waits for any more, and return its refusal."""
    inference.statistics[waiting.answering.model].failed(now - waiting.began)
    inference.door.refused("deadline", waiting.caller)
    return waiting.writer.refused(too_late(waiting.began, now))


Pair = tuple[Waiting, Ready | None]
"""A request, and what a plan has read of it; None if no plan takes it."""


def _n_rows(pair: Pair) -> int:
    return 1 if pair[1] is None else len(pair[1].rows.keys)


def _sorted_by_deadline(batch: Sequence[Pair]) -> tuple[list[Waiting], Sequence[Pair]]:
    """Return the requests that nobody waits for any more, and the others."""
    now = wall_seconds()
    late = [one for one, _ in batch if one.deadline <= now]
    return late, [pair for pair in batch if pair[0].deadline > now] if late else batch


def _call_of(several: Sequence[Pair]) -> TraceContext | None:
    """Return the span that a call for requests is of, None if nobody traces it."""
    watched = (one.watch for one, _ in several)
    contexts = [one.context for one in watched if one is not None and one.context is not None]
    return call_of(contexts, len(several))


class _Done(NamedTuple):
    """What became of the requests of one call."""

    replies: list[Any]
    answers: Sequence[Answers] | None
    """None where each was answered by itself."""
    began: float
    found: float
    ended: float
    call: TraceContext | None = None
    """The span of the call, if anybody traces it."""


class Turns:
    """The requests of one model.

    Parameters
    ----------
    inference
        Whose door and statistics are told.
    model
        The model.
    """

    def __init__(self, inference: Inference, model: ModelName) -> None:
        self._inference = inference
        self._model = model
        self._planned: deque[Pair] = deque()
        self._alone: deque[Pair] = deque()
        self._pace = Pace()
        self._tasks: set[asyncio.Task[None]] = set()
        self._n_at_once = 1
        """Calls that may run at a time in threads."""
        self._n_running = 0
        # Of several threads that take their next call each.
        self._taking = threading.Lock()

    def add(self, waiting: Waiting, ready: Ready | None) -> None:
        """Let a request wait for the next `flush`; one that no plan takes is answered by itself.

        Raises
        ------
        Unavailable
            If too many wait already.
        """
        if self._n_waiting >= (MOST_WAITING if waiting.is_counted else MOST_WAITING_ELSEWHERE):
            hint = "try again in a moment"
            raise Unavailable("model", self._model, "has too many requests waiting", hint=hint)
        self._n_at_once = 1 if waiting.is_counted else waiting.answering.instances
        (self._alone if ready is None else self._planned).append((waiting, ready))

    @property
    def _n_waiting(self) -> int:
        return len(self._planned) + len(self._alone)

    @property
    def _leaves_the_loop(self) -> bool:
        """Whether the next call is made in a thread."""
        return self._pace.is_slow or not (self._planned or self._alone)[0][0].is_counted

    def flush(self) -> None:
        """Answer all that waits, unless calls run in a thread, which sees to it."""
        if self._tasks:
            self._begin_apart()
            return
        while self._n_waiting:
            if self._leaves_the_loop:
                self._begin_apart()
                return
            is_done = False
            try:
                self._answer(self._next())
                is_done = True
            finally:
                if not is_done and self._n_waiting:
                    # A fault is the loop's to log; the others are answered in the next turn.
                    asyncio.get_running_loop().call_soon(self.flush)

    def _begin_apart(self) -> None:
        """Have threads take calls, as many as may run and there are requests for."""
        loop = asyncio.get_running_loop()
        for _ in range(min(self._n_at_once - len(self._tasks), self._n_waiting)):
            self._tasks.add(loop.create_task(self._go_on_apart()))

    async def _go_on_apart(self) -> None:
        """Let a thread answer what waits, until nothing does or calls have become quick."""
        try:
            await run_in_threadpool(self._answer_in_thread, asyncio.get_running_loop())
        finally:
            if (this := asyncio.current_task()) is not None:
                self._tasks.discard(this)
            if self._n_waiting:
                asyncio.get_running_loop().call_soon(self.flush)

    def _answer_in_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits, call by call; the loop sends the replies when it comes to it.

        Under overload a pass of the loop takes as long as several calls, so a thread that let it begin each
        of them would mostly wait.
        """
        while batch := self._taken():
            late, several = _sorted_by_deadline(batch)
            done = None
            try:
                done = self._computed(several) if several else None
            finally:
                with self._taking:
                    self._n_running -= 1
                loop.call_soon_threadsafe(self._tell, late, several, done)

    def _taken(self) -> list[Pair]:
        """Take the requests of the next call that is made in a thread, none if there is no such call."""
        with self._taking:
            if not self._n_waiting or not self._leaves_the_loop:
                return []
            self._n_running += 1
            # What has come is shared among the calls that may run by now.
            return self._next(self._n_at_once - self._n_running + 1)

    def _next(self, n_calls: int = 1) -> list[Pair]:
        """Take the requests of the next call, of so many that may take what waits."""
        if not self._planned:
            return [self._alone.popleft()]
        batch: list[Pair] = []
        n_rows, most = 0, -(-len(self._planned) // max(n_calls, 1))
        while self._planned and len(batch) < most:
            n_more = _n_rows(self._planned[0])
            if batch and n_rows + n_more > self._pace.most_rows:
                break
            n_rows += n_more
            batch.append(self._planned.popleft())
        return batch

    def _answer(self, batch: Sequence[Pair]) -> None:
        late, several = _sorted_by_deadline(batch)
        done = None
        try:
            done = self._computed(several) if several else None
        finally:
            self._tell(late, several, done)

    def _computed(self, several: Sequence[Pair]) -> _Done:
        """Return the replies to requests, computed in one call."""
        began, answering = wall_seconds(), several[0][0].answering
        ready = [one for _, one in several if one is not None]
        call = None if self._inference.watcher is None else _call_of(several)
        try:
            if len(ready) < len(several):
                raise Unplanned
            if call is None:
                answers = answering.answer_together(ready)
            else:
                with Within(call):
                    answers = answering.answer_together(ready)
            found = wall_seconds()
            replies = [
                one.writer.write(one.asked, answering, answered)
                for (one, _), answered in zip(several, answers, strict=True)
            ]
        except (VarvError, Unplanned) as error:
            is_of_all = isinstance(error, _OF_THE_MODEL) and not answering.has_fallback
            if is_of_all or (len(several) == 1 and isinstance(error, UserCodeFailed)):
                # Nobody brings it about by what it asks, or it is known who does.
                replies = [self._told(one, error) for one, _ in several]
            else:
                # Whoever brings it about is told, as the general way would; the others are answered.
                replies = [generally(self._inference, one) for one, _ in several]
            ended = wall_seconds()
            self._pace.took(sum(map(_n_rows, several)), ended - began)
            return _Done(replies, None, began, ended, ended)
        ended = wall_seconds()
        self._pace.took(sum(map(_n_rows, several)), ended - began)
        return _Done(replies, answers, began, found, ended, call)

    def _done(self, are_counted: list[bool], took_s: float | None) -> None:
        """Tell the door that requests are answered, of each whether it is under way for it."""
        if n_counted := are_counted.count(True):
            self._inference.door.done(n_counted, took_s)

    def _told(self, waiting: Waiting, error: VarvError) -> Any:
        self._inference.statistics[self._model].failed(wall_seconds() - waiting.began)
        return waiting.writer.refused(error)

    def _tell(self, late: Sequence[Waiting], several: Sequence[Pair], done: _Done | None) -> None:
        """Send the replies, and take note of what they took; nothing is done where there was a fault.

        Parameters
        ----------
        late
            Those that nobody waits for any more.
        """
        if late:
            now = wall_seconds()
            # How long they waited says as much of the queue as if they were answered.
            self._done([one.is_counted for one in late], now - sum(one.began for one in late) / len(late))
            for one in late:
                one.send(told_too_late(self._inference, one, now))
        took_s = None
        if done is not None:
            took_s = done.ended - sum([one.began for one, _ in several]) / len(several)
            if done.answers is not None:
                requests = [Took(one.read_at - one.began, done.began - one.read_at) for one, _ in several]
                call = Took(answer_s=done.found - done.began, write_s=done.ended - done.found)
                statistics = self._inference.statistics[self._model]
                statistics.answered(requests, done.answers, call, _CLOCK.now() / 1e6)
                if self._inference.watcher is not None:
                    self._watched(self._inference.watcher, several, done)
        if several:
            self._done([one.is_counted for one, _ in several], took_s)
        replies: list[Any] = [FAILED] * len(several) if done is None else done.replies
        for (one, _), reply in zip(several, replies, strict=True):
            one.send(reply)
        if self._inference.observing and done is not None and done.answers is not None:
            for (one, _), answered in zip(several, done.answers, strict=True):
                self._inference.observe(one.answering, one.asked, answered)

    def _watched(self, watcher: Watcher, several: Sequence[Pair], done: _Done) -> None:
        """Let those of the requests of one call that are watched know what became of them."""
        assert done.answers is not None, "they were answered together"
        watches: list[Watch] = []
        for (one, _), answers in zip(several, done.answers, strict=True):
            if one.watch is not None:
                one.watch.answered(one.asked.id, one.read_at, done.began, done.found, done.ended, answers)
                one.watch.n_requests = len(several)
                watches.append(one.watch)
        if done.call is not None and len(several) > 1:
            watcher.together(watches, done.call, done.began, done.ended, sum(map(_n_rows, several)))
