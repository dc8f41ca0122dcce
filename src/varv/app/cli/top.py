"""`varv top`: what a server answers at this moment, model by model."""

from __future__ import annotations

import argparse
import sys
import threading

import msgspec

from varv.app.cli.access import answer, call
from varv.app.cli.rendering import Block, Grid, Line, show
from varv.app.server.server_file import Running, running_server
from varv.app.settings import Loaded
from varv.app.traffic import TrafficReport, TrafficRequest
from varv.fronts.inference.counts import Counts
from varv.kernel.clock import wall_seconds
from varv.kernel.errors import Unavailable
from varv.kernel.ids import ModelName

_CLEAR = "\x1b[H\x1b[J"


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What one model did within some seconds; times in milliseconds, None where nothing was answered."""

    model: ModelName
    requests_per_s: float
    rows_per_s: float
    refused_per_s: float
    requests_per_call: float | None
    p50_ms: float | None
    p99_ms: float | None
    queue_p99_ms: float | None
    shares: dict[str, float]
    """Of the rows that were answered, by version and arm."""


def top(options: argparse.Namespace, loaded: Loaded) -> int:
    """Show what is answered, again and again, until interrupted; once where nobody watches."""
    settings = loaded.settings
    server = running_server(settings)
    if server is None:
        raise Unavailable("server", settings.home.name, "does not run", hint="start it with varv up")
    before, since = _report(server, loaded), wall_seconds()
    is_watched = sys.stdout.isatty() and not options.json and not options.once
    while True:
        threading.Event().wait(options.every)
        now, at = _report(server, loaded), wall_seconds()
        found = [
            rates_of(model, one, before.models.get(model), at - since) for model, one in now.models.items()
        ]
        shown = blocks(found, now)
        if not is_watched:
            answer(options, found, lambda shown=shown: shown)
            return 0
        sys.stdout.write(_CLEAR)
        show(shown)
        before, since = now, at


def rates_of(model: ModelName, now: Counts, before: Counts | None, seconds: float) -> Rates:
    """Return what a model did between two reports."""
    done = now if before is None else now.minus(before)
    n_rows = sum(done.n_rows.values())
    total, queue = done.stages["total"], done.stages["queue"]
    return Rates(
        model=model,
        requests_per_s=done.n_answered / seconds,
        rows_per_s=n_rows / seconds,
        refused_per_s=done.n_refused / seconds,
        requests_per_call=done.n_answered / done.n_calls if done.n_calls else None,
        p50_ms=_ms(total.quantile(0.5)),
        p99_ms=_ms(total.quantile(0.99)),
        queue_p99_ms=_ms(queue.quantile(0.99)),
        shares={name: n / n_rows for name, n in done.n_rows.items() if n},
    )


def blocks(rates: list[Rates], report: TrafficReport) -> list[Block]:
    """Return rates as text."""
    columns = (
        "model",
        "requests/s",
        "rows/s",
        "refused/s",
        "a call",
        "p50",
        "p99",
        "p99 queued",
        "answered by",
    )
    rows = [
        (
            one.model,
            f"{one.requests_per_s:,.1f}",
            f"{one.rows_per_s:,.1f}",
            f"{one.refused_per_s:,.1f}",
            "" if one.requests_per_call is None else f"{one.requests_per_call:.1f}",
            *(_shown(value) for value in (one.p50_ms, one.p99_ms, one.queue_p99_ms)),
            ", ".join(f"v{name.replace('/', ' ')} {share:.0%}" for name, share in one.shares.items()),
        )
        for one in rates
    ]
    n = len(report.workers)
    return [
        Line(f"{n} worker{'' if n == 1 else 's'}: {', '.join(map(str, report.workers))}"),
        Grid(columns, rows),
    ]


def _report(server: Running, loaded: Loaded) -> TrafficReport:
    return msgspec.convert(
        call(server, loaded.settings, "server.traffic", TrafficRequest()), type=TrafficReport
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _shown(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.2f} ms"
