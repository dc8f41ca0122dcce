"""Threads that send what a process has traced and counted. Nobody waits for them: what they cannot send in
time is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from varv.adapters.otlp import metrics, traces
from varv.adapters.otlp.metrics import Interval, Series
from varv.adapters.otlp.sending import Collector, Outcome, Sender
from varv.kernel.clock import Clock
from varv.kernel.metrics import Distribution, Family, Sample
from varv.kernel.observe import log
from varv.kernel.outbox import Outbox
from varv.kernel.tracing import Traced, Value

MOST_AT_ONCE = 512
SPANS_EVERY_S = 2.0
CLOSE_WITHIN_S = 3.0
_LOG = logging.getLogger(__name__)


class SpanCounts(msgspec.Struct):
    """What became of what was traced: a request with its stages counts as one."""

    n_sent: int = 0
    n_failed: int = 0
    """Not taken by the collector."""
    n_dropped: int = 0
    """For want of room."""


class _Export:
    """A thread that sends now and then, and once more at the end."""

    def __init__(self, name: str, collector: Collector, every_s: float) -> None:
        self._stopping = threading.Event()
        self._every_s = every_s
        self._sender = Sender(collector, self._stopping)
        self._was_taken = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self) -> None:
        """Send what is left, if that takes no more than a few seconds."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self._send()
        self._send()
        self._sender.close()

    def _send(self) -> None:
        raise NotImplementedError

    def _tell(self, outcome: Outcome) -> None:
        """Log when a collector takes nothing any more, and when it does again."""
        if outcome.is_taken != self._was_taken:
            level = logging.INFO if outcome.is_taken else logging.WARNING
            log(_LOG, level, "telemetry.taken" if outcome.is_taken else "telemetry.refused", why=outcome.why)
        self._was_taken = outcome.is_taken


class SpanExport(_Export):
    """Sends spans.

    Parameters
    ----------
    outbox
        Where they wait.
    collector
        Takes them.
    resource
        What they are from.
    version
        Of who measures.
    """

    def __init__(
        self,
        outbox: Outbox[Traced],
        collector: Collector,
        resource: Mapping[str, Value],
        version: str,
        *,
        every_s: float = SPANS_EVERY_S,
    ) -> None:
        super().__init__("spans", collector, every_s)
        self._outbox = outbox
        self._resource = traces.resource_of(resource)
        self._scope = traces.scope_of("varv", version)
        self._n_sent = self._n_failed = 0

    @property
    def counts(self) -> SpanCounts:
        """What became of all so far."""
        return SpanCounts(self._n_sent, self._n_failed, self._outbox.n_dropped)

    def _send(self) -> None:
        while taken := self._outbox.take(MOST_AT_ONCE):
            spans = [span for one in taken for span in one.spans()]
            outcome = self._sender.post(
                traces.PATH, traces.traces_request(self._resource, self._scope, spans)
            )
            self._tell(outcome)
            if outcome.is_taken:
                # A collector counts spans, of which a request has several.
                n_failed = min(outcome.n_rejected, len(taken))
                self._n_sent += len(taken) - n_failed
                self._n_failed += n_failed
            else:
                self._n_failed += len(taken)


class MetricExport(_Export):
    """Sends metrics.

    Parameters
    ----------
    families
        Returns them, as counted since this was made.
    is_delta
        Whether what only grows is sent as what came since it was sent last.
    clock
        Says when.
    """

    def __init__(
        self,
        families: Callable[[], Iterable[Family]],
        collector: Collector,
        resource: Mapping[str, Value],
        version: str,
        *,
        every_s: float,
        is_delta: bool,
        clock: Clock,
    ) -> None:
        super().__init__("metrics", collector, every_s)
        self._families = families
        self._resource = traces.resource_of(resource)
        self._scope = traces.scope_of("varv", version)
        self._is_delta = is_delta
        self._clock = clock
        self._start_ns = 1000 * clock.now()
        self._before: dict[Series, Sample | Distribution] = {}

    def _send(self) -> None:
        found, now_ns = list(self._families()), 1000 * self._clock.now()
        told = metrics.since(found, self._before) if self._is_delta else found
        between = Interval(self._start_ns, now_ns)
        message = metrics.metrics_request(self._resource, self._scope, told, between, is_delta=self._is_delta)
        outcome = self._sender.post(metrics.PATH, message)
        self._tell(outcome)
        if self._is_delta and outcome.is_taken:
            # What was not taken is a part of the next one.
            self._start_ns, self._before = now_ns, metrics.samples_in(found)
