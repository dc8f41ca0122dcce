"""The hot path: ordinary requests, answered where they arrive, together with the others of the same moment.

It takes the place of the application for the targets that ask for predictions, and asks the same door. What
it cannot answer by a plan it answers as the application would. Requests that came in one turn of the event
loop are scored in one call and captured in one record: batches form under load, and a lone request waits for
nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from varv.fronts.access import Caller
from varv.fronts.access.cors import Headers
from varv.fronts.access.deadlines import HEADER, NEVER, deadline_of, sooner, too_late
from varv.fronts.encodings import FEWEST_BYTES, compressed
from varv.fronts.gateway import is_meant, require_same_site, unknown_host
from varv.fronts.inference import oip
from varv.fronts.inference.app import INLINE_BYTES
from varv.fronts.inference.forms import Form, Given, Inferring, Invoking, Predicting, Reply, Typed, refusal
from varv.fronts.inference.served import Inference, Took
from varv.fronts.problems import in_json
from varv.kernel.clock import SystemClock, wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.serving import Answering, Answers
from varv.serving.answering import Ready
from varv.serving.plain import Unplanned

MOST_BYTES = 64 << 10
"""Of a body that is answered here."""
MOST_ROWS = 256
"""Of requests that are scored in one call."""
Answer = Callable[[bytes, bytes], None]
"""Takes the status line with the headers, and the body."""
_CLOCK = SystemClock()
_FORMS: tuple[tuple[str, Form], ...] = (
    ("/v2/models/{}/infer", Inferring()),
    ("/models/{}/predict", Typed()),
    ("/v1/models/{}:predict", Predicting()),
    ("/invocations/{}", Invoking()),
)


class HotCalls:
    """Answers requests for predictions by their target.

    Parameters
    ----------
    inference
        What answers for each model.
    hosts
        The names that a request may call this server by; None allows any.
    """

    most_bytes = MOST_BYTES

    def __init__(self, inference: Inference, hosts: frozenset[str] | None) -> None:
        self.inference = inference
        self.hosts = hosts
        self._calls: dict[bytes, HotCall] = {}
        self._calls_for: Mapping[ModelName, Answering] = {}
        self._waiting: dict[ModelName, list[tuple[_Waiting, Ready]]] = {}
        self._alone: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def calls(self) -> Mapping[bytes, HotCall]:
        """What answers a POST, by its target."""
        models = self.inference.models
        if models is not self._calls_for:
            self._calls = {
                target.format(name).encode(): HotCall(self, target.format(name), form, name)
                for name in models
                for target, form in _FORMS
            }
            self._calls[b"/invocations"] = HotCall(self, "/invocations", Invoking(), None)
            self._calls_for = models
        return self._calls

    def wait(self, waiting: _Waiting, ready: Ready | None) -> None:
        """Let a request be answered with the others of this turn, or by itself if no plan takes it."""
        if ready is None:
            asyncio.get_running_loop().call_soon(self._answer_next)
            self._alone.append(waiting)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.setdefault(waiting.answering.model, []).append((waiting, ready))

    def later(self, waiting: _Waiting) -> None:
        """Answer a large request that no plan takes in a thread."""
        task = asyncio.get_running_loop().create_task(self._answer_large(waiting))
        # The loop itself holds no task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def flush(self) -> None:
        """Answer all that waits."""
        waiting, self._waiting = self._waiting, _nothing()
        self._answer_all(_batches(waiting.values()))
        while self._alone:
            self._answer_next()

    def _answer_all(self, batches: Iterator[Sequence[tuple[_Waiting, Ready]]]) -> None:
        """Answer batches; those after a fault in the next turn."""
        is_done = False
        try:
            for together in batches:
                self._answer(together)
            is_done = True
        finally:
            if not is_done:
                asyncio.get_running_loop().call_soon(self._answer_all, batches)

    async def _answer_large(self, waiting: _Waiting) -> None:
        reply = _FAILED
        try:
            async with self.inference.large:
                reply = await run_in_threadpool(_generally, self.inference, waiting)
        finally:
            self.inference.door.done()
            waiting.send(reply)

    def _answer(self, several: Sequence[tuple[_Waiting, Ready]]) -> None:
        """Answer requests in one call."""
        began = wall_seconds()
        late = [one for one, _ in several if one.deadline <= began]
        if late:
            self._refuse(late, began)
            several = [pair for pair in several if pair[0].deadline > began]
            if not several:
                return
        answering, took_s = several[0][0].answering, None
        replies: list[Reply] = []
        try:
            answers = answering.answer_together([ready for _, ready in several])
            found = wall_seconds()
            replies = [
                one.form.write(one.asked, answering, answered)
                for (one, _), answered in zip(several, answers, strict=True)
            ]
            took_s = self._count(several, answers, began, found)
        except (VarvError, Unplanned):
            # Whoever brings it about is told, as the general way would; the others are answered.
            replies = [_generally(self.inference, one) for one, _ in several]
        finally:
            # What no error of ours explains is a fault, which the loop logs; nobody waits for ever.
            replies += [_FAILED] * (len(several) - len(replies))
            self.inference.door.done(len(several), took_s)
            for (one, _), reply in zip(several, replies, strict=True):
                one.send(reply)

    def _answer_next(self) -> None:
        """Answer a request that no plan takes, unless it is answered by now."""
        if not self._alone:
            return
        waiting, reply, took_s = self._alone.popleft(), _FAILED, None
        try:
            reply = _generally(self.inference, waiting)
            took_s = wall_seconds() - waiting.began
        finally:
            self.inference.door.done(1, took_s)
            waiting.send(reply)

    def _refuse(self, late: Sequence[_Waiting], now: float) -> None:
        """Refuse requests that nobody waits for any more."""
        # How long they waited says as much of the queue as if they were answered.
        self.inference.door.done(len(late), now - sum(one.began for one in late) / len(late))
        for one in late:
            one.send(_too_late(self.inference, one, now))

    def _count(
        self,
        several: Sequence[tuple[_Waiting, Ready]],
        answers: Sequence[Answers],
        began: float,
        found: float,
    ) -> float:
        """Count answers, and return how many seconds each took on average, from when it came."""
        requests = [Took(one.read_at - one.began, began - one.read_at) for one, _ in several]
        ended = wall_seconds()
        call = Took(answer_s=found - began, write_s=ended - found)
        statistics = self.inference.statistics[several[0][0].answering.model]
        statistics.answered(requests, answers, call, _CLOCK.now() / 1e6)
        return ended - sum([one.began for one, _ in several]) / len(several)


class HotCall:
    """Answers requests for one target.

    Parameters
    ----------
    hot
        Collects them.
    path
        The target.
    form
        In which they come.
    model
        The model; None if the request says it, or means the only one.
    """

    def __init__(self, hot: HotCalls, path: str, form: Form, model: ModelName | None) -> None:
        self._hot = hot
        self._path = path
        self._form = form
        self._model = model
        self._said_always = _lines(hot.inference.door.headers(path, None))

    def submit(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, reply: Answer) -> None:
        """Take a request; `reply` is called now or at the end of this turn of the event loop."""
        said, door = dict(headers), self._hot.inference.door
        caller = door.callers[said.get(b"authorization")]
        lines = self._said_always
        if b"origin" in said and door.origins:
            lines = _lines(door.headers(self._path, said[b"origin"]))
        send = partial(_send, reply, said.get(b"accept-encoding"), lines, caller)
        named = said.get(b"host", b"")
        if not is_meant(named, self._hot.hosts):
            send(Reply(in_json({"error": unknown_host(named).described()}), 400))
            return
        began, told = wall_seconds(), _FAILED
        is_taken = is_passed_on = False
        try:
            model = self._model or self._named(said, caller)
            door.admit(caller, model, began)
            is_taken = True
            self._pass_on(said, caller, model, body, send, began)
            is_passed_on = True
        except VarvError as error:
            told = refusal(error)
        finally:
            if is_taken and not is_passed_on:
                door.done()
            if not is_passed_on:
                send(told)

    def _pass_on(
        self,
        said: Mapping[bytes, bytes],
        caller: Caller,
        model: ModelName,
        body: bytes,
        send: Callable[[Reply], None],
        began: float,
    ) -> None:
        """Have a request answered that was taken."""
        inference = self._hot.inference
        deadline = deadline_of(said[_TIMEOUT], began) if _TIMEOUT in said else NEVER
        given = _given(self._path, said)
        require_same_site(
            self._path,
            said.get(b"sec-fetch-site", b"none"),
            said.get(b"origin"),
            said.get(b"host", b""),
            inference.door.origins,
        )
        self._form.require(given)
        answering = inference.model(model)
        try:
            asked = self._form.read(body, given, answering)
            ready = answering.ready(asked.columns, asked.id)
            now = wall_seconds()
            if caller.limit is not None:
                n_rows = asked.n_rows if ready is None else len(ready.rows.keys)
                inference.door.admit_rows(caller, n_rows, now)
        except VarvError:
            inference.statistics[answering.model].failed(wall_seconds() - began)
            raise
        if asked.timeout_us:
            deadline = sooner(deadline, began, asked.timeout_us)
        waiting = _Waiting(self._form, answering, asked, send, now, began, deadline, caller)
        if ready is None and len(body) > INLINE_BYTES:
            self._hot.later(waiting)
        else:
            self._hot.wait(waiting, ready)

    def _named(self, said: Mapping[bytes, bytes], caller: Caller) -> ModelName:
        """Return the model that a header names, or that is meant without."""
        inference = self._hot.inference
        inference.door.require(caller, "predict")
        name = said.get(b"x-varv-model", b"").decode("latin-1")
        return ModelName(name) if name else inference.only().model


class _Waiting(NamedTuple):
    """A request that is understood and not answered yet."""

    form: Form
    answering: Answering
    asked: oip.Asked
    send: Callable[[Reply], None]
    read_at: float
    began: float
    deadline: float
    caller: Caller


def _generally(inference: Inference, waiting: _Waiting) -> Reply:
    """Return the answer to a request as the application gives it, or the refusal."""
    statistics = inference.statistics[waiting.answering.model]
    asked, began = waiting.asked, wall_seconds()
    if waiting.deadline <= began:
        return _too_late(inference, waiting, began)
    try:
        answered = waiting.answering.answer_generally(asked.columns, asked.id)
        found = wall_seconds()
        reply = waiting.form.write(asked, waiting.answering, answered)
    except VarvError as error:
        statistics.failed(wall_seconds() - waiting.began)
        return refusal(error)
    request = Took(waiting.read_at - waiting.began, began - waiting.read_at)
    call = Took(answer_s=found - began, write_s=wall_seconds() - found)
    statistics.answered([request], [answered], call, _CLOCK.now() / 1e6)
    return reply


def _too_late(inference: Inference, waiting: _Waiting, now: float) -> Reply:
    """Count a request that nobody waits for any more, and return its refusal."""
    inference.statistics[waiting.answering.model].failed(now - waiting.began)
    inference.door.refused("deadline", waiting.caller)
    return refusal(too_late(waiting.began, now))


def _nothing() -> dict[ModelName, list[tuple[_Waiting, Ready]]]:
    return {}


def _batches(
    by_model: Iterable[Sequence[tuple[_Waiting, Ready]]],
) -> Iterator[Sequence[tuple[_Waiting, Ready]]]:
    """Yield the requests of each model in their order, so many together as may be scored in one call."""
    for several in by_model:
        batch: list[tuple[_Waiting, Ready]] = []
        n_rows = 0
        for one in several:
            n_rows += len(one[1].rows.keys)
            if batch and n_rows > MOST_ROWS:
                yield batch
                batch = []
                n_rows = len(one[1].rows.keys)
            batch.append(one)
        yield batch


def _given(path: str, said: Mapping[bytes, bytes]) -> Given:
    json_bytes = said.get(_JSON_BYTES)
    return Given(
        path,
        said.get(b"content-type", b"").decode("latin-1"),
        None if json_bytes is None else json_bytes.decode("latin-1"),
        said.get(b"x-request-id", b"").decode("latin-1"),
    )


def _lines(headers: Headers) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def _send(reply: Answer, accepted: bytes | None, more_lines: str, caller: Caller, told: Reply) -> None:
    """Write a reply as HTTP has it, but for what concerns the connection."""
    body = told.body
    more: Mapping[str, str] = {}
    if accepted is not None and len(body) >= FEWEST_BYTES:
        body, more = compressed(accepted.decode("latin-1"), body)
    lines = "".join([f"{name}: {value}\r\n" for name, value in (*told.headers.items(), *more.items())])
    lines += more_lines
    if caller.limit is not None:
        lines += _lines(caller.limit.headers)
    head = (
        f"{_STATUS[told.status]}content-type: {told.content_type}\r\ncontent-length: {len(body)}\r\n{lines}"
    )
    reply(head.encode("latin-1"), body)


_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n" for one in HTTPStatus}
_TIMEOUT = HEADER.encode()
_JSON_BYTES = oip.JSON_BYTES.lower().encode()
_FAILED = Reply(in_json({"error": "the server failed to answer; its log says why"}), 500)
