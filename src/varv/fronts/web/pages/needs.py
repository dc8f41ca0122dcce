"""What needs a person: changes and rollouts that stand still, trainings that failed, alarms, quarantine."""

from __future__ import annotations

import msgspec

from varv.data.quarantine import counted
from varv.fronts.web import words
from varv.fronts.web.page import Reading
from varv.fronts.web.words import Status
from varv.home.alarms import Room, open_alarms
from varv.home.change.views import ChangeRecord
from varv.home.skew.model import OF_FEATURES
from varv.kernel.clock import Instant, instant
from varv.loop.failing import WAITING
from varv.rollout.views import RolloutRecord

_PAGES: dict[Room, str] = {"data": "/data/{}", "features": "/monitors/{}#skew", "labels": "/labels"}
"""Where an alarm of a room is to be looked at."""


class Need(msgspec.Struct, frozen=True):
    """Something a person should look at, and what to do."""

    status: Status
    text: str
    todo: str
    href: str
    since: Instant | None


def _change_needs(change: ChangeRecord) -> list[Need]:
    if not change.failures:
        return []
    todo = "Correct what it says; varv up or varv apply tries it again."
    text = f"change {change.number}: {change.progress()}"
    return [Need(Status("bad", "Change failed"), text, todo, f"/ledger/{change.seq}", change.at)]


def needs(now: Reading) -> list[Need]:
    """Return what needs a person now."""
    found = [need for change in now.changes.open for need in _change_needs(change)]
    for record in now.rollouts.rollouts:
        found += _rollout_needs(record)
    found += [need for name in now.models() if (need := _training_need(now, name)) is not None]
    for name in now.monitoring.models():
        for alarm in now.monitoring.open_alarms(name):
            if alarm.raised.kind in OF_FEATURES:
                continue
            status = Status(
                "bad" if alarm.raised.severity == "critical" else "warn",
                f"{alarm.raised.severity} alarm".capitalize(),
            )
            text = f"{name} v{alarm.raised.version}: {alarm.raised.kind} of {alarm.raised.subject}"
            todo = "See the evidence; the loop retrains by its policy."
            found.append(Need(status, text, todo, f"/monitors/{words.segment(name)}#alarms", alarm.raised_at))
    found += _alarm_needs(now)
    for registered in now.datasets.datasets():
        held = now.datasets.arrivals.quarantine(registered.dataset)
        if held:
            n_rows = sum(one.n_rows for one in held)
            text = f"{registered.dataset}: {counted(n_rows, len(held))} in quarantine"
            todo = "Look at them, then release, replace or drop them: varv quarantine."
            href = f"/data/{words.segment(registered.dataset)}#quarantine"
            found.append(Need(Status("warn", "Quarantined"), text, todo, href, held[0].at))
    return found


def _alarm_needs(now: Reading) -> list[Need]:
    return [
        Need(
            Status("bad" if one.room == "features" else "warn", f"{one.room} alarm".capitalize()),
            f"{one.what}: {one.why}",
            f"{one.next_step[:1].upper()}{one.next_step[1:]}.",
            _PAGES[one.room].format(words.segment(one.subject)),
            instant(one.since),
        )
        for one in open_alarms(now.data_alarms, now.pulls, now.monitoring, now.labels)
    ]


def _training_need(now: Reading, model: str) -> Need | None:
    record = now.loops.loops.get(model)
    failed = record.last_failure if record else None
    if record is None or failed is None:
        return None
    href = f"/models/{words.segment(model)}/versions/{failed.version}"
    text = f"{model} v{failed.version}: {failed.reason}"
    if record.suspended is None:
        todo = "It is tried again with the next trigger; three equal failures suspend training."
        return Need(Status("warn", "Training failed"), text, todo, href, failed.ended_at)
    todo = f"Training is {WAITING}: correct fit and start varv up again, or ask for one: varv retrain."
    return Need(Status("bad", "Training suspended"), text, todo, href, failed.ended_at)


def _rollout_needs(record: RolloutRecord) -> list[Need]:
    if record.outcome:
        return []
    href = f"/rollouts/{words.segment(record.model)}/{record.version}"
    subject = f"{record.model} v{record.version}"
    asked = [line for line in record.log if line.what == "needs a person"]
    found = []
    if asked:
        todo = "Look at the command that keeps failing; it is tried again."
        found.append(
            Need(Status("bad", "Needs a person"), f"{subject}: {asked[-1].reason}", todo, href, asked[-1].at)
        )
    if record.held:
        held = [line for line in record.log if line.what == "held"]
        todo = "It goes on by itself once nothing is in its way, or give it up: varv rollback."
        found.append(
            Need(
                Status("warn", "Held"), f"{subject}: {record.held}", todo, href, held[-1].at if held else None
            )
        )
    return found
