"""The past as it arrived: slices of every part of every dataset by the time at which its rows became
known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from varv.data import Dataset
from varv.data.identity import require_key
from varv.data.intake import Batch
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of


class Feed:
    """Rows of datasets, ordered by when they became known.

    Parameters
    ----------
    datasets
        Loaded whole from their sources, once.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._parts: list[tuple[Dataset, str, pl.DataFrame, np.ndarray]] = []
        self._undated: dict[str, pl.DataFrame] = {}
        for dataset in datasets:
            frame = dataset.load()
            require_key(dataset, frame)
            for part in dataset.parts:
                rows = dataset.part(frame, part)
                self._parts.append((dataset, part, rows, rows[part].to_physical().to_numpy()))
            undated = frame.filter(pl.col(dataset.event_time).is_null())
            self._undated[dataset.name] = undated.select(dataset.columns(dataset.event_time))

    def digest(self) -> Digest:
        """Return what identifies the rows, all of them and in their order."""
        found = [
            [dataset.name, part, rows.height, int(rows.with_row_index("row").hash_rows(seed=0).sum())]
            for dataset, part, rows, _ in self._parts
        ]
        undated = [
            [name, rows.height, int(rows.with_row_index("row").hash_rows(seed=0).sum())]
            for name, rows in self._undated.items()
            if rows.height
        ]
        return digest_of([*found, *undated])

    def values(self, dataset: Dataset, column: str) -> pl.Series:
        """Return all that a column ever holds, of rows whose value becomes known."""
        part = dataset.known_when(column)
        return next(rows[column] for data, name, rows, _ in self._parts if data is dataset and name == part)

    def n_rows(self, dataset: Dataset, part: str) -> int:
        """Return how many rows of a part the source holds, with a time or, of the base part, without."""
        undated = self._undated[dataset.name].height if part == dataset.event_time else 0
        return undated + next(len(t) for data, name, _, t in self._parts if data is dataset and name == part)

    def n_between(self, dataset: Dataset, part: str, since: Instant, until: Instant) -> int:
        """Return how many rows of a part became known in [since, until)."""
        times = next(times for data, name, _, times in self._parts if data is dataset and name == part)
        low, high = np.searchsorted(times, [since, until])
        return int(high - low)

    def keys_outside(self, dataset: Dataset, since: Instant, until: Instant) -> pl.DataFrame:
        """Return the keys of a dataset's rows that are not of [since, until)."""
        rows, times = next((rows, times) for data, _, rows, times in self._parts if data is dataset)
        low, high = np.searchsorted(times, [since, until])
        return pl.concat([rows[: int(low)], rows[int(high) :]]).select(dataset.key)

    def n_undated(self, dataset: Dataset) -> int:
        """Return how many rows of a dataset have no event time."""
        return self._undated[dataset.name].height

    def between(self, since: Instant, until: Instant, *, undated: bool = False) -> list[Batch]:
        """Return what became known in [since, until), one arrival for each part that has rows.

        Parameters
        ----------
        undated
            Rows without an event time come too: nobody knows when, so with the first stretch.
        """
        found = []
        for dataset, part, rows, times in self._parts:
            low, high = np.searchsorted(times, [since, until])
            chosen = rows[int(low) : int(high)]
            if undated and part == dataset.event_time and self._undated[dataset.name].height:
                chosen = pl.concat([self._undated[dataset.name], chosen])
            if chosen.height:
                found.append(Batch(dataset, part, chosen))
        return found

    def later(self, dataset: Dataset, requests: pl.DataFrame, column: str) -> pl.Series:
        """Return what a column of requests came to be, which nobody could know when they were made."""
        part = dataset.known_when(column)
        known = next(rows for data, name, rows, _ in self._parts if data is dataset and name == part)
        first = known.select(*dataset.key, column).unique(dataset.key, keep="first", maintain_order=True)
        wanted = requests.select(dataset.key)
        return wanted.join(first, on=dataset.key, how="left", maintain_order="left")[column]
