"""Columns: tables that only grow, by named segments of Parquet files.

A segment is written once, whole, and never changes; writing it again with the same rows is harmless, which is
how a step that a crash interrupted is simply run again. This is the only module of the kernel that knows a
dataframe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.errors import Conflict, InvalidInput, NotFound
from varv.kernel.faults import Faults

# No leading dot and no slash: a name can neither leave its folder nor pass for a draft.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,127}")
_MOST_PARTS = 4
_SUFFIX = ".parquet"


class Columns(Protocol):
    """A store of tables. A table is named by up to four parts, such as ``"predictions/late-arrival"``."""

    def append(self, table: str, segment: str, frame: pl.DataFrame) -> None:
        """Add a segment durably; adding it again with the same rows is harmless.

        Raises
        ------
        Conflict
            If the segment exists with other rows.
        InvalidInput
            If a name could not be a file's, or the frame has no columns.
        """
        ...

    def scan(self, table: str, segments: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of all segments, or of the named ones, in the order of the names or as given.

        Raises
        ------
        NotFound
            If the table has no segment, or not a named one.
        """
        ...

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments, sorted; none if there is no such table."""
        ...

    def drop(self, table: str, segment: str) -> None:
        """Remove a segment; removing it again is harmless."""
        ...


class FolderColumns:
    """Columns as ``table/segment.parquet`` below one folder, created if absent.

    Parameters
    ----------
    root
        The folder.
    durable
        Whether a segment survives a power cut once `append` has returned. If not, it still survives the
        death of the process: enough for a replay, which can be run again.
    """

    def __init__(self, root: Path, *, durable: bool = True, faults: Faults | None = None) -> None:
        self._root = root
        self._durable = durable
        self._faults = faults or Faults()
        root.mkdir(parents=True, exist_ok=True)

    def append(self, table: str, segment: str, frame: pl.DataFrame) -> None:
        """Add a segment durably; adding it again with the same rows is harmless."""
        place = self._place(table, segment)
        if frame.width == 0:
            raise InvalidInput("segment", f"{table}/{segment}", "has no columns")
        if place.exists():
            _require_same(pl.read_parquet(place, glob=False), frame, f"{table}/{segment}")
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with draft.open("wb") as file:
            frame.write_parquet(file, compression="zstd", compression_level=3)
            if self._durable:
                file.flush()
                os.fsync(file.fileno())
        self._faults.reach("columns.before_rename")
        draft.replace(place)
        if self._durable:
            sync_folder(place.parent)

    def scan(self, table: str, segments: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of all segments, or of the named ones, in the order of the names or as given."""
        wanted = self.segments(table) if segments is None else segments
        places = [self._place(table, segment) for segment in wanted]
        if not places:
            raise NotFound("table", table, "has no segments")
        for place in places:
            if not place.exists():
                raise NotFound("segment", f"{table}/{place.name.removesuffix(_SUFFIX)}")
        return pl.scan_parquet(places, glob=False)

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments, sorted; none if there is no such table."""
        folder = self._folder(table)
        if not folder.is_dir():
            return []
        names = (entry.name for entry in os.scandir(folder) if entry.is_file())
        return sorted(
            name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and name[0] != "."
        )

    def drop(self, table: str, segment: str) -> None:
        """Remove a segment; removing it again is harmless."""
        self._place(table, segment).unlink(missing_ok=True)

    def _folder(self, table: str) -> Path:
        parts = table.split("/") if isinstance(table, str) else []
        if not 0 < len(parts) <= _MOST_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidInput("table", str(table)[:80], "is not a valid name", hint=_NAMES)
        return self._root.joinpath(*parts)

    def _place(self, table: str, segment: str) -> Path:
        if not isinstance(segment, str) or not _PART.fullmatch(segment):
            raise InvalidInput("segment", str(segment)[:80], "is not a valid name", hint=_NAMES)
        return self._folder(table) / f"{segment}{_SUFFIX}"


_NAMES = "use letters, digits and _ . = + -, not a dot first, 128 at most"


def _require_same(stored: pl.DataFrame, given: pl.DataFrame, name: str) -> None:
    if stored.schema != given.schema:
        raise Conflict(
            "segment", name, "exists with other columns", stored=str(stored.schema), given=str(given.schema)
        )
    if not stored.equals(given):
        hint = "a segment never changes; choose another name"
        raise Conflict(
            "segment", name, "exists with other rows", stored=stored.height, given=given.height, hint=hint
        )
