"""The overview: where the loop of each model stands, what needs a person, and what happened last.

One model is shown by the stages of its loop. Several are a table, each with a link to a page of its own,
where its stages are.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.fronts.web import words
from varv.fronts.web.page import Page, Reading
from varv.fronts.web.pages.entries import newest
from varv.fronts.web.pages.needs import needs
from varv.fronts.web.words import Status
from varv.home.change.views import ChangeRecord
from varv.kernel.clock import Instant
from varv.kernel.ids import ModelName, Version
from varv.kernel.ledger import Ledger
from varv.kernel.wording import count, percent
from varv.loop.views import LoopRecord
from varv.monitoring import FeatureDrift, PerformanceMeasured
from varv.monitoring.summary import Shown, shown
from varv.rollout.views import RolloutRecord
from varv.serving import RoutingShare
from varv.serving.model import otherwise_in_words

LAST_EVENTS = 12
LAST_CHANGES = 5
MOST_NUMBERS = 2
"""Of a day, in a line of a table; the page of the monitor has all."""


class Stage(msgspec.Struct, frozen=True):
    """One stage of the loop: how it is, and the number that says so."""

    name: str
    status: Status
    number: str
    href: str


class ChangeLine(msgspec.Struct, frozen=True):
    """One change of the declaration."""

    number: int
    status: Status
    lines: tuple[str, ...]
    since: Instant
    seq: int


class RolloutLink(msgspec.Struct, frozen=True):
    """A rollout that is open."""

    version: int
    status: Status


class ModelSummary(msgspec.Struct, frozen=True):
    """One model at a glance."""

    model: str
    task: str
    status: Status
    """What its loop is doing."""
    champion: int | None
    shares: tuple[RoutingShare, ...]
    rollout: RolloutLink | None
    n_open_alarms: int
    n_requests: int
    n_labelled: int | None
    """None where the task has no outcome."""


class ModelLine(msgspec.Struct, frozen=True):
    """One version that answers requests or is on its way in."""

    model: str
    version: int
    status: Status
    n_requests: int
    since: Instant | None
    drifted: tuple[FeatureDrift, ...]
    n_features: int
    measured: PerformanceMeasured | None
    numbers: tuple[Shown, ...]
    """What was measured, by the names of the model's task."""


def overview_page(now: Reading, ledger: Ledger, query: Mapping[str, str]) -> Page:
    """Return the overview; ``?follow=1`` asks the browser to fetch it again every few seconds."""
    names = now.models()
    lines = [line for name in names for line in model_lines(now, name)]
    data: dict[str, object] = {
        "loops": [{"model": name, "stages": stages(now, name)} for name in names if len(names) == 1],
        "models": [model_summary(now, name) for name in names if len(names) > 1],
        "needs": needs(now),
        "lines": lines,
        "changes": _changes(now),
        "n_serving": sum(line.status.kind == "good" for line in lines),
        "n_open_rollouts": sum(not record.outcome for record in now.rollouts.rollouts),
        "events": newest(ledger, LAST_EVENTS),
        "replayed_through": now.home.replayed_through,
        "replay_finished": now.home.replay_finished,
        "follow": query.get("follow") == "1",
    }
    return Page("Overview", "overview.html", data, scripts=("links.js",))


def models_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every model and the versions of it that see requests."""
    data: dict[str, object] = {
        "models": [model_summary(now, name) for name in now.models()],
        "lines": [line for name in now.models() for line in model_lines(now, name)],
    }
    return Page("Models", "models.html", data)


def model_summary(now: Reading, model: str) -> ModelSummary:
    """Return one model at a glance, whether or not anything serves yet."""
    record, opened = now.registry.models.get(model), now.rollouts.open(ModelName(model))
    table, loop = now.routing.tables.get(model), now.loops.loops.get(model)
    task = now.loops.task(model)
    return ModelSummary(
        model=model,
        task=task.name,
        status=_loop_status(loop, opened),
        champion=record.aliases.get("champion") if record else None,
        shares=table.shares if table else (),
        rollout=RolloutLink(opened.version, rollout_status(opened)) if opened else None,
        n_open_alarms=len(now.monitoring.open_alarms(ModelName(model))),
        n_requests=sum(now.routing.n_requests.get(model, {}).values()),
        n_labelled=(loop.n_labelled if loop else 0) if task.has_outcome else None,
    )


def _loop_status(loop: LoopRecord | None, opened: RolloutRecord | None) -> Status:
    """Return what a loop is doing."""
    if loop is None:
        return Status("off", "Not started")
    if loop.retired_at is not None:
        return Status("off", "Retired")
    if loop.suspended is not None:
        return Status("bad", "Training suspended")
    training = next((one for one in loop.attempts.values() if one.outcome == "training"), None)
    if training is not None:
        return Status("busy", f"Training v{training.version}")
    if opened is not None:
        return Status("warn", "Rollout held") if opened.held else Status("busy", "Rolling out")
    return Status("good", "Watching") if loop.attempts else Status("off", "Not yet trained")


def model_lines(now: Reading, model: str) -> list[ModelLine]:
    """Return the champion of a model and the candidate that is on its way in."""
    name = ModelName(model)
    record = now.registry.models.get(model)
    opened = now.rollouts.open(name)
    champion = None if record is None else record.champion
    lines = []
    if champion is not None:
        status = Status("good", "Champion")
        lines.append(_line(now, model, champion.registered.version, status, _champion_since(now, name)))
    if opened is not None and (champion is None or opened.version != champion.registered.version):
        lines.append(_line(now, model, opened.version, rollout_status(opened), opened.started_at))
    return lines


def rollout_status(record: RolloutRecord) -> Status:
    """Return where a rollout stands, or how it ended."""
    if record.outcome:
        return words.outcome(record.outcome)
    shown = record.phase.replace("_", " ").capitalize()
    if record.phase == "canary":
        shown = f"Canary {percent(record.share)}"
    return Status("warn", f"{shown}, held") if record.held else Status("busy", shown)


def _line(now: Reading, model: str, version: int, status: Status, since: Instant | None) -> ModelLine:
    name = ModelName(model)
    series = now.monitoring.series(name, Version(version))
    watched = now.monitoring.watched(name) == version
    drifted, n_features = _drifted(now, name) if watched else ([], 0)
    measured = next((one for one in reversed(series) if one.numbers()), None)
    return ModelLine(
        model=model,
        version=version,
        status=status,
        n_requests=now.routing.n_requests.get(model, {}).get(str(version), 0),
        since=since,
        drifted=tuple(drifted),
        n_features=n_features,
        measured=measured,
        numbers=() if measured is None else tuple(shown(now.loops.task(model), measured)[:MOST_NUMBERS]),
    )


def _drifted(now: Reading, name: ModelName) -> tuple[list[FeatureDrift], int]:
    """Return the features that drifted in the last window, the worst first, and how many were measured."""
    last = [row[-1] for row in now.monitoring.drift(name).cells if row]
    known = [one for one in last if one is not None]
    return sorted((one for one in known if one.drifted), key=lambda one: -one.psi), len(known)


def _champion_since(now: Reading, name: ModelName) -> Instant | None:
    promoted = [record.settled_at for record in now.rollouts.of_model(name) if record.outcome == "promoted"]
    return promoted[-1] if promoted else None


def stages(now: Reading, model: str) -> list[Stage]:
    """Return the stages of a model's loop, from its data to its outcomes."""
    name, path = ModelName(model), f"/models/{words.segment(model)}"
    loop, opened = now.loops.loops.get(model), now.rollouts.open(name)
    return [
        _data(now),
        _features(now, name),
        _training(loop, path),
        _registry(now, model, path),
        _rollout(now, name, opened),
        _serving(now, model, path),
        _monitoring(now, name),
        _labels(now, model, loop),
    ]


def _data(now: Reading) -> Stage:
    names = [one.dataset for one in now.datasets.datasets()]
    n_versions = sum(now.datasets.version(name) for name in names)
    n_aside = sum(held.n_rows for held in now.datasets.arrivals.quarantine())
    status = Status("warn", f"{count(n_aside)} quarantined") if n_aside else Status("good", "Flowing")
    if not n_versions:
        status = Status("off", "No data")
    return Stage("Data", status, f"{count(n_versions)} batches", "/data")


def _features(now: Reading, name: ModelName) -> Stage:
    drifted, n_measured = _drifted(now, name)
    n_harmful = sum(one.harmful for one in drifted)
    record = now.registry.models.get(name)
    champion = None if record is None else record.champion
    n_features = len(champion.registered.signature) if champion else n_measured
    status = Status("good", f"{len(drifted)} drifted, harmless" if drifted else "Steady")
    if n_harmful:
        status = Status("warn", f"{n_harmful} harmful drift")
    if not n_features:
        status = Status("off", "Not known yet")
    return Stage("Features", status, f"{n_features} features", f"/monitors/{words.segment(name)}#drift")


def _training(loop: LoopRecord | None, path: str) -> Stage:
    attempts = list(loop.attempts.values()) if loop else []
    busy = next((one for one in attempts if one.outcome == "training"), None)
    status = Status("busy", f"Training v{busy.version}") if busy else Status("good", "Ready")
    if not attempts:
        status = Status("off", "Not yet trained")
    n_retrains = loop.n_retrains if loop else 0
    return Stage(
        "Training", status, f"{n_retrains} retrain{'' if n_retrains == 1 else 's'}", f"{path}#versions"
    )


def _registry(now: Reading, model: str, path: str) -> Stage:
    record = now.registry.models.get(model)
    champion = record.aliases.get("champion") if record else None
    status = Status("off", "No champion") if champion is None else Status("good", f"v{champion} champion")
    n_versions = len(record.versions) if record else 0
    return Stage(
        "Registry", status, f"{n_versions} version{'' if n_versions == 1 else 's'}", f"{path}#versions"
    )


def _rollout(now: Reading, name: ModelName, opened: RolloutRecord | None) -> Stage:
    past = now.rollouts.of_model(name)
    status = rollout_status(opened) if opened else Status("good", "Settled")
    if not past:
        status = Status("off", "None yet")
    return Stage("Rollout", status, f"{len(past)} so far", "/rollouts")


def _serving(now: Reading, model: str, path: str) -> Stage:
    table = now.routing.tables.get(model)
    n_requests = sum(n for version, n in now.routing.n_requests.get(model, {}).items() if version != "0")
    status = Status("off", "Not serving") if table is None else Status("good", f"v{table.champion} serving")
    otherwise = otherwise_in_words(now.routing.n_otherwise.get(model, {}))
    told = ", ".join(f"{count(n)} {how}" for how, n in otherwise)
    return Stage("Serving", status, f"{count(n_requests)} answered{', of them ' if told else ''}{told}", path)


def _monitoring(now: Reading, name: ModelName) -> Stage:
    n_open, n_ever = len(now.monitoring.open_alarms(name)), len(now.monitoring.alarms(name))
    status = (
        Status("warn", f"{n_open} alarm{'' if n_open == 1 else 's'} open")
        if n_open
        else Status("good", "Quiet")
    )
    if name not in now.monitoring.models():
        status = Status("off", "Not watching")
    return Stage(
        "Monitoring",
        status,
        f"{n_ever} alarm{'' if n_ever == 1 else 's'} so far",
        f"/monitors/{words.segment(name)}",
    )


def _labels(now: Reading, model: str, loop: LoopRecord | None) -> Stage:
    task = now.loops.task(model)
    if not task.has_outcome:
        # A score is judged by no outcome, so none is missing.
        return Stage("Labels", Status("off", "No outcome"), task.name, f"/models/{words.segment(model)}")
    n_labelled = loop.n_labelled if loop else 0
    n_requests = sum(now.routing.n_requests.get(model, {}).values())
    if not n_requests or not n_labelled:
        return Stage(
            "Labels",
            Status("off", "None yet"),
            f"{count(n_labelled)} arrived",
            f"/monitors/{words.segment(model)}",
        )
    # Not every outcome comes, and the youngest are still on their way: this is no failure.
    part = percent(round(min(1.0, n_labelled / n_requests), 3))
    return Stage(
        "Labels",
        Status("good", f"{part} arrived"),
        f"{count(n_labelled)} outcomes",
        f"/monitors/{words.segment(model)}",
    )


def _changes(now: Reading) -> list[ChangeLine]:
    """Return the last changes of the declaration, the latest first."""
    records = sorted(now.changes.changes.values(), key=lambda one: -one.number)[:LAST_CHANGES]
    return [ChangeLine(one.number, _change_status(one), one.plan.lines(), one.at, one.seq) for one in records]


def _change_status(change: ChangeRecord) -> Status:
    if change.failures:
        return Status("bad", "Failed")
    if change.is_open:
        return Status("busy", "Under way")
    return Status("good" if change.phase == "done" else "off", change.phase.capitalize())
