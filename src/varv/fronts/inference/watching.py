"""Requests that are watched: those that are traced, and those that may get a line in the access log.

A request that is neither costs a look at a header and a random number; without a watcher nothing. A watch
takes note of readings that were made anyway, and waits in an outbox once its request is answered. Spans and
lines are made of it by the threads that send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from varv.fronts.inference.oip import LONGEST_ID
from varv.kernel.clock import Clock, iso, wall_seconds
from varv.kernel.ids import random_bits
from varv.kernel.outbox import Outbox
from varv.kernel.trace_context import TraceContext, context_of, is_unsampled
from varv.kernel.tracing import Sampler, Span, Traced, Value, new_span_id, new_trace_id
from varv.serving import Answers

Protocol = Literal["http", "grpc"]
_UNCLEAN = re.compile(r"[^\x21-\x7e]")
_HALF = 1 << 32


def request_id_of(header: bytes) -> str:
    r"""Return the id that ``x-request-id`` gives a request: what of it is printable, and not too long.

    Examples
    --------
    >>> request_id_of(b"7f3a\x00 9")
    '7f3a9'
    """
    return _UNCLEAN.sub("", header.decode("latin-1"))[:LONGEST_ID]


def call_of(contexts: Sequence[TraceContext], n_requests: int) -> TraceContext | None:
    """Return the span that a call of the model is of: that of the only request, or one of its own; None if
    nobody traces it.

    Parameters
    ----------
    contexts
        Of those requests that are traced.
    n_requests
        All that are answered in it.
    """
    if not contexts:
        return None
    return contexts[0] if n_requests == 1 else TraceContext(new_trace_id(), new_span_id(), True)


def each_once(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by their names, as far as tracing goes: who sends two parents says nothing, and states
    of several headers are one.

    Examples
    --------
    >>> each_once([(b"tracestate", b"a=1"), (b"tracestate", b"b=2"), (b"host", b"here")])
    {b'tracestate': b'a=1,b=2', b'host': b'here'}
    """
    found: dict[bytes, bytes] = {}
    n_parents = 0
    for name, value in headers:
        n_parents += name == b"traceparent"
        found[name] = b"%b,%b" % (found[name], value) if name == b"tracestate" and name in found else value
    if n_parents > 1:
        del found[b"traceparent"]
    return found


class AccessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests get a line."""

    share: float = 1.0
    """Of those that are neither slow nor refused."""
    slow_s: float = 1.0
    """A request that takes longer gets one anyway, as does one that is refused or fails."""


class Watcher:
    """Decides which requests are watched, and keeps what is known of them.

    Parameters
    ----------
    clock
        Says when.
    sampler
        Which are traced; None for none of them.
    is_secure
        Whether they come over TLS.
    spans
        Where what was traced waits.
    plan
        Which get a line; None for none of them.
    lines
        Where these wait.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        sampler: Sampler | None,
        is_secure: bool = False,
        spans: Outbox[Traced],
        plan: AccessPlan | None,
        lines: Outbox[Watch],
    ) -> None:
        self._clock = clock
        self._sampler = sampler
        self.scheme = "https" if is_secure else "http"
        """In which they come."""
        self._leaves_unsampled = plan is None and (sampler is None or sampler.is_by_parent)
        self._spans = spans
        self._plan = plan
        self._lines = lines

    def begin(
        self, said: Mapping[bytes, bytes], protocol: Protocol, route: str, began: float
    ) -> Watch | None:
        """Return a watch on a request, None if there is nothing to be kept of it.

        Parameters
        ----------
        said
            Its headers, each name once.
        route
            Where it goes, without the names of models: ``/v2/models/{model}/infer``; over gRPC the method.
        began
            When it came, as `wall_seconds` reads.
        """
        given, parent = said.get(b"traceparent"), None
        if given is not None:
            if self._leaves_unsampled and is_unsampled(given):
                return None
            parent = context_of(given, said.get(b"tracestate", b""))
        context = None if self._sampler is None else self._sampler.begun(parent)
        if context is None and self._plan is None:
            return None
        request_id = request_id_of(said.get(b"x-request-id", b""))
        return Watch(self, context, parent, protocol, route, began, request_id)

    def together(
        self, watches: Sequence[Watch], call: TraceContext, called: float, ended: float, n_rows: int
    ) -> None:
        """Keep that requests were answered in one call: a span of its own, which they and it refer to.

        Parameters
        ----------
        watches
            Those of them that are watched, at least one of them traced.
        call
            The span, as `call_of` gives it.
        n_rows
            Of all of them.
        """
        contexts = tuple(one.context for one in watches if one.context is not None)
        attributes: dict[str, Value] = {
            "varv.model": watches[0].model,
            "varv.requests": watches[0].n_requests,
            "varv.rows": n_rows,
        }
        at_ns = self.at_ns(called)
        end_ns = at_ns + round(1e9 * (ended - called))
        self._spans.put(Span(call, "call", at_ns, end_ns, attributes=attributes, links=contexts))
        for one in watches:
            one.call = call

    def keep(self, watch: Watch) -> None:
        """Keep what is known of a request that is answered."""
        plan, took_s = self._plan, watch.ended - watch.began
        is_told = plan is not None and (
            watch.is_refused or took_s >= plan.slow_s or random_bits(32) < plan.share * _HALF
        )
        if is_told or watch.context is not None:
            watch.at_ns = self.at_ns(watch.began)
        if watch.context is not None:
            self._spans.put(watch)
        if is_told:
            self._lines.put(watch)

    def at_ns(self, reading: float) -> int:
        """Return when `wall_seconds` read something, in nanoseconds since 1970."""
        return 1000 * self._clock.now() - round(1e9 * (wall_seconds() - reading))


class Watch:
    """What is known of one request; made by `Watcher.begin`."""

    __slots__ = (
        "_answered",
        "_parent",
        "_path",
        "_protocol",
        "_stages",
        "_watcher",
        "at_ns",
        "began",
        "call",
        "client",
        "context",
        "ended",
        "is_refused",
        "method",
        "model",
        "n_requests",
        "request_id",
        "route",
        "status",
    )

    def __init__(
        self,
        watcher: Watcher,
        context: TraceContext | None,
        parent: TraceContext | None,
        protocol: Protocol,
        route: str,
        began: float,
        request_id: str,
    ) -> None:
        self._watcher = watcher
        self._parent = parent
        self._protocol = protocol
        self.route = route
        """Where it goes, without the names of models; nothing if it is no place of ours."""
        self._path = ""
        self._stages: tuple[float, ...] = ()
        self._answered: Answers | None = None
        self.context = context
        """Of its span; None if it is not traced."""
        self.began = began
        self.ended = began
        self.at_ns = 0
        """When it came, in nanoseconds since 1970, once it is kept."""
        self.request_id = request_id
        """Its caller's, or the one that it was given."""
        self.method = "POST"
        self.model = self.client = ""
        self.status: int | str = 0
        """Of HTTP, or gRPC's name of it."""
        self.is_refused = False
        """Whether it was refused, or failed."""
        self.n_requests = 1
        """Those that were answered in its call."""
        self.call: TraceContext | None = None
        """The span of that call, if there were others."""

    def said(self, method: str, path: str) -> None:
        """Take note of what a request over HTTP asks for."""
        self.method, self._path = method, path

    def answered(
        self, request_id: str, read: float, called: float, found: float, written: float, answers: Answers
    ) -> None:
        """Take note of a request that was answered.

        Parameters
        ----------
        read, called, found, written
            Readings of `wall_seconds` at the ends of the stages: it was read, its turn came, there was an
            answer, and that was written.
        """
        self.request_id = request_id
        self._stages = (self.began, read, called, found, written)
        self._answered = answers

    def headers(self) -> dict[str, str]:
        """Return what an answer says of its request."""
        found = {"x-request-id": self.request_id} if self.request_id else {}
        if self.context is not None:
            # The response header of the W3C's draft: which span this was.
            found["traceresponse"] = self.context.header()
        return found

    def end(self, status: int | str, *, is_refused: bool) -> None:
        """Take note of the answer's end; once."""
        self.status, self.is_refused = status, is_refused
        self.ended = wall_seconds()
        self._watcher.keep(self)

    # What the threads make of it

    def spans(self) -> Iterator[Span]:
        """Yield the span of the request, and of its stages."""
        context = self.context
        assert context is not None, "only what is traced is kept for spans"
        parent = b"" if self._parent is None else self._parent.span_id
        is_fault = self._is_fault()
        yield Span(
            context,
            self._name(),
            self.at_ns,
            self._ns(self.ended),
            parent,
            "server",
            self._attributes(),
            error=str(self.status) if is_fault else "",
        )
        for number, name in enumerate(("read", "queue", "answer", "write")):
            if number + 1 < len(self._stages):
                start, end = self._stages[number : number + 2]
                links = (self.call,) if name == "answer" and self.call is not None else ()
                part = context._replace(span_id=new_span_id())
                yield Span(part, name, self._ns(start), self._ns(end), context.span_id, links=links)

    def line(self) -> dict[str, Any]:
        """Return the facts of its line."""
        context, answered = self.context or self._parent, self._answered
        return {
            "at": iso(self.at_ns // 1000),
            "request": self.request_id,
            "method": self.method if self._protocol == "http" else "gRPC",
            "route": self.route,
            "status": self.status,
            "ms": round(1e3 * (self.ended - self.began), 3),
            "model": self.model,
            "version": "" if answered is None else _several(answered.versions),
            "arm": "" if answered is None else _several(answered.arms),
            "rows": 0 if answered is None else answered.n_rows,
            "client": self.client,
            "trace": "" if context is None else context.trace_id.hex(),
        }

    def _ns(self, reading: float) -> int:
        return self.at_ns + round(1e9 * (reading - self.began))

    def _is_fault(self) -> bool:
        """Return whether it is the server's failure, not the caller's."""
        if isinstance(self.status, int):
            return self.status >= 500
        return self.status in _FAULTS

    def _name(self) -> str:
        return self.route if self._protocol == "grpc" else f"{self.method} {self.route}".rstrip()

    def _attributes(self) -> dict[str, Value]:
        found: dict[str, Value] = {"varv.request_id": self.request_id}
        if self._protocol == "http":
            found |= {"http.request.method": self.method, "http.route": self.route, "url.path": self._path}
            found |= {"url.scheme": self._watcher.scheme, "http.response.status_code": self.status}
        else:
            found |= {"rpc.system.name": "grpc", "rpc.method": self.route}
            found["rpc.response.status_code"] = self.status
        if self._is_fault():
            found["error.type"] = str(self.status)
        if self.model:
            found["varv.model"] = self.model
        if self.client:
            found["varv.client"] = self.client
        if self._answered is not None:
            found |= {
                "varv.version": _several(self._answered.versions),
                "varv.arm": _several(self._answered.arms),
                "varv.rows": self._answered.n_rows,
                "varv.call.requests": self.n_requests,
            }
        return found


_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Statuses of gRPC that OpenTelemetry's conventions count as failures of a server."""


def _several(values: Sequence[object]) -> str:
    """Return different values with commas between."""
    return ",".join(dict.fromkeys(map(str, values)))
