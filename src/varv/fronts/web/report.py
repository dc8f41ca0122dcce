"""The report of a finished replay: one HTML file that stands alone.

Style and pictures are inside the file, there is no script, and its content policy lets nothing be fetched. It
says what the comparison of the policies showed, by the loss and the metrics of the model's task, then tells
what the declared policy did: every version with its evidence, whether it was promoted, rejected, rolled back
or planted. There is one report for each model of a replay.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from markupsafe import Markup

from varv.fronts.web import words
from varv.fronts.web.charts import (
    Cell,
    Curve,
    Line,
    Point,
    Spot,
    heat_map,
    line_chart,
    plane_chart,
)
from varv.fronts.web.page import Reading, reading
from varv.fronts.web.pages.datasets import reasons_of
from varv.fronts.web.pages.models import VersionLine, version_lines
from varv.fronts.web.pages.monitors import daily, drift_map, loss_chart
from varv.fronts.web.pages.rollouts import RolloutLine, rollout_charts, rollout_lines
from varv.fronts.web.templating import asset, environment
from varv.fronts.web.words import Status
from varv.home.model import Comparison, Gain, PolicyScore
from varv.home.regret import BEST, Regret, price_text
from varv.home.wording import compared_digits, loss_of, metrics_shown, regret_notes, unit_text
from varv.kernel.blobs import write_atomically
from varv.kernel.clock import DAY, HOUR, Instant, as_datetime, instant
from varv.kernel.faults import Faults
from varv.kernel.ids import ModelName
from varv.kernel.views import Views
from varv.kernel.wording import count, number
from varv.monitoring import PerformanceMeasured
from varv.monitoring.summary import OF_ONE_DAY, Shown, columns_of, glossary, shown
from varv.tasks import Metric, task_of

STYLES = ("one", "two", "three", "four")
MOST_DAYS = 10
"""Days that are named as standing out."""
STRENGTHS = (0.5, 0.75, 0.9, 0.97)
"""Shares of all days below which a day is drawn in the first to the fourth strength."""


class Moment(msgspec.Struct, frozen=True):
    """One line of the timeline."""

    at: Instant
    status: Status
    subject: str
    text: str
    planted: str
    seq: int | None


class Candidate(msgspec.Struct, frozen=True):
    """One version with what it was judged on."""

    line: VersionLine
    rollouts: tuple[RolloutLine, ...]
    charts: tuple[dict[str, Markup], ...]


def write_report(comparison: Comparison, views: Views, path: Path) -> None:
    """Write the report of a finished replay to `path`, whole or not at all.

    Parameters
    ----------
    comparison
        The policies held against each other, the declared one first.
    views
        Read models of the declared policy's ledger.
    """
    with reading(views) as now:
        html = _render(comparison, now, standalone=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html.encode(), Faults())


def report_body(comparison: Comparison, views: Views) -> str:
    """Return what the report of a finished replay says, without the page around it."""
    with reading(views) as now:
        return _render(comparison, now, standalone=False)


class Measured(msgspec.Struct, frozen=True):
    """What the policies are compared by, as the report names it."""

    label: str
    """Of the loss, within a sentence."""
    title: str
    """Of the loss, at the head of a column."""
    unit: str
    digits: int
    metrics: tuple[Metric, ...]


def _render(comparison: Comparison, now: Reading, *, standalone: bool) -> str:
    name = comparison.model
    series = daily(now, name)
    declared = comparison.policies[0]
    matrix = now.monitoring.drift(name)
    measured = _measured(comparison)
    regret = None if comparison.regret is msgspec.UNSET else comparison.regret
    return (
        environment()
        .get_template("report.html")
        .render(
            standalone=standalone,
            style=Markup(asset("varv.css").decode()) if standalone else "",
            comparison=comparison,
            measured=measured,
            declared=declared,
            verdict=_verdict(declared),
            policies=comparison.policies,
            months=_months(comparison),
            charts={
                "months": Markup("") if measured is None else _month_chart(comparison, measured),
                "rates": _rate_chart(declared),
                "days": _calendar(series),
                "loss": loss_chart(now, name),
                "drift": drift_map(matrix),
                "frontier": Markup("") if regret is None else _frontier_chart(regret, measured),
            },
            regret=regret,
            regret_notes=[] if regret is None else regret_notes(regret),
            price_text=price_text,
            timeline=_timeline(now, name),
            candidates=_candidates(now, name),
            alarms=now.monitoring.alarms(name),
            offsets=now.monitoring.offsets(name),
            glossary=glossary(task_of(comparison.task)),
            of_one_day=OF_ONE_DAY,
            loss=_loss_label(series),
            outstanding=[(one, _of_loss(one)) for one in _outstanding(series)],
            reasons=reasons_of(now.datasets.arrivals.quarantine()),
            windows=matrix.windows,
        )
    )


def _measured(comparison: Comparison) -> Measured | None:
    """Return what the policies are compared by; None where there is no outcome to compare with."""
    loss = loss_of(comparison)
    if loss is None:
        return None
    title = loss.label[:1].upper() + loss.label[1:]
    return Measured(loss.label, title, unit_text(loss), compared_digits(loss), metrics_shown(comparison))


def _verdict(declared: PolicyScore) -> list[tuple[Status, Gain]]:
    """Return how the declared policy did against each other one; an interval with 0 shows no difference."""
    found = []
    for gain in declared.gains:
        status = Status("off", "No difference shown")
        if gain.low > 0:
            status = Status("good", "Better")
        elif gain.high < 0:
            status = Status("bad", "Worse")
        found.append((status, gain))
    return sorted(found, key=lambda one: one[1].over != "never")


def _middle(month: str) -> Instant:
    return Instant(instant(f"{month}-01") + 14 * DAY + 12 * HOUR)


def _month_chart(comparison: Comparison, measured: Measured) -> Markup:
    lines = []
    for policy, style in zip(comparison.policies, STYLES, strict=False):
        # Four bands on top of each other say nothing: one is drawn, the others' limits are in the table.
        own = style == "one"
        points = [
            Point(_middle(month.month), month.loss, month.low if own else None, month.high if own else None)
            for month in policy.months
        ]
        lines.append(Line(policy.name, points, style))
    return line_chart(
        f"{measured.title} by month and policy",
        lines,
        description=f"Mean {measured.label} of each calendar month for every policy; the table below has the "
        "numbers.",
        height=260,
    )


def _rate_chart(declared: PolicyScore) -> Markup:
    """Return how common the outcome is by month, of tasks whose outcome is 1 or 0."""
    points = [
        Point(_middle(one.month), one.base_rate) for one in declared.months if one.base_rate is not None
    ]
    if not points:
        return Markup("")
    return line_chart(
        "Outcome rate by month",
        [Line("rate", points, "one")],
        description="Share of requests of each month whose outcome was 1.",
        height=120,
        zero=True,
    )


def _frontier_chart(regret: Regret, measured: Measured | None) -> Markup:
    """Return trainings against loss: what each price leads to, and where the policies are."""
    label = "Loss" if measured is None else measured.title
    hindsight = [(float(row.n_best), row.loss_best) for row in regret.frontier][::-1]
    benefit = [(float(row.n_benefit), row.loss_benefit) for row in regret.frontier][::-1]
    spots = [
        Spot(one.name, one.at[1].n_trainings, one.at[1].loss)
        for one in regret.policies
        if one.name not in (BEST, "benefit")
    ]
    return plane_chart(
        f"{label} against trainings",
        [Curve("hindsight", hindsight, "one"), Curve("benefit", benefit, "two")],
        spots,
        description="Each point of a curve is a price of a training, the dearest on the left; the rings are "
        "policies at the declared price. The tables below have the numbers.",
    )


def _months(comparison: Comparison) -> list[dict[str, object]]:
    """Return the months as rows: what is true of all policies, and each policy's month in their order."""
    by_policy = [{month.month: month for month in policy.months} for policy in comparison.policies]
    return [
        {
            "at": instant(f"{month.month}-01"),
            "month": month,
            "cells": [one.get(month.month) for one in by_policy],
        }
        for month in comparison.policies[0].months
    ]


def _calendar(series: list[PerformanceMeasured]) -> Markup:
    """Return a month a row and a day a column; the darker, the higher the loss of that day."""
    known = {one.window.start: loss for one in series if (loss := _of_loss(one)) is not None}
    n = {one.window.start: one.n for one in series}
    ranked = sorted(loss.value for loss in known.values())
    if not ranked:
        return Markup("")
    limits = [ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in STRENGTHS]
    worst = {one.window.start for one in _outstanding(series)}
    rows: dict[str, list[Cell | None]] = {}
    for start, loss in known.items():
        row = rows.setdefault(words.month(start), list[Cell | None]([None] * 31))
        title = f"{as_datetime(start):%Y-%m-%d}: {number(loss.value, loss.digits)}, n {count(n[start])}"
        strength = sum(loss.value >= limit for limit in limits)
        row[as_datetime(start).day - 1] = Cell(strength, start in worst, title)
    columns = [str(day) if day == 1 or day % 5 == 0 else "" for day in range(1, 32)]
    return heat_map(
        f"{_loss_label(series)} of every day",
        list(rows.items()),
        columns,
        description=f"{len(known)} days; the darker the worse; a ring marks the {len(worst)} worst days.",
    )


def _outstanding(series: list[PerformanceMeasured]) -> list[PerformanceMeasured]:
    """Return the days with the highest loss, the worst first."""
    known = [(loss.value, one) for one in series if (loss := _of_loss(one)) is not None]
    return [one for _, one in sorted(known, key=lambda pair: -pair[0])[:MOST_DAYS]]


def _of_loss(one: PerformanceMeasured) -> Shown | None:
    """Return the default loss of a day; None where there is none."""
    task = task_of(one.task)
    return next((found for found in shown(task, one) if found.name == task.default_loss), None)


def _loss_label(series: list[PerformanceMeasured]) -> str:
    """Return what the loss of the days is called, at the beginning of a sentence."""
    label = columns_of(task_of(series[-1].task))[0].label if _outstanding(series) else "loss"
    return label[:1].upper() + label[1:]


def _timeline(now: Reading, name: ModelName) -> list[Moment]:
    found: list[Moment] = []
    for line in version_lines(now, name):
        why = "; ".join(trigger.line() for trigger in line.triggers)
        subject = f"v{line.version}"
        if line.trained_at is not None:
            found.append(
                Moment(line.trained_at, Status("busy", "Trained"), subject, why, line.planted, line.seq)
            )
        if line.ended_at is not None:
            ended = _ended(now, name, line)
            found.append(Moment(line.ended_at, ended, subject, line.reason, line.planted, None))
    for alarm in now.monitoring.alarms(name):
        raised = alarm.raised
        text = f"{raised.kind} of {raised.subject}: {raised.evidence_line()}"
        status = Status("bad" if raised.severity == "critical" else "warn", "Alarm")
        found.append(Moment(alarm.raised_at, status, f"v{raised.version}", text, "", alarm.seq))
    return sorted(found, key=lambda one: one.at)


def _ended(now: Reading, name: ModelName, line: VersionLine) -> Status:
    """Return how a version's candidacy ended, whatever became of it later."""
    loop = now.loops.loops.get(name)
    attempt = loop.attempts.get(line.version) if loop else None
    return words.outcome(attempt.outcome) if attempt else line.status


def _candidates(now: Reading, name: ModelName) -> list[Candidate]:
    shown = list(zip(rollout_lines(now, name), now.rollouts.of_model(name), strict=True))
    found = []
    for line in version_lines(now, name):
        own = [(rollout, record) for rollout, record in shown if rollout.version == line.version]
        rollouts = tuple(rollout for rollout, _ in own)
        found.append(Candidate(line, rollouts, tuple(rollout_charts(record) for _, record in own)))
    return found
