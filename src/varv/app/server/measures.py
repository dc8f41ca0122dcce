"""What a running server measures of itself and of its models, for Prometheus and for OTLP: what workers
counted, and what is on record.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from varv.app.server.telemetry import TelemetryCounts
from varv.data.ingestion.views import PullsView
from varv.features.online.verbs import OnlineShown
from varv.features.reads import Reads
from varv.fronts.inference.counts import N_BUCKETS, Counts
from varv.home.alarms import alarm_list
from varv.home.skew.views import SkewView
from varv.kernel.clock import SECOND, Instant, instant
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.metrics import Distribution, Family, Sample
from varv.kernel.views import Views
from varv.monitoring.views import MonitoringView
from varv.serving.views import RoutingView

_BOUNDS = [(1 << place) / 1e6 for place in range(N_BUCKETS - 1)] + [float("inf")]
_FIRST = 4
"""Buckets below 16 microseconds are shown as one: nothing is told apart there."""


def of_requests(counts: Mapping[ModelName, Counts], refusals: Mapping[str, int]) -> Iterator[Family]:
    """Yield what workers counted since the server started.

    Parameters
    ----------
    refusals
        At the door, by reason and client: ``rate/shop``.
    """
    yield from _of_whole_requests(counts, refusals)
    yield from _of_rows(counts)
    yield from _of_time(counts)


def _of_whole_requests(counts: Mapping[ModelName, Counts], refusals: Mapping[str, int]) -> Iterator[Family]:
    yield Family(
        "varv_requests_turned_away_total",
        "counter",
        "Requests that were refused at the door, by reason and client; no client where none is declared.",
        [
            Sample(n, {"reason": reason, "client": client})
            for name, n in sorted(refusals.items())
            for reason, _, client in [name.partition("/")]
        ],
    )
    yield Family(
        "varv_requests_total",
        "counter",
        "Requests for predictions, by what became of them.",
        [
            Sample(n, {"model": model, "outcome": outcome})
            for model, one in counts.items()
            for outcome, n in (("answered", one.n_answered), ("refused", one.n_refused))
        ],
    )


def _of_rows(counts: Mapping[ModelName, Counts]) -> Iterator[Family]:
    items = counts.items()
    yield Family(
        "varv_predictions_total",
        "counter",
        "Rows that were answered, by the version and the arm of their rollout.",
        [
            Sample(n, {"model": model, "version": version, "arm": arm})
            for model, one in items
            for name, n in one.n_rows.items()
            for version, _, arm in [name.partition("/")]
        ],
    )
    yield Family(
        "varv_predictions_flagged_total",
        "counter",
        "Rows with a value that broke a check, by its column, or for which a transformation failed.",
        [
            Sample(n, {"model": model, "column": name})
            for model, one in items
            for name, n in one.n_flagged.items()
        ],
    )
    yield Family(
        "varv_observations_total",
        "counter",
        "Requests for a model's observer, by what became of them: dropped for want of room.",
        [
            Sample(n, {"model": model, "outcome": outcome})
            for model, one in items
            for outcome, n in one.n_observed.items()
        ],
    )


def _of_time(counts: Mapping[ModelName, Counts]) -> Iterator[Family]:
    items = counts.items()
    yield Family(
        "varv_scoring_calls_total",
        "counter",
        "Calls in which requests of one moment were scored together.",
        [Sample(one.n_calls, {"model": model}) for model, one in items],
    )
    yield Family(
        "varv_request_duration_seconds",
        "histogram",
        "Time of the stages of requests: read, queue, answer, write, total.",
        [sample for model, one in items for sample in _durations(model, one)],
    )


def of_telemetry(counts: TelemetryCounts) -> Iterator[Family]:
    """Yield what became of what processes traced and logged."""
    spans = counts.spans
    outcomes = {"sent": spans.n_sent, "failed": spans.n_failed, "dropped": spans.n_dropped}
    yield Family(
        "varv_traces_total",
        "counter",
        "Requests and commands that were traced, by what became of them: dropped for want of room.",
        [Sample(n, {"outcome": outcome}) for outcome, n in outcomes.items()],
    )
    yield Family(
        "varv_access_lines_dropped_total",
        "counter",
        "Lines of the access log that were not written for want of room.",
        [Sample(counts.n_lines_dropped)],
    )


def of_record(views: Views, ledger: Ledger) -> Iterator[Family]:
    """Yield what the ledger says of every model."""
    with views.reading(RoutingView) as routing:
        tables = dict(routing.tables)
        uncaptured = dict(routing.n_uncaptured)
        recorded = {model: dict(of_each) for model, of_each in routing.n_requests.items()}
    with views.reading(MonitoringView) as monitoring:
        alarms = {model: len(monitoring.open_alarms(ModelName(model))) for model in tables}
    yield Family(
        "varv_routing_share",
        "gauge",
        "Share of requests that a version answers.",
        [
            Sample(part.share, {"model": model, "version": str(part.version)})
            for model, table in tables.items()
            for part in table.shares
        ],
    )
    yield Family(
        "varv_routing_epoch",
        "gauge",
        "Number of the routing table in force.",
        [Sample(table.epoch, {"model": model}) for model, table in tables.items()],
    )
    yield Family(
        "varv_predictions_recorded_total",
        "counter",
        "Predictions on record, by version; 0 before the first.",
        [
            Sample(n, {"model": model, "version": version})
            for model, of_each in recorded.items()
            for version, n in of_each.items()
        ],
    )
    yield Family(
        "varv_predictions_uncaptured_total",
        "counter",
        "Predictions that were answered without capture, since the disk had no room.",
        [Sample(uncaptured.get(model, 0), {"model": model}) for model in tables],
    )
    yield Family(
        "varv_alarms_open",
        "gauge",
        "Alarms that have not been cleared.",
        [Sample(n, {"model": model}) for model, n in alarms.items()],
    )
    yield Family("varv_ledger_entries", "gauge", "Entries of the ledger.", [Sample(ledger.head().version)])


def of_online(views: Sequence[OnlineShown]) -> Iterator[Family]:
    """Yield how fresh the feature views are that are online, and what came too late for any."""
    online = [one for one in views if one.upto is not None]
    yield Family(
        "varv_online_rows_total",
        "counter",
        "Rows that the current generation of a feature view has taken in.",
        [Sample(one.n_rows, {"view": one.view}) for one in online],
    )
    yield Family(
        "varv_online_late_rows_total",
        "counter",
        "Of these, rows that lay before the watermark when they came.",
        [Sample(one.n_late, {"view": one.view}) for one in online],
    )
    yield Family(
        "varv_online_versions_behind",
        "gauge",
        "Versions of its dataset that a feature view does not hold online yet.",
        [Sample(one.version - (one.upto or 0), {"view": one.view}) for one in online],
    )
    yield Family(
        "varv_online_newest_row_seconds",
        "gauge",
        "When the newest row became known that a feature view holds online, since 1970.",
        [Sample(instant(one.newest) / SECOND, {"view": one.view}) for one in online if one.newest],
    )
    yield Family(
        "varv_feature_view_too_late_rows_total",
        "counter",
        "Rows of a feature view in memory that came too long after their event to count in any feature.",
        [Sample(one.n_too_late, {"view": one.view}) for one in views if one.n_too_late is not None],
    )


def of_reads(reads: Mapping[str, Reads]) -> Iterator[Family]:
    """Yield how fresh the views that declare an age were when they were read."""
    yield Family(
        "varv_feature_view_reads_total",
        "counter",
        "Reads of a feature view that declares an age, by models and online, an entity each.",
        [Sample(one.n, {"view": name}) for name, one in reads.items()],
    )
    yield Family(
        "varv_feature_view_fresh_reads_total",
        "counter",
        "Of these, reads at which the newest row of the view had at most that age.",
        [Sample(one.n_fresh, {"view": name}) for name, one in reads.items()],
    )


def of_skew(views: Views) -> Iterator[Family]:
    """Yield how features were served in the last seven days that were compared."""
    with views.reading(SkewView) as view:
        found = [(model, one) for model, held in view.models.items() for one in held.latest()]
    yield Family(
        "varv_feature_values_share",
        "gauge",
        "Share of a feature's served values of the last seven days by class, against the same computed anew.",
        [
            Sample(n / one.n, {"model": model, "feature": one.name, "class": name})
            for model, one in found
            if one.n
            for name, n in one.by_class().items()
        ],
    )
    yield Family(
        "varv_feature_values_compared",
        "gauge",
        "Served values of the last seven days that were compared.",
        [Sample(one.n, {"model": model, "feature": one.name}) for model, one in found],
    )
    yield Family(
        "varv_feature_in_time_share",
        "gauge",
        "Share of a feature's served values that kept the declared age; only where one is declared.",
        [
            Sample(one.in_time / one.n, {"model": model, "feature": one.name})
            for model, one in found
            if one.n and one.fresh is not None
        ],
    )


def of_alarms(views: Views) -> Family:
    """Return how many alarms of data, features and labels stand."""
    n = Counter((one.room, one.kind, one.subject) for one in alarm_list(views))
    return Family(
        "varv_room_alarms_open",
        "gauge",
        "Open alarms of data, features and labels, by the dataset or model that they are about.",
        [Sample(k, {"room": room, "kind": kind, "subject": of}) for (room, kind, of), k in n.items()],
    )


def of_pulls(views: Views, now: Instant) -> Iterator[Family]:
    """Yield how the sources of datasets were pulled."""
    with views.reading(PullsView) as view:
        states = {
            name: (one.done_at, one.failed, one.n_failures, one.n_rows) for name, one in view.states.items()
        }
    yield Family(
        "varv_pull_age_seconds",
        "gauge",
        "Time since the source of a dataset was last pulled to its end.",
        [
            Sample((now - done_at) / SECOND, {"dataset": name})
            for name, (done_at, *_) in states.items()
            if done_at is not None
        ],
    )
    yield Family(
        "varv_pull_failing",
        "gauge",
        "Whether the last pull of a dataset failed.",
        [Sample(int(failed is not None), {"dataset": name}) for name, (_, failed, *_) in states.items()],
    )
    yield Family(
        "varv_pull_failures_total",
        "counter",
        "Failed pulls on record; the same failure is recorded once an hour.",
        [Sample(n, {"dataset": name}) for name, (_, _, n, _) in states.items()],
    )
    yield Family(
        "varv_pulled_rows_total",
        "counter",
        "Rows that pulls brought and that were new.",
        [Sample(n, {"dataset": name}) for name, (*_, n) in states.items()],
    )


def of_certificate(expires_at_s: int) -> Family:
    """Return until when the certificate of both ports is valid, in seconds since 1970."""
    help_ = "Until when the server's certificate is valid, since 1970."
    return Family("varv_certificate_expires_seconds", "gauge", help_, [Sample(expires_at_s)])


def of_processes(pids: Mapping[str, int]) -> Iterator[Family]:
    """Yield what processes use, where the system says so.

    Parameters
    ----------
    pids
        Processes by what they are.
    """
    used = {name: found for name, pid in pids.items() if (found := _used(pid)) is not None}
    yield Family(
        "varv_process_cpu_seconds_total",
        "counter",
        "Processor time of each process.",
        [Sample(one.cpu_s, {"process": name}) for name, one in used.items()],
    )
    yield Family(
        "varv_process_resident_memory_bytes",
        "gauge",
        "Memory of each process.",
        [Sample(one.memory_bytes, {"process": name}) for name, one in used.items()],
    )


class _Used(NamedTuple):
    cpu_s: float
    memory_bytes: int


def _used(pid: int) -> _Used | None:
    """Return what a process uses, None where Linux does not tell."""
    with suppress(OSError, ValueError, IndexError):
        # Fields after the command's name, which may hold anything: proc(5).
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks, pages = int(rest[11]) + int(rest[12]), int(rest[21])
        return _Used(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
    return None


def _durations(model: ModelName, counts: Counts) -> Iterator[Distribution]:
    for stage, of_stage in counts.stages.items():
        low = sum(of_stage.buckets[: _FIRST + 1])
        buckets = list(zip(_BOUNDS[_FIRST:], [low, *of_stage.buckets[_FIRST + 1 :]], strict=True))
        yield Distribution(buckets, of_stage.sum_s, {"model": model, "stage": stage})
