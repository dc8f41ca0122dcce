"""A candidate beside the champion: what its gates showed, with their intervals, and what it was made from.

Everything is on record already; nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from varv.home.wording import validation_columns
from varv.kernel.blobs import Blobs
from varv.kernel.clock import iso
from varv.kernel.errors import NotFound
from varv.kernel.views import Views
from varv.loop.views import Attempt, LoopRecord, LoopView
from varv.registry import DatasetUse, ModelRecord, RegistryView, VersionRecord, VersionRegistered
from varv.tasks import task_of
from varv.training.gates import GateResult

Standing = Literal["passed", "failed", "unjudged"]
_SIZES = ("rows", "held-out rows", "fitted until")


class JudgedGate(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate asked and showed; of the group that it looked at, of all rows if that is empty.

    ``champion`` and ``candidate`` are the number in question on the same held-out rows, ``gain`` how far the
    candidate's is better, with its 95 % interval; None where the gate compares nothing.
    """

    gate: str
    group: str = ""
    passed: bool
    verdict: str
    question: str
    answer: str
    n: int
    champion: float | None = None
    candidate: float | None = None
    gain: float | None = None
    interval: tuple[float, float] | None = None
    examples: tuple[str, ...] = ()


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Something that both versions have, in words or as a number."""

    name: str
    champion: str | float | None
    candidate: str | float | None
    digits: int = 3


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate beside the champion.

    ``candidate`` is None before the first training, ``champion`` before the first promotion. ``metrics`` are
    of the rows that each was held out from itself, so they are not compared row by row; gates are.
    """

    model: str
    standing: Standing
    candidate: int | None = None
    champion: int | None = None
    reason: str = ""
    """Why it was refused, or why nothing can be said."""
    triggers: tuple[str, ...] = ()
    gates: tuple[JudgedGate, ...] = ()
    metrics: tuple[Beside, ...] = ()
    data: tuple[Beside, ...] = ()
    package: tuple[Beside, ...] = ()
    leaks: tuple[str, ...] = ()


def candidate_reports(
    views: Views, blobs: Blobs, model: str = "", version: int | None = None
) -> tuple[CandidateReport, ...]:
    """Return what is known of the last candidate of every model, or of one model and version.

    Raises
    ------
    NotFound
        If there is no such model or version.
    """
    with views.reading(LoopView) as loops, views.reading(RegistryView) as registry:
        names = sorted(name for name in loops.loops if name not in loops.retired)
        if model and model not in names:
            raise NotFound("model", model, "has no loop here", hint=f"the models are {', '.join(names)}")
        return tuple(
            _report(loops.loops[name], registry.models.get(name), blobs, version)
            for name in ([model] if model else names)
        )


def _report(
    loop: LoopRecord, registered: ModelRecord | None, blobs: Blobs, version: int | None
) -> CandidateReport:
    if version is None and not loop.attempts:
        return CandidateReport(model=loop.model, standing="unjudged", reason="nothing was trained yet")
    number = max(loop.attempts) if version is None else version
    attempt = loop.attempts.get(number)
    if attempt is None:
        hint = f"the versions are {', '.join(f'v{one}' for one in loop.attempts)}"
        raise NotFound("version", f"{loop.model} v{number}", "was never a candidate", hint=hint)
    candidate = None if registered is None else registered.versions.get(number)
    champion = None if registered is None else _champion(registered, number)
    return CandidateReport(
        model=loop.model,
        standing=_standing(attempt),
        candidate=number,
        champion=None if champion is None else champion.registered.version,
        reason=_reason(attempt),
        triggers=tuple(trigger.line() for trigger in attempt.triggers),
        gates=tuple(_judged(result) for result in attempt.gates),
        metrics=tuple(_metrics(loop, champion, candidate)),
        data=tuple(_data(champion, candidate)),
        package=tuple(_package(blobs, champion, candidate)),
        leaks=tuple(leak.line() for leak in loop.leaks),
    )


def _champion(registered: ModelRecord, candidate: int) -> VersionRecord | None:
    """Return the version that the candidate was to replace: the champion, or the one before if it leads."""
    if (now := registered.champion) is not None and now.registered.version != candidate:
        return now
    before = [one for number, one in registered.versions.items() if number < candidate and one.was_champion]
    return before[-1] if before else None


def _standing(attempt: Attempt) -> Standing:
    if not attempt.gates:
        return "unjudged"
    return (
        "passed" if all(gate.passed for gate in attempt.gates) and attempt.outcome != "rejected" else "failed"
    )


def _reason(attempt: Attempt) -> str:
    if attempt.gates or attempt.reason:
        return attempt.reason
    return "its training goes on" if attempt.outcome == "training" else attempt.outcome


def _judged(result: GateResult) -> JudgedGate:
    name, _, group = result.gate.partition(", ")
    seen = result.evidence
    low, high = seen.get("gain_low"), seen.get("gain_high")
    interval = (low, high) if low is not None and high is not None else result.interval
    return JudgedGate(
        gate=name,
        group=group,
        passed=result.passed,
        verdict=result.verdict,
        question=result.question,
        answer=result.answer or result.line(),
        n=result.n or int(seen.get("n") or 0),
        champion=seen.get("champion"),
        candidate=seen.get("candidate"),
        gain=seen.get("gain"),
        interval=interval,
        examples=result.examples,
    )


def _metrics(
    loop: LoopRecord, champion: VersionRecord | None, candidate: VersionRecord | None
) -> Iterator[Beside]:
    for name, (label, digits) in validation_columns(task_of(loop.task)).items():
        pair = [None if one is None else one.registered.metrics.get(name) for one in (champion, candidate)]
        if pair != [None, None]:
            yield Beside(name=label, champion=pair[0], candidate=pair[1], digits=digits)


def _data(champion: VersionRecord | None, candidate: VersionRecord | None) -> Iterator[Beside]:
    def beside(name: str, champion: str | float | None, candidate: str | float | None) -> Beside:
        return Beside(name=name, champion=champion, candidate=candidate, digits=0)

    before, after = (None if one is None else one.registered for one in (champion, candidate))
    for name, champions, candidates in zip(_SIZES, _sizes(before), _sizes(after), strict=True):
        yield beside(name, champions, candidates)
    uses = [{use.dataset: use for use in one.datasets} if one else {} for one in (before, after)]
    for dataset in sorted({*uses[0], *uses[1]}):
        told = [
            f"v{use[dataset].version} {use[dataset].digest[:12]}" if dataset in use else None for use in uses
        ]
        yield beside(f"dataset {dataset}", *told)
    for name, changed in (("columns", "signature"), ("parameters", "params"), ("code", "code")):
        values = [None if one is None else _shown(getattr(one, changed)) for one in (before, after)]
        if values[0] != values[1]:
            yield beside(name, *values)


def _sizes(one: VersionRegistered | None) -> tuple[str | float | None, ...]:
    return (None,) * 3 if one is None else (one.n_rows, one.n_validation, iso(one.data_end))


def _used(use: DatasetUse | None) -> str | None:
    return None if use is None else f"v{use.version} {use.digest[:12]}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)}: {', '.join(map(str, value))}"
    if isinstance(value, dict):
        return ", ".join(f"{name}={found}" for name, found in sorted(value.items()))
    return str(value)[:12]


def _package(
    blobs: Blobs, champion: VersionRecord | None, candidate: VersionRecord | None
) -> Iterator[Beside]:
    sizes = []
    for one in (champion, candidate):
        known = one is not None and blobs.has(one.registered.package)
        sizes.append(blobs.path(one.registered.package).stat().st_size if known and one else None)
    if sizes != [None, None]:
        yield Beside(name="package, bytes", champion=sizes[0], candidate=sizes[1], digits=0)
