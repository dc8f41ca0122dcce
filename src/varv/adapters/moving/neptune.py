"""Runs of Neptune, as its exporter left them: tables of Parquet with a row an attribute, or a row a step of a
series, and files beside them.

Steps are decimal there and whole here, so those of a project are multiplied by the power of ten that makes
all of them whole, which its runs have as a tag.

Source: the columns that neptune-exporter writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from varv.adapters.moving.exports import Export, below, key, milliseconds, run_id, tags, words
from varv.kernel.errors import Corrupt
from varv.runs import Point
from varv.runs.imports import SourceRun
from varv.runs.imports.model import Last

KIND = "neptune"
NEEDED = ("project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp")
MICRO = 1_000_000
"""Steps have six decimals."""
_FLOATS = "float_series"
_VALUES = {
    "int": "int_value",
    "float": "float_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_TEXTS = {"string_series": "string_value", "histogram_series": "histogram_value"}
"""Series that are no numbers, which are brought as files of lines."""
_FILES = ("file", "artifact", "file_set", "file_series")


def open_neptune(root: Path) -> Export:
    """Return the source that is an export of Neptune.

    Raises
    ------
    Corrupt
        If a table has other columns than the exporter writes.
    """
    places: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(root.rglob("*.parquet")):
        for project, run in _scanned(path).select("project_id", "run_id").unique().collect().rows():
            places.setdefault((project, run), []).append(path)
    powers = {
        project: _multiplier([path for (of, _), paths in places.items() if of == project for path in paths])
        for project in {project for project, _ in places}
    }
    files = root / "files" if (root / "files").is_dir() else root.parent / "files"
    runs = [_Run(project, id, paths, files, powers[project]) for (project, id), paths in places.items()]
    return Export(KIND, root, runs)


class _Run:
    def __init__(self, project: str, id: str, paths: list[Path], files: Path, multiplier: int) -> None:
        self.project = project
        self._id, self._paths, self._files, self._multiplier = id, paths, files, multiplier

    def run(self, experiment: str) -> SourceRun:
        found = self._attributes
        system = {name: value for name, value in found.items() if name.startswith("sys/")}
        started = milliseconds(system.get("sys/creation_time"))
        ended = milliseconds(system.get("sys/modification_time"))
        told: dict[str, Any] = {
            "neptune.id": self._id,
            "neptune.step_multiplier": None if self._multiplier == 1 else self._multiplier,
            **{f"neptune.{name}": value for name, value in system.items()},
        }
        return SourceRun(
            id=run_id(KIND, self.project, self._id),
            experiment=experiment,
            name=str(system.get("sys/name") or self._id),
            user=str(system.get("sys/owner") or ""),
            status="FAILED" if system.get("sys/failed") is True else "FINISHED",
            deleted=system.get("sys/trashed") is True,
            started_ms=started or 0,
            ended_ms=ended,
            artifacts=str(self._files),
            params=words({name: value for name, value in found.items() if name not in system}),
            tags=tags(told),
            last=self._last(),
        )

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        rows = self._rows(list(_VALUES)).iter_rows(named=True)
        found = {row["attribute_path"]: row.get(_VALUES[row["attribute_type"]]) for row in rows}
        return {name: value for name, value in sorted(found.items()) if value is not None}

    def _last(self) -> tuple[Last, ...]:
        last = {point.name: Last(point.name, point.value, point.at_ms, point.step) for point in self.points()}
        return tuple(last[name] for name in sorted(last))

    def points(self) -> list[Point]:
        frame = self._rows([_FLOATS]).drop_nulls(["step", "float_value"]).sort("attribute_path", "step")
        steps = _micro_steps(frame["step"]).to_list()
        times = frame["timestamp"].dt.epoch("ms").to_list()
        named = zip(frame["attribute_path"].to_list(), frame["float_value"].to_list(), strict=True)
        return [
            Point(key(name), value, at or 0, step * self._multiplier // MICRO)
            for (name, value), at, step in zip(named, times, steps, strict=True)
        ]

    def files(self) -> Mapping[str, Path | bytes]:
        found: dict[str, Path | bytes] = {}
        for row in self._rows(list(_FILES)).iter_rows(named=True):
            told = (row.get("file_value") or {}).get("path")
            if not told:
                continue
            path = (self._files / told).resolve()
            if not path.is_relative_to(self._files.resolve()):
                continue
            if path.is_dir():
                found |= {f"{told}/{name}": one for name, one in below(path, ".").items()}
            elif path.is_file():
                found[told] = path
        return found | self._texts()

    def _texts(self) -> dict[str, bytes]:
        lines: dict[str, list[bytes]] = {}
        for row in self._rows(list(_TEXTS)).sort("attribute_path", "step").iter_rows(named=True):
            told = {name: row[name] for name in ("step", "timestamp")} | {
                "value": row[_TEXTS[row["attribute_type"]]]
            }
            path = f"series/{key(row['attribute_path'])}.jsonl"
            lines.setdefault(path, []).append(msgspec.json.encode(told, enc_hook=str) + b"\n")
        return {path: b"".join(some) for path, some in lines.items()}

    def _rows(self, kinds: list[str]) -> pl.DataFrame:
        mine = (pl.col("run_id") == self._id) & (pl.col("project_id") == self.project)
        scans = [_scanned(path).filter(mine & pl.col("attribute_type").is_in(kinds)) for path in self._paths]
        return pl.concat(scans, how="diagonal_relaxed").collect()


def _scanned(path: Path) -> pl.LazyFrame:
    try:
        scan = pl.scan_parquet(path)
        missing = [name for name in NEEDED if name not in scan.collect_schema().names()]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Corrupt("file", str(path), "is no Parquet", why=str(error)[:200]) from None
    if missing:
        problem = "is no table of Neptune's exporter"
        raise Corrupt("file", str(path), problem, lacks=missing, hint="give the folder that it wrote")
    return scan


def _micro_steps(steps: pl.Series) -> pl.Series:
    return (steps.cast(pl.Float64) * MICRO).round().cast(pl.Int64)


def _multiplier(paths: list[Path]) -> int:
    """Return the least power of ten that makes every step of some tables whole."""
    found = pl.concat([_scanned(path).select("step").drop_nulls() for path in paths]).unique().collect()
    steps = _micro_steps(found["step"])
    for power in range(7):
        if (steps % 10 ** (6 - power) == 0).all():
            return int(10**power)
    return MICRO
