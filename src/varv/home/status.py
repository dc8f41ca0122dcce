"""Looking at a home without changing it: what is the case."""

from __future__ import annotations

import msgspec

from varv.home.alarms import OpenAlarm, alarm_list
from varv.home.change.views import ChangesView
from varv.home.data_status import PartStatus, PullStatus, data_status, pull_status, quarantined_by_reason
from varv.home.model_status import ModelStatus, model_status
from varv.home.skew.reads import ShownReads, shown_reads
from varv.home.views import HomeView
from varv.kernel.clock import Instant, iso
from varv.kernel.errors import NotFound
from varv.kernel.ledger import Ledger
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.registry import RegistryView


class TimerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is due next."""

    saga: str
    key: str
    due: str


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
        models=tuple(model_status(views, ledger, name) for name in ([model] if model else known)),
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
