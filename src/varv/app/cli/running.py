"""`varv init`, `replay` and `up`: a project is written, lived through, or served."""

from __future__ import annotations

import argparse
from pathlib import Path

from varv.app.cli.access import answer
from varv.app.cli.comparison_blocks import comparison_blocks
from varv.app.cli.rendering import Block, Heading, Line
from varv.app.settings import Loaded, Settings
from varv.home.model import Comparisons
from varv.kernel.clock import SystemClock
from varv.kernel.errors import InvalidInput
from varv.loop.weighing.model import Price
from varv.project import Project


def init(options: argparse.Namespace, loaded: Loaded) -> int:
    """Write a small project to start from."""
    from varv.app.starting import write_project

    written = write_project(Path(options.folder), SystemClock().now())
    told = {"folder": options.folder, "written": written}

    def blocks() -> list[Block]:
        there = Line("everything is there already; nothing was changed")
        lines: list[Block] = [Line(f"wrote {Path(options.folder) / name}") for name in written] or [there]
        go = "" if options.folder == "." else f"cd {options.folder} && "
        return [*lines, Line(f"next: {go}varv replay deliveries.py")]

    answer(options, told, blocks)
    return 0


def replay(options: argparse.Namespace, loaded: Loaded) -> int:
    """Live through the past, and compare policies."""
    from varv.app.client.replaying import run
    from varv.app.replaying import Extra

    settings = loaded.settings
    project = _project(options, settings)
    declared = project.replay()
    project.validate()
    if options.policies is not None:
        names = [name.strip() for name in options.policies.split(",") if name.strip()]
        for name in names:
            if name not in declared.policies:
                hint = f"the policies are {', '.join(declared.policies)}"
                raise InvalidInput("policy", name[:40], "does not exist", hint=hint)
        declared.references = tuple(names)
    with run(
        declared,
        settings.home,
        declared_only=options.declared_only,
        fresh=options.fresh,
        fault=settings.fault,
        extra=Extra(
            regret=options.regret or bool(options.price and not options.search),
            search=options.search,
            price=_price(options.price),
        ),
    ) as result:
        found, reports = result.comparisons, result.reports.values()
    answer(options, found, lambda: [*_comparisons(found), *(Line(f"report {path}") for path in reports)])
    return 0


def _price(text: str) -> Price | None:
    """Return the price of a training that a command line says."""
    from varv.project.price import price_of

    if not text:
        return None
    try:
        return price_of(float(text))
    except ValueError:
        return price_of(text)


def track(options: argparse.Namespace, loaded: Loaded) -> int:
    """Serve runs and the registry to clients of MLflow, without any declared model."""
    from varv.app.server.tracker import track as serve_runs

    return serve_runs(loaded.settings, loaded.file)


def _project(options: argparse.Namespace, settings: Settings) -> Project:
    """Return the project that a command names, or the settings, with one model alone if it names one."""
    from varv.project import load_project

    project = load_project(place_of(options, settings))
    return project.only(options.model) if options.model else project


def place_of(options: argparse.Namespace, settings: Settings) -> str:
    """Return the project that a command names, or the settings."""
    place: str = options.file or settings.project
    if not place:
        hint = 'give FILE.py or a folder, or write project = "FILE.py" in varv.toml'
        raise InvalidInput("command", options.command, "names no project", hint=hint)
    return place


def _comparisons(found: Comparisons) -> list[Block]:
    blocks: list[Block] = []
    for one in found.models:
        title = [Heading(f"\n{one.model}")] if len(found.models) > 1 else []
        blocks += [*title, *comparison_blocks(one)]
    return [*blocks, Line("next: varv status, varv why MODEL, varv up FILE")]


def up(options: argparse.Namespace, loaded: Loaded) -> int:
    """Serve models until a signal."""
    from varv.app.server.owner import serve
    from varv.project.planned import Retirement

    retire = Retirement(models=tuple(options.retire), despite_traffic=options.despite_traffic)
    project = place_of(options, loaded.settings)
    return serve(project, loaded.settings, model=options.model, retire=retire, clients=loaded.file)
