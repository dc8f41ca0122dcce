"""Rollouts: the ladder that each climbed, its evidence against the thresholds, and every verdict."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from markupsafe import Markup

from varv.fronts.web.charts import Level, Line, Mark, Point, Rung, line_chart, step_ladder
from varv.fronts.web.page import Page, Reading, not_one_of, whole_number
from varv.fronts.web.pages.overview import rollout_status
from varv.fronts.web.words import Status
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.ids import ModelName
from varv.kernel.wording import percent
from varv.rollout import Evidence, Guard
from varv.rollout.guards import relative_limit
from varv.rollout.views import RolloutRecord


class RolloutLine(msgspec.Struct, frozen=True):
    """One rollout in a line: who against whom, how far it came, and the last evidence."""

    model: str
    version: int
    champion: int | None
    turn: int
    status: Status
    planted: str
    started_at: Instant
    settled_at: Instant | None
    share: float
    reason: str
    evidence: Evidence | None


def rollouts_page(now: Reading, query: Mapping[str, str]) -> Page:
    """Return every rollout, the newest first."""
    lines = [line for name in now.models() for line in rollout_lines(now, name)]
    return Page("Rollouts", "rollouts.html", {"rollouts": sorted(lines, key=lambda line: -line.started_at)})


def rollout_lines(now: Reading, model: str) -> list[RolloutLine]:
    """Return the rollouts of one model, the oldest first."""
    turns: dict[int, int] = {}
    lines = []
    for record in now.rollouts.of_model(ModelName(model)):
        turns[record.version] = turns.get(record.version, 0) + 1
        lines.append(_line(now, record, turns[record.version]))
    return lines


def rollout_page(now: Reading, model: str, version: int, query: Mapping[str, str]) -> Page:
    """Return one rollout; ``?turn=1`` is the first one of a version that was rolled out more than once.

    Raises
    ------
    NotFound
        If there is no such rollout.
    """
    now.require_model(model)
    records = now.rollouts.of_model(ModelName(model))
    turns = [record for record in records if record.version == version]
    if not turns:
        known = sorted({record.version for record in records})
        names = [f"those of v{number}" for number in known]
        raise not_one_of("rollout", f"{model} v{version}", names, "nothing has been rolled out")
    turn = whole_number(query, "turn", len(turns))
    if not 1 <= turn <= len(turns):
        raise not_one_of("turn", turn, [f"turns 1 to {len(turns)}"], "")
    record = turns[turn - 1]
    data: dict[str, object] = {
        "rollout": _line(now, record, turn),
        "n_turns": len(turns),
        "plan": record.plan,
        "phase": record.phase,
        "held": record.held,
        "ladder": record.ladder,
        "series": record.series,
        "log": record.log[::-1],
        "former": record.former,
        "probation": record.probation,
        "guards": record.plan.guarded,
        "limits": {guard.name: _limit(guard) for guard in record.plan.guarded},
        "probation_until": None if record.settled_at is None else record.settled_at + record.plan.probation,
    }
    return Page(f"Rollout of {model} v{version}", "rollout.html", data, rollout_charts(record))


def rollout_charts(record: RolloutRecord) -> dict[str, Markup]:
    """Return the ladder of a rollout, the paired difference by each guard, and its e-values; where no outcome
    ever comes, how far its scores moved.
    """
    name = f"v{record.version} against v{record.champion}"
    marks = [
        Mark(rung.ordered_at, percent(rung.share).replace(" ", ""), "note")
        for rung in record.ladder
        if rung.share
    ]
    differences = {
        f"difference {n}" if n else "difference": _difference(record, guard, name, marks)
        for n, guard in enumerate(record.plan.guarded)
    }
    moved = {} if record.plan.has_outcome else {"moved": _moved(record, name, marks)}
    return {
        "ladder": step_ladder(f"Steps of v{record.version}", _rungs(record)),
        **differences,
        **moved,
        "evidence": _evidence(record, name, marks),
    }


def _limit(guard: Guard) -> str:
    """Return the margin of a guard in its unit, and what it was declared as."""
    declared = relative_limit(guard)
    return f"{guard.limit} ({declared})" if declared else guard.limit


def _difference(record: RolloutRecord, guard: Guard, name: str, marks: list[Mark]) -> Markup:
    by_guard = [
        (one.at, shown)
        for one in record.series
        for shown in one.evidence.guards
        if shown.guard.name == guard.name
    ]
    points = [Point(Instant(at), shown.difference, shown.low, shown.high) for at, shown in by_guard]
    said = record.series[-1].evidence.line() if record.series else "no evidence yet"
    interval = f"Mean paired difference in {guard.title}, 95 % confidence sequence; at the end: {said}."
    return line_chart(
        f"{guard.title[:1].upper()}{guard.title[1:]} of {name}, difference",
        [Line(f"v{record.version}", points, "two")],
        description=interval,
        levels=[Level(0.0, "no difference"), Level(guard.margin, f"margin {guard.margin:g}")],
        marks=marks,
    )


def _moved(record: RolloutRecord, name: str, marks: list[Mark]) -> Markup:
    limit = record.plan.score_shift or 0.0
    points = [
        Point(Instant(one.at), one.evidence.moved.shift, one.evidence.moved.low, one.evidence.moved.high)
        for one in record.series
        if one.evidence.moved is not None and one.evidence.moved.n_hours > 1
    ]
    return line_chart(
        f"Scores of {name}, shift",
        [Line(f"v{record.version}", points, "two")],
        description="Mean difference of scores in standard deviations of the champion's, 95 % confidence "
        "sequence, at each share by itself.",
        levels=[
            Level(0.0, "not moved"),
            Level(limit, f"limit {limit:g}"),
            Level(-limit, f"limit −{limit:g}"),
        ],
        marks=marks,
    )


def _evidence(record: RolloutRecord, name: str, marks: list[Mark]) -> Markup:
    harm = [Point(one.at, one.evidence.log_harm) for one in record.series]
    # All guards must be proven, so the one that is proven least says how far it is.
    safety = [
        Point(one.at, min((shown.log_safety for shown in one.evidence.guards), default=None))
        for one in record.series
    ]
    levels: list[Level] = []
    if record.series:
        last = record.series[-1].evidence
        same = abs(last.harm_at - last.safety_at) < 1e-9
        same = same or not record.plan.has_outcome
        levels = [Level(last.harm_at, "verdict" if same else "roll back at")]
        levels += [] if same else [Level(last.safety_at, "proven at")]
    return line_chart(
        f"Evidence of {name}, log e-values",
        [Line("harm", harm, "three"), Line("safety", safety, "four")],
        description="Natural logarithms of the e-values for harm and for safety, with their thresholds.",
        levels=levels,
        marks=marks,
    )


def _rungs(record: RolloutRecord) -> list[Rung]:
    reached = {rung.share: rung for rung in record.ladder}
    planned = [1.0] if record.plan.immediate else [0.0, *record.plan.shares, 1.0]
    rungs = []
    for share in planned:
        hit = reached.get(share)
        now = hit is not None and not record.outcome and share == record.share
        label = "Shadow" if share == 0.0 else percent(share)
        note = f"{as_datetime(hit.ordered_at):%d %b %H:%M}" if hit else ""
        rungs.append(Rung(label, share, "now" if now else "done" if hit else "open", note))
    return rungs


def _line(now: Reading, record: RolloutRecord, turn: int) -> RolloutLine:
    loop = now.loops.loops.get(record.model)
    attempt = loop.attempts.get(record.version) if loop else None
    judged = [line.evidence for line in record.log if line.evidence is not None]
    weighed = [one.evidence for one in record.series]
    return RolloutLine(
        model=record.model,
        version=record.version,
        champion=record.champion,
        turn=turn,
        status=rollout_status(record),
        planted=attempt.planted if attempt else "",
        started_at=record.started_at,
        settled_at=record.settled_at,
        share=max((rung.share for rung in record.ladder), default=0.0),
        reason=record.reason or record.held,
        evidence=(judged or weighed or [None])[-1],
    )
