"""One model at a glance: its versions, who answers, its rollout, its alarms, and how good it was of late."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.kernel.clock import DAY, Instant, iso
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.failing import WAITING
from varv.loop.plan import loop_state
from varv.loop.views import LoopView
from varv.monitoring.summary import Shown, summarised
from varv.monitoring.views import MonitoringView
from varv.registry import RegistryView, VersionRecord
from varv.rollout.views import RolloutsView
from varv.serving.views import RoutingView
from varv.tasks import TaskSpec

QUALITY_DAYS = 30
"""How many of the last measured days the quality of a model is shown over."""


class VersionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version: its aliases, and how it fared on held-out rows."""

    version: int
    aliases: tuple[str, ...]
    registered_at: str
    n_rows: int
    metrics: dict[str, float | None]
    outcome: str
    planted: str


class ShareStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The share of requests that a version answers."""

    version: int
    share: float


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The rollout that is open."""

    version: int
    phase: str
    share: float
    since: str
    held: str


class AlarmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that has not been cleared."""

    kind: str
    subject: str
    severity: str
    since: str
    seq: int


class QualityStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What champions showed on the last measured days; limits are 95 %, clustered by the day."""

    since: str
    until: str
    n_days: int
    n: int
    numbers: tuple[Shown, ...]
    """The default loss of the task, its signals and its metrics, in this order."""


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one model at a glance."""

    model: str
    task: TaskSpec
    """What it predicts, which says what the metrics of its versions mean."""
    phase: str
    champion: int | None
    former: int | None
    versions: tuple[VersionStatus, ...]
    shares: tuple[ShareStatus, ...]
    shadows: tuple[int, ...]
    epoch: int
    rollout: RolloutStatus | None
    waiting: tuple[str, ...]
    """Triggers that wait for the loop to be free or the cool-down to be over."""
    suspended: str
    """What training waits for after failures that were alike; empty where it is not suspended."""
    failure: str
    """The whole message of the last training, if it failed."""
    leaks: tuple[str, ...]
    """What speaks for a column that holds what a request cannot know."""
    n_requests: int
    n_uncaptured: int
    """Answers given without being captured, since the disk was full."""
    n_otherwise: dict[str, int]
    """Requests that were not answered by the version whose turn it was, by how they were."""
    n_labelled: int
    n_retrains: int
    alarms: tuple[AlarmStatus, ...]
    quality: QualityStatus | None
    """Of the last `QUALITY_DAYS` days that were measured; None before the first."""


def model_status(views: Views, ledger: Ledger, name: str) -> ModelStatus:
    """Return everything about one model that is on record."""
    loop = loop_state(ledger, name)
    with views.reading(RoutingView) as routing:
        table = routing.tables.get(name)
        n_requests = sum(routing.n_requests.get(name, {}).values())
        n_uncaptured = routing.n_uncaptured.get(name, 0)
        n_otherwise = dict(routing.n_otherwise.get(name, {}))
    with views.reading(LoopView) as view:
        record = view.loops.get(name)
        task = view.task(name).spec
        n_labelled = record.n_labelled if record else 0
        failed = record.last_failure if record else None
        suspended = record.suspended if record else None
        leaks = tuple(leak.line() for leak in record.leaks) if record else ()
    return ModelStatus(
        model=name,
        task=task,
        phase="retired" if loop.retired else loop.phase,
        champion=loop.champion,
        former=loop.former,
        versions=_versions(views, name),
        shares=tuple(
            ShareStatus(version=part.version, share=part.share) for part in (table.shares if table else ())
        ),
        shadows=table.shadows if table else (),
        epoch=table.epoch if table else 0,
        rollout=_rollout(views, name),
        waiting=(
            *(f"{one.kind} {one.subject}".strip() for one in loop.pending),
            *(f"registered {one.source.file}" for one in loop.offers),
        ),
        suspended=f"{WAITING}, after {suspended.n_failures} equal failures" if suspended else "",
        failure=failed.detail if failed else "",
        leaks=leaks,
        n_requests=n_requests,
        n_uncaptured=n_uncaptured,
        n_otherwise=n_otherwise,
        n_labelled=n_labelled,
        n_retrains=loop.n_retrains,
        alarms=_alarms(views, name),
        quality=_quality(views, name),
    )


def _versions(views: Views, name: str) -> tuple[VersionStatus, ...]:
    with views.reading(LoopView) as view:
        attempts = dict(view.loops[name].attempts) if name in view.loops else {}
    with views.reading(RegistryView) as registry:
        record = registry.models.get(name)
        found: Sequence[VersionRecord] = [] if record is None else list(record.versions.values())
        return tuple(
            VersionStatus(
                version=one.registered.version,
                aliases=tuple(sorted(one.aliases)),
                registered_at=iso(one.at),
                n_rows=one.registered.n_rows,
                metrics=one.registered.metrics,
                outcome=attempts[one.registered.version].outcome
                if one.registered.version in attempts
                else "",
                planted=one.registered.planted,
            )
            for one in found
        )


def _rollout(views: Views, name: str) -> RolloutStatus | None:
    with views.reading(RolloutsView) as rollouts:
        record = rollouts.open(ModelName(name))
        if record is None:
            return None
        return RolloutStatus(
            version=record.version,
            phase=record.phase,
            share=record.share,
            since=iso(record.started_at),
            held=record.held,
        )


def _alarms(views: Views, name: str) -> tuple[AlarmStatus, ...]:
    with views.reading(MonitoringView) as monitoring:
        return tuple(
            AlarmStatus(
                kind=one.raised.kind,
                subject=one.raised.subject,
                severity=one.raised.severity,
                since=iso(one.raised_at),
                seq=one.seq,
            )
            for one in monitoring.open_alarms(ModelName(name))
        )


def _quality(views: Views, name: str) -> QualityStatus | None:
    with views.reading(MonitoringView) as monitoring:
        measured = monitoring.measured(ModelName(name))
    if not measured:
        return None
    since = Instant(measured[-1].window.end - QUALITY_DAYS * DAY)
    found = summarised(one for one in measured if one.window.start >= since)
    if found is None:
        return None
    return QualityStatus(
        since=iso(found.since),
        until=iso(found.until),
        n_days=found.n_days,
        n=found.n,
        numbers=found.numbers,
    )
