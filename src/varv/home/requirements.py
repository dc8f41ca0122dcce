"""What is required of a model, held against what is on record of one version: a row for each requirement.

Read from the views alone; `loop.requirements` says what a proof shows, `project.requirement` what can be one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.data.views import DatasetsView
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.ids import ModelName, Version
from varv.kernel.views import Views
from varv.loop.proving import known_before_traffic
from varv.loop.requirements import BEFORE_TRAFFIC, MONITOR, ROLLOUT, Proof, Required, required_of
from varv.loop.views import Attempt, LoopRecord, LoopView
from varv.monitoring.views import MonitoringView

DRIFT = "drift"


class RequirementMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """What is required of a model, and what is proved of one version."""

    model: str
    version: int
    n_proved: int
    requirements: tuple[Required, ...]

    def markdown(self) -> str:
        """Return it as a table in Markdown, for a file of those who ask."""
        head = f"# Requirements of {self.model} v{self.version}\n\n"
        lines = [
            "| Requirement | Kind | State | Proof | Entry |",
            "| --- | --- | --- | --- | --- |",
        ]
        for one in self.requirements:
            named = f"**{_cell(one.id)}**{' (required)' if one.required else ''} {_cell(one.text)}"
            first = f"| {named} | {one.kind} | {one.state} |"
            proofs = one.proofs or (None,)
            for place, proof in enumerate(proofs):
                start = first if place == 0 else "| | | |"
                lines.append(f"{start} {_told(proof)} | {_entry(proof)} |")
        proved = f"\n{self.n_proved} of {len(self.requirements)} are proved.\n"
        return head + "\n".join(lines) + "\n" + proved


def _told(proof: Proof | None) -> str:
    if proof is None:
        return "nothing is declared to prove it"
    return f"{_cell(proof.reference)}: {proof.state}; {_cell(proof.why)}"


def _entry(proof: Proof | None) -> str:
    return "" if proof is None or proof.seq is None else str(proof.seq)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def requirements_of(views: Views, model: str, version: int | None = None) -> RequirementMatrix:
    """Return the matrix of one version: the champion, or the latest candidate where none serves.

    Raises
    ------
    NotFound
        If there is no such model or version.
    FailedPrecondition
        If nothing is required of the model, or it has no version.
    """
    with (
        views.reading(LoopView) as loops,
        views.reading(DatasetsView) as datasets,
        views.reading(MonitoringView) as monitoring,
    ):
        return matrix(loops, datasets, monitoring, model, version)


def matrix(
    loops: LoopView, datasets: DatasetsView, monitoring: MonitoringView, model: str, version: int | None
) -> RequirementMatrix:
    """Return what `requirements_of` does, from views that are being read."""
    record, declared = loops.loops.get(model), loops.declared.get(model)
    if record is None or declared is None:
        hint = f"the models are {', '.join(sorted(loops.declared)) or 'none'}"
        raise NotFound("model", model[:80], "is not declared", hint=hint)
    if not declared.requirements:
        hint = "declare it: varv.Model(..., requirements=[varv.Requirement(...)])"
        raise FailedPrecondition("model", model, "has nothing that is required of it", hint=hint)
    attempt = _attempt(record, monitoring, version)
    rows = tuple(
        required_of(spec, [_proof(one, record, attempt, datasets, monitoring, model) for one in spec.proofs])
        for spec in declared.requirements
    )
    n_proved = sum(one.state == "proved" for one in rows)
    return RequirementMatrix(model=model, version=attempt.version, n_proved=n_proved, requirements=rows)


def _attempt(record: LoopRecord, monitoring: MonitoringView, version: int | None) -> Attempt:
    if not record.attempts:
        hint = "wait for its first training"
        raise FailedPrecondition("model", record.model, "has no version", hint=hint)
    if version is None:
        watched = monitoring.watched(ModelName(record.model))
        version = watched if watched in record.attempts else max(record.attempts)
    if version not in record.attempts:
        hint = f"there are v{', v'.join(map(str, sorted(record.attempts)))}"
        raise NotFound("version", f"{record.model} v{version}", hint=hint)
    return record.attempts[version]


def _proof(
    reference: str,
    record: LoopRecord,
    attempt: Attempt,
    datasets: DatasetsView,
    monitoring: MonitoringView,
    model: str,
) -> Proof:
    if reference.startswith(BEFORE_TRAFFIC):
        return known_before_traffic(reference, record, datasets, attempt.gates, attempt.judged_in)
    if reference == ROLLOUT:
        return _of_rollout(record, attempt)
    return _of_monitor(reference, monitoring, ModelName(model), Version(attempt.version))


def _of_rollout(record: LoopRecord, attempt: Attempt) -> Proof:
    def told(state: str, why: str) -> Proof:
        found = {"reference": ROLLOUT, "state": state, "why": why, "seq": attempt.ended_in}
        return msgspec.convert(found, type=Proof)

    first = min((one.version for one in record.attempts.values() if one.outcome == "promoted"), default=None)
    if attempt.outcome == "promoted" and attempt.version == first:
        return told("not proved", "it was the first, and was promoted without a champion to compare with")
    return {
        "promoted": told("proved", "it was promoted after it answered beside the champion"),
        "rolled back": told("failed", attempt.reason or "it was rolled back"),
        "rejected": told("not proved", attempt.reason or "it never met traffic"),
    }.get(attempt.outcome, told("not yet", f"it is {attempt.outcome}"))


def _of_monitor(reference: str, monitoring: MonitoringView, model: ModelName, version: Version) -> Proof:
    kind = reference.removeprefix(MONITOR)
    alarms = [one for one in monitoring.alarms(model) if one.raised.version == version]
    ours = [one for one in alarms if one.raised.kind == kind]
    still = next((one for one in ours if one.cleared_at is None), None)
    if still is not None:
        return Proof(reference=reference, state="failed", why=still.raised.line(), seq=still.seq)
    measured = monitoring.drift_measured_in if kind == DRIFT else monitoring.measured_in
    seq = measured.get((model, version))
    if seq is None:
        return Proof(reference=reference, state="not yet", why="nothing has been measured while it served")
    why = "measured, and no alarm is open"
    return Proof(reference=reference, state="proved", why=why + _past(ours), seq=seq)


def _past(cleared: Sequence[object]) -> str:
    return f"; {len(cleared)} were raised and cleared" if cleared else ""
