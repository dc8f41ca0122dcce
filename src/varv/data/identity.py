"""Keys: how a row's key reads as one text, and whether a declared key identifies rows, told before anything
runs.

A few repeated keys are dirt, and are dropped and counted as they arrive. When a good part of the rows repeats
a key with other values, the key is the wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.dataset import Dataset
from varv.kernel.errors import InvalidDeclaration

MOST_REPEATED = 0.10
"""A share of rows that may repeat a key with other values."""
_FEW = 0.001
_MOST_COLUMNS = 12


def keys_of(key: Sequence[str], rows: pl.DataFrame) -> pl.Series:
    """Return the columns of `key` as one text a row, under the name ``key``."""
    if len(key) == 1:
        return rows[key[0]].cast(pl.String).alias("key")
    texts = [pl.col(name).cast(pl.String) for name in key]
    return rows.select(pl.concat_str(texts, separator="|").alias("key")).to_series()


class KeyCount:
    """Counts the rows of a dataset that repeat a key, batch by batch, eight bytes a row."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._n_rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count the rows of a batch."""
        self._n_rows += frame.height
        known = frame.select(self._dataset.key).drop_nulls()
        self._hashes.append(known.hash_rows(seed=0).to_numpy())

    def require_key(self) -> None:
        """Raise as `require_key` does; only then is the source read once more, whole."""
        hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
        if len(hashes) - len(np.unique(hashes)) > MOST_REPEATED * self._n_rows:
            require_key(self._dataset, self._dataset.load())


def require_key(dataset: Dataset, frame: pl.DataFrame) -> None:
    """Raise unless nearly every row of a dataset has a key of its own.

    Raises
    ------
    InvalidDeclaration
        If more than a tenth of the rows repeat a key and are not the same row again; columns that would
        identify rows are named, if there are any.
    """
    # First the cheap question: in a sound table every key is there once.
    n_repeated = _n_repeated(frame, dataset.key)
    if n_repeated <= MOST_REPEATED * frame.height:
        return
    distinct = frame.unique()
    n_repeated = _n_repeated(distinct, dataset.key)
    if n_repeated <= MOST_REPEATED * frame.height:
        return
    better = _better_key(dataset, distinct)
    hint = f"did you mean key={better}?" if better else "name the columns that identify a row for good"
    given = ", ".join(dataset.key)
    problem = (
        f"has the key {given!r}, which does not identify rows: {n_repeated:,} of {frame.height:,} repeat one"
    )
    raise InvalidDeclaration("dataset", dataset.name, problem, hint=hint)


def _better_key(dataset: Dataset, distinct: pl.DataFrame) -> str:
    """Return the shortest key of columns of the base part that identifies rows, as it is declared."""
    base = [name for name in dataset.columns(dataset.event_time) if not distinct.schema[name].is_float()]
    base = base[:_MOST_COLUMNS]
    candidates: list[tuple[str, ...]] = [*combinations(base, 1), *combinations(base, 2)]
    for names in candidates:
        if set(names) != {dataset.event_time} and _n_repeated(distinct, names) <= _FEW * distinct.height:
            return f'"{names[0]}"' if len(names) == 1 else f'["{names[0]}", "{names[1]}"]'
    return ""


def _n_repeated(frame: pl.DataFrame, names: tuple[str, ...]) -> int:
    known = frame.select(names).drop_nulls()
    return known.height - known.n_unique()
