"""Columns: tables that only grow, by named segments in files of Arrow and Parquet.

A segment is written once, whole, and never changes; writing it again with the same rows is harmless, which is
how a step that a crash interrupted is simply run again. Many small segments can be compacted into one Parquet
file, which lists them: what is read stays the same.

A file holds the digest of its segments' rows, and the ledger holds it too. Rows are compared with both the
first time that a process reads a file: whoever names a segment together with its digest gets those rows, or
`Corrupt`. Digests are made in `kernel.content`, one file is read in
`kernel.segment_files`, and `kernel.audit` compares all files at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.segment_files import (
    COMPACTED,
    COMPACTED_FILES,
    DIGEST,
    LISTED,
    RESTORE,
    STREAM,
    SUFFIX,
    Listed,
    Looks,
    encoded_parquet,
    encoded_stream,
    frame_of,
    is_small,
    listed_in,
    looks_of,
    read_file,
)
from varv.kernel.storage import storing

# No leading dot and no slash: a name can neither leave its folder nor pass for a draft.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,127}")
_MOST_PARTS = 4
_MANY = 512
_MUCH_BYTES = 32 << 20
"""So many small segments, or so much of them, are worth a file."""
_SMALL_PARQUET_BYTES = 64 * 1024
"""Earlier versions of varv wrote small segments as Parquet too."""


TIME = pl.Datetime("us", "UTC")
"""The one type of all times in tables."""

Segments = Sequence[str] | Mapping[str, Digest]
"""Names of segments in the order in which they are read, each with the digest of its rows if it is known;
empty if not.
"""


def segment_name(since: Instant) -> str:
    """Return the name of the segment of what arrived from `since` on, which sorts as time does."""
    return as_datetime(since).strftime("%Y%m%dT%H%M%S%f")


class Columns(Protocol):
    """A store of tables. A table is named by up to four parts, such as ``"predictions/late-arrival"``."""

    def append(
        self, table: str, segment: str, frame: pl.DataFrame, *, content: Digest | None = None
    ) -> Digest:
        """Add a segment durably and return the digest of its rows; adding it again with the same rows is
        harmless.

        Parameters
        ----------
        content
            The digest of the rows, if it is known already.

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

    def append_together(self, table: str, frames: Mapping[str, pl.DataFrame]) -> dict[str, Digest]:
        """Add several segments of the same columns in one file, and return the digests of their rows.

        A segment that a crash left is taken as it is, if it has these columns and as many rows: nothing names
        it yet, and what it was made from may have gained rows meanwhile.

        Raises
        ------
        Conflict
            If one exists with other columns, or more or fewer rows.
        StorageFull
            If the disk takes nothing more.
        """
        ...

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments in the order of their files; none if there is no such
        table.
        """
        ...

    def scan(self, table: str, segments: Segments) -> pl.LazyFrame:
        """Return the rows of segments, of the same columns all, in the order given.

        Raises
        ------
        NotFound
            If a segment without a digest is not there, or none is named.
        Corrupt
            If a segment is not what was stored; its file is named.
        """
        ...

    def batches(
        self,
        table: str,
        segments: Segments,
        *,
        segment_as: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of segments in the order given, a file at a time; their columns may differ.

        Parameters
        ----------
        segment_as
            Add a column of this name, with the segment of each row.
        columns
            Those of them that are there; by default all.

        Raises
        ------
        NotFound
            If a segment without a digest is not there.
        Corrupt
            If a segment is not what was stored; its file is named.
        """
        ...

    def compact(self, table: str, segments: Segments) -> None:
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


class _Alone(NamedTuple):
    """A segment that has a file of its own."""

    segment: str
    path: Path
    n_bytes: int


class FolderColumns:
    """Columns as ``table/segment.arrows`` or ``.parquet`` below one folder, created if absent.

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
        # By file: what it looked like when its rows were compared, and what they were.
        self._compared: dict[Path, tuple[Looks, dict[str, Digest]]] = {}
        root.mkdir(parents=True, exist_ok=True)

    def append(
        self, table: str, segment: str, frame: pl.DataFrame, *, content: Digest | None = None
    ) -> Digest:
        """Add a segment durably and return the digest of its rows; adding it again with the same rows is
        harmless.
        """
        place = self._place(table, segment)
        if frame.width == 0:
            raise InvalidInput("segment", f"{table}/{segment}", "has no columns")
        content = content or rows_digest(frame)
        if place is not None or segment in self._in_compacted(table):
            _require_same(next(self.batches(table, [segment])), frame, f"{table}/{segment}")
            return content
        name = self._folder(table) / segment
        if is_small(frame):
            self._write(Path(f"{name}{STREAM}"), encoded_stream(frame, content), {segment: content})
        else:
            encoded = encoded_parquet(frame, {DIGEST: content})
            self._write(Path(f"{name}{SUFFIX}"), encoded, {segment: content})
        return content

    def append_together(self, table: str, frames: Mapping[str, pl.DataFrame]) -> dict[str, Digest]:
        """Add several segments of the same columns in one file, and return the digests of their rows."""
        there = frames.keys() & {*self._in_compacted(table, anew=True), *self._alone(table)}
        digests: dict[str, Digest] = {}
        for segment in sorted(there):
            [stretch] = self._stretches(table, [segment])
            [rows] = self.batches(table, [segment])
            if rows.schema != frames[segment].schema or rows.height != frames[segment].height:
                _require_same(rows, frames[segment], f"{table}/{segment}")
            digests[segment] = self._compared[stretch[0].path][1][segment]
        new = {segment: frame for segment, frame in frames.items() if segment not in there}
        for segment in new:
            self._place(table, segment)  # which refuses what could not be a file's name
        if new:
            digests |= {segment: rows_digest(frame) for segment, frame in new.items()}
            self._write_together(table, new, digests)
        return digests

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments in the order of their files; none if there is no such
        table.
        """
        compacted = self._in_compacted(table, anew=True)
        return [*compacted, *sorted(self._alone(table).keys() - compacted.keys())]

    def scan(self, table: str, segments: Segments) -> pl.LazyFrame:
        """Return the rows of segments, of the same columns all, in the order given."""
        if not segments:
            raise NotFound("segment", table, "is asked for by no name")
        parts: list[pl.LazyFrame] = []
        alone: list[Path] = []

        def flush() -> None:
            # Neighbours with files of their own are one scan: a thousand scans take twice as long.
            if alone:
                parts.append(pl.scan_parquet(list(alone), glob=False))
                alone.clear()

        for stretch in self._stretches(table, segments):
            path = stretch[0].path
            rows = self._require_compared(path, stretch, segments)
            if rows is None and path.suffix == STREAM:
                rows = self._read(path)
            if stretch[0].n_rows is None and rows is None:
                alone.append(path)
                continue
            flush()
            whole = pl.scan_parquet(path, glob=False) if rows is None else rows.lazy()
            parts.append(whole if stretch[0].n_rows is None else whole.slice(*_rows(stretch)))
        flush()
        return parts[0] if len(parts) == 1 else pl.concat(parts)

    def batches(
        self,
        table: str,
        segments: Segments,
        *,
        segment_as: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of segments in the order given, a file at a time; their columns may differ."""
        for stretch in self._stretches(table, segments):
            path = stretch[0].path
            rows = self._require_compared(path, stretch, segments)
            rows = frame_of(path, self._shown(path), columns) if rows is None else rows
            if columns is not None:
                rows = rows[[name for name in columns if name in rows.columns]]
            if stretch[0].n_rows is not None:
                rows = rows.slice(*_rows(stretch))
            if segment_as is not None:
                heights = [rows.height if one.n_rows is None else one.n_rows for one in stretch]
                names = pl.Series(segment_as, [one.segment for one in stretch])
                # Eagerly: a query for a column of names takes longer than to read a small file.
                rows = rows.hstack([names[np.repeat(np.arange(len(stretch)), heights)]])
            yield rows

    def _require_compared(
        self, path: Path, stretch: Sequence[_Stored], segments: Segments
    ) -> pl.DataFrame | None:
        """Compare the rows of some segments of one file with what was stored, and with the digests asked for.

        Returns
        -------
        pl.DataFrame
            The rows of the file, if it had to be read for this; None if this process knows it already.
        """
        rows = None
        compared = self._compared.get(path)
        looks = looks_of(path)
        if compared is None or compared[0] != looks:
            rows, found = read_file(path, self._shown(path))
            digests = {name: one.digest for name, one in found.items()}
            compared = self._compared[path] = (looks, digests)
        if isinstance(segments, Mapping):
            for one in stretch:
                expected = segments[one.segment]
                if expected and compared[1][one.segment] != expected:
                    raise Corrupt(
                        "file",
                        self._shown(path),
                        "does not hold the rows that the ledger names",
                        segment=one.segment,
                        expected=expected[:12],
                        found=compared[1][one.segment][:12],
                        hint=RESTORE,
                    )
        return rows

    def _read(self, path: Path) -> pl.DataFrame:
        return frame_of(path, self._shown(path))

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root.parent).as_posix()

    def compact(self, table: str, segments: Segments) -> None:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Only the process that appends may do it. Files that are not needed any more are removed by the next
        compaction: whoever has just found one can still read it.
        """
        alone, compacted = self._alone(table), self._in_compacted(table)
        for segment in alone.keys() & compacted.keys():
            # Only now is the other copy given up, so what takes its place must hold the same.
            self._require_compared(compacted[segment].path, [compacted[segment]], segments)
            alone[segment].path.unlink()
        small = [
            alone[name]
            for name in segments
            if name not in compacted and name in alone and _is_small(alone[name])
        ]
        for several in _worth_a_file(small):
            asked = {name: segments[name] for name in several} if isinstance(segments, Mapping) else several
            frames = zip(several, self.batches(table, asked), strict=True)
            for _, alike in groupby(frames, lambda one: one[1].schema):
                together = dict(alike)
                # Each has just been read, and compared.
                digests = {name: self._compared[alone[name].path][1][name] for name in together}
                self._write_together(table, together, digests)

    def _write_together(
        self, table: str, frames: Mapping[str, pl.DataFrame], digests: Mapping[str, Digest]
    ) -> None:
        numbers = (int(path.name[1:].removesuffix(SUFFIX)) for path in self._compacted[table][0])
        number = max(numbers, default=0) + 1
        listed = [Listed(segment, frame.height, digests[segment]) for segment, frame in frames.items()]
        place = self._folder(table) / f"{COMPACTED}{number:09d}{SUFFIX}"
        metadata = {LISTED: msgspec.json.encode(listed).decode()}
        own = {name: digests[name] for name in frames}
        self._write(place, encoded_parquet(pl.concat(frames.values()), metadata), own)
        self._in_compacted(table, anew=True)

    def _write(self, place: Path, encoded: memoryview, digests: dict[str, Digest]) -> None:
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with storing("segment", place, draft=draft):
            place.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(encoded)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            self._faults.reach("columns.before_rename")
            draft.replace(place)
            if self._durable:
                sync_folder(place.parent)
        self._compared[place] = (looks_of(place), digests)

    def _alone(self, table: str) -> dict[str, _Alone]:
        """Return the segments that have a file of their own."""
        folder = self._folder(table)
        found = {}
        for file in os.scandir(folder) if folder.is_dir() else ():
            name, dot, kind = file.name.rpartition(".")
            if f"{dot}{kind}" in (STREAM, SUFFIX) and name[:1] not in ("", COMPACTED) and file.is_file():
                found[name] = _Alone(name, Path(file.path), file.stat().st_size)
        return found

    def _in_compacted(self, table: str, *, anew: bool = False) -> dict[str, _Stored]:
        """Return the segments in compacted files; another process may have made more since we last looked."""
        folder = self._folder(table)
        if anew or table not in self._compacted:
            paths, found = self._compacted.get(table, (set(), {}))
            new = sorted(set(folder.glob(COMPACTED_FILES)) - paths)
            found = found | {one.segment: one for path in new for one in _places(path, self._shown(path))}
            self._compacted[table] = paths.union(new), found
        return self._compacted[table][1]

    def _stretches(self, table: str, segments: Segments) -> list[list[_Stored]]:
        """Return where segments are, those that follow one another in a compacted file together."""
        compacted = self._in_compacted(table)
        stretches: list[list[_Stored]] = []
        for segment in segments:
            one = compacted.get(segment)
            if one is None and (path := self._place(table, segment)) is not None:
                one = _Stored(segment, path)
            if one is None:
                compacted = self._in_compacted(table, anew=True)
                if segment not in compacted:
                    raise self._missing(table, segment, segments)
                one = compacted[segment]
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

    def _missing(self, table: str, segment: str, segments: Segments) -> NotFound | Corrupt:
        shown = self._shown(self._folder(table) / segment)
        if isinstance(segments, Mapping):
            return Corrupt("file", shown, "is missing", segment=segment, hint=RESTORE)
        return NotFound("segment", shown)

    def _place(self, table: str, segment: str) -> Path | None:
        """Return the file of a segment, if it has one of its own."""
        require_segment_name(segment)
        name = self._folder(table) / segment
        for suffix in (STREAM, SUFFIX):
            path = Path(f"{name}{suffix}")
            if path.exists():
                return path
        return None


_NAMES = "use letters, digits and _ . = + -, not a dot first, 128 at most"


def require_segment_name(segment: object) -> None:
    """Raise `InvalidInput` if a segment could not be called so."""
    if not isinstance(segment, str) or not _PART.fullmatch(segment):
        raise InvalidInput("segment", str(segment)[:80], "is not a valid name", hint=_NAMES)


def _is_small(one: _Alone) -> bool:
    return one.path.suffix == STREAM or one.n_bytes < _SMALL_PARQUET_BYTES


def _worth_a_file(small: Sequence[_Alone]) -> Iterator[list[str]]:
    """Yield the names of small segments that go together, in their order, without those that are too few."""
    names: list[str] = []
    n_bytes = 0
    for one in small:
        names.append(one.segment)
        n_bytes += one.n_bytes
        if len(names) >= _MANY or n_bytes >= _MUCH_BYTES:
            yield names
            names, n_bytes = list[str](), 0


def _follows(one: _Stored, other: _Stored) -> bool:
    return one.path == other.path and other.n_rows is not None and one.first == other.first + other.n_rows


def _rows(stretch: Sequence[_Stored]) -> tuple[int, int]:
    """Return the first row of a stretch in its compacted file, and how many there are."""
    return stretch[0].first, sum(one.n_rows or 0 for one in stretch)


def _places(path: Path, shown: str) -> Iterator[_Stored]:
    first = 0
    for one in listed_in(path, shown):
        yield _Stored(one.segment, path, first, one.n_rows)
        first += one.n_rows


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
