"""Looking at a home without changing it: what is the case."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.data.ingestion.views import PullState, PullsView
from varv.data.views import DatasetsView, PartCounts
from varv.home.alarms import OpenAlarm, alarm_list
from varv.home.change.views import ChangesView
from varv.home.skew.reads import ShownReads, shown_reads
from varv.home.views import HomeView
from varv.kernel.clock import DAY, SECOND, Instant, iso
from varv.kernel.errors import NotFound
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


class TimerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is due next."""

    saga: str
    key: str
    due: str


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rows of one part of a dataset."""

    dataset: str
    part: str
    n_rows: int
    n_equal: int
    """Repeated a key with the same values, and were dropped."""
    n_different: int
    """Repeated a key with other values, and were dropped."""
    n_waiting: int
    """Are about a row that has not come (yet), such as outcomes of an unknown key."""
    n_early: int
    """Say something from before their row existed, and are not used."""
    n_quarantined: int
    n_discarded: int
    """Were given up, or replaced, by a person."""


class PullStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far the source of a dataset was pulled."""

    dataset: str
    source: str
    done_at: str
    """When a pull last came to its end; empty if none did."""
    age_s: float | None
    """Since then."""
    n_rows: int
    """New ones, of all pulls."""
    failed: str
    """Why the last pull did not; empty if it did."""
    failing_since: str


class ChangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the declaration."""

    number: int
    phase: str
    """``"planned"``, ``"preparing"``, ``"done"`` or ``"superseded"``."""
    progress: str
    """How far it has come, in words."""
    lines: tuple[str, ...]
    """What it changes."""
    since: str


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """A home at a glance; `state` is what its server is doing."""

    now: str
    state: str
    n_entries: int
    models: tuple[ModelStatus, ...]
    next_timer: TimerStatus | None
    replayed_through: str | None
    replay_finished: bool
    data: tuple[PartStatus, ...] = ()
    changes: tuple[ChangeStatus, ...] = ()
    """Changes of the declaration, the last one last: those that are open, and the last that is not."""
    quarantined: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows that were put aside, by reason, of batches that have some in quarantine."""
    pulls: tuple[PullStatus, ...] = ()
    """The sources that were ever pulled."""
    alarms: tuple[OpenAlarm, ...] = ()
    """Those of data, features and labels that stand; those on a model's quality are with the model."""
    reads: tuple[ShownReads, ...] = ()
    """How fresh the views that declare an age were when they were read."""


def status_report(
    views: Views, ledger: Ledger, now: Instant, *, model: str = "", state: str = ""
) -> StatusReport:
    """Return what is the case, for one model or for all.

    Raises
    ------
    NotFound
        If there is no such model.
    """
    with views.reading(RegistryView) as registry:
        registered = set(registry.models)
    with views.reading(LoopView) as loop:
        known = sorted(registered | set(loop.loops))
    with views.reading(HomeView) as home:
        through, finished = home.replayed_through, home.replay_finished
    if model and model not in known:
        hint = f"registered are {', '.join(known) or 'none'}"
        raise NotFound("model", model[:80], "is not registered", hint=hint)
    timer = ledger.upcoming().timer
    return StatusReport(
        now=iso(now),
        state=state,
        n_entries=ledger.head().version,
        models=tuple(_model(views, ledger, name) for name in ([model] if model else known)),
        next_timer=TimerStatus(saga=timer.saga, key=timer.key, due=iso(timer.due)) if timer else None,
        replayed_through=None if through is None else iso(through),
        replay_finished=finished,
        data=data_status(views),
        changes=_changes(views),
        quarantined=quarantined_by_reason(views),
        pulls=pull_status(views, now),
        alarms=alarm_list(views),
        reads=shown_reads(views, now),
    )


def pull_status(views: Views, now: Instant) -> tuple[PullStatus, ...]:
    """Return how far each source was pulled, of those that ever were."""
    with views.reading(PullsView) as view:
        return tuple(_pull(name, view.states[name], now) for name in sorted(view.states))


def _pull(name: str, state: PullState, now: Instant) -> PullStatus:
    done_at, failed = state.done_at, state.failed
    return PullStatus(
        dataset=name,
        source=state.source,
        done_at="" if done_at is None else iso(done_at),
        age_s=None if done_at is None else (now - done_at) / SECOND,
        n_rows=state.n_rows,
        failed="" if failed is None else failed.why,
        failing_since="" if failed is None else iso(failed.since),
    )


def _changes(views: Views) -> tuple[ChangeStatus, ...]:
    with views.reading(ChangesView) as view:
        last = max(view.changes, default=0)
        return tuple(
            ChangeStatus(
                number=one.number,
                phase=one.phase,
                progress=one.progress(),
                lines=one.plan.lines(),
                since=iso(one.at),
            )
            for one in view.changes.values()
            if one.is_open or one.number == last
        )


def data_status(views: Views) -> tuple[PartStatus, ...]:
    """Return what became of the rows of every part of every dataset."""
    with views.reading(DatasetsView) as view:
        parts = [(one, part) for one in view.datasets() for part in (one.event_time, *one.known_at)]
        return tuple(_part_status(one.dataset, part, view.counts(one.dataset, part)) for one, part in parts)


def _part_status(dataset: str, part: str, counts: PartCounts) -> PartStatus:
    return PartStatus(
        dataset=dataset,
        part=part,
        n_rows=counts.n_rows,
        n_equal=counts.n_equal,
        n_different=counts.n_different,
        n_waiting=counts.n_waiting,
        n_early=counts.n_early,
        n_quarantined=counts.n_quarantined,
        n_discarded=counts.n_discarded + counts.n_replaced,
    )


def quarantined_by_reason(views: Views) -> dict[str, int]:
    """Return how many rows were put aside for each reason, of the batches that have some in quarantine."""
    found: dict[str, int] = {}
    with views.reading(DatasetsView) as view:
        for held in view.quarantine():
            for reason, n in held.by_reason.items():
                found[reason] = found.get(reason, 0) + n
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _model(views: Views, ledger: Ledger, name: str) -> ModelStatus:
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
