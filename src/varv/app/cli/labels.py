"""`varv labels`: the queue of requests that people label, labels themselves, and what they say together."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

import msgspec

from varv.app.cli.access import answer, reading_home
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.telling import ask
from varv.app.settings import Loaded, Settings
from varv.home.labelling import estimating, looking, verbs
from varv.home.labelling.desk import Labelling
from varv.kernel.wording import count, number, percent

MOST_SHOWN = 20
Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")


def labels(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv labels`; return the exit status."""
    acts = {
        "ls": _list,
        "take": _take,
        "give": _give,
        "return": _return,
        "agreement": _agreement,
        "errors": _errors,
        "estimate": _estimate,
        "exposure": _exposure,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _read(settings: Settings, act: Callable[[Labelling, Q], R], asked: Q) -> R:
    with reading_home(settings) as desk:
        return act(desk.labelling, asked)


def _list(options: argparse.Namespace, settings: Settings) -> None:
    found = _read(settings, verbs.queue, verbs.QueueRequest(model=options.model))
    answer(options, found, lambda: _queue_blocks(found))


def _queue_blocks(found: verbs.Queue) -> list[Block]:
    rows = [
        (one.key, one.requested_at[:16], one.cause, one.part or "-", percent(one.probability), one.state)
        for one in found.items[:MOST_SHOWN]
    ]
    states = (
        f"{count(found.n_open)} open, {count(found.n_leased)} with somebody, {count(found.n_labelled)} "
        f"labelled, {count(found.n_no_outcome)} without an outcome"
    )
    return [
        Heading(f"{found.model}: {states}"),
        Grid(("request", "made", "why", "slice", "chance", "state"), rows),
        Line(found.policy),
        *([Line(f"too little is explored: {found.alarm}")] if found.alarm else []),
        Line(f"next: varv labels take {found.model} --by NAME"),
    ]


def _take(options: argparse.Namespace, settings: Settings) -> None:
    asked = verbs.TakeRequest(model=options.model, by=options.by, n=options.n)
    found = ask(
        settings, "labels.take", asked, verbs.Questions, lambda desk, one: verbs.take(desk.labelling, one)
    )
    answer(options, found, lambda: _question_blocks(found, options.by))


def _question_blocks(found: verbs.Questions, by: str) -> list[Block]:
    if not found.questions:
        return [Line(f"there is nothing for {by} at present")]
    blocks: list[Block] = []
    for one in found.questions:
        blocks.append(Heading(f"{one.key}, made {one.requested_at[:16]}, yours until {one.until[:16]}"))
        blocks.append(Grid(("feature", "value"), list(one.features.items())))
    first = found.questions[0]
    value = "|".join(first.options[:9]) or first.asked.upper()
    return [*blocks, Line(f"next: varv labels give {first.model} KEY {value} --by {by}")]


def _give(options: argparse.Namespace, settings: Settings) -> None:
    asked = verbs.GiveRequest(
        model=options.model,
        key=options.key,
        by=options.by,
        value=options.value,
        no_outcome=options.no_outcome,
        note=options.note,
    )
    found = ask(
        settings, "labels.give", asked, verbs.LabelTaken, lambda desk, one: verbs.give(desk.labelling, one)
    )

    def blocks() -> list[Block]:
        after = "settled" if found.settled else f"{count(found.n_needed)} more to label it"
        return [Line(f"{found.key} of {found.model} is {found.said}: {after}")]

    answer(options, found, blocks)


def _return(options: argparse.Namespace, settings: Settings) -> None:
    asked = verbs.ReturnRequest(model=options.model, key=options.key, by=options.by, note=options.note)
    found = ask(
        settings, "labels.return", asked, verbs.Queue, lambda desk, one: verbs.give_back(desk.labelling, one)
    )
    answer(options, found, lambda: _queue_blocks(found))


def _agreement(options: argparse.Namespace, settings: Settings) -> None:
    found = _read(settings, looking.agreement, verbs.QueueRequest(model=options.model))
    answer(options, found, lambda: _agreement_blocks(found))


def _agreement_blocks(found: looking.Agreement) -> list[Block]:
    rows = [
        (
            one.first,
            one.second,
            one.part or "all",
            count(one.n),
            percent(one.n_equal / one.n),
            "-" if one.kappa is None else number(one.kappa, 2),
            f"{number(one.low, 2)} to {number(one.high, 2)}",
        )
        for one in found.pairs
    ]
    return [
        Heading(f"{count(found.n_twice)} requests labelled more than once, known at {found.known_at[:16]}"),
        Grid(("labeller", "labeller", "slice", "both", "equal", "kappa", "95 %"), rows),
    ]


def _errors(options: argparse.Namespace, settings: Settings) -> None:
    asked = looking.ErrorsRequest(model=options.model, days=options.days, limit=options.limit)
    found = _read(settings, looking.errors, asked)
    answer(options, found, lambda: _error_blocks(found))


def _error_blocks(found: looking.LabelErrors) -> list[Block]:
    sources = [
        (one.source, count(one.n), count(one.n_suspect), f"{percent(one.low)} to {percent(one.high)}")
        for one in found.by_source
    ]
    rows = [
        (
            one.key,
            one.requested_at[:16],
            one.label,
            one.likelier,
            number(one.margin, 2),
            ", ".join(one.sources),
        )
        for one in found.suspects
    ]
    return [
        Heading(
            f"{count(found.n_suspect)} of {count(found.n)} labels are probably wrong, known at "
            f"{found.known_at[:16]}; nothing was changed"
        ),
        Grid(("source", "labels", "suspect", "95 %"), sources),
        Grid(("request", "made", "label", "likelier", "margin", "from"), rows),
    ]


def _estimate(options: argparse.Namespace, settings: Settings) -> None:
    found = _read(
        settings, estimating.estimate, estimating.LabelsRequest(model=options.model, days=options.days)
    )
    answer(options, found, lambda: _estimate_blocks(found))


def _estimate_blocks(found: estimating.LossEstimate) -> list[Block]:
    if found.value is None:
        return [Line(f"nothing of {found.model} is labelled so far")]
    limits = "" if found.low is None else f", {number(found.low, 4)} to {number(found.high, 4)}"
    sources = [
        (one.source, count(one.n), number(one.weight, 1), number(one.loss, 4)) for one in found.by_source
    ]
    return [
        Heading(f"{found.loss} on all requests: {number(found.value, 4)}{limits}"),
        Line(
            f"from {count(found.n)} of {count(found.n_requests)} requests, which say as much as "
            f"{number(found.effective_n, 0)} drawn ones and stand for {percent(found.covered)}"
        ),
        Line(f"without their chances it were {number(found.plain, 4)}; known at {found.known_at[:16]}"),
        Grid(("feedback", "outcomes", "weight", found.loss), sources),
    ]


def _exposure(options: argparse.Namespace, settings: Settings) -> None:
    found = _read(
        settings, estimating.exposure, estimating.LabelsRequest(model=options.model, days=options.days)
    )
    answer(options, found, lambda: _exposure_blocks(found))


def _exposure_blocks(found: estimating.Exposure) -> list[Block]:
    rows = [
        (
            f"v{one.version}",
            count(one.n),
            count(one.n_known),
            count(one.n_no_outcome),
            number(one.effective_n, 0),
            number(one.loss, 4),
        )
        for one in found.versions
    ]
    declared = f", {percent(found.declared)} declared" if found.declared else ""
    explored = "-" if found.explored is None else percent(found.explored)
    return [
        Heading(
            f"{explored} of {count(found.n)} requests explored{declared}; {count(found.n_known)} outcomes, "
            f"{count(found.n_no_outcome)} without, known at {found.known_at[:16]}"
        ),
        *([Line(f"too little is explored: {found.alarm}")] if found.alarm else []),
        Grid(("version", "answered", "known", "no outcome", "say as much as", "loss"), rows),
    ]
