"""`varv ci`: how a candidate fares beside the champion, for continuous integration."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from varv.app.cli.access import answer, reading_home
from varv.app.settings import Loaded
from varv.fronts.ci import MARKER, WORKFLOWS, junit, markdown
from varv.home.candidate import CandidateReport, candidate_reports
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound

PASSES, FAILS, UNJUDGED = 0, 1, 2


def ci(options: argparse.Namespace, loaded: Loaded) -> int:
    """Write a report, or the workflows that make one."""
    return _report(options, loaded) if options.act == "report" else _template(options)


def _report(options: argparse.Namespace, loaded: Loaded) -> int:
    version = options.version
    if version is not None and not options.model:
        raise InvalidInput("option", "--version", "is of no model", hint="name the model before it")
    with reading_home(loaded.settings) as desk:
        blobs = FolderBlobs(loaded.settings.home / "blobs")
        found = candidate_reports(desk.views, blobs, options.model, version)
    text = markdown(found)
    if options.junit:
        _write(Path(options.junit), junit(found))
    if options.to:
        _write(Path(options.to), text)
    if options.json:
        answer(options, found, list)
    elif not options.to:
        sys.stdout.write(text)
    return status_of(found)


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
