"""A timeline: the rows of one part of a dataset in the order in which they became known, of which any stretch
is read without the rest.

A few megabytes stay in memory. More is written to a temporary folder in chunks, so that a replay of years
takes as much memory as one of weeks. A source that comes in several batches may bring them in any order: rows
are written by the month first, and each month is sorted by itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from varv.kernel.clock import DAY, Instant

MOST_IN_MEMORY = 4 << 20
"""Bytes of a part that are simply held."""
CHUNK_ROWS = 1 << 15
_BUCKET = 30 * DAY
_HELD = 2
_HASHES = 1 << 64


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring rows: where their times begin and end, how many there are before them, and where they
    are.
    """

    first: int
    last: int
    start: int
    rows: pl.DataFrame | Path

    def load(self) -> pl.DataFrame:
        return self.rows if isinstance(self.rows, pl.DataFrame) else pl.read_ipc_stream(self.rows)


class Timeline:
    """Rows in the order of a time; made by `TimelineWriter`.

    Parameters
    ----------
    time
        The time column; never null.
    chunks
        In order.
    none
        No rows, with the columns.
    fingerprint
        What identifies the rows and their order.
    """

    def __init__(
        self, time: str, chunks: Sequence[_Chunk], none: pl.DataFrame, n_rows: int, fingerprint: int
    ) -> None:
        self._time = time
        self._chunks = list(chunks)
        self._none = none
        self._held: OrderedDict[int, tuple[pl.DataFrame, np.ndarray]] = OrderedDict()
        self.n_rows = n_rows
        self.fingerprint = fingerprint

    def between(self, since: Instant, until: Instant) -> pl.DataFrame:
        """Return the rows with a time in [since, until)."""
        found = [
            frame[int(low) : int(high)]
            for number, chunk in enumerate(self._chunks)
            if chunk.first < until and chunk.last >= since
            for frame, times in [self._loaded(number)]
            for low, high in [np.searchsorted(times, (since, until))]
            if low < high
        ]
        return found[0] if len(found) == 1 else pl.concat([self._none, *found])

    def count_before(self, until: Instant) -> int:
        """Return how many rows have a time before an instant."""
        number = bisect_left(self._chunks, until, key=lambda chunk: chunk.last)
        if number == len(self._chunks):
            return self.n_rows
        chunk = self._chunks[number]
        if chunk.first >= until:
            return chunk.start
        return chunk.start + int(np.searchsorted(self._loaded(number)[1], until))

    def span_before(self, until: Instant) -> tuple[Instant, Instant] | None:
        """Return the first and the last time before an instant; None if there is none."""
        if not self._chunks or self._chunks[0].first >= until:
            return None
        number = bisect_left(self._chunks, until, key=lambda chunk: chunk.first) - 1
        times = self._loaded(number)[1]
        return Instant(self._chunks[0].first), Instant(int(times[np.searchsorted(times, until) - 1]))

    def select(self, *columns: str) -> pl.DataFrame:
        """Return some columns of all rows."""
        return pl.concat(
            [self._none.select(columns), *(chunk.load().select(columns) for chunk in self._chunks)]
        )

    def _loaded(self, number: int) -> tuple[pl.DataFrame, np.ndarray]:
        """Return a chunk and its times; the last few stay in memory, since time goes on from one to the
        next.
        """
        found = self._held.pop(number, None)
        if found is None:
            frame = self._chunks[number].load()
            found = frame, frame[self._time].to_physical().to_numpy()
        self._held[number] = found
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return found


class TimelineWriter:
    """Takes in the rows of one part in any order, and makes a timeline of them.

    Parameters
    ----------
    time, key
        The columns that rows are ordered by; rows that are equal in them stay as they come.
    none
        No rows, with the columns.
    folder
        Where rows go that are too many to be held; made when it is needed.
    """

    def __init__(self, time: str, key: Sequence[str], none: pl.DataFrame, folder: Path) -> None:
        self._order = (time, *key)
        self._time = time
        self._none = none
        self._folder = folder
        self._pieces: list[pl.DataFrame] = []
        self._n_bytes = 0
        self._buckets: dict[int, list[Path]] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows, of which none lacks a time."""
        if rows.is_empty():
            return
        self._pieces.append(rows)
        self._n_bytes += int(rows.estimated_size())
        # What came in one piece is only written once it is sorted.
        if len(self._pieces) > 1 and self._n_bytes > MOST_IN_MEMORY:
            self._spill()

    def finish(self) -> Timeline:
        """Return the timeline of all rows that were taken in."""
        chunks: list[_Chunk] = []
        start = fingerprint = 0
        for rows in self._sorted():
            numbered = rows.with_row_index("row", offset=start)
            fingerprint = (fingerprint + _sum(numbered.hash_rows(seed=0))) % _HASHES
            for first in range(0, rows.height, CHUNK_ROWS):
                part = rows[first : first + CHUNK_ROWS]
                chunks.append(self._chunk(part, start + first, len(chunks)))
            start += rows.height
        return Timeline(self._time, chunks, self._none, start, fingerprint)

    def _sorted(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in order, a month at a time if they were many pieces."""
        if not self._buckets:
            yield pl.concat([self._none, *self._pieces]).sort(*self._order, maintain_order=True)
            self._pieces = []
            return
        self._spill()
        for number in sorted(self._buckets):
            pieces = [pl.read_ipc_stream(path) for path in self._buckets[number]]
            yield pl.concat(pieces).sort(*self._order, maintain_order=True)
            for path in self._buckets[number]:
                path.unlink()

    def _spill(self) -> None:
        """Write what is held by the month."""
        if not self._pieces:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = pl.concat(self._pieces).with_columns(
            (pl.col(self._time).to_physical() // _BUCKET).alias("its bucket")
        )
        for (bucket,), part in rows.group_by("its bucket", maintain_order=True):
            number = int(str(bucket))
            paths = self._buckets.setdefault(number, [])
            path = self._folder / f"piece-{number}-{len(paths)}.arrows"
            part.drop("its bucket").write_ipc_stream(path, compression="lz4")
            paths.append(path)
        self._pieces.clear()
        self._n_bytes = 0

    def _chunk(self, rows: pl.DataFrame, start: int, number: int) -> _Chunk:
        times = rows[self._time].to_physical()
        chunk = _Chunk(int(times[0]), int(times[-1]), start, rows)
        if not self._buckets and self._n_bytes <= MOST_IN_MEMORY:
            return chunk
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"chunk-{number}.arrows"
        rows.write_ipc_stream(path, compression="lz4")
        return replace(chunk, rows=path)


def _sum(hashes: pl.Series) -> int:
    return int(hashes.sum()) if len(hashes) else 0
