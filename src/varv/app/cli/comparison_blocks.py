"""A comparison of policies as text: what each achieved by the task's loss and metrics, and what became of
rows.

`app.cli` shows it after a replay.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from varv.app.cli.regret_blocks import regret_blocks
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.search_blocks import search_blocks
from varv.home.model import Comparison, PartRows, PolicyScore
from varv.home.wording import compared_digits, loss_of, measure_text, metrics_shown, unit_text
from varv.kernel.wording import limits, number
from varv.tasks import Loss


def comparison_blocks(found: Comparison) -> list[Block]:
    """Return what a comparison shows."""
    loss = loss_of(found)
    return [
        *(Heading(f"WARNING: {warning}") for warning in found.warnings),
        *([Line("next: varv quarantine list; the table of rows below says why")] if found.warnings else []),
        *(Line(f"note: {notice}") for notice in found.notices),
        *(_answered(found) if loss is None else _compared(found, loss)),
        *([] if loss is None or found.regret is UNSET else regret_blocks(found.regret, loss)),
        *([] if loss is None or found.search is UNSET else search_blocks(found.search, loss)),
        *_leaks([one.line() for one in found.leaks]),
        *row_blocks(found.rows),
    ]


def _answered(found: Comparison) -> list[Block]:
    declared = found.policies[0]
    rows = [(score.name, *_spent(score)) for score in found.policies]
    return [
        Heading(f"policies, on {declared.n:,} requests answered; compute in rows times rounds"),
        Grid(("policy", *_SPENT), rows),
        Line(f"a {found.task.name} has no outcome, so nothing can be said of how good the answers were"),
    ]


def _compared(found: Comparison, loss: Loss) -> list[Block]:
    declared, digits = found.policies[0], compared_digits(loss)
    metrics = metrics_shown(found)
    within = any(score.auc_within_days is not None for score in found.policies)
    columns = (
        *("policy", f"{loss.label} [95 %]"),
        *(f"{metric.label} [95 %]" for metric in metrics),
        *(("AUC within days",) if within else ()),
        *_SPENT,
    )
    rows = [
        (
            score.name,
            limits(score.loss, score.loss_low, score.loss_high, digits),
            *(measure_text(score.metrics, metric) for metric in metrics),
            *((number(score.auc_within_days),) if within else ()),
            *_spent(score),
        )
        for score in found.policies
    ]
    measured = ", ".join(part for part in (loss.label, unit_text(loss)) if part)
    note = "AUC: all requests together; within days: requests of one day against each other, averaged"
    return [
        Heading(f"policies, on {declared.n:,} requests with an outcome; compute in rows times rounds"),
        Grid(columns, rows),
        *([Line(note)] if within else []),
        *_gains(declared, measured, digits),
    ]


def _gains(declared: PolicyScore, measured: str, digits: int) -> list[Block]:
    rows = [
        (
            f"than {gain.over}",
            f"{gain.difference:+.{digits}f} [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}]",
        )
        for gain in declared.gains
    ]
    return [Heading(f"{measured}: {declared.name} is lower by [95 %]"), Grid(("", ""), rows)] if rows else []


_SPENT = ("retrains", "alarms", "compute")


def _spent(score: PolicyScore) -> tuple[str, ...]:
    return str(score.n_retrains), str(score.n_alarms), f"{score.work / 1e6:,.1f} M"


def _leaks(leaks: Sequence[str]) -> list[Block]:
    if not leaks:
        return []
    return [Heading("these columns look as if they held what a request cannot know"), *map(Line, leaks)]


def row_blocks(rows: Sequence[PartRows]) -> list[Block]:
    """Return what became of rows as text; nothing where all of them were used."""
    if all(one.n_used == one.n_arrived and not one.n_before_contract for one in rows):
        return []
    columns = ("part", "arrived", "used", "repeat, equal", "other", "no row", "too early", "quarantined")
    cells = [
        (
            f"{one.dataset}/{one.part}",
            *(f"{n:,}" for n in (one.n_arrived, one.n_used, one.n_equal, one.n_different, one.n_waiting)),
            *(f"{n:,}" for n in (one.n_early, one.n_quarantined)),
        )
        for one in rows
    ]
    reasons = [
        Line(f"  {one.dataset}/{one.part}: {n:,} {reason}")
        for one in rows
        for reason, n in one.reasons.items()
    ]
    before = [
        Line(f"  {one.dataset}/{one.part}: {one.n_before_contract:,} used, of before the contract")
        for one in rows
        if one.n_before_contract
    ]
    return [Heading("rows that arrived, and what became of them"), Grid(columns, cells), *reasons, *before]
