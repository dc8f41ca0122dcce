"""`varv runs`: its acts on the command line, and runs as text."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing

import msgspec

from varv.app.cli.access import answer, call, owned_ledger
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.client.opening import reading
from varv.app.compose import open_tracking
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings
from varv.home.tracking.purging import Purged, PurgeRequest, Purging, purge
from varv.home.tracking.verbs import BestRuns, RunList, RunsDiff, RunShown
from varv.kernel.clock import Duration, Instant, SystemClock, iso, spoken
from varv.kernel.errors import FailedPrecondition
from varv.kernel.wording import count
from varv.runs.comparing import Measured, RunLine, varying
from varv.runs.verbs import StopAsked, StopRequest

SHORT = 12
"""Characters of an id that tell runs apart."""
LONGEST_CELL = 40
MOST_PARAMS, MOST_METRICS = 5, 4
"""Columns of a list."""


def runs(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run one act of `varv runs`; return the exit status."""
    acts: dict[str, Callable[[argparse.Namespace, Settings], None]] = {
        "ls": _list,
        "show": _show,
        "diff": _diff,
        "best": _best,
        "stop": _stop,
        "purge": _purge,
    }
    acts[options.act](options, loaded.settings)
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> None:
    with reading(settings.home) as home:
        found: RunList = home.runs.list(
            where=options.where,
            order=tuple(options.order),
            experiments=tuple(options.experiment),
            deleted=options.deleted,
            limit=options.limit,
            after=options.after,
        ).value

    def blocks() -> list[Block]:
        if not found.runs:
            return [Line("no run matches" if options.where else "no runs yet")]
        more = [Line(f"next: --after {found.after}")] if found.after else []
        return [run_grid(found.runs), *more]

    answer(options, found, blocks)


def run_grid(lines: Sequence[RunLine], *, without: str = "") -> Grid:
    """Return runs as a table: what varies of their parameters, and their metrics but for one."""
    vary, measured = varying(lines)
    params = vary[:MOST_PARAMS]
    shown = [name for name in measured if name != without][:MOST_METRICS]
    rows = [
        (
            one.run[:SHORT],
            _cut(one.name),
            one.status.lower(),
            _when(one.started_ms),
            _took(one),
            *(_cut(one.params.get(name, "–")) for name in params),
            *(_last(one.metrics.get(name)) for name in shown),
        )
        for one in lines
    ]
    return Grid(("run", "name", "status", "started", "took", *params, *shown), rows)


def _show(options: argparse.Namespace, settings: Settings) -> None:
    with reading(settings.home) as home:
        found: RunShown = home.runs.show(options.run).value
    answer(options, found, lambda: _shown_blocks(found))


def _shown_blocks(found: RunShown) -> list[Block]:
    run = found.run
    blocks: list[Block] = [
        Heading(f"{run.name}, run {run.run}"),
        Line(f"  {run.status.lower()}, in experiment {found.experiment}, by {run.user or 'nobody named'}"),
        Line(f"  started {_when(run.started_ms)}, took {_took(run)}"),
        Heading("parameters"),
        Grid(("", ""), [(name, _cut(value)) for name, value in run.params.items()]),
        Heading("metrics"),
        Grid(
            ("metric", "last", "at step", "min", "max", "points"),
            [
                (name, _last(one), str(one.step), _number(one.min), _number(one.max), count(one.n))
                for name, one in run.metrics.items()
            ],
        ),
    ]
    more: dict[str, list[tuple[str, ...]]] = {
        "data": [(one.name, one.digest) for one in found.datasets],
        "models read": [(one.model_id,) for one in found.models],
        "models made": [(one.model_id, f"step {one.step}") for one in found.outputs],
        "versions": [(one.model, f"v{one.version}") for one in found.versions],
        "artifacts": [(one.path, f"{count(one.size_bytes)} bytes") for one in found.artifacts],
        "tags": [(name, _cut(value)) for name, value in run.tags.items()],
    }
    for title, rows in more.items():
        if rows:
            blocks += [Heading(title), Grid(("",) * len(rows[0]), rows)]
    return blocks


def _diff(options: argparse.Namespace, settings: Settings) -> None:
    with reading(settings.home) as home:
        found: RunsDiff = home.runs.diff(tuple(options.runs), everything=options.all).value
    answer(options, found, lambda: _diff_blocks(found))


def _diff_blocks(found: RunsDiff) -> list[Block]:
    names = tuple(f"{_cut(one.name)} {one.run[:8]}" for one in found.runs)
    rows = [
        (one.part, one.name, *("–" if value is None else _cut(value) for value in one.values))
        for one in found.rows
    ]
    measured = [
        (
            one.name,
            *(_measured(value, is_best=place == one.best) for place, value in enumerate(one.values)),
        )
        for one in found.metrics
    ]
    if not rows and not measured:
        return [Line("these runs do not differ")]
    return [
        Heading("differs"),
        Grid(("", "", *names), rows),
        Heading("metrics: last [min, max]; * is the best last value"),
        Grid(("metric", *names), measured),
    ]


def _best(options: argparse.Namespace, settings: Settings) -> None:
    with reading(settings.home) as home:
        found: BestRuns = home.runs.best(
            options.metric,
            goal=options.goal,
            by=options.by,
            where=options.where,
            experiments=tuple(options.experiment),
            limit=options.limit,
        ).value

    def blocks() -> list[Block]:
        if not found.runs:
            return [Line(f"no run has the metric {found.metric}")]
        way = "least" if found.goal == "min" else "greatest"
        of = "last value" if found.by == "last" else f"{found.by} over its curve"
        title = Heading(f"{found.metric}: the {way} {of} first")
        values = [
            (one.run[:SHORT], _cut(one.name), _number(getattr(one.metrics[found.metric], found.by)))
            for one in found.runs
        ]
        grid = run_grid(found.runs, without=found.metric)
        rows = [(*first, *rest[3:]) for first, rest in zip(values, grid.rows, strict=True)]
        return [title, Grid(("run", "name", found.metric, *grid.columns[3:]), rows)]

    answer(options, found, blocks)


def _stop(options: argparse.Namespace, settings: Settings) -> None:
    server = running_server(settings)
    if server is None:
        hint = "give its home with --home; a run whose varv run was killed is run by nobody"
        raise FailedPrecondition("home", str(settings.home), "is served by nobody", hint=hint)
    asked = StopRequest(run=_whole_id(settings, options.run), by=options.by)
    found = msgspec.convert(call(server, settings, "runs.stop", asked), type=StopAsked)
    answer(options, found, lambda: [Line(f"asked run {found.name} ({found.run}) to end")])


def _purge(options: argparse.Namespace, settings: Settings) -> None:
    runs = tuple(_whole_id(settings, run) for run in options.runs)
    asked = PurgeRequest(runs=runs, experiments=tuple(options.experiment), by=options.by)
    server = running_server(settings)
    if server is not None:
        found = msgspec.convert(call(server, settings, "runs.purge", asked), type=Purged)
    else:
        with (
            owned_ledger(settings) as ledger,
            closing(open_tracking(settings.home, ledger, SystemClock())) as desk,
        ):
            found = purge(Purging(desk, ledger), asked)
    told = f"gone for good: {count(found.n_runs)} runs, {count(found.n_logged_models)} logged models, "
    told += f"{count(found.n_experiments)} experiments, {count(found.n_blobs)} files and texts"
    answer(options, found, lambda: [Line(told)])


def _whole_id(settings: Settings, named: str) -> str:
    with reading(settings.home) as home:
        shown: RunShown = home.runs.show(named).value
    return shown.run.run


def _measured(one: Measured | None, *, is_best: bool) -> str:
    if one is None:
        return "–"
    return f"{_number(one.last)}{'*' if is_best else ''} [{_number(one.min)}, {_number(one.max)}]"


def _last(one: Measured | None) -> str:
    return "–" if one is None else _number(one.last)


def _number(value: float | None) -> str:
    return "NaN" if value is None else f"{value:.5g}".replace("-", "−")


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_CELL else flat[: LONGEST_CELL - 1] + "…"


def _when(ms: int) -> str:
    return iso(Instant(ms * 1000))[:16].replace("T", " ")


def _took(one: RunLine) -> str:
    if one.ended_ms is None:
        return "–"
    return spoken(Duration(max(0, one.ended_ms - one.started_ms) // 1000 * 1_000_000))
