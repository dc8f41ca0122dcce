"""Which requests are watched: those that are traced, and those that may get a line in the access log.

A request that is neither costs a look at a header and a random number; without a watcher nothing. A watch
takes note of readings that were made anyway, and waits in an outbox once its request is answered. Spans and
lines are made of it by the threads that send them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from varv.fronts.inference.oip import LONGEST_ID
from varv.fronts.inference.watch import Transport, Watch
from varv.kernel.clock import Clock, wall_seconds
from varv.kernel.ids import random_bits
from varv.kernel.outbox import Outbox
from varv.kernel.trace_context import TraceContext, context_of, is_unsampled
from varv.kernel.tracing import Sampler, Span, Traced, Value, new_span_id, new_trace_id

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
        self.scheme: str = "https" if is_secure else "http"
        """In which they come."""
        self._leaves_unsampled = plan is None and (sampler is None or sampler.is_by_parent)
        self._spans = spans
        self._plan = plan
        self._lines = lines

    def begin(
        self, said: Mapping[bytes, bytes], transport: Transport, route: str, began: float
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
        return Watch(self, context, parent, transport, route, began, request_id)

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
