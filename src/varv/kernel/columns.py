"""Columns: tables that only grow, by named segments.

A segment is written once, whole, and never changes; writing it again with the same rows is harmless, which is
how a step that a crash interrupted is simply run again. Many small segments can be compacted into one file,
which lists them: what is read stays the same. `kernel.folder_columns` keeps them as files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from varv.kernel.catalogue import Compacted, Merged
from varv.kernel.clock import Instant, as_datetime
from varv.kernel.codec import Digest
from varv.kernel.segment_files import Listed

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
        spared: Collection[str] = (),
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
        spared
            Segments whose own files stay, though a compacted one holds them.

        Returns
        -------
        list[Compacted]
            The files that hold segments from now on; they are to be put on record.
        """
        ...

    def merge(
        self,
        table: str,
        names: Mapping[str, Digest],
        *,
        known: Collection[str],
        removed: Collection[str] = (),
    ) -> Merged:
        """Store what lies in several files, of the same columns all, in one more; the others stay.

        Parameters
        ----------
        names
            Segments and compacted files with their digests, in the order in which they are read.
        known
            The compacted files on record. Others that hold nothing beyond those were left by a crash, and go.
        removed
            As `compact` takes them.
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
