"""The past as it arrived: slices of every part of every dataset by the time at which its rows became
known.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from varv.data import Dataset
from varv.data.identity import KeyCount
from varv.data.intake import Batch
from varv.data.timeline import Timeline, TimelineWriter
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of
from varv.kernel.scratch import Scratch


class Feed:
    """Rows of datasets, ordered by when they became known.

    Much data lies in a temporary folder (``TMPDIR``) while the feed is used.

    Parameters
    ----------
    datasets
        Read from their sources, once.

    Raises
    ------
    InvalidDeclaration
        If the key of a dataset does not identify its rows.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._scratch = Scratch("feed")
        self._parts: dict[tuple[str, str], tuple[Dataset, Timeline]] = {}
        self._undated: dict[str, pl.DataFrame] = {}
        self._later: dict[tuple[str, str], pl.DataFrame] = {}
        for dataset in datasets:
            self._read(dataset)

    def _read(self, dataset: Dataset) -> None:
        writers = {
            part: TimelineWriter(
                part,
                dataset.key,
                pl.DataFrame(schema=dataset.part_types(part)),
                self._scratch.path / dataset.name / part,
            )
            for part in dataset.parts
        }
        base, keys = dataset.columns(dataset.event_time), KeyCount(dataset)
        undated = [pl.DataFrame(schema=dataset.part_types(dataset.event_time))]
        for frame in dataset.batches():
            keys.add(frame)
            for part, writer in writers.items():
                writer.add(dataset.part(frame, part))
            undated.append(frame.filter(pl.col(dataset.event_time).is_null()).select(base))
        keys.require_key()
        for part, writer in writers.items():
            self._parts[dataset.name, part] = (dataset, writer.finish())
        self._undated[dataset.name] = pl.concat(undated).sort(dataset.key, maintain_order=True)

    def digest(self) -> Digest:
        """Return what identifies the rows, all of them and in their order."""
        found = [
            [name, part, rows.n_rows, rows.fingerprint] for (name, part), (_, rows) in self._parts.items()
        ]
        undated = [
            [name, rows.height, int(rows.with_row_index("row").hash_rows(seed=0).sum())]
            for name, rows in self._undated.items()
            if rows.height
        ]
        return digest_of([*found, *undated])

    def values(self, dataset: Dataset, column: str) -> pl.Series:
        """Return all that a column ever holds, of rows whose value becomes known."""
        return self._timeline(dataset, dataset.known_when(column)).select(column)[column]

    def n_rows(self, dataset: Dataset, part: str) -> int:
        """Return how many rows of a part the source holds, with a time or, of the base part, without."""
        undated = self._undated[dataset.name].height if part == dataset.event_time else 0
        return undated + self._timeline(dataset, part).n_rows

    def n_between(self, dataset: Dataset, part: str, since: Instant, until: Instant) -> int:
        """Return how many rows of a part became known in [since, until)."""
        rows = self._timeline(dataset, part)
        return rows.count_before(until) - rows.count_before(since)

    def keys_outside(self, dataset: Dataset, since: Instant, until: Instant) -> pl.DataFrame:
        """Return the keys of a dataset's rows that are not of [since, until)."""
        rows = self._timeline(dataset, dataset.event_time)
        outside = [rows.between(_FIRST, since), rows.between(until, _LAST)]
        return pl.concat([part.select(dataset.key) for part in outside])

    def n_undated(self, dataset: Dataset) -> int:
        """Return how many rows of a dataset have no event time."""
        return self._undated[dataset.name].height

    def spans(self, until: Instant) -> list[tuple[Dataset, str, Instant, Instant]]:
        """Return of each part that has rows from before an instant the first and the last time of these."""
        found = []
        for (_, part), (dataset, rows) in self._parts.items():
            if (span := rows.span_before(until)) is not None:
                found.append((dataset, part, *span))
        return found

    def between(self, since: Instant, until: Instant, *, undated: bool = False) -> list[Batch]:
        """Return what became known in [since, until), one arrival for each part that has rows.

        Parameters
        ----------
        undated
            Rows without an event time come too: nobody knows when, so with the first stretch.
        """
        found = []
        for (_, part), (dataset, rows) in self._parts.items():
            chosen = rows.between(since, until)
            if undated and part == dataset.event_time and self._undated[dataset.name].height:
                chosen = pl.concat([self._undated[dataset.name], chosen])
            if chosen.height:
                found.append(Batch(dataset, part, chosen))
        return found

    def later(self, dataset: Dataset, requests: pl.DataFrame, column: str) -> pl.Series:
        """Return what a column of requests came to be, which nobody could know when they were made."""
        asked = dataset.name, column
        if asked not in self._later:
            known = self._timeline(dataset, dataset.known_when(column)).select(*dataset.key, column)
            self._later[asked] = known.unique(dataset.key, keep="first", maintain_order=True)
        wanted = requests.select(dataset.key)
        return wanted.join(self._later[asked], on=dataset.key, how="left", maintain_order="left")[column]

    def _timeline(self, dataset: Dataset, part: str) -> Timeline:
        return self._parts[dataset.name, part][1]


_FIRST, _LAST = Instant(-(1 << 63)), Instant((1 << 63) - 1)
