"""The past as it arrived: slices of every part of every dataset by the time at which its rows became
known.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from varv.data import Dataset
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, digest_of


class Arrival(msgspec.Struct, frozen=True):
    """Rows of one part that became known in a stretch of time, in the order in which they did."""

    dataset: Dataset
    part: str
    rows: pl.DataFrame

    @property
    def is_base(self) -> bool:
        """Whether these are the rows themselves, rather than what became known of them later."""
        return self.part == self.dataset.event_time


class Feed:
    """Rows of datasets, ordered by when they became known.

    Parameters
    ----------
    datasets
        Loaded whole from their sources, once.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._parts: list[tuple[Dataset, str, pl.DataFrame, np.ndarray]] = []
        for dataset in datasets:
            frame = dataset.load()
            for part in dataset.parts:
                rows = dataset.part(frame, part)
                self._parts.append((dataset, part, rows, rows[part].to_physical().to_numpy()))

    def digest(self) -> Digest:
        """Return what identifies the rows, all of them and in their order."""
        found = [
            [dataset.name, part, rows.height, int(rows.with_row_index("row").hash_rows(seed=0).sum())]
            for dataset, part, rows, _ in self._parts
        ]
        return digest_of(found)

    def between(self, since: Instant, until: Instant) -> list[Arrival]:
        """Return what became known in [since, until), one arrival for each part that has rows."""
        found = []
        for dataset, part, rows, times in self._parts:
            low, high = np.searchsorted(times, [since, until])
            if high > low:
                found.append(Arrival(dataset, part, rows[int(low) : int(high)]))
        return found

    def later(self, requests: Arrival, column: str) -> pl.Series:
        """Return what a column of the requests' rows came to be, which nobody could know when they were
        made.
        """
        dataset = requests.dataset
        part = dataset.known_when(column)
        known = next(rows for data, name, rows, _ in self._parts if data is dataset and name == part)
        wanted = requests.rows.select(dataset.key)
        return wanted.join(
            known.select(*dataset.key, column), on=dataset.key, how="left", maintain_order="left"
        )[column]
