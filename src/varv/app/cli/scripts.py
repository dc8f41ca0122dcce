"""`varv run`, `varv reproduce` and `varv runs stop`: scripts as runs."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from varv.app.cli.access import answer
from varv.app.cli.rendering import Block, Grid, Heading, Line
from varv.app.scripts.homes import Tracked, tracked_home
from varv.app.scripts.reproducing import Reproduction, Way
from varv.app.scripts.reproducing import reproduce as make_again
from varv.app.scripts.running import Finished, Script
from varv.app.scripts.running import run as run_script
from varv.app.scripts.sweeping import sweep
from varv.app.settings import Loaded, variables
from varv.kernel.errors import InvalidInput
from varv.kernel.executor import OnOutput
from varv.kernel.machine import n_processors
from varv.runs.reproduction import Tolerance

KILLED_BY_SIGNAL = 128
"""What shells add to the number of a signal."""


def run(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run a script as a run of the home."""
    settings = loaded.settings
    script = Script(
        file=options.script,
        arguments=tuple(options.arguments),
        folder=Path.cwd(),
        variables=variables(),
        experiment=options.experiment,
        name=options.name,
        tags=dict(_tag(text) for text in options.tag),
        data=tuple(options.data),
        outputs=tuple(options.output),
        predictions=options.predictions,
    )
    home = settings.home.resolve()
    with _until_signal() as stop, tracked_home(settings, loaded.file) as tracked:
        if options.multirun:
            return _sweep(options, script, tracked, stop, home)
        ended = run_script(script, tracked, stop=stop, on_output=_echo(options), home=home)
    answer(options, ended, lambda: _finished(ended))
    if ended.exit_status < 0:
        return KILLED_BY_SIGNAL - ended.exit_status
    return ended.exit_status or (1 if ended.status != "FINISHED" or ended.not_written else 0)


def _sweep(
    options: argparse.Namespace, script: Script, tracked: Tracked, stop: threading.Event, home: Path
) -> int:
    jobs = options.jobs or n_processors()
    swept = sweep(script, tracked, jobs=jobs, stop=stop, home=home, on_line=_echo(options))

    def blocks() -> list[Block]:
        rows = [
            (child.name, child.status or "not begun", child.run, child.why[:80]) for child in swept.children
        ]
        n_failed = sum(child.status != "FINISHED" for child in swept.children)
        told = f"{n_failed} of {len(rows)} did not finish" if n_failed else f"all {len(rows)} finished"
        return [Heading(f"sweep {swept.run}: {told}"), Grid(("values", "status", "run", "why"), rows)]

    answer(options, swept, blocks)
    return 0 if swept.status == "FINISHED" else 1


def reproduce(options: argparse.Namespace, loaded: Loaded) -> int:
    """Run a run again, twice, and say what that has shown."""
    home = loaded.settings.home.resolve()
    tolerance = Tolerance(relative=options.relative, absolute=options.absolute, ignored=tuple(options.ignore))
    way = Way(Path(options.repository).resolve(), home, options.environment, tolerance)
    with _until_signal() as stop, tracked_home(loaded.settings, loaded.file) as tracked:
        found = make_again(options.run, tracked, way, variables(), stop=stop, on_output=_echo(options))
    answer(options, found, lambda: _reproduced(found))
    return 1 if found.verdict in ("differs", "cannot run") else 0


def _reproduced(found: Reproduction) -> list[Block]:
    blocks: list[Block] = [Heading(f"run {found.run}: {found.verdict}")]
    if found.because:
        blocks += [Line(f"  {line}") for line in found.because.splitlines()]
    if found.repeats is not None:
        chance = "" if found.repeats == "bit-identical" else ": it is not deterministic here"
        blocks.append(Line(f"the two reruns, with each other: {found.repeats}{chance}"))
    if found.differing:
        blocks.append(Line("what differs:"))
        blocks += [Line(f"  {line}") for line in found.differing]
    rows = [(one.component, one.before[:60], one.after[:60]) for one in found.components]
    if rows:
        blocks.append(Line("what it was made from differs in:"))
        blocks.append(Grid(("component", "then", "now"), rows))
    elif found.reruns:
        blocks.append(Line("what it was made from is equal in all that was captured"))
    return blocks


def _finished(ended: Finished) -> list[Block]:
    exit_status = f", exit status {ended.exit_status}" if ended.exit_status else ""
    told = f"run {ended.run}, {ended.name}: {ended.status}{exit_status}, {ended.wall_s:.1f} s"
    blocks: list[Block] = [Line(told)]
    blocks += [Line(f"  {path} was declared as an output and not written") for path in ended.not_written]
    return [*blocks, Line(f"next: varv reproduce {ended.run}")] if ended.status == "FINISHED" else blocks


def _tag(text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not given or not name:
        raise InvalidInput("option", "--tag", "has no value", given=text[:80], hint="write --tag NAME=VALUE")
    return name, value


def _echo(options: argparse.Namespace) -> OnOutput:
    """Return what shows the output of a script: beside the one document, if that is what is wanted."""
    stream = sys.stderr if options.json else sys.stdout

    def show(part: bytes) -> None:
        stream.write(part.decode(errors="replace"))
        stream.flush()

    return show


@contextmanager
def _until_signal() -> Generator[threading.Event]:
    """Give an event that a signal sets, so that the script ends before this process does."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
