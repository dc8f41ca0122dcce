"""`varv features`: how features were served, and how they do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.settings import Settings
from varv.features.skew import CLASSES, FeatureSkew
from varv.home.skew.health import FeatureHealth, HealthReport, HealthRequest, health
from varv.home.skew.reads import ShownReads
from varv.home.skew.verbs import CompareRequest, SkewReport, SkewRequest, compare_now, skew
from varv.kernel.clock import spoken
from varv.kernel.errors import InvalidInput
from varv.kernel.wording import count, number, percent


def skewed(options: argparse.Namespace, settings: Settings) -> None:
    """Show served values against the same values computed anew."""
    if bool(options.since) != bool(options.until):
        raise InvalidInput("window", options.since or options.until, "has one end", hint="give both")
    with reading_home(settings) as desk:
        if options.since:
            asked = CompareRequest(
                model=options.model, since=options.since, until=options.until, share=options.share
            )
            found = compare_now(desk.features, asked)
        else:
            found = skew(desk.features, SkewRequest(model=options.model, days=options.days))
    answer(options, found, lambda: _skew_blocks(found))


def _skew_blocks(found: SkewReport) -> list[Block]:
    rows = [_skew_cells(one, one.name in found.alarms) for one in found.features]
    left_out = [Line(f"not compared: {name}, which {why}") for name, why in found.left_out.items()]
    requests = f"{count(found.n_compared)} requests compared, {found.since[:16]} to {found.until[:16]}"
    if not rows:
        nothing = "nothing was compared; varv up compares each hour an hour after its end"
        return [Heading(f"{found.model}: {requests}"), Line(nothing), *left_out]
    names = ("feature", "values", *CLASSES, "wrong, 95 %", "in time", "")
    return [Heading(f"{found.model}: {requests}"), Grid(names, rows), *left_out]


def _skew_cells(one: FeatureSkew, alarmed: bool) -> tuple[str, ...]:
    n = max(one.n, 1)
    shares = [percent(of / n) if of else "" for of in one.by_class().values()]
    wrong = "" if not one.n else "[{}, {}]".format(*map(percent, one.interval_wrong()))
    in_time = "" if one.fresh is None else f"{percent(one.in_time / n)} within {spoken(one.fresh)}"
    told = "; ".join(text for text in ("alarm" if alarmed else "", one.why()) if text)
    return one.name, count(one.n), *shares, wrong, in_time, told


def reads_blocks(reads: Sequence[ShownReads]) -> list[Block]:
    """Return how fresh views were when they were read."""
    if not reads:
        return []
    rows = [(one.view, count(one.n), f"{percent(one.share)} within {one.fresh}") for one in reads]
    return [Heading("\nreads of features, last 7 days"), Grid(("view", "reads", "fresh"), rows)]


def shown(options: argparse.Namespace, settings: Settings) -> None:
    """Show how each feature does."""
    with reading_home(settings) as desk:
        found = health(desk.features, HealthRequest(model=options.model))
    answer(options, found, lambda: _health_blocks(found))


def _health_blocks(found: HealthReport) -> list[Block]:
    names = ("feature", "source", "newest row", "missing", "before", "drift", "correlation", "skew")
    rows = [_health_cells(one) for one in found.features]
    head = f"{found.model}: {count(found.n_requests)} requests of the last week looked at"
    return [Heading(head), Grid(names, rows), *reads_blocks(found.reads)]


def _health_cells(one: FeatureHealth) -> tuple[str, ...]:
    change, drift = one.correlation, one.drift
    state = "" if drift is None else "harmful" if drift.harmful else "drifted" if drift.drifted else "steady"
    return (
        one.name,
        one.source,
        f"{one.age} ago" if one.age else "",
        "" if one.missing is None else percent(one.missing),
        "" if one.missing_before is None else percent(one.missing_before),
        "" if drift is None else f"{state}, PSI {number(drift.psi, 2)}",
        ""
        if change is None
        else f"{change.feature}: {number(change.before, 2)} -> {number(change.after, 2)}",
        "" if one.skew is None else one.skew.said(),
    )
