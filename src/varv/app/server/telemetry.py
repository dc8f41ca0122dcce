"""What a process keeps of its requests and commands for others to look at: built of the settings, told to
workers when they start, and closed with them.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable

import msgspec

from varv import __version__
from varv.adapters.otlp import Collector, MetricExport, SpanCounts, SpanExport
from varv.app.otel_variables import endpoint_of, pairs_of
from varv.app.settings import Settings
from varv.fronts.inference.watch import Watch
from varv.fronts.inference.watching import AccessPlan, Watcher
from varv.kernel.clock import Clock
from varv.kernel.metrics import Family
from varv.kernel.observe import ACCESS, Format, log, start_access_log
from varv.kernel.outbox import Outbox
from varv.kernel.secret import Secret
from varv.kernel.tracing import Sampler, Traced, Tracer

MOST_WAITING = 2048
"""Requests whose spans, or whose lines, wait to be sent."""
LINES_EVERY_S = 0.2
_LOG = logging.getLogger(ACCESS)


class Telemetry(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, and where it goes."""

    collector: Collector | None = None
    """None for nowhere."""
    resource: dict[str, str] = {}
    """What it says that all of it is from."""
    sampler: str = "always_off"
    ratio: float = 1.0
    metrics_every_s: float = 60.0
    """0 for never."""
    is_delta: bool = False
    access: AccessPlan | None = None
    """None for no access log."""


def telemetry_of(settings: Settings) -> Telemetry:
    """Return what settings say of it."""
    return Telemetry(
        collector=None
        if not settings.otlp_endpoint
        else Collector(
            url=endpoint_of(settings.otlp_endpoint),
            headers=pairs_of(settings.otlp_headers),
            timeout_s=settings.otlp_timeout_s,
            certificate=settings.otlp_certificate,
        ),
        resource={
            "service.version": __version__,
            **pairs_of(settings.resource_attributes),
            "service.name": settings.service_name,
        },
        sampler=settings.trace_sampler,
        ratio=settings.trace_ratio,
        metrics_every_s=settings.metrics_every_s,
        is_delta=settings.metrics_temporality == "delta",
        access=None
        if settings.access_log == "off"
        else AccessPlan(
            share=settings.access_log_share if settings.access_log == "all" else 0.0,
            slow_s=settings.access_log_slow_ms / 1e3,
        ),
    )


def format_of(settings: Settings) -> Format:
    """Return the form of logs."""
    return "json" if settings.log_format == "json" else "text"


class TelemetryCounts(msgspec.Struct):
    """What became of what one process kept."""

    spans: SpanCounts = msgspec.field(default_factory=SpanCounts)
    n_lines_dropped: int = 0

    def plus(self, other: TelemetryCounts) -> TelemetryCounts:
        """Return both together."""
        one, more = self.spans, other.spans
        spans = SpanCounts(
            one.n_sent + more.n_sent, one.n_failed + more.n_failed, one.n_dropped + more.n_dropped
        )
        return TelemetryCounts(spans, self.n_lines_dropped + other.n_lines_dropped)


class RequestTelemetry:
    """A worker's.

    Parameters
    ----------
    telemetry
        What is kept.
    clock
        Says when.
    is_secure
        Whether requests come over TLS.
    """

    def __init__(self, telemetry: Telemetry, clock: Clock, *, is_secure: bool) -> None:
        self._spans: Outbox[Traced] = Outbox(MOST_WAITING)
        self._lines: Outbox[Watch] = Outbox(MOST_WAITING)
        collector, is_traced = telemetry.collector, telemetry.sampler != "always_off"
        self._export: SpanExport | None = None
        if collector is not None and is_traced:
            self._export = SpanExport(self._spans, collector, telemetry.resource, __version__)
        self._log: AccessLog | None = None
        if telemetry.access is not None:
            start_access_log(sys.stderr, clock)
            self._log = AccessLog(self._lines)
        self.watcher: Watcher | None = None
        """Watches requests; None if nothing is kept of any."""
        if self._export is not None or self._log is not None:
            self.watcher = Watcher(
                clock,
                sampler=None if self._export is None else Sampler(telemetry.sampler, telemetry.ratio),
                is_secure=is_secure,
                spans=self._spans,
                plan=telemetry.access,
                lines=self._lines,
            )

    @property
    def counts(self) -> TelemetryCounts:
        """What became of what was kept."""
        spans = SpanCounts() if self._export is None else self._export.counts
        return TelemetryCounts(spans, self._lines.n_dropped)

    def start(self) -> None:
        """Begin to send."""
        for one in (self._export, self._log):
            if one is not None:
                one.start()

    def close(self) -> None:
        """Send what is left."""
        for one in (self._export, self._log):
            if one is not None:
                one.close()


class OwnerTelemetry:
    """That of the owner of a home: commands as spans, and all metrics.

    Parameters
    ----------
    telemetry
        What is kept.
    clock
        Says when.
    secret
        Of the home, for ids that nobody else has.
    families
        Returns the metrics.
    """

    def __init__(
        self, telemetry: Telemetry, clock: Clock, secret: Secret, families: Callable[[], Iterable[Family]]
    ) -> None:
        self._outbox: Outbox[Traced] = Outbox(MOST_WAITING)
        self.tracer: Tracer | None = None
        """Keeps what the owner does; None if nothing is."""
        self._spans: SpanExport | None = None
        self._metrics: MetricExport | None = None
        collector, resource = telemetry.collector, telemetry.resource
        if collector is None:
            return
        if telemetry.sampler != "always_off":
            self.tracer = Tracer(self._outbox, clock, secret.digest)
            self._spans = SpanExport(self._outbox, collector, resource, __version__)
        if telemetry.metrics_every_s:
            self._metrics = MetricExport(
                families,
                collector,
                resource,
                __version__,
                every_s=telemetry.metrics_every_s,
                is_delta=telemetry.is_delta,
                clock=clock,
            )

    @property
    def counts(self) -> TelemetryCounts:
        """What became of what was kept."""
        return TelemetryCounts(SpanCounts() if self._spans is None else self._spans.counts)

    def start(self) -> None:
        """Begin to send."""
        for one in (self._spans, self._metrics):
            if one is not None:
                one.start()

    def close(self) -> None:
        """Send what is left."""
        for one in (self._metrics, self._spans):
            if one is not None:
                one.close()


class AccessLog:
    """A thread that writes a line for each request that waits for one.

    Parameters
    ----------
    lines
        Where they wait.
    """

    def __init__(self, lines: Outbox[Watch]) -> None:
        self._lines = lines
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(LINES_EVERY_S)
            for watch in self._lines.take(MOST_WAITING):
                log(_LOG, logging.INFO, "request", **watch.line())
