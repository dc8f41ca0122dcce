"""How the console speaks: numbers, times, statuses, and one sentence for each event.

Pure functions from values to text or escaped markup. A number is shown with its interval where it has one; a
status is a word and a mark, never a colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from varv.data.model import (
    BatchDropped,
    BatchQuarantined,
    BatchReleased,
    BatchReplaced,
    DatasetRegistered,
    DatasetVersionAppended,
    RepeatsDropped,
    RowsJoined,
)
from varv.kernel.clock import DAY, as_datetime, iso, spoken
from varv.kernel.codec import Event
from varv.kernel.sagas import CommandEnded, CommandFailed, TimerFired
from varv.loop.model import (
    CandidateRejected,
    FaultPlanted,
    GatesJudged,
    LeakFinding,
    LeakNoticed,
    LeaksExamined,
    PolicyChanged,
    RetrainTriggered,
    RowsMatured,
    TrainingSuspended,
    Trigger,
)
from varv.loop.replay import ReplayAdvanced
from varv.monitoring import AlarmCleared, AlarmRaised, DriftMeasured, OffsetAllowed, PerformanceMeasured
from varv.monitoring.model import CANDIDATE
from varv.registry import AliasMoved, VersionRegistered
from varv.rollout import (
    AnswersCounted,
    Evidence,
    EvidenceArrived,
    ProbationEnded,
    RollbackStarted,
    RolloutHeld,
    RolloutNeedsHuman,
    RolloutRolledBack,
    RolloutSettled,
    RolloutStarted,
    RolloutStepped,
    VersionPromoted,
)
from varv.rollout.judgement import ODD_SHIFT
from varv.rollout.model import Probation
from varv.serving.model import AnswersUncaptured, RequestsServed, RoutingChanged
from varv.training.gates import GateResult

MARKS = {"good": "●", "busy": "◐", "warn": "▲", "bad": "■", "off": "○"}
"""A shape for each kind of status, so that it does not hang on colour."""
LONGEST = 200
EARLIEST = 3660 * DAY
"""A whole number at least this large is an instant, of 1980 or later, and no count."""

_OUTCOMES = {
    "training": ("busy", "Training"),
    "rolling": ("busy", "Rolling out"),
    "promoted": ("good", "Promoted"),
    "rejected": ("bad", "Rejected"),
    "rolled back": ("bad", "Rolled back"),
    "": ("busy", "Under way"),
}


class Status(msgspec.Struct, frozen=True):
    """A word and the kind of mark beside it: ``good``, ``busy``, ``warn``, ``bad`` or ``off``."""

    kind: str
    word: str

    def __html__(self) -> str:
        return Markup('<span class="status {}"><span aria-hidden="true">{}</span> {}</span>').format(
            self.kind, MARKS[self.kind], self.word
        )


def outcome(word: str) -> Status:
    """Return the status of a candidate or a rollout by how it ended."""
    kind, shown = _OUTCOMES.get(word.replace("_", " "), ("off", word.capitalize()))
    return Status(kind, shown)


def share(value: float) -> str:
    """Return a share as per cent.

    Examples
    --------
    >>> share(0.05), share(0.123), share(1)
    ('5 %', '12.3 %', '100 %')
    """
    return f"{round(100 * value, 1):g} %"


def count(value: float | None) -> str:
    """Return a count with its thousands parted; a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of digits, so that columns line up.

    Examples
    --------
    >>> number(-0.01234), number(None), number(1234.5, 1)
    ('−0.012', '–', '1,234.5')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> Markup:
    """Return a number and its 95 % interval in brackets."""
    if value is None or low is None or high is None:
        return Markup.escape(number(value, digits))
    return Markup('{} <span class="ci">[{}, {}]</span>').format(
        number(value, digits), number(low, digits), number(high, digits)
    )


def when(at: int | None, form: str = "minute") -> Markup:
    """Return an instant as a `time` element in UTC; `form` is ``minute``, ``day`` or ``second``."""
    if at is None:
        return Markup("–")
    patterns = {"minute": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "second": "%Y-%m-%d %H:%M:%S"}
    return Markup('<time datetime="{}">{}</time>').format(iso(at), as_datetime(at).strftime(patterns[form]))


def month(at: int) -> str:
    """Return the month of an instant as people write it: ``Feb 2013``."""
    return f"{as_datetime(at):%b %Y}"


def span(microseconds: int | None) -> str:
    """Return how long something took, in its two greatest units.

    Examples
    --------
    >>> span(3 * DAY + 7 * 3_600_000_000 + 1)
    '3d7h'
    """
    if microseconds is None:
        return "–"
    unit = (
        3_600_000_000 if microseconds >= DAY else 60_000_000 if microseconds >= 3_600_000_000 else 1_000_000
    )
    return spoken(microseconds // unit * unit)


def segment(text: object) -> str:
    """Return `text` as one segment of a path."""
    return quote(str(text), safe="")


def facts(values: Mapping[str, object]) -> str:
    """Return names and values on one line, numbers to four digits that matter.

    Examples
    --------
    >>> facts({"cusum": 8.13333, "n": 5812.0, "subject": "auc", "low": None})
    'cusum 8.133, n 5,812, subject auc'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items() if value is not None
    )


def _value(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) >= 1:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def trigger(one: Trigger) -> str:
    """Return why a candidate was trained, with the numbers behind it."""
    known = numbers(one.evidence, one.subject)
    return f"{one.kind}{' ' + one.subject if one.subject else ''}" + (f": {known}" if known else "")


def numbers(seen: Mapping[str, float | None], subject: str = "") -> str:
    """Return the evidence of an alarm or a trigger in words, the numbers that decided first.

    Examples
    --------
    >>> numbers(
    ...     {"cusum": 4.4, "threshold": 4.2, "days": 5, "n": 460, "mean": 0.06, "low": 0.03, "high": 0.09},
    ...     "underestimated",
    ... )
    'outcomes 6.0 points above the scores [3.0, 9.0] over 5 days, n 460; CUSUM 4.40, alarm from 4.20'
    >>> numbers({"days_since_training": 45.0})
    'days since training 45'
    """
    if "cusum" in seen and seen.get("low") is not None:
        return _run(seen, subject)
    if "cusum" in seen:
        run = f"CUSUM {number(seen['cusum'], 2)} over {number(seen.get('threshold'), 2)}"
        reference = f"mean {number(seen.get('mean'))}, reference {number(seen.get('reference_mean'))}"
        return f"{run} in {count(seen.get('days'))} days; {reference}"
    if "growth" in seen and "trained_rows" in seen:
        more = f"{share(seen['growth'] or 0.0)} more outcomes than at the last training"
        return f"{more}, {count(seen.get('n_rows'))} after {count(seen['trained_rows'])}"
    return facts(seen)


def _run(seen: Mapping[str, float | None], subject: str) -> str:
    """Return what a run of days showed, with its interval and n, and by how much the chart is over."""
    mean, low, high = (seen.get(name) or 0.0 for name in ("mean", "low", "high"))
    if subject == "underestimated":
        limits = f"[{number(100 * low, 1)}, {number(100 * high, 1)}]"
        what = f"outcomes {number(100 * mean, 1)} points above the scores {limits}"
    elif subject == "overestimated":
        limits = f"[{number(-100 * high, 1)}, {number(-100 * low, 1)}]"
        what = f"outcomes {number(-100 * mean, 1)} points below the scores {limits}"
    elif subject == "excess_loss":
        what = f"{number(mean)} nats lost beyond what the scores promise [{number(low)}, {number(high)}]"
    else:
        usual = f", usual {number(seen.get('reference'))}"
        name = "AUC within days" if subject == "auc" else "mean"
        what = f"{name} {number(mean)} [{number(low)}, {number(high)}]{usual}"
    allowed = f", {number(seen['allowed'])} allowed" if seen.get("allowed") else ""
    over = f"over {count(seen.get('days'))} days, n {count(seen.get('n'))}{allowed}"
    return f"{what} {over}; CUSUM {number(seen['cusum'], 2)}, alarm from {number(seen.get('threshold'), 2)}"


def gate(result: GateResult) -> str:
    """Return what a gate asked and what the held-out rows answer, with the numbers."""
    seen = result.evidence
    n = f"n\u00a0{count(result.n or seen.get('n'))}"
    if result.answer:
        return f"{result.question} {result.answer} {n}".replace(" -", " −").replace("[-", "[−")
    if result.gate == "calibrated":
        return f"ECE {number(seen.get('ece'))}, at most {number(seen.get('max_ece'))}, {n}"
    if seen.get("gain") is None:
        return n
    low, high = number(seen.get("gain_low"), 4), number(seen.get("gain_high"), 4)
    compared = f"{number(seen.get('candidate'), 4)} against {number(seen.get('champion'), 4)}"
    return f"gain {number(seen.get('gain'), 4)} [{low}, {high}], {compared}, {n}"


def leak(found: LeakFinding) -> str:
    """Return what speaks for a leak, in a sentence."""
    return f"{found.subject} {found.kind}: {found.text}"


def evidence(seen: Evidence) -> str:
    """Return what a verdict rested on: what decided it first, then the rest.

    Harm is judged by what came at the present share, safety by all of the rollout.
    """
    harm = f"harm {seen.log_harm:.2f} of {seen.harm_at:.2f}"
    at = "in the shadow" if seen.share == 0.0 else f"at {share(seen.share)}"
    here = f"{at} {_limits(seen.step_difference, seen.step_low, seen.step_high)}"
    of_all = f"difference {_limits(seen.difference, seen.low, seen.high)}"
    n = f"n\u00a0{count(seen.n_labels)}"
    if seen.log_harm >= seen.harm_at:
        lost = f"{count(seen.n_missing)} requests without an answer"
        slow = f"evidence of slower answers {seen.log_harm_slow:.2f}"
        shown = {here: seen.log_harm_paired, lost: seen.log_harm_missing, slow: seen.log_harm_slow}
        first = max(shown, key=lambda text: shown[text])
        parts = [first, harm, f"all of it: {of_all}", n]
    elif seen.excess_at is not None and seen.excess > seen.excess_at:
        parts = [
            f"excess {number(seen.excess, 0)} nats, {number(seen.excess_at, 0)} allowed",
            *(of_all, harm, n),
        ]
    elif seen.shift > ODD_SHIFT:
        parts = [
            f"{here}, {number(seen.shift, 1)} standard deviations above what it was before",
            *(f"all of it: {of_all}", harm, n),
        ]
    else:
        parts = [of_all, f"safety {seen.log_safety:.2f} of {seen.safety_at:.2f}", harm, n]
    if seen.inflation is not None and seen.n_blocks:
        parts.append(f"{count(seen.n_blocks)} blocks, {number(seen.inflation, 1)} of them weigh as one")
    return ", ".join(parts).replace(" -", " −")


def probation(seen: Probation) -> str:
    """Return what a probation has shown, with nothing cut off."""
    difference = _limits(seen.difference, seen.low, seen.high)
    excess = f"excess {number(seen.excess, 0)} nats, {number(seen.excess_allowed, 0)} allowed"
    harm = f"harm {seen.log_harm:.2f} of {seen.harm_at:.2f}"
    return f"difference {difference}, {excess}, {harm}, n\u00a0{count(seen.n_labels)}".replace(" -", " −")


def _limits(value: float | None, low: float | None, high: float | None) -> str:
    return f"{number(value, 4)} [{number(low, 4)}, {number(high, 4)}]"


def said(event: Event) -> str:
    """Return one line on what an event states."""
    rooms = (_loop, _engine, _rollout, _measured, _stored, _left_out)
    text = next((line for room in rooms if (line := room(event))), "")
    if not text:
        text = facts(_flat(msgspec.to_builtins(event)))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _loop(event: Event) -> str:
    match event:
        case RetrainTriggered():
            return f"v{event.version} because of {'; '.join(map(trigger, event.triggers))}"
        case GatesJudged():
            verdicts = ", ".join(f"{one.gate} {one.verdict}" for one in event.results)
            return f"v{event.version} {'passed' if event.passed else 'failed'}" + (
                f": {verdicts}" if verdicts else ""
            )
        case CandidateRejected():
            return f"v{event.version} rejected: {event.reason}"
        case TrainingSuspended():
            waits = f"after {event.n_failures} equal failures training waits for a changed declaration"
            return f"{waits}: {event.reason}"
        case LeaksExamined():
            n = f"{len(event.features)} features examined for leaks"
            return f"{n}: " + ("; ".join(map(leak, event.findings)) or "nothing speaks for one")
        case LeakNoticed():
            return f"WARNING {leak(event.finding)}"
        case PolicyChanged():
            return f"follows declaration {event.declaration[:12]} from now on"
        case FaultPlanted():
            return f"PLANTED {event.plant.name}: reads {event.plant.column}, breaks {event.plant.breaks}"
        case RowsMatured():
            return f"{count(event.n_rows)} rows have their outcome"
    return ""


def _engine(event: Event) -> str:
    match event:
        case CommandEnded():
            return f"{event.command} is done, with nothing to report"
        case CommandFailed():
            return f"{event.command} failed after {event.attempts} attempts: {event.reason}"
        case TimerFired():
            return f"timer {event.key}, due {iso(event.due)}"
    return ""


def _rollout(event: Event) -> str:
    match event:
        case RolloutStarted():
            return f"{event.model} v{event.version} against {_version(event.champion)}"
        case RolloutStepped():
            return f"v{event.version} {share(event.from_share)} → {share(event.to_share)}: {event.because}"
        case RolloutHeld():
            return f"v{event.version} held: {event.reason}"
        case VersionPromoted():
            return f"v{event.version} promoted, was {_version(event.previous)}"
        case RollbackStarted() | RolloutRolledBack():
            return f"v{event.version} rolled back: {event.reason}"
        case RolloutSettled():
            ended = event.outcome.replace("_", " ")
            return f"v{event.version} {ended}" + (f": {event.reason}" if event.reason else "")
        case RolloutNeedsHuman():
            return f"v{event.version} needs a person: {event.command}, {event.reason}"
        case EvidenceArrived():
            of = f"{count(event.n_labels)} outcomes of {count(event.n_requests)} requests"
            return f"{of} through {iso(event.through)}"
        case AnswersCounted():
            units = f"{count(event.n_candidate)} units to the candidate, {count(event.n_champion)} not"
            return (
                f"{units}; {count(event.n_missing)} of {count(event.n_requests)} requests without its answer"
            )
        case ProbationEnded():
            ended = f"probation of v{event.version} {event.outcome}: {event.reason}"
            return f"{ended}; {probation(event.probation)}"
    return ""


def _measured(event: Event) -> str:
    match event:
        case PerformanceMeasured():
            limits = f"[{number(event.log_loss_low)}, {number(event.log_loss_high)}]"
            loss = f"log-loss {number(event.log_loss)} {limits}, n {count(event.n)}"
            role = " as candidate" if event.role == CANDIDATE else ""
            return f"v{event.version}{role} {as_datetime(event.window.start):%Y-%m-%d}: {loss}"
        case OffsetAllowed():
            off = f"{event.subject} by {number(event.allowed)} over {count(event.n_days)} days"
            return f"v{event.version} was off when it was approved: {off}; watched for more"
        case DriftMeasured():
            n_drifted = sum(one.drifted for one in event.features)
            n_harmful = sum(one.harmful for one in event.features)
            of = f"{n_drifted} of {len(event.features)} features"
            return f"{of} drifted, {n_harmful} harmful, n {count(event.n)}"
        case AlarmRaised():
            alarm = f"{event.severity} {event.kind} alarm on {event.subject} of v{event.version}"
            return f"{alarm}: {numbers(event.evidence, event.subject)}"
        case AlarmCleared():
            return f"{event.kind} alarm on {event.subject} of v{event.version} cleared: {event.reason}"
    return ""


def _stored(event: Event) -> str:
    match event:
        case DatasetVersionAppended():
            return f"{event.dataset} {event.part} {event.segment}: {count(event.n_rows)} rows"
        case DatasetRegistered():
            return f"{event.dataset}, {len(event.types)} columns, key {', '.join(event.key)}"
        case VersionRegistered():
            planted = f", PLANTED {event.planted}" if event.planted else ""
            return f"{event.model} v{event.version}, {count(event.n_rows)} rows{planted}"
        case AliasMoved():
            return f"{event.alias} of {event.model}: {_version(event.previous)} → {_version(event.version)}"
        case RoutingChanged():
            shares = ", ".join(f"v{part.version} {share(part.share)}" for part in event.table.shares)
            return f"epoch {event.table.epoch}: {shares}"
        case RequestsServed():
            return f"{count(event.n_requests)} requests of {event.segment}"
        case AnswersUncaptured():
            return f"{count(event.n_requests)} requests answered without capture: the disk was full"
        case ReplayAdvanced():
            return f"everything before {iso(event.through)} is in, {count(event.n_requests)} requests"
    return ""


def _left_out(event: Event) -> str:
    match event:
        case BatchQuarantined():
            broken = ", ".join(one.reason for one in event.report.violations)
            rows = "whole" if event.whole else f"{count(event.n_rows)} of {count(event.n_batch)} rows"
            return f"{event.dataset} {event.part} {event.segment}, {rows} put aside: {broken}"
        case RepeatsDropped():
            repeats = f"{count(event.n_equal)} equal, {count(event.n_different)} different"
            return f"{event.dataset} {event.part} {event.segment}: repeated keys dropped, {repeats}"
        case RowsJoined():
            early = f", {count(event.n_early)} of them too early" if event.n_early else ""
            return f"{event.dataset} {event.part}: {count(event.n_rows)} rows have their row now{early}"
        case BatchReleased() | BatchReplaced() | BatchDropped():
            return _out_of_quarantine(event)
    return ""


def _out_of_quarantine(event: BatchReleased | BatchReplaced | BatchDropped) -> str:
    rows = f"{count(len(event.rows))} rows" if event.rows else "all rows"
    act = {BatchReleased: "released", BatchReplaced: "replaced", BatchDropped: "given up"}[type(event)]
    why = f": {event.why}" if event.why else ""
    return f"{event.dataset} {event.part} {event.segment}, {rows} {act} by {event.by}{why}"


def _version(number_: int | None) -> str:
    return "none" if number_ is None else f"v{number_}"


def _flat(fields: object) -> dict[str, object]:
    """Return the fields of an event that fit on a line; nested ones are counted."""
    if not isinstance(fields, dict):
        return {}
    return {str(name): _brief(value) for name, value in fields.items() if value not in ("", None)}


def _brief(value: object) -> object:
    if isinstance(value, int) and value >= EARLIEST:
        return iso(value)
    return f"({len(value)})" if isinstance(value, Sized) and not isinstance(value, str) else value
