"""`varv review`: what waits for a person, what was decided, and deciding it."""

from __future__ import annotations

import argparse

import polars as pl

from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.telling import ask
from varv.app.settings import Loaded, Settings
from varv.home.review.verbs import (
    DecideRequest,
    DecisionRequest,
    Review,
    WaitingRequest,
    decide,
    state,
    waiting,
)
from varv.serving.scores import ROLES

MOST_SHOWN = 20
_LONGEST_CELL = 24
_BESIDE = {
    *("version", "arm", "share", "coin", "epoch", "champion", "candidate", "former"),
    *("champion_ms", "candidate_ms", "flagged", "logged_share", "group"),
}


def review(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv review`; return the exit status."""
    acts = {"list": _list, "show": _show, "decide": _decide}
    acts[options.act](options, loaded.settings)
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> None:
    with reading_home(settings) as desk:
        rows = waiting(desk.reviews, WaitingRequest(model=options.model)).rows
    answer(options, rows.to_dicts(), lambda: _list_blocks(rows))


def _list_blocks(rows: pl.DataFrame) -> list[Block]:
    if rows.is_empty():
        return [Line("nothing waits for a person")]
    shown = [name for name in rows.columns if name.partition(".")[0] not in {*_BESIDE, *ROLES}]
    first = rows[shown].head(MOST_SHOWN).rows()
    cells = [tuple(str(value)[:_LONGEST_CELL] for value in row) for row in first]
    more = rows.height - len(cells)
    return [
        Heading(f"{rows.height:,} wait for a person"),
        Grid(tuple(shown), cells),
        *([Line(f"and {more:,} later ones")] if more else []),
        Line("next: varv review decide MODEL KEY DECISION"),
    ]


def _show(options: argparse.Namespace, settings: Settings) -> None:
    with reading_home(settings) as desk:
        found = state(desk.reviews, DecisionRequest(model=options.model, key=options.key))
    answer(options, found, lambda: _review_blocks(found))


def _decide(options: argparse.Namespace, settings: Settings) -> None:
    asked = DecideRequest(
        model=options.model,
        key=options.key,
        decision=options.decision,
        by=options.by,
        note=options.note,
    )
    found = ask(settings, "review.decide", asked, Review, lambda desk, one: decide(desk.reviews, one))
    answer(options, found, lambda: _review_blocks(found))


def _review_blocks(found: Review) -> list[Block]:
    if found.state == "waiting":
        return [Line(f"{found.key} of {found.model} waits; it was answered {found.answered_by} meanwhile")]
    note = f": {found.note}" if found.note else ""
    return [Line(f"{found.key} of {found.model} is {found.decision}, by {found.by} at {found.at}{note}")]
