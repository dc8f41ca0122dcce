"""Runs of Comet, as ``cometx download WORKSPACE/PROJECT`` leaves them: a folder a workspace, in it one a
project, in it one an experiment, which is a run here.

Source: what the downloader of cometx 3.6 writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from varv.adapters.moving.exports import Export, below, key, read_json, read_lines, run_id, tags, words
from varv.kernel.errors import Corrupt
from varv.runs import Point
from varv.runs.imports import SourceRun
from varv.runs.imports.model import Last
from varv.runs.model import Status

KIND = "comet"
_STATES: Mapping[str, Status] = {"crashed": "FAILED", "failed": "FAILED", "killed": "KILLED"}


def open_comet(root: Path) -> Export:
    """Return the source that is a download of Comet."""
    found = [place.parent for place in root.rglob("metadata.json")]
    runs = [
        _Run(folder) for folder in sorted(found) if "experimentKey" in read_json(folder / "metadata.json", {})
    ]
    return Export(KIND, root, runs)


class _Run:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._about: dict[str, Any] = read_json(folder / "metadata.json", {})
        self.project = str(self._about.get("projectName") or folder.parent.name)

    def run(self, experiment: str) -> SourceRun:
        about = self._about
        git = read_json(self._folder / "run" / "git_metadata.json", {}) or {}
        others = {str(one.get("name")): one.get("valueCurrent") for one in self._lines("others.jsonl")}
        ended = about.get("endTimeMillis")
        running = bool(about.get("running"))
        told = {
            "comet.key": about["experimentKey"],
            "comet.workspace": about.get("workspaceName"),
            "comet.tags": about.get("tags"),
            "mlflow.source.git.commit": (git.get("gitCommit") or git).get("commitId") or git.get("parent"),
            "mlflow.source.name": about.get("fileName"),
            **{f"comet.{name}": value for name, value in others.items()},
        }
        return SourceRun(
            id=run_id(KIND, self.project, str(about["experimentKey"])),
            experiment=experiment,
            name=str(about.get("experimentName") or about["experimentKey"]),
            user=str(about.get("userName") or ""),
            status=_status(running, str(about.get("experimentStatus") or "")),
            deleted=bool(about.get("archived")),
            started_ms=int(about.get("startTimeMillis") or 0),
            ended_ms=int(ended) if ended and not running else None,
            artifacts=str(self._folder),
            params=words(self._params()),
            tags=tags(told),
            last=self._last(),
        )

    def _params(self) -> dict[str, Any]:
        told = read_json(self._folder / "parameters.json", [])
        return {str(one["name"]): one.get("valueCurrent") for one in told if "name" in one}

    def _last(self) -> tuple[Last, ...]:
        found: dict[str, Last] = {}
        for point in self.points():
            found[point.name] = Last(point.name, point.value, point.at_ms, point.step)
        return tuple(found[name] for name in sorted(found))

    def points(self) -> list[Point]:
        return [_point(one, self._folder) for one in self._lines("metrics.jsonl")]

    def files(self) -> Mapping[str, Path]:
        return below(self._folder, "assets", "run")

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return read_lines(self._folder / name)


def _point(told: Mapping[str, Any], folder: Path) -> Point:
    try:
        value = float(told["metricValue"])
        return Point(
            key(str(told["metricName"])), value, int(told.get("timestamp") or 0), int(told.get("step") or 0)
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Corrupt("file", str(folder / "metrics.jsonl"), "holds no point", why=str(error)[:100]) from None


def _status(running: bool, told: str) -> Status:
    if running:
        return "RUNNING"
    return _STATES.get(told.lower(), "FINISHED")
