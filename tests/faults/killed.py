"""Processes that do steps one after the other and are killed at a named point, and what they leave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from varv.app.verifying import verify_report
from varv.kernel.faults import KILLED


def go_on(
    folder: Path, steps: Iterable[Callable[[], object]], before: Callable[[int], object] = lambda number: None
) -> None:
    """Go on from the step that was not done; `before` is called before each, done or not."""
    note = folder / "steps"
    n_done = int(note.read_text()) if note.exists() else 0
    for number, step in enumerate(steps):
        before(number)
        if number >= n_done:
            step()
            note.write_text(str(number + 1))


def kill(writer: str, folder: Path, moment: str) -> None:
    """Run a process of this package until it is killed at a moment, which must come."""
    command = [sys.executable, "-m", f"tests.faults.{writer}", str(folder), f"{moment}:kill"]
    assert subprocess.run(command, check=False).returncode == KILLED


def wrong_files(folder: Path, *, strays: bool = False) -> list[str]:
    """Return what `varv verify` says of files, and those that nobody names unless `strays` may lie there.
    Nobody signs checkpoints here.
    """
    report = verify_report(folder)
    found = [str(one) for one in report.findings if one.kind == "file"]
    return found if strays else [*found, *map(str, report.unread)]
