"""One request that is watched: what is known of it, and the spans and the line that are made of that.

It takes note of readings that were made anyway. Which requests are watched is in `fronts.inference.watching`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from varv.kernel.clock import iso, wall_seconds
from varv.kernel.trace_context import TraceContext
from varv.kernel.tracing import Span, Value, new_span_id
from varv.serving import Answers

Transport = Literal["http", "grpc"]


class Keeper(Protocol):
    """What made a watch, and keeps it once its request is answered."""

    @property
    def scheme(self) -> str:
        """In which requests come: http or https."""
        ...

    def keep(self, watch: Watch) -> None:
        """Keep what is known of a request that is answered."""
        ...


class Watch:
    """What is known of one request; made by a `Watcher`."""

    __slots__ = (
        "_answered",
        "_keeper",
        "_parent",
        "_path",
        "_stages",
        "_transport",
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
        keeper: Keeper,
        context: TraceContext | None,
        parent: TraceContext | None,
        transport: Transport,
        route: str,
        began: float,
        request_id: str,
    ) -> None:
        self._keeper = keeper
        self._parent = parent
        self._transport = transport
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
        self._keeper.keep(self)

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
            "method": self.method if self._transport == "http" else "gRPC",
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
        return self.route if self._transport == "grpc" else f"{self.method} {self.route}".rstrip()

    def _attributes(self) -> dict[str, Value]:
        found: dict[str, Value] = {"varv.request_id": self.request_id}
        if self._transport == "http":
            found |= {"http.request.method": self.method, "http.route": self.route, "url.path": self._path}
            found |= {"url.scheme": self._keeper.scheme, "http.response.status_code": self.status}
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
