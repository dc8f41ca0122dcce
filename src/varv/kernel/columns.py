"""Columns: tables that only grow, by named segments of Parquet files.

A segment is written once, whole, and never changes; writing it again with the same rows is harmless, which is
how a step that a crash interrupted is simply run again. Many small segments can be compacted into one file,
which lists them: what is read stays the same. This is the only module of the kernel that knows a dataframe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.storage import storing

# No leading dot and no slash: a name can neither leave its folder nor pass for a draft.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,127}")
_MOST_PARTS = 4
_SUFFIX = ".parquet"
# No segment's name begins like this.
_COMPACTED = "~"
_LISTED = "varv.segments"
_MANY = 512
_SMALL_BYTES = 64 * 1024


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
        StorageFull
            If the disk takes nothing more; there is no such segment then.
        """
        ...

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments in the order of their files; none if there is no such
        table.
        """
        ...

    def scan(self, table: str, segments: Sequence[str]) -> pl.LazyFrame:
        """Return the rows of segments, of the same columns all, in the order given.

        Raises
        ------
        NotFound
            If a segment is not there, or none is named.
        """
        ...

    def batches(
        self, table: str, segments: Sequence[str], *, segment_as: str | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of segments in the order given, a file at a time; their columns may differ.

        Parameters
        ----------
        segment_as
            Add a column of this name, with the segment of each row.

        Raises
        ------
        NotFound
            If a segment is not there.
        """
        ...

    def compact(self, table: str, segments: Sequence[str]) -> None:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Parameters
        ----------
        segments
            In the order in which they are read, which makes reading them cheap.
        """
        ...


class _Stored(NamedTuple):
    """Where a segment is: a file of its own, or some rows of a compacted one."""

    segment: str
    path: Path
    first: int = 0
    n_rows: int | None = None


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
        # By table: the compacted files that were looked into, and the segments in them.
        self._compacted: dict[str, tuple[set[Path], dict[str, _Stored]]] = {}
        root.mkdir(parents=True, exist_ok=True)

    def append(self, table: str, segment: str, frame: pl.DataFrame) -> None:
        """Add a segment durably; adding it again with the same rows is harmless."""
        place = self._place(table, segment)
        if frame.width == 0:
            raise InvalidInput("segment", f"{table}/{segment}", "has no columns")
        if place.exists() or segment in self._in_compacted(table):
            _require_same(next(self.batches(table, [segment])), frame, f"{table}/{segment}")
            return
        self._write(place, frame)

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments in the order of their files; none if there is no such
        table.
        """
        compacted = self._in_compacted(table, anew=True)
        return [*compacted, *sorted(self._alone(table).keys() - compacted.keys())]

    def scan(self, table: str, segments: Sequence[str]) -> pl.LazyFrame:
        """Return the rows of segments, of the same columns all, in the order given."""
        if not segments:
            raise NotFound("segment", table, "is asked for by no name")
        scans: list[pl.LazyFrame] = []
        # Neighbours with files of their own are one scan: a thousand scans take twice as long.
        for is_alone, some in groupby(self._stretches(table, segments), lambda one: one[0].n_rows is None):
            if is_alone:
                scans.append(pl.scan_parquet([one.path for one, *_ in some], glob=False))
            else:
                scans += [pl.scan_parquet(one[0].path, glob=False).slice(*_rows(one)) for one in some]
        return scans[0] if len(scans) == 1 else pl.concat(scans)

    def batches(
        self, table: str, segments: Sequence[str], *, segment_as: str | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of segments in the order given, a file at a time; their columns may differ."""
        for stretch in self._stretches(table, segments):
            rows = pl.read_parquet(stretch[0].path, glob=False)
            if stretch[0].n_rows is not None:
                rows = rows.slice(*_rows(stretch))
            if segment_as is not None:
                heights = [rows.height if one.n_rows is None else one.n_rows for one in stretch]
                names = pl.Series(segment_as, [one.segment for one in stretch], dtype=pl.String)
                rows = rows.with_columns(names.repeat_by(pl.Series(heights)).explode().drop_nulls())
            yield rows

    def compact(self, table: str, segments: Sequence[str]) -> None:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Only the process that appends may do it. Files that are not needed any more are removed by the next
        compaction: whoever has just found one can still read it.
        """
        alone, compacted = self._alone(table), self._in_compacted(table)
        for segment in alone.keys() & compacted.keys():
            self._place(table, segment).unlink()
        small = [
            segment
            for segment in segments
            if segment not in compacted and alone.get(segment, _SMALL_BYTES) < _SMALL_BYTES
        ]
        for first in range(0, len(small) - _MANY + 1, _MANY):
            several = small[first : first + _MANY]
            frames = zip(several, self.batches(table, several), strict=True)
            for _, alike in groupby(frames, lambda one: one[1].schema):
                self._write_together(table, dict(alike))

    def _write_together(self, table: str, frames: dict[str, pl.DataFrame]) -> None:
        number = len(self._compacted[table][0]) + 1
        listed = msgspec.json.encode([(segment, frame.height) for segment, frame in frames.items()])
        place = self._folder(table) / f"{_COMPACTED}{number:09d}{_SUFFIX}"
        self._write(place, pl.concat(frames.values()), {_LISTED: listed.decode()})
        self._in_compacted(table, anew=True)

    def _write(self, place: Path, frame: pl.DataFrame, metadata: dict[str, str] | None = None) -> None:
        # Encoded in memory: the writer of the library tells a full disk from a bad frame by its text only.
        encoded = BytesIO()
        frame.write_parquet(encoded, compression="zstd", compression_level=3, metadata=metadata)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with storing("segment", place, draft=draft):
            place.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(encoded.getbuffer())
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            self._faults.reach("columns.before_rename")
            draft.replace(place)
            if self._durable:
                sync_folder(place.parent)

    def _alone(self, table: str) -> dict[str, int]:
        """Return the segments that have a file of their own, with its size in bytes."""
        folder = self._folder(table)
        files = os.scandir(folder) if folder.is_dir() else ()
        return {
            file.name.removesuffix(_SUFFIX): file.stat().st_size
            for file in files
            if file.name.endswith(_SUFFIX) and file.name[0] not in (".", _COMPACTED) and file.is_file()
        }

    def _in_compacted(self, table: str, *, anew: bool = False) -> dict[str, _Stored]:
        """Return the segments in compacted files; another process may have made more since we last looked."""
        folder = self._folder(table)
        if anew or table not in self._compacted:
            paths, found = self._compacted.get(table, (set(), {}))
            new = sorted(set(folder.glob(f"{_COMPACTED}*{_SUFFIX}")) - paths)
            found = found | {one.segment: one for path in new for one in _listed_in(path)}
            self._compacted[table] = paths.union(new), found
        return self._compacted[table][1]

    def _stretches(self, table: str, segments: Iterable[str]) -> list[list[_Stored]]:
        """Return where segments are, those that follow one another in a compacted file together."""
        compacted = self._in_compacted(table)
        stretches: list[list[_Stored]] = []
        for segment in segments:
            path = self._place(table, segment)
            if segment not in compacted and not path.exists():
                compacted = self._in_compacted(table, anew=True)
                if segment not in compacted:
                    raise NotFound("segment", f"{table}/{segment}")
            one = compacted.get(segment) or _Stored(segment, path)
            if stretches and _follows(one, stretches[-1][-1]):
                stretches[-1].append(one)
            else:
                stretches.append([one])
        return stretches

    def _folder(self, table: str) -> Path:
        parts = table.split("/") if isinstance(table, str) else []
        if not 0 < len(parts) <= _MOST_PARTS or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidInput("table", str(table)[:80], "is not a valid name", hint=_NAMES)
        return self._root.joinpath(*parts)

    def _place(self, table: str, segment: str) -> Path:
        require_segment_name(segment)
        return self._folder(table) / f"{segment}{_SUFFIX}"


_NAMES = "use letters, digits and _ . = + -, not a dot first, 128 at most"


def require_segment_name(segment: object) -> None:
    """Raise `InvalidInput` if a segment could not be called so."""
    if not isinstance(segment, str) or not _PART.fullmatch(segment):
        raise InvalidInput("segment", str(segment)[:80], "is not a valid name", hint=_NAMES)


def _follows(one: _Stored, other: _Stored) -> bool:
    return one.path == other.path and other.n_rows is not None and one.first == other.first + other.n_rows


def _rows(stretch: Sequence[_Stored]) -> tuple[int, int]:
    """Return the first row of a stretch in its compacted file, and how many there are."""
    return stretch[0].first, sum(one.n_rows or 0 for one in stretch)


def _listed_in(path: Path) -> Iterator[_Stored]:
    try:
        listed = msgspec.json.decode(pl.read_parquet_metadata(path)[_LISTED], type=list[tuple[str, int]])
    except (pl.exceptions.PolarsError, KeyError, msgspec.MsgspecError) as error:
        raise Corrupt("compacted file", path.name, "does not list its segments", why=str(error)) from None
    first = 0
    for segment, n_rows in listed:
        yield _Stored(segment, path, first, n_rows)
        first += n_rows


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
