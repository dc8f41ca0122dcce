"""First statements: a key counts once, and of rows that state it again the first one stands.

Whether any does is found by 64-bit hashes of the keys, and which of the rows stands by the keys themselves.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from varv.data.dataset import Dataset
from varv.features.bulk.spill import HASH, Spill
from varv.features.bulk.tables import NUMBER, Reach, Tables
from varv.features.known_rows import Hashes
from varv.features.run import Ints


class Repeats:
    """Finds which hashes of keys come more than once.

    Parameters
    ----------
    most_bytes
        More than that lies in files.
    """

    def __init__(self, most_bytes: int) -> None:
        self._hashes = Spill(most_bytes)

    def add(self, hashes: Hashes) -> None:
        """Take in the hashes of more rows."""
        self._hashes.add(pl.DataFrame({HASH: hashes}))

    def found(self) -> Hashes:
        """Return those that came more than once, ascending; maybe some of them several times."""
        found = [np.zeros(0, np.uint64)]
        for rows in self._hashes.stretches():
            ordered = np.sort(rows[HASH].to_numpy()) if rows.width else found[0]
            found.append(ordered[1:][ordered[1:] == ordered[:-1]])
        return np.sort(np.concatenate(found))


def key_hashes(rows: pl.DataFrame, dataset: Dataset) -> Hashes:
    """Return the hashes of keys by which those are found that may be the same."""
    return rows[list(dataset.key)].hash_rows(seed=0).to_numpy()


def repeated_rows(tables: Tables, dataset: Dataset, part: str, reach: Reach, repeats: Hashes) -> Ints:
    """Return the numbers of the rows that state a key again, ascending.

    Parameters
    ----------
    repeats
        What `Repeats` found of that part.
    """
    if not len(repeats):
        return np.zeros(0, np.int64)
    found = []
    for first, rows in tables.batches(dataset, part, (*dataset.key, part), reach):
        hashes = key_hashes(rows, dataset)
        places = np.minimum(np.searchsorted(repeats, hashes), len(repeats) - 1)
        numbers = pl.Series(NUMBER, np.arange(first, first + rows.height))
        again = pl.Series(repeats[places] == hashes) & rows[part].is_not_null()
        found.append(rows.with_columns(numbers).filter(again))
    every = pl.concat(found)
    if tables.is_in_order_of_time:
        every = every.sort(part, NUMBER)
    kept = every.unique(dataset.key, keep="first", maintain_order=True)
    again = every.join(kept, on=NUMBER, how="anti")[NUMBER]
    return np.sort(again.to_numpy())
