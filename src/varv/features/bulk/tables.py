"""Where the rows of histories are read: what a home has stored, or the sources of datasets themselves.

Rows come a stretch at a time and column by column, each with a number that finds it again, so whoever reads
decides what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from varv.data.dataset import Dataset
from varv.data.service import Datasets
from varv.data.sources import BATCH_ROWS, Frame, in_kept_types
from varv.features.run import Ints
from varv.kernel.clock import Instant
from varv.kernel.ids import DatasetName, Version

NUMBER = "number of the row"


class Reach(NamedTuple):
    """The times of rows that some request can see, ends included; None for any before `last`."""

    first: Instant | None
    last: Instant


class Tables(Protocol):
    """Rows of datasets."""

    has_whole_rows: bool
    """Whether a row of a later part brings the columns of its base row."""
    is_in_order_of_time: bool
    """Whether a key is stated first where its time is earliest, and not where its row comes first."""

    def batches(
        self, dataset: Dataset, part: str, columns: Sequence[str], reach: Reach
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield rows of a part in the order in which they came, with the number of the first of them; the
        same at each call. Rows out of reach may be among them.
        """
        ...


class StoredTables:
    """Rows that a home has stored.

    Parameters
    ----------
    datasets
        Of the home.
    versions
        As of which version each dataset is read; the latest for others.
    """

    has_whole_rows = False
    is_in_order_of_time = False

    def __init__(self, datasets: Datasets, versions: Mapping[DatasetName, Version | int]) -> None:
        self._datasets = datasets
        self._versions = versions

    def batches(
        self, dataset: Dataset, part: str, columns: Sequence[str], reach: Reach
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield rows of a part in the order in which they came; files without a row in reach are left out."""
        first = 0
        for rows in self._datasets.batches(
            dataset,
            part,
            columns=columns,
            version=self._versions.get(dataset.name),
            since=reach.first,
            until=Instant(reach.last + 1),
        ):
            yield first, rows
            first += rows.height


class SourceTables:
    """Rows of the sources that datasets are declared with, without a home."""

    has_whole_rows = True
    is_in_order_of_time = True

    def batches(
        self, dataset: Dataset, part: str, columns: Sequence[str], reach: Reach
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield all rows of a source in its order."""
        names, first, source = list(dict.fromkeys(columns)), 0, dataset.source
        # A function that gives a dataframe is not called again for each column.
        held = source.load().select(names).iter_slices(BATCH_ROWS) if isinstance(source, Frame) else None
        for rows in held or source.batches(names):
            yield first, in_kept_types(rows)
            first += rows.height


def rows_numbered(
    tables: Tables, dataset: Dataset, part: str, columns: Sequence[str], reach: Reach, numbers: Ints
) -> pl.DataFrame:
    """Return the columns of the rows of these numbers, which ascend."""
    found = [pl.DataFrame(schema={name: dataset.types()[name] for name in columns})]
    for first, rows in tables.batches(dataset, part, columns, reach):
        start, end = np.searchsorted(numbers, (first, first + rows.height))
        if start < end:
            found.append(rows.select(columns)[numbers[start:end] - first])
    return pl.concat(found)
