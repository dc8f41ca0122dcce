"""`varv ci`: how a candidate, or a logged run, fares beside what there is, for continuous integration."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from varv.app.cli.access import answer, reading_home
from varv.app.compose import open_runs
from varv.app.settings import Loaded
from varv.fronts.ci import MARKER, WORKFLOWS, junit, markdown, run_junit, run_markdown
from varv.home.candidate import CandidateReport, candidate_reports
from varv.home.tracking.judging import champions_run, compared_runs, tolerance_of
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound

PASSES, FAILS, UNJUDGED = 0, 1, 2


def ci(options: argparse.Namespace, loaded: Loaded) -> int:
    """Write a report, or the workflows that make one."""
    if options.act != "report":
        return _template(options)
    return _run_report(options, loaded) if options.run else _report(options, loaded)


def _run_report(options: argparse.Namespace, loaded: Loaded) -> int:
    if not options.baseline and not options.model:
        raise InvalidInput(
            "run", options.run[:80], "has no baseline", hint="name one with --baseline, or a model"
        )
    tolerances = [tolerance_of(one) for one in options.tolerance]
    desk = open_runs(loaded.settings.home)
    baseline = options.baseline or champions_run(desk, options.model)
    found = compared_runs(desk, options.run, baseline, tolerances, options.folds)
    _told(options, found, run_markdown(found), run_junit(found))
    return {"passed": PASSES, "failed": FAILS, "unjudged": UNJUDGED}[found.standing]


def _report(options: argparse.Namespace, loaded: Loaded) -> int:
    version = options.version
    if options.baseline or options.tolerance or options.folds:
        raise InvalidInput("option", "--baseline, --tolerance, --folds", "are of a run", hint="add --run RUN")
    if version is not None and not options.model:
        raise InvalidInput("option", "--version", "is of no model", hint="name the model before it")
    with reading_home(loaded.settings) as desk:
        blobs = FolderBlobs(loaded.settings.home / "blobs")
        found = candidate_reports(desk.views, blobs, options.model, version)
    _told(options, found, markdown(found), junit(found))
    return status_of(found)


def _told(options: argparse.Namespace, found: object, text: str, cases: str) -> None:
    if options.junit:
        _write(Path(options.junit), cases)
    if options.to:
        _write(Path(options.to), text)
    if options.json:
        answer(options, found, list)
    elif not options.to:
        sys.stdout.write(text)


def status_of(reports: Sequence[CandidateReport]) -> int:
    """Return 1 if a candidate does not pass, else 2 if one cannot be judged, else 0."""
    standings = {report.standing for report in reports}
    if "failed" in standings:
        return FAILS
    return UNJUDGED if "unjudged" in standings or not reports else PASSES


def _template(options: argparse.Namespace) -> int:
    files = WORKFLOWS[options.host](shlex.quote(options.project), MARKER)
    if not options.to:
        sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in files.items()))
        return 0
    _write_all(Path(options.to), files)
    sys.stdout.write("".join(f"{Path(options.to, name)}\n" for name in files))
    return 0


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_text() != text:
            raise AlreadyExists("file", str(path), "is there already", hint="remove it, or write elsewhere")
    for name, text in files.items():
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise NotFound("file", str(path), "cannot be written", why=error.strerror) from None
