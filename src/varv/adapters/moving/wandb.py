"""Runs of Weights & Biases, exported to a folder: one folder a project, one in it a run, named by its id.

In a run's folder are ``config.json``, ``summary.json`` and ``run.json`` as its API tells them, or
``config.yaml``, ``wandb-summary.json`` and ``wandb-metadata.json`` as its client writes them; the history as
Parquet, which is the artifact ``<run>-history``; and its files in ``files``.

Source: the documentation of its API and of exported histories.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from varv.adapters.moving.exports import (
    Export,
    below,
    key,
    milliseconds,
    read_json,
    run_id,
    tags,
    words,
)
from varv.kernel.errors import Corrupt
from varv.kernel.plugins import required
from varv.runs import Point
from varv.runs.imports import SourceRun
from varv.runs.imports.model import Last
from varv.runs.model import Status

KIND = "wandb"
STEP, TIME = "_step", "_timestamp"
_ABOUT = ("config.json", "config.yaml", "summary.json", "wandb-summary.json", "run.json")
_STATES: Mapping[str, Status] = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "crashed": "FAILED",
    "killed": "KILLED",
    "running": "RUNNING",
    "pending": "SCHEDULED",
    "preempted": "KILLED",
    "preempting": "RUNNING",
}


def open_wandb(root: Path) -> Export:
    """Return the source that is an export of Weights & Biases."""
    found = {place.parent for name in _ABOUT for place in root.rglob(name)}
    runs = [_Run(folder) for folder in sorted(found) if folder.name != "files"]
    return Export(KIND, root, runs)


class _Run:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.project = folder.parent.name

    def run(self, experiment: str) -> SourceRun:
        about = {**self._first("wandb-metadata.json"), **read_json(self._folder / "run.json", {})}
        summary = self._first("summary.json", "wandb-summary.json")
        started = milliseconds(about.get("created_at") or about.get("createdAt") or about.get("startedAt"))
        state = str(about.get("state") or "finished")
        ran = summary.get("_runtime")
        ended = milliseconds(summary.get(TIME))
        if ended is None and started is not None and isinstance(ran, int | float):
            ended = started + round(ran * 1000)
        told = {
            "wandb.id": self._folder.name,
            "wandb.group": about.get("group"),
            "wandb.job_type": about.get("job_type"),
            "wandb.notes": about.get("notes"),
            "wandb.tags": about.get("tags"),
            "mlflow.source.git.commit": about.get("commit") or (about.get("git") or {}).get("commit"),
            "mlflow.source.name": about.get("program") or about.get("codePath"),
        }
        return SourceRun(
            id=run_id(KIND, self.project, self._folder.name),
            experiment=experiment,
            name=str(about.get("name") or about.get("display_name") or self._folder.name),
            user=str(about.get("user") or about.get("username") or ""),
            status=_STATES.get(state, "FINISHED"),
            started_ms=started or ended or 0,
            ended_ms=ended if state != "running" else None,
            artifacts=str(self._folder),
            params=words(self._config()),
            tags=tags(told),
            last=tuple(self._last(summary)),
        )

    def _config(self) -> dict[str, Any]:
        given = read_json(self._folder / "config.json", None)
        if given is None and (self._folder / "config.yaml").is_file():
            yaml: Any = required("yaml", kind="file", name="config.yaml", extra="yaml")
            try:
                given = yaml.safe_load((self._folder / "config.yaml").read_text())
            except (yaml.YAMLError, RecursionError) as error:
                raise Corrupt(
                    "file", str(self._folder / "config.yaml"), "is no YAML", why=str(error)
                ) from None
        plain = {name: value for name, value in (given or {}).items() if not name.startswith(("_", "wandb_"))}
        # The client writes each value with a description beside it.
        return {name: value["value"] if _is_described(value) else value for name, value in plain.items()}

    def _last(self, summary: Mapping[str, Any]) -> Iterator[Last]:
        step = int(summary.get(STEP) or 0)
        for name, value in sorted(summary.items()):
            if isinstance(value, int | float) and not name.startswith("_"):
                yield Last(key(name), float(value), milliseconds(summary.get(TIME)) or 0, step)

    def points(self) -> list[Point]:
        return [point for path in sorted(self._folder.rglob("*.parquet")) for point in history(path)]

    def files(self) -> Mapping[str, Path]:
        return below(self._folder, "files")

    def _first(self, *names: str) -> dict[str, Any]:
        found = (read_json(self._folder / name, None) for name in names)
        return next((one for one in found if isinstance(one, dict)), {})


def history(path: Path) -> Iterator[Point]:
    """Yield the points of a history: of each column of numbers, at the step and time of its row.

    Raises
    ------
    Corrupt
        If the file is no history.
    """
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Corrupt("file", str(path), "is no Parquet", why=str(error)[:200]) from None
    if STEP not in frame.columns:
        raise Corrupt("file", str(path), f"is no history: it has no column {STEP}")
    steps = frame[STEP].cast(pl.Int64).to_list()
    times = frame[TIME].to_list() if TIME in frame.columns else [0.0] * len(steps)
    for name in frame.columns:
        kind = frame.schema[name]
        if name.startswith("_") or not (kind.is_numeric() or kind == pl.Boolean):
            continue
        called = key(name)
        values = frame[name].cast(pl.Float64).to_list()
        for step, at, value in zip(steps, times, values, strict=True):
            if value is not None and step is not None:
                yield Point(called, value, milliseconds(at) or 0, step)


def _is_described(value: object) -> bool:
    return isinstance(value, dict) and "value" in value and value.keys() <= {"value", "desc"}
