"""A model: why each version was trained, what the gates said and how it ended; and the lineage of one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.data.profiling.trained import read_training, trained_versions, training_profile
from varv.fronts.web import words
from varv.fronts.web.page import Page, Reading, not_one_of
from varv.fronts.web.pages.monitors import loss_chart
from varv.fronts.web.pages.overview import model_lines, stages
from varv.fronts.web.words import Status
from varv.home.requirements import RequirementMatrix, matrix
from varv.home.wording import unit_text, validation_columns
from varv.kernel.clock import Instant
from varv.kernel.errors import NotFound
from varv.kernel.ids import ModelName
from varv.kernel.wording import number
from varv.loop.failing import WAITING
from varv.loop.model import Trigger
from varv.loop.printed import printed
from varv.loop.views import Attempt
from varv.profiles.difference import profile_difference
from varv.profiles.reading import ProfileRead
from varv.registry import Lineage, VersionRecord, lineage
from varv.tasks import Loss, Task
from varv.training.gates import GateResult


class VersionLine(msgspec.Struct, frozen=True):
    """One version: what it was trained for, what it showed, and what became of it."""

    version: int
    status: Status
    planted: str
    aliases: tuple[str, ...]
    trained_at: Instant | None
    seq: int | None
    triggers: tuple[Trigger, ...]
    gates: tuple[GateResult, ...]
    reason: str
    detail: str
    ended_at: Instant | None
    n_rows: int | None
    n_validation: int | None
    metrics: dict[str, float | None]
    was_rolled_out: bool
    validation: str
    """The metrics in words, as the model's task has them."""
    printed: bool
    """Whether its training printed something, or may be about to."""


class TrainedOn(msgspec.Struct, frozen=True):
    """The rows that a version was trained on: their profile, how much each column tells of the outcome, and
    what drifted since an earlier version.
    """

    profile: ProfileRead
    tells: dict[str, float]
    before: int | None
    drifted: tuple[str, ...]


def model_page(now: Reading, model: str, query: Mapping[str, str]) -> Page:
    """Return one model.

    Raises
    ------
    NotFound
        If there is no such model.
    """
    name = ModelName(now.require_model(model))
    record = now.registry.models.get(model)
    loop = now.loops.loops.get(model)
    table = now.routing.tables.get(model)
    task = now.loops.task(model)
    data: dict[str, object] = {
        "model": model,
        "task": task.spec,
        "loss": _loss_title(task.loss),
        "stages": stages(now, model),
        "has_report": now.has_report(model),
        "lines": model_lines(now, model),
        "versions": version_lines(now, model)[::-1],
        "aliases": dict(sorted(record.aliases.items())) if record else {},
        "routing": table,
        "policy": loop.policy if loop else None,
        "weighed": loop.weighed.last if loop else None,
        "declaration": loop.declaration if loop else None,
        "started_at": loop.started_at if loop else None,
        "n_retrains": loop.n_retrains if loop else 0,
        "suspended": loop.suspended if loop else None,
        "failure": loop.last_failure if loop else None,
        "waiting": WAITING,
        "leaks": loop.leaks if loop else [],
        "n_examined": len(loop.examined) if loop else 0,
        "n_open_alarms": len(now.monitoring.open_alarms(name)),
    }
    return Page(model, "model.html", data, {"loss": loss_chart(now, name)})


def version_page(now: Reading, model: str, version: int) -> Page:
    """Return one version and its lineage.

    Raises
    ------
    NotFound
        If there is no such version.
    """
    now.require_model(model)
    known = {line.version: line for line in version_lines(now, model)}
    if version not in known:
        names = [f"v{number}" for number in sorted(known)]
        raise not_one_of("version", f"{model} v{version}", names, "none has been trained")
    record = _record(now, model, version)
    data: dict[str, object] = {
        "model": model,
        "line": known[version],
        "lineage": _lineage(now, model, version) if record else None,
        "registered": record.registered if record else None,
        "judged": _judged(now.loops.task(model), record),
        "has_output": now.folder is not None and known[version].printed,
        "requirements": _requirements(now, model, version),
        "training": _training(now, model, version),
    }
    return Page(f"{model} v{version}", "version.html", data)


def _training(now: Reading, model: str, version: int) -> TrainedOn | None:
    """Return what a version was trained on, and what drifted since the version before; None where no profile
    of it is kept.
    """
    profile = None if now.folder is None else training_profile(now.folder, model, version)
    if now.folder is None or profile is None:
        return None
    found = read_training(profile)
    earlier = max((one for one in trained_versions(now.folder, model) if one < version), default=None)
    before = None if earlier is None else training_profile(now.folder, model, earlier)
    moved = () if before is None else profile_difference(before, profile).columns
    return TrainedOn(
        profile=found,
        tells={one.name: one.share for one in found.importances},
        before=earlier,
        drifted=tuple(one.name for one in moved if one.drifted),
    )


def _requirements(now: Reading, model: str, version: int) -> RequirementMatrix | None:
    declared, loop = now.loops.declared.get(model), now.loops.loops.get(model)
    if declared is None or not declared.requirements or loop is None or version not in loop.attempts:
        return None
    return matrix(now.loops, now.datasets, now.monitoring, model, version)


def output_page(now: Reading, model: str, version: int) -> Page:
    """Return what the training of a version printed; while it runs, the page loads itself again.

    Raises
    ------
    NotFound
        If there was no such training, or this console has no home to look in.
    """
    now.require_model(model)
    if now.folder is None:
        raise NotFound("output", f"{model} v{version}", hint="see varv logs")
    found = printed(now.folder, now.loops, model, version)
    data: dict[str, object] = {
        "model": model,
        "version": version,
        "text": found.text,
        "n_bytes": found.n_bytes,
        "running": found.running,
    }
    return Page(f"What {model} v{version} printed", "output.html", data)


def version_lines(now: Reading, model: str) -> list[VersionLine]:
    """Return every version of a model, the oldest first, registered or not."""
    loop, record = now.loops.loops.get(model), now.registry.models.get(model)
    attempts = loop.attempts if loop else {}
    registered = record.versions if record else {}
    rolled = {one.version for one in now.rollouts.of_model(ModelName(model))}
    return [
        _line(
            now.loops.task(model),
            version,
            attempts.get(version),
            registered.get(version),
            was_rolled_out=version in rolled,
        )
        for version in sorted({*attempts, *registered})
    ]


def _loss_title(loss: Loss | None) -> str:
    """Return what the champion's loss by day is called; empty where the task has none."""
    if loss is None:
        return ""
    unit = unit_text(loss)
    return f"{loss.label[:1].upper()}{loss.label[1:]} of the champion by day" + (f", {unit}" if unit else "")


def _validation(task: Task, metrics: Mapping[str, float | None]) -> str:
    """Return what held-out rows showed in words, as the task has it."""
    columns = validation_columns(task)
    return ", ".join(
        f"{label} {number(metrics[name], digits)}"
        for name, (label, digits) in columns.items()
        if name in metrics
    )


def _judged(task: Task, record: VersionRecord | None) -> tuple[str, ...]:
    """Return what each judged fit showed, in words."""
    fits = record.registered.judged_fits if record else ()
    return tuple(_validation(task, fit.metrics) for fit in fits)


def _line(
    task: Task, version: int, attempt: Attempt | None, record: VersionRecord | None, *, was_rolled_out: bool
) -> VersionLine:
    made = record.registered if record else None
    aliases = tuple(sorted(record.aliases)) if record else ()
    status = words.outcome(attempt.outcome) if attempt else Status("off", "Registered")
    if "champion" in aliases:
        status = Status("good", "Champion")
    elif record and record.was_champion and status.word == "Promoted":
        status = Status("off", "Was champion")
    return VersionLine(
        version=version,
        status=status,
        planted=(attempt.planted if attempt else "") or (made.planted if made else ""),
        aliases=aliases,
        trained_at=attempt.at if attempt else record.at if record else None,
        seq=attempt.seq if attempt else record.seq if record else None,
        triggers=attempt.triggers if attempt else (),
        gates=attempt.gates if attempt else (),
        reason=attempt.reason if attempt else "",
        detail=attempt.detail if attempt else "",
        ended_at=attempt.ended_at if attempt else None,
        n_rows=made.n_rows if made else None,
        n_validation=made.n_validation if made else None,
        metrics=dict(sorted(made.metrics.items())) if made else {},
        was_rolled_out=was_rolled_out,
        validation=_validation(task, made.metrics) if made else "",
        printed=attempt is not None and (attempt.output is not None or attempt.outcome == "training"),
    )


def _record(now: Reading, model: str, version: int) -> VersionRecord | None:
    record = now.registry.models.get(model)
    return record.versions.get(version) if record else None


def _lineage(now: Reading, model: str, version: int) -> Lineage:
    return lineage(now.registry, model, version)
