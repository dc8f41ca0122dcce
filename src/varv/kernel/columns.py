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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.catalogue import Compacted
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict, Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.segment_files import (
    COMPACTED,
    COMPACTED_FILE,
    COMPACTED_FILES,
    DIGEST,
    LISTED,
    RESTORE,
    STREAM,
    SUFFIX,
    UNKNOWN,
    Listed,
    Looks,
    encoded_parquet,
    encoded_stream,
    frame_of,
    is_small,
    listed_in,
    listing_digest,
    looks_of,
    read_file,
)
from varv.kernel.storage import storing
from varv.kernel.table_folder import (
    NAMES,
    PART,
    Alone,
    Place,
    TableFolder,
    require_segment_name,
    worth_a_file,
)

_MOST_PARTS = 4
_FEWEST_COMPARED = 4096
"""So many files are remembered as compared before those are forgotten that are gone."""


TIME = pl.Datetime("us", "UTC")
"""The one type of all times in tables."""

SEGMENT = "segment of the row"
"""The column that says which segment a row is of."""

Segments = Sequence[str] | Mapping[str, Digest]
"""Names of segments in the order in which they are read, each with the digest of its rows if it is known;
empty if not. A compacted file is named like a segment, with the digest of what it lists.
"""


def segment_name(since: Instant) -> str:
    """Return the name of the segment of what arrived from `since` on, which sorts as time does."""
    return as_datetime(since).strftime("%Y%m%dT%H%M%S%f")


def stretches(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Return the rows of each segment of a batch, without the column `SEGMENT`, in their order."""
    runs = rows[SEGMENT].rle().struct.unnest()
    found, first = list[tuple[str, pl.DataFrame]](), 0
    plain = rows.drop(SEGMENT)
    for length, segment in runs.iter_rows():
        found.append((segment, plain.slice(first, length)))
        first += length
    return found


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

    def latest(self, table: str, n: int) -> list[str]:
        """Return the names of what was added last, without a look into any file: the last compacted file, and
        of the segments that have a file of their own the last `n`; none if there is no such table.
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

    def file_of(self, table: str, name: str) -> Path | None:
        """Return the file of a segment of its own, or of a compacted file; None if it is not there."""
        ...

    def put_back(self, table: str, file: str, parts: Iterable[bytes]) -> None:
        """Put a file of a table, called as `file_of` gave it once, where it was: whole, durably, or not at
        all.

        Raises
        ------
        StorageFull
            If the disk takes nothing more.
        """
        ...

    def compact(
        self,
        table: str,
        segments: Mapping[str, Digest],
        files: Collection[str] = (),
        *,
        apart: Sequence[Sequence[str]] = (),
        entirely: Collection[str] = (),
        removed: Collection[str] = (),
    ) -> list[Compacted]:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Parameters
        ----------
        segments
            Those that count and do not lie in `files`, with their digests, in the order in which they are
            read, which makes reading them cheap.
        files
            The compacted files that count.
        apart
            Those of `segments` that are stored together with each other only, and however few they are.
        entirely
            Those of `segments` of which none is left in a file that is not Parquet.
        removed
            Compacted files that are there no more, and whose names are not given again.

        Returns
        -------
        list[Compacted]
            The files that hold segments from now on; they are to be put on record.
        """
        ...

    def remove(self, table: str, names: Collection[str]) -> None:
        """Remove the files of segments, and compacted files, as far as they are there."""
        ...

    def remove_listed(self, table: str, segments: Collection[str], kept: Collection[str]) -> None:
        """Remove the compacted files that list some of `segments`, and none that is `kept`."""
        ...

    def listed(self, table: str, file: str) -> list[Listed]:
        """Return the segments that a compacted file holds, in its order.

        Raises
        ------
        Corrupt
            If it is not there, or does not list them.
        """
        ...

    def files(self, table: str) -> list[str]:
        """Return the names of all files of a table: of segments that have their own, and compacted ones. What
        a crash left of a file that was being written is removed, so nobody may be writing.
        """
        ...

    def folder(self, table: str) -> Path:
        """Return the folder of a table, for whoever has to name its files to others."""
        ...


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
        self._folders: dict[str, TableFolder] = {}
        # By file: what it looked like when its rows were compared, and what they, or its list, were.
        self._compared: dict[Path, tuple[Looks, Digest]] = {}
        self._most_compared = _FEWEST_COMPARED
        root.mkdir(parents=True, exist_ok=True)

    def append(
        self, table: str, segment: str, frame: pl.DataFrame, *, content: Digest | None = None
    ) -> Digest:
        """Add a segment durably and return the digest of its rows; adding it again with the same rows is
        harmless, as long as it was not compacted.
        """
        folder = self._folder(table)
        place = folder.own(segment)
        if frame.width == 0:
            raise InvalidInput("segment", f"{table}/{segment}", "has no columns")
        content = content or rows_digest(frame)
        if place is not None:
            _require_same(next(self.batches(table, [segment])), frame, f"{table}/{segment}")
            return content
        name = folder.path / segment
        if is_small(frame):
            self._write(Path(f"{name}{STREAM}"), encoded_stream(frame, content), content)
        else:
            encoded = encoded_parquet(frame, {DIGEST: content})
            self._write(Path(f"{name}{SUFFIX}"), encoded, content)
        return content

    def append_together(self, table: str, frames: Mapping[str, pl.DataFrame]) -> dict[str, Digest]:
        """Add several segments of the same columns in one file, and return the digests of their rows."""
        folder = self._folder(table)
        there = frames.keys() & {*folder.in_compacted(), *folder.alone()}
        digests: dict[str, Digest] = {}
        for segment in sorted(there):
            [rows] = self.batches(table, [segment])
            if rows.schema != frames[segment].schema or rows.height != frames[segment].height:
                _require_same(rows, frames[segment], f"{table}/{segment}")
            digests[segment] = rows_digest(rows)
        new = {segment: frame for segment, frame in frames.items() if segment not in there}
        for segment in new:
            require_segment_name(segment)
        if new:
            digests |= {segment: rows_digest(frame) for segment, frame in new.items()}
            self._write_together(folder.compacted(folder.next_file()), new, digests)
        return digests

    def segments(self, table: str) -> list[str]:
        """Return the names of a table's segments in the order of their files; none if there is no such
        table.
        """
        folder = self._folder(table)
        compacted = folder.in_compacted()
        return [*compacted, *sorted(folder.alone().keys() - compacted.keys())]

    def latest(self, table: str, n: int) -> list[str]:
        """Return the names of what was added last: the last compacted file, and the last `n` segments."""
        folder = self._folder(table)
        compacted = folder.last_compacted()
        alone = sorted(folder.alone())[-n:] if n else []
        return alone if compacted is None else [compacted, *alone]

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
                listed = self._held(stretch, rows.height)
                names = pl.Series(segment_as, [one.segment for one in listed], dtype=pl.String)
                # Eagerly: a query for a column of names takes longer than to read a small file.
                places = np.repeat(np.arange(len(listed)), [one.n_rows for one in listed])
                rows = rows.hstack([names[places]])
            yield rows

    def _held(self, stretch: Sequence[Place], n_rows: int) -> list[Listed]:
        """Return the segments of a stretch with the numbers of their rows, `n_rows` in all."""
        path = stretch[0].path
        if stretch[0].segment.startswith(COMPACTED):
            return listed_in(path, self._shown(path))
        return [Listed(one.segment, n_rows if one.n_rows is None else one.n_rows) for one in stretch]

    def _require_compared(
        self, path: Path, stretch: Sequence[Place], segments: Segments
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
            rows, listed = read_file(path, self._shown(path))
            found = listing_digest(listed) if path.name.startswith(COMPACTED) else listed[0].digest
            compared = looks, found
            self._remember(path, compared)
        if isinstance(segments, Mapping):
            for name, found in self._digests(stretch, compared[1]).items():
                if segments[name] and found != segments[name]:
                    raise Corrupt(
                        "file",
                        self._shown(path),
                        "does not hold the rows that the ledger names",
                        segment=name,
                        expected=segments[name][:12],
                        found=found[:12],
                        hint=RESTORE,
                    )
        return rows

    def _remember(self, path: Path, compared: tuple[Looks, Digest]) -> None:
        self._compared[path] = compared
        if len(self._compared) > self._most_compared:
            # Compacted segments lose their files, in another process than the one that has read them too.
            self._compared = {path: known for path, known in self._compared.items() if path.exists()}
            self._most_compared = max(_FEWEST_COMPARED, 2 * len(self._compared))

    def _digests(self, stretch: Sequence[Place], of_file: Digest) -> dict[str, Digest]:
        """Return the digests of the rows of a stretch's segments, whose file was compared."""
        if stretch[0].n_rows is None:
            return {stretch[0].segment: of_file}
        path = stretch[0].path
        listed = {one.segment: one.digest for one in listed_in(path, self._shown(path))}
        return {one.segment: listed[one.segment] for one in stretch}

    def _read(self, path: Path) -> pl.DataFrame:
        return frame_of(path, self._shown(path))

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root.parent).as_posix()

    def compact(
        self,
        table: str,
        segments: Mapping[str, Digest],
        files: Collection[str] = (),
        *,
        apart: Sequence[Sequence[str]] = (),
        entirely: Collection[str] = (),
        removed: Collection[str] = (),
    ) -> list[Compacted]:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Only the process that appends may do it. Files that are not needed any more are removed by the next
        compaction: whoever has just found one can still read it.
        """
        folder = self._folder(table)
        alone = folder.alone()
        for place, spent in folder.spent(alone, segments, files):
            # Only now is the other copy given up, so what takes its place must hold the same.
            self._require_compared(place.path, [place], [place.segment])
            for segment in spent:
                alone[segment].path.unlink()
        made = folder.made_before(segments, alone)
        known = {name for name, digest in segments.items() if digest and name in alone}
        small = [name for name in segments if name in known and alone[name].is_small]
        kept_apart = [[name for name in names if name in small] for names in apart]
        rest = set(small).difference(*kept_apart)
        at_once, later = _split([alone[name] for name in small if name in rest], entirely)
        several_times = (
            *(names for names in kept_apart if len(names) > 1),
            *worth_a_file(at_once, however_few=True),
            *worth_a_file(later),
        )
        for several in several_times:
            asked = {name: segments[name] for name in several}
            frames = zip(several, self.batches(table, asked), strict=True)
            for _, alike in groupby(frames, lambda one: one[1].schema):
                together = dict(alike)
                file = folder.next_file({*files, *(one.file for one in made)}, alone, removed)
                self._write_together(folder.compacted(file), together, segments)
                made.append(Compacted(file=file, segments=tuple(together)))
        return made

    def file_of(self, table: str, name: str) -> Path | None:
        """Return the file of a segment of its own, or of a compacted file; None if it is not there."""
        folder = self._folder(table)
        path = folder.compacted(name) if COMPACTED_FILE.fullmatch(name) else folder.own(name)
        return path if path is not None and path.exists() else None

    def put_back(self, table: str, file: str, parts: Iterable[bytes]) -> None:
        """Put a file of a table, as `file_of` gave it once, where it was; it is there whole or not at all."""
        place = self._folder(table).path / file
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with storing("segment", place, draft=draft):
            place.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as out:
                for part in parts:
                    out.write(part)
                out.flush()
                os.fsync(out.fileno())
            self._faults.reach("columns.before_rename")
            draft.replace(place)
            sync_folder(place.parent)

    def remove(self, table: str, names: Collection[str]) -> None:
        """Remove the files of segments, and compacted files, as far as they are there."""
        folder = self._folder(table)
        for name in names:
            path = folder.compacted(name) if COMPACTED_FILE.fullmatch(name) else folder.own(name)
            if path is not None:
                self._faults.reach("columns.before_unlink")
                path.unlink(missing_ok=True)
                self._compared.pop(path, None)

    def remove_listed(self, table: str, segments: Collection[str], kept: Collection[str]) -> None:
        """Remove the compacted files that list some of `segments`, and none that is `kept`."""
        by_file: dict[Path, set[str]] = {}
        for place in self._folder(table).in_compacted().values():
            by_file.setdefault(place.path, set()).add(place.segment)
        for path, listed in by_file.items():
            if not listed.isdisjoint(segments) and listed.isdisjoint(kept):
                path.unlink(missing_ok=True)
                self._compared.pop(path, None)

    def listed(self, table: str, file: str) -> list[Listed]:
        """Return the segments that a compacted file holds, in its order."""
        [[found]] = self._stretches(table, {file: UNKNOWN})
        return self._folder(table).listed(found.path)

    def files(self, table: str) -> list[str]:
        """Return the names of all files of a table, and remove drafts."""
        folder = self._folder(table)
        for draft in folder.path.glob(".*") if folder.path.is_dir() else ():
            draft.unlink(missing_ok=True)
        return [*folder.alone(), *(path.stem for path in folder.path.glob(COMPACTED_FILES))]

    def folder(self, table: str) -> Path:
        """Return the folder of a table, for whoever has to name its files to others."""
        return self._folder(table).path

    def _write_together(
        self, place: Path, frames: Mapping[str, pl.DataFrame], digests: Mapping[str, Digest]
    ) -> None:
        listed = [Listed(segment, frame.height, digests[segment]) for segment, frame in frames.items()]
        metadata = {LISTED: msgspec.json.encode(listed).decode()}
        self._write(place, encoded_parquet(pl.concat(frames.values()), metadata), listing_digest(listed))

    def _write(self, place: Path, encoded: memoryview, content: Digest) -> None:
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
        self._remember(place, (looks_of(place), content))

    def _stretches(self, table: str, segments: Segments) -> list[list[Place]]:
        """Return where segments are, those that follow one another in a compacted file together."""
        folder = self._folder(table)
        stretches: list[list[Place]] = []
        for segment in segments:
            one = folder.find(segment)
            if one is None:
                raise self._missing(folder, segment, segments)
            if stretches and one.follows(stretches[-1][-1]):
                stretches[-1].append(one)
            else:
                stretches.append([one])
        return stretches

    def _folder(self, table: str) -> TableFolder:
        if table not in self._folders:
            parts = table.split("/") if isinstance(table, str) else []
            if not 0 < len(parts) <= _MOST_PARTS or not all(PART.fullmatch(part) for part in parts):
                raise InvalidInput("table", str(table)[:80], "is not a valid name", hint=NAMES)
            self._folders[table] = TableFolder(self._root.joinpath(*parts), self._root)
        return self._folders[table]

    def _missing(self, folder: TableFolder, segment: str, segments: Segments) -> NotFound | Corrupt:
        shown = self._shown(folder.path / segment)
        if isinstance(segments, Mapping):
            return Corrupt("file", shown, "is missing", segment=segment, hint=RESTORE)
        return NotFound("segment", shown)


def _split(small: Sequence[Alone], chosen: Collection[str]) -> tuple[list[Alone], list[Alone]]:
    """Return those that are chosen, and the others."""
    found: tuple[list[Alone], list[Alone]] = ([], [])
    for one in small:
        found[one.segment not in chosen].append(one)
    return found


def _rows(stretch: Sequence[Place]) -> tuple[int, int]:
    """Return the first row of a stretch in its compacted file, and how many there are."""
    return stretch[0].first, sum(one.n_rows or 0 for one in stretch)


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
