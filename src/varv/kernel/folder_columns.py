"""Columns in a folder: segments as files of Arrow and Parquet.

Many small segments can be compacted into one Parquet file, which lists them. Digests are made in
`kernel.content`, one file is read in `kernel.segment_files` and compared with its digests in
`kernel.compared_files`, and `kernel.audit` compares all files at once.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from varv.kernel.blobs import sync_folder
from varv.kernel.catalogue import Compacted, Merged
from varv.kernel.codec import Digest
from varv.kernel.columns import Segments
from varv.kernel.compared_files import ComparedFiles
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
    encoded_parquet,
    encoded_stream,
    frame_of,
    is_small,
    listed_in,
    listing_digest,
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
        self._compared = ComparedFiles(root)
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
            rows = self._compared.require(stretch, segments)
            if rows is None and path.suffix == STREAM:
                rows = frame_of(path, self._shown(path))
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
            rows = self._compared.require(stretch, segments)
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
        spared: Collection[str] = (),
    ) -> list[Compacted]:
        """Store small segments in files of many, if there are many of them. They keep their names and rows.

        Only the process that appends may do it. Files that are not needed any more are removed by the next
        compaction: whoever has just found one can still read it.
        """
        folder = self._folder(table)
        alone = folder.alone()
        for place, spent in folder.spent(alone, {*segments, *spared}, files):
            # Only now is the other copy given up, so what takes its place must hold the same.
            self._compared.require([place], [place.segment])
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
        self._put(self._folder(table).path / file, parts, durable=True)

    def merge(
        self,
        table: str,
        names: Mapping[str, Digest],
        *,
        known: Collection[str],
        removed: Collection[str] = (),
    ) -> Merged:
        """Store what lies in several files, of the same columns all, in one more; the others stay."""
        folder = self._folder(table)
        folder.remove_left(known)
        frames = list(self.batches(table, names))
        listed: list[Listed] = []
        for (name, digest), frame in zip(names.items(), frames, strict=True):
            is_file = name.startswith(COMPACTED)
            listed += self.listed(table, name) if is_file else [Listed(name, frame.height, digest)]
        file, digest = folder.next_file(known, (), removed), listing_digest(listed)
        metadata = {LISTED: msgspec.json.encode(listed).decode()}
        self._write(folder.compacted(file), encoded_parquet(pl.concat(frames), metadata), digest)
        self._faults.reach("columns.after_merge")
        return Merged(file, digest)

    def remove(self, table: str, names: Collection[str]) -> None:
        """Remove the files of segments, and compacted files, as far as they are there."""
        folder = self._folder(table)
        for name in names:
            path = folder.compacted(name) if COMPACTED_FILE.fullmatch(name) else folder.own(name)
            if path is not None:
                self._faults.reach("columns.before_unlink")
                path.unlink(missing_ok=True)
                self._compared.forget(path)

    def remove_listed(self, table: str, segments: Collection[str], kept: Collection[str]) -> None:
        """Remove the compacted files that list some of `segments`, and none that is `kept`."""
        by_file: dict[Path, set[str]] = {}
        for place in self._folder(table).in_compacted().values():
            by_file.setdefault(place.path, set()).add(place.segment)
        for path, listed in by_file.items():
            if not listed.isdisjoint(segments) and listed.isdisjoint(kept):
                path.unlink(missing_ok=True)
                self._compared.forget(path)

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
        self._put(place, [encoded], durable=self._durable)
        self._compared.written(place, content)

    def _put(self, place: Path, parts: Iterable[bytes | memoryview], *, durable: bool) -> None:
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with storing("segment", place, draft=draft):
            place.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                for part in parts:
                    file.write(part)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            self._faults.reach("columns.before_rename")
            draft.replace(place)
            if durable:
                sync_folder(place.parent)

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
