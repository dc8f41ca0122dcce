"""Regret as text: what each policy lost beyond the best schedule in hindsight, and the frontier to choose a
price from.
"""

from __future__ import annotations

from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.home.regret import Regret, price_text
from varv.home.wording import regret_notes
from varv.kernel.wording import count, number
from varv.tasks import Loss


def regret_blocks(found: Regret, loss: Loss) -> list[Block]:
    """Return what regret shows of a model."""
    return [*_policies(found, loss), *_frontier(found, loss)]


def _policies(found: Regret, loss: Loss) -> list[Block]:
    columns = (
        "policy",
        f"trainings at {price_text(found.prices[1])}",
        loss.label,
        *(f"regret at {price_text(price)}" for price in found.prices),
    )
    rows = [
        (
            one.name if one.lived else f"{one.name} *",
            f"{one.at[1].n_trainings:g}",
            number(one.at[1].loss, loss.digits + 1),
            *(number(each.regret, 2) for each in one.at),
        )
        for one in found.policies
    ]
    lucky = ("luck of hindsight", "", "", *(number(one, 2) for one in found.luck))
    return [
        Heading(f"regret per 1,000 of {count(found.n)} requests, at a third, once and three times the price"),
        Grid(columns, [*rows, lucky]),
        *(Line(note) for note in regret_notes(found)),
    ]


def _frontier(found: Regret, loss: Loss) -> list[Block]:
    columns = (
        "to sign",
        "a loss on 10,000 requests",
        "trainings, hindsight",
        loss.label,
        "trainings, benefit",
        loss.label,
    )
    rows = [
        (
            f"cost={price_text(row.price)}",
            f"{row.price / 10_000:.2g}",
            str(row.n_best),
            number(row.loss_best, loss.digits + 1),
            str(row.n_benefit),
            number(row.loss_benefit, loss.digits + 1),
        )
        for row in found.frontier
    ]
    sign = f'varv.Retrain(on=["benefit", "performance"], cost={price_text(found.prices[1])})'
    return [
        Heading("what a training may cost, and what that leads to"),
        Grid(columns, rows),
        Line(f"sign a row by pasting its cost, such as retrain={sign}"),
    ]
