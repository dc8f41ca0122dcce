"""`varv import`: bring what was tracked elsewhere into this home."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from varv.app.cli.access import answer
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.client.served import asking
from varv.app.server.server_file import running_server
from varv.app.settings import Loaded, Settings, variables
from varv.home.moving import MoveReport, Source, Taker
from varv.home.moving.report import Count, Named
from varv.kernel.faults import Faults
from varv.kernel.job_ends import spoken_bytes
from varv.kernel.wording import count


def import_(options: argparse.Namespace, loaded: Loaded) -> int:
    """Bring what was made elsewhere; the status is 1 if it differs from its source in the end."""
    if options.tracker == "feast":
        from varv.app.cli.feast_importing import import_feast

        return import_feast(options)
    from varv.home.moving import Importing

    source = _source(options)
    try:
        with _taker(loaded.settings, source.name) as taker:
            moving = Importing(
                source,
                taker,
                copies=getattr(options, "copy", False),
                brings_files=not options.without_artifacts,
                progress=_shown if sys.stderr.isatty() else lambda report: None,
            )
            report = moving.run()
    finally:
        source.close()
    answer(options, report, lambda: _blocks(report))
    return 1 if report.differences.n else 0


@contextmanager
def _taker(settings: Settings, source: str) -> Generator[Taker]:
    """Give what writes the home: its server if one runs, this process otherwise."""
    server = running_server(settings)
    if server is not None:
        from varv.app.served_taker import ServedTaker

        with asking(server, settings) as client:
            yield ServedTaker(client, settings, source)
        return
    from varv.app.compose import owned_tracking
    from varv.home.moving import LocalTaker

    with owned_tracking(settings.home, faults=Faults.parse(settings.fault)) as desk:
        yield LocalTaker(desk, source)


def _source(options: argparse.Namespace) -> Source:
    from varv.adapters.moving import open_folder, open_mlflow

    if options.tracker == "mlflow":
        artifacts = Path(options.artifacts) if options.artifacts else None
        return open_mlflow(options.uri, variables(), artifacts)
    return open_folder(options.tracker, Path(options.folder))


def _shown(report: MoveReport) -> None:
    told = f"{count(report.runs.total)} runs, {count(report.n_points)} points, {count(report.n_files)} files"
    sys.stderr.write(f"\r{told}   ")


def _blocks(report: MoveReport) -> list[Block]:
    rows = [
        ("experiments", *_counts(report.experiments)),
        ("runs", *_counts(report.runs)),
        ("logged models", *_counts(report.logged_models)),
        ("traces", *_counts(report.traces)),
        ("registered models", *_counts(report.registered_models)),
    ]
    blocks: list[Block] = [
        Heading(f"from {report.source}"),
        Grid(("", "new", "changed", "as before"), rows),
        Line(f"{count(report.n_points)} points of metrics"),
        Line(f"{count(report.n_spans)} spans of traces"),
        Line(f"{count(report.n_versions)} versions of registered models"),
        Line(f"{count(report.n_files)} artifacts, {spoken_bytes(report.size_bytes)}"),
    ]
    blocks += _named("artifacts stay where they are, of experiments", report.linked)
    blocks += _named("left out", report.left_out)
    blocks += _named("DIFFERS", report.differences)
    if not report.differences.n:
        compared = f"{count(report.n_compared)} whole runs and {count(report.n_traces_compared)} whole traces"
        blocks.append(Line(f"compared: all counts, the registry, {compared}"))
    return blocks


def _counts(one: Count) -> tuple[str, str, str]:
    return count(one.new), count(one.changed), count(one.same)


def _named(what: str, named: Named) -> list[Block]:
    if not named.n:
        return []
    more = [Line(f"  and {count(named.n - len(named.some))} more")] if named.n > len(named.some) else []
    return [Heading(f"{what}: {count(named.n)}"), *(Line(f"  {one}") for one in named.some), *more]
