"""`varv status`: the state of every model and dataset, as text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from varv.app.cli.access import answer
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.cli.served_features import reads_blocks
from varv.app.client.opening import reading
from varv.app.settings import Loaded
from varv.home.model_status import ModelStatus, QualityStatus
from varv.home.skew.model import OF_FEATURES
from varv.home.status import StatusReport
from varv.home.wording import validation_columns
from varv.kernel.clock import SECOND, spoken
from varv.kernel.wording import number
from varv.serving.model import otherwise_in_words
from varv.tasks import task_of


def status(options: argparse.Namespace, loaded: Loaded) -> int:
    """Show the state of models and datasets."""
    with reading(loaded.settings.home) as home:
        found = home.status(options.model).value
    answer(options, found, lambda: _status_blocks(found))
    return 0


def _status_blocks(found: StatusReport) -> list[Block]:
    blocks: list[Block] = [Line(f"server   {found.state}"), Line(f"ledger   {found.n_entries:,} entries")]
    if found.replayed_through is not None:
        ended = "finished" if found.replay_finished else "unfinished"
        blocks.append(Line(f"replay   through {found.replayed_through}, {ended}"))
    if found.next_timer is not None:
        blocks.append(
            Line(f"next     {found.next_timer.key} of {found.next_timer.saga} at {found.next_timer.due}")
        )
    blocks += [
        Line(f"change   {one.number} {one.progress}, since {one.since}")
        for one in found.changes
        if one.phase in ("planned", "preparing")
    ]
    if len(found.models) > 1:
        blocks += _models_blocks(found.models)
    for model in found.models if len(found.models) == 1 else ():
        blocks += _model_blocks(model)
    blocks += _data_blocks(found)
    blocks += _pull_blocks(found)
    blocks += reads_blocks(found.reads)
    blocks += _alarm_blocks(found)
    return (
        blocks
        if found.models
        else [*blocks, Line("no model yet; the first is trained by varv up or varv replay")]
    )


def _data_blocks(found: StatusReport) -> list[Block]:
    if not found.data:
        return []
    columns = ("part", "rows", "repeat, equal", "other", "no row yet", "too early", "quarantined", "given up")
    cells = [
        (
            f"{one.dataset}/{one.part}",
            *(f"{n:,}" for n in (one.n_rows, one.n_equal, one.n_different, one.n_waiting, one.n_early)),
            *(f"{n:,}" for n in (one.n_quarantined, one.n_discarded)),
        )
        for one in found.data
    ]
    held = sum(one.n_quarantined for one in found.data)
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in found.quarantined.items())
    more = [Line(f"  {held:,} rows in quarantine: {reasons}; see varv quarantine list")] if held else []
    return [Heading("\ndata"), Grid(columns, cells), *more]


def _pull_blocks(found: StatusReport) -> list[Block]:
    if not found.pulls:
        return []
    columns = ("dataset", "pulled", "ago", "new rows", "from")
    cells = [
        (
            one.dataset,
            one.done_at[:16] or "never",
            "–" if one.age_s is None else spoken(round(one.age_s) * SECOND),
            f"{one.n_rows:,}",
            one.source,
        )
        for one in found.pulls
    ]
    return [Heading("\nsources"), Grid(columns, cells)]


def _alarm_blocks(found: StatusReport) -> list[Block]:
    lines = [
        line
        for one in found.alarms
        for line in (
            Line(f"  {one.what}, since {one.since[:16]}: {one.why}"),
            Line(f"    {one.next_step}"),
        )
    ]
    return [Heading("\nalarms of data, features and labels"), *lines] if lines else []


def _models_blocks(models: Sequence[ModelStatus]) -> list[Block]:
    """Return a line for each of several models."""
    columns = ("model", "task", "loop", "champion", "traffic", "rollout", "alarms", "requests", "outcomes")
    cells = [
        (
            one.model,
            one.task.name,
            f"{one.phase}, suspended" if one.suspended else one.phase,
            "none" if one.champion is None else f"v{one.champion}",
            _shares(one),
            "none" if one.rollout is None else f"v{one.rollout.version} {one.rollout.phase}",
            str(len(one.alarms)) if one.alarms else "none",
            f"{one.n_requests:,}",
            f"{one.n_labelled:,}" if task_of(one.task).has_outcome else "–",
        )
        for one in models
    ]
    more = Line("everything about one of them: varv status MODEL")
    return [Heading("\nmodels"), Grid(columns, cells), more]


def _shares(model: ModelStatus) -> str:
    return ", ".join(f"v{one.version} {one.share:.0%}" for one in model.shares) or "none"


def _model_blocks(model: ModelStatus) -> list[Block]:
    champion = "none" if model.champion is None else f"v{model.champion}"
    shares = _shares(model)
    shadows = ", ".join(f"v{number}" for number in model.shadows)
    outcomes = f"{model.n_labelled:,} outcomes" if task_of(model.task).has_outcome else "no outcome"
    counts = f"{model.n_requests:,} requests, {outcomes}, {model.n_retrains} retrains"
    blocks: list[Block] = [
        Heading(f"\n{model.model}"),
        Line(f"  champion {champion}, loop {model.phase}, epoch {model.epoch}, {counts}"),
        Line(f"  traffic  {shares}" + (f", shadows {shadows}" if shadows else "")),
    ]
    if model.rollout is not None:
        one = model.rollout
        held = f", held: {one.held}" if one.held else ""
        blocks.append(
            Line(f"  rollout  v{one.version} {one.phase} at {one.share:.0%} since {one.since}{held}")
        )
    if model.n_uncaptured:
        blocks.append(Line(f"  missing  {model.n_uncaptured:,} answers not captured: the disk was full"))
    if otherwise := otherwise_in_words(model.n_otherwise):
        told = ", ".join(f"{n:,} {words}" for words, n in otherwise)
        blocks.append(Line(f"  instead  not answered by the version whose turn it was: {told}"))
    if model.waiting:
        blocks.append(Line(f"  waiting  {', '.join(model.waiting)}"))
    if model.suspended:
        blocks.append(Line(f"  training {model.suspended}"))
    blocks += [Line(f"  leak?    {one}") for one in model.leaks]
    if model.failure:
        blocks += [Line(f"  failed   {model.failure}".replace("\n", "\n           "))]
    if model.quality is not None:
        blocks.append(Line(_quality_line(model.quality)))
    alarms = [
        f"  alarm    {one.severity} {one.kind} {one.subject} since {one.since}, entry {one.seq}"
        for one in model.alarms
        if one.kind not in OF_FEATURES
    ]
    blocks += [Line(text) for text in alarms] or [Line("  alarms   none open on quality or drift")]
    return [*blocks, _version_grid(model)]


def _version_grid(model: ModelStatus) -> Grid:
    measured = validation_columns(task_of(model.task))
    rows = [
        (
            f"v{one.version}",
            ", ".join(one.aliases),
            one.registered_at[:16],
            f"{one.n_rows:,}",
            *(number(one.metrics.get(name), digits) for name, (_, digits) in measured.items()),
            one.outcome + (f", planted {one.planted}" if one.planted else ""),
        )
        for one in model.versions
    ]
    labels = (label for label, _ in measured.values())
    return Grid(("version", "aliases", "registered", "rows", *labels, "ended"), rows)


def _quality_line(one: QualityStatus) -> str:
    numbers = ", ".join(shown.text() for shown in one.numbers)
    return f"  quality  {one.since[:10]} to {one.until[:10]}: {numbers}, n {one.n:,}"
