"""Traces: spans of what a process does, which of them are kept, and where those wait to be sent.

A span is put here once it has ended, with times that were measured anyway; nothing here sends anything. What
came from others is read in `kernel.trace_context`, and `adapters.otlp` sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from varv.kernel.clock import Clock, wall_seconds
from varv.kernel.errors import VarvError
from varv.kernel.ids import random_bits
from varv.kernel.outbox import Outbox
from varv.kernel.trace_context import TraceContext

Value = str | int | float | bool
Kind = Literal["internal", "server"]
SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
"""As OpenTelemetry names them: which requests are traced; with ``parentbased`` those whose caller says so,
and the others as the rest of the name says.
"""
_HALF = 1 << 64
_CURRENT: ContextVar[TraceContext | None] = ContextVar("span", default=None)


class Span(NamedTuple):
    """Something that was done."""

    context: TraceContext
    name: str
    start_ns: int
    """Since 1970."""
    end_ns: int
    parent: bytes = b""
    """The span that it is a part of; nothing if it begins a trace."""
    kind: Kind = "internal"
    attributes: Mapping[str, Value] = MappingProxyType({})
    links: tuple[TraceContext, ...] = ()
    error: str = ""
    """Why it failed; nothing if it did not."""

    def spans(self) -> tuple[Span, ...]:
        """Return it alone."""
        return (self,)


class Traced(Protocol):
    """What is known of something that was done; its spans are made by whoever sends them."""

    def spans(self) -> Iterable[Span]:
        """Return its spans, the parts of a whole with it."""
        ...


class Sampler:
    """Decides which requests are traced.

    Parameters
    ----------
    name
        One of `SAMPLERS`.
    ratio
        The share that ``traceidratio`` takes, from 0 to 1.
    """

    def __init__(self, name: str, ratio: float) -> None:
        kind = name.removeprefix("parentbased_")
        self.is_by_parent = kind != name
        """Whether a request whose caller has decided is traced as that says."""
        share = {"always_on": 1.0, "always_off": 0.0}.get(kind, ratio)
        self._below = round(share * _HALF)

    def begun(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the context of a new span, None if it is not to be kept.

        Notes
        -----
        A share is taken by the lower half of the trace's id, as by OpenTelemetry's own sampler: who takes a
        larger share of the same traces takes these too.
        """
        if parent is None:
            lower = random_bits(64)
            if lower >= self._below:
                return None
            # All zeros are no id.
            trace_id = ((random_bits(64) << 64) | lower or 1).to_bytes(16)
            return TraceContext(trace_id, new_span_id(), True)
        is_kept = parent.sampled
        if not self.is_by_parent:
            is_kept = int.from_bytes(parent.trace_id[8:]) < self._below
        return TraceContext(parent.trace_id, new_span_id(), True, parent.state) if is_kept else None


class Tracer:
    """Keeps what a process does outside of requests.

    Parameters
    ----------
    outbox
        Where spans wait to be sent.
    clock
        Says when.
    digest
        Of what belongs together, in hexadecimal; the same after a restart, and another in another home.
    """

    def __init__(self, outbox: Outbox[Traced], clock: Clock, digest: Callable[[bytes], str]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._digest = digest

    @contextmanager
    def span(
        self, name: str, correlation: str = "", about: Mapping[str, Value] = MappingProxyType({})
    ) -> Iterator[dict[str, Value]]:
        """Keep what is done in the block; to what it gives, further attributes can be added, ``error.type``
        if it failed.

        Parameters
        ----------
        correlation
            Spans of the same one are of one trace; nothing for a trace of its own.
        about
            Attributes.

        Raises
        ------
        VarvError
            What the block raises; the span has failed then.
        """
        trace_id = new_trace_id()
        if correlation:
            trace_id = bytes.fromhex(self._digest(f"trace {correlation}".encode())[:32])
        context = TraceContext(trace_id, new_span_id(), True)
        began, start_ns, noted = wall_seconds(), 1000 * self._clock.now(), dict(about)
        try:
            with Within(context):
                yield noted
        except VarvError as raised:
            noted["error.type"] = raised.code
            raise
        finally:
            end_ns = start_ns + round(1e9 * (wall_seconds() - began))
            error = str(noted.get("error.type", ""))
            self._outbox.put(Span(context, name, start_ns, end_ns, attributes=noted, error=error))


class Within:
    """Let what is asked of others in a block be a part of a span; None leaves it as it is.

    A class, since it stands on the way of requests that nobody traces, where a generator would cost more.
    """

    __slots__ = ("_before", "_context")

    def __init__(self, context: TraceContext | None) -> None:
        self._context = context

    def __enter__(self) -> None:
        if self._context is not None:
            self._before = _CURRENT.set(self._context)

    def __exit__(self, *_: object) -> None:
        if self._context is not None:
            _CURRENT.reset(self._before)


def outgoing() -> dict[str, str]:
    """Return the headers that say to others which span asks them; none outside of one.

    Examples
    --------
    >>> with Within(TraceContext(bytes(15) + b"!", bytes(7) + b"!", True, "a=1")):
    ...     outgoing()
    {'traceparent': '00-00000000000000000000000000000021-0000000000000021-01', 'tracestate': 'a=1'}
    >>> outgoing()
    {}
    """
    context = _CURRENT.get()
    if context is None:
        return {}
    state = {"tracestate": context.state} if context.state else {}
    return {"traceparent": context.header(), **state}


def new_trace_id() -> bytes:
    """Return the id of a new trace."""
    # All zeros are no id.
    return (random_bits(128) or 1).to_bytes(16)


def new_span_id() -> bytes:
    """Return the id of a new span."""
    # All zeros are no id.
    return (random_bits(64) or 1).to_bytes(8)
