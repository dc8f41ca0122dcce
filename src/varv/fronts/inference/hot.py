"""The hot path: ordinary requests, answered where they arrive, together with the others of the same moment.

It takes the place of the application for the targets that ask for predictions, and asks the same door. What
it cannot answer by a plan it answers as the application would; how those of one moment are answered is in
`together`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus

from varv.fronts.access import Caller
from varv.fronts.access.cors import Headers
from varv.fronts.access.deadlines import HEADER, NEVER, deadline_of
from varv.fronts.encodings import FEWEST_BYTES, compressed
from varv.fronts.gateway import is_meant, require_same_site, unknown_host
from varv.fronts.inference import oip
from varv.fronts.inference.doorway import THROUGH
from varv.fronts.inference.forms import (
    Form,
    Generating,
    Given,
    Inferring,
    Invoking,
    Predicting,
    Reply,
    Typed,
    takes_a_thread,
)
from varv.fronts.inference.online import TARGET, OnlineFeatures
from varv.fronts.inference.served import Inference
from varv.fronts.inference.timing import Visit
from varv.fronts.inference.together import Together
from varv.fronts.inference.turns import FAILED
from varv.fronts.inference.watch import Watch
from varv.fronts.inference.watching import request_id_of
from varv.fronts.problems import in_json
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName
from varv.serving import Answering

MOST_BYTES = 64 << 10
"""Of a body that is answered here."""
Answer = Callable[[bytes, bytes], None]
"""Takes the status line with the headers, and the body."""
_FORMS: tuple[tuple[str, Form], ...] = (
    ("/v2/models/{model}/infer", Inferring()),
    ("/v2/models/{model}/generate", Generating(stream=False)),
    ("/v2/models/{model}/generate_stream", Generating(stream=True)),
    ("/models/{model}/predict", Typed()),
    ("/v1/models/{model}:predict", Predicting()),
    ("/invocations/{model}", Invoking()),
)


class HotCalls:
    """Answers requests for predictions by their target.

    Parameters
    ----------
    inference
        What answers for each model.
    hosts
        The names that a request may call this server by; None allows any.
    together
        Collects the requests, those of other protocols among them; by default it is one of its own.
    """

    most_bytes = MOST_BYTES

    def __init__(
        self, inference: Inference, hosts: frozenset[str] | None, together: Together | None = None
    ) -> None:
        self.inference = inference
        self.hosts = hosts
        self._calls: dict[bytes, HotCall | OnlineCall] = {}
        self._calls_for: Mapping[ModelName, Answering] = {}
        self.together = together or Together(inference)

    @property
    def calls(self) -> Mapping[bytes, HotCall | OnlineCall]:
        """What answers a POST, by its target."""
        models = self.inference.models
        if models is not self._calls_for:
            self._calls = {
                route.format(model=name).encode(): HotCall(self, route, form, name)
                for name in models
                for route, form in _FORMS
            }
            self._calls[b"/invocations"] = HotCall(self, "/invocations", Invoking(), None)
            if self.inference.features is not None:
                self._calls[TARGET.encode()] = OnlineCall(self, self.inference.features)
            self._calls_for = models
        return self._calls

    def takes(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request is answered here, by its headers: not if reading it takes a thread, nor if
        it may lead back to whoever sent it.
        """
        # With others in one call, it would not be known whose it is.
        if THROUGH in headers and any(one.waits for one in self.inference.models.values()):
            return False
        return not takes_a_thread(headers.get(b"content-type", b"").decode("latin-1"))

    def flush(self) -> None:
        """Answer all that waits, but for models whose calls run in a thread."""
        self.together.flush()


class HotCall:
    """Answers requests for one target.

    Parameters
    ----------
    hot
        Collects them.
    route
        The target, with ``{model}`` in the place of the model's name.
    form
        In which they come.
    model
        The model; None if the request says it, or means the only one.
    """

    def __init__(self, hot: HotCalls, route: str, form: Form, model: ModelName | None) -> None:
        self._hot = hot
        self._route = route
        self._path = route.format(model=model)
        self._form = form
        self._model = model
        self._said_always = _lines(hot.inference.door.headers(self._path, None))

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
            send(Reply(in_json({"error": unknown_host(named).described()}), 403))
            return
        began, told = wall_seconds(), FAILED
        is_taken = is_passed_on = False
        watcher, watch = self._hot.inference.watcher, None
        if watcher is not None:
            watch = watcher.begin(said, "http", self._route, began)
            if watch is not None:
                watch.said("POST", self._path)
                watch.client = caller.name
                send = partial(_send_watched, watch, send)
        try:
            model = self._model or self._named(said, caller)
            door.admit(caller, model, began)
            is_taken = True
            self._pass_on(said, caller, model, body, send, began, watch)
            is_passed_on = True
        except VarvError as error:
            told = self._form.refused(error)
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
        watch: Watch | None,
    ) -> None:
        """Have a request answered that was taken."""
        inference = self._hot.inference
        if watch is not None:
            watch.model = model
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
        read = partial(self._form.read, body, given, answering)
        visit = Visit(caller, began, deadline, watch)
        self._hot.together.submit(self._form, answering, visit, read, send, len(body))

    def _named(self, said: Mapping[bytes, bytes], caller: Caller) -> ModelName:
        """Return the model that a header names, or that is meant without."""
        inference = self._hot.inference
        inference.door.require(caller, "predict")
        name = said.get(b"x-varv-model", b"").decode("latin-1")
        return ModelName(name) if name else inference.only().model


class OnlineCall:
    """Answers requests for features from the online store.

    Parameters
    ----------
    hot
        Says by which names this server is called.
    features
        What answers.
    """

    def __init__(self, hot: HotCalls, features: OnlineFeatures) -> None:
        self._hot = hot
        self._features = features

    def submit(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, reply: Answer) -> None:
        """Take a request, and reply to it."""
        said = dict(headers)
        caller = self._features.caller(said)
        lines = _lines(self._features.headers(said.get(b"origin")))
        told = self._features.refusal_of(said, self._hot.hosts) or self._features.reply(caller, body)
        _send(reply, said.get(b"accept-encoding"), lines, caller, told)


def _given(path: str, said: Mapping[bytes, bytes]) -> Given:
    json_bytes = said.get(_JSON_BYTES)
    return Given(
        path,
        said.get(b"content-type", b"").decode("latin-1"),
        None if json_bytes is None else json_bytes.decode("latin-1"),
        request_id_of(said[b"x-request-id"]) if b"x-request-id" in said else "",
    )


def _lines(headers: Headers) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def _send_watched(watch: Watch, send: Callable[[Reply], None], told: Reply) -> None:
    """Write a reply to a request that is watched, and take note of it."""
    send(told._replace(headers={**watch.headers(), **told.headers}))
    watch.end(told.status, is_refused=told.status >= 400)


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
