"""Folders that other trackers were exported to: what they have in common.

An export is a list of runs, each with its files on this machine. Ids, names of metrics and texts are brought
to what tracking knows here, in the same way each time, so that the same export may be brought again.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from varv.home.moving import Owner, SourceFile
from varv.kernel.blobs import CHUNK_BYTES
from varv.kernel.codec import digest_of
from varv.kernel.errors import Corrupt, NotFound
from varv.registry.imports import SourceRegistered
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.rules import LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG
from varv.runs.traces.model import Span

_NOT_IN_KEYS = re.compile(r"[^/\w.\- :]")
_LARGEST_JSON = 256 << 20
AT_ONCE = 50


class ExportedRun(Protocol):
    """A run of an export."""

    @property
    def project(self) -> str:
        """What it is in, which becomes an experiment."""
        ...

    def run(self, experiment: str) -> SourceRun:
        """Return the run as a source has it, in an experiment of that id."""
        ...

    def points(self) -> list[Point]:
        """Return its histories."""
        ...

    def files(self) -> Mapping[str, Path | bytes]:
        """Return its artifacts by their paths: files, or what is in them."""
        ...


class Export:
    """A source that is a folder.

    Parameters
    ----------
    kind, root
        Of the tracker, and where it was exported to.
    runs
        What is in it.

    Raises
    ------
    NotFound
        If there are no runs.
    """

    def __init__(self, kind: str, root: Path, runs: Sequence[ExportedRun]) -> None:
        if not runs:
            hint = "see how to export in the guide to moving in"
            raise NotFound("folder", str(root), f"holds no runs of {kind}", hint=hint)
        self.name = f"{kind}:{root.absolute()}"
        self._runs: dict[str, list[ExportedRun]] = {}
        self._names: dict[str, str] = {}
        self._by_id: dict[str, ExportedRun] = {}
        for run in sorted(runs, key=lambda one: one.project):
            id = experiment_id(kind, run.project)
            self._names[id] = run.project
            self._runs.setdefault(id, []).append(run)

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield an experiment for each project, as old as its first run."""
        for id, name in self._names.items():
            runs = [one.run(id) for one in self._runs[id]]
            first = min(run.started_ms for run in runs)
            last = max(run.ended_ms or run.started_ms for run in runs)
            yield SourceExperiment(id=id, name=name, artifacts=name, created_ms=first, updated_ms=last)

    def runs(self, experiment: str) -> Iterator[list[SourceRun]]:
        """Yield the runs of a project."""
        exported = self._runs[experiment]
        for start in range(0, len(exported), AT_ONCE):
            page = []
            for one in exported[start : start + AT_ONCE]:
                run = one.run(experiment)
                self._by_id[run.id] = one
                page.append(run)
            yield page

    def points(self, runs: Sequence[SourceRun]) -> Iterator[tuple[SourceRun, list[Point]]]:
        """Yield runs with their whole histories."""
        for run in runs:
            yield run, self._by_id[run.id].points()

    def models(self, experiment: str) -> Iterator[list[SourceModel]]:
        """Yield nothing: an export holds files, not models."""
        return iter(())

    def traces(self, experiment: str) -> Iterator[list[SourceTrace]]:
        """Yield nothing: an export holds none."""
        return iter(())

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield nothing."""
        return iter(())

    def registered(self) -> Iterator[SourceRegistered]:
        """Yield nothing."""
        return iter(())

    def files(self, owner: Owner) -> list[SourceFile]:
        """Return the artifacts of a run."""
        found = self._by_id[owner.id].files()
        return sorted(SourceFile(path, _size(held)) for path, held in found.items())

    def chunks(self, owner: Owner, path: str) -> Iterator[bytes]:
        """Yield the bytes of an artifact."""
        held = self._by_id[owner.id].files()[path]
        if isinstance(held, bytes):
            yield held
            return
        with held.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                yield data

    def close(self) -> None:
        """Close nothing: no file stays open."""


def experiment_id(kind: str, project: str) -> str:
    """Return an id for a project that no other experiment is given, the same each time."""
    return str(2 * 10**17 + int(digest_of([kind, project])[:14], 16))


def run_id(kind: str, project: str, id: str) -> str:
    """Return an id for a run whose own id is only known in its project, the same each time."""
    return digest_of([kind, project, id])[:32]


def key(name: str) -> str:
    """Return the name of a metric, a parameter or a tag as it may be here; one that had to be changed ends
    with a digest, so that no two become one.

    Examples
    --------
    >>> key("val/loss"), key("loss (val)")
    ('val/loss', 'loss _val_.39950b')
    """
    plain = posixpath.normpath(_NOT_IN_KEYS.sub("_", name)).lstrip("/.")[: LONGEST_KEY - 7]
    return plain if plain == name else f"{plain or '_'}.{digest_of(name)[:6]}"


def words(values: Mapping[str, Any], longest: int = LONGEST_PARAM) -> dict[str, str]:
    """Return values by their names, nested ones by their paths, as texts."""
    return {key(name): _text(value)[:longest] for name, value in _nested(values)}


def _nested(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in sorted(values.items()):
        if isinstance(value, dict) and value:
            yield from _nested(value, f"{path}{name}/")
        elif value is not None:
            yield f"{path}{name}", value


def tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what there is of some values as tags."""
    return words({name: value for name, value in values.items() if value not in (None, "", [])}, LONGEST_TAG)


def below(root: Path, *folders: str) -> dict[str, Path]:
    """Return the files in folders below a root by their paths from there; links are not followed."""
    found = {}
    for name in folders:
        for folder, _, files in os.walk(root / name):
            for file in files:
                path = Path(folder, file)
                if path.is_file() and not path.is_symlink():
                    found[path.relative_to(root).as_posix()] = path
    return found


def read_json(path: Path, default: Any) -> Any:
    """Return what a file of JSON holds; `default` if there is none.

    Raises
    ------
    Corrupt
        If it is no JSON, or is too large.
    """
    if not path.is_file():
        return default
    if path.stat().st_size > _LARGEST_JSON:
        raise Corrupt("file", str(path), "is too large", most=_LARGEST_JSON)
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt("file", str(path), "is no JSON", why=str(error)[:100]) from None


def read_lines(path: Path) -> Iterator[Any]:
    """Yield what each line of a file of JSON holds; nothing if there is no file.

    Raises
    ------
    Corrupt
        If a line is no JSON.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                raise Corrupt(
                    "file", str(path), "holds a line that is no JSON", line=number, why=str(error)
                ) from None


def milliseconds(told: Any) -> int | None:
    """Return an instant that is a number of seconds or a text of ISO 8601, in milliseconds; None for none.

    Examples
    --------
    >>> milliseconds(1.5), milliseconds("1970-01-01T00:00:02Z"), milliseconds(None)
    (1500, 2000, None)
    """
    if told in (None, ""):
        return None
    if isinstance(told, int | float):
        return round(told * 1000)
    text = str(told)
    zoned = text if text.endswith("Z") or "+" in text[10:] or "-" in text[10:] else f"{text}Z"
    return round(datetime.fromisoformat(zoned).timestamp() * 1000)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()


def _size(held: Path | bytes) -> int:
    return len(held) if isinstance(held, bytes) else held.stat().st_size
