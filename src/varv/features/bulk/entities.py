"""The entities that requests ask for, as numbers; rows of all others are not looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.features.run import Ints

V = TypeVar("V", pl.Expr, pl.Series)
_CODE = "code of the entity"
_FARTHEST = 1 << 62
_MOST_PLACES = 1 << 22
"""Of a table from numbers to codes that may be larger than eight times the entities."""


class EntityCodes:
    """The codes of the entities that requests ask for.

    Parameters
    ----------
    requests
        With the columns that name the entities, by the names that they have in the dataset.
    types
        Those columns and the types in which the dataset has them, in their order; none for one entity that
        all requests share.
    """

    def __init__(self, requests: pl.DataFrame, types: Mapping[str, pl.DataType]) -> None:
        self._types = dict(types)
        self.names = tuple(types)
        self._table: npt.NDArray[np.int32] | None = None
        self._low = self._high = 0
        typed = pl.DataFrame([_fitting(requests[name], dtype) for name, dtype in self._types.items()])
        self.n = 1
        """How many entities there are."""
        if len(self._types) == 1 and self._is_counted(*self._types.values()):
            self._tabulate(typed.to_series())
        if self._table is None:
            self._known = typed.drop_nulls().unique(maintain_order=True).with_row_index(_CODE)
            self.n = max(self._known.height, 1)
        self.requests = self.of(typed) if self._types else np.zeros(requests.height, np.int64)
        """The code of each request, -1 where it names no entity, shape (n,)."""

    def of(self, rows: pl.DataFrame) -> Ints:
        """Return the code of each row's entity, -1 for one that nobody asks for, or none; the columns are in
        the types of the dataset.
        """
        if not self._types:
            return np.zeros(rows.height, np.int64)
        if self._table is not None:
            return self._looked_up(rows[self.names[0]])
        asked = rows.select(_without_nan(pl.col(name), dtype) for name, dtype in self._types.items())
        found = asked.join(self._known, on=self.names, how="left", maintain_order="left")[_CODE]
        return found.cast(pl.Int64).fill_null(-1).to_numpy()

    @staticmethod
    def _is_counted(dtype: pl.DataType) -> bool:
        return dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128, pl.UInt128)

    def _tabulate(self, values: pl.Series) -> None:
        """Make a table from numbers to codes, if the numbers lie close enough together."""
        numbers = values.drop_nulls().cast(pl.Int64).to_numpy()
        low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        # A place on each side is that of all that lie beyond, so both have to be numbers.
        if high - low > max(_MOST_PLACES, 8 * len(numbers)) or not -_FARTHEST < low <= high < _FARTHEST:
            return
        self._low, self._high = low - 1, high + 1
        is_there = np.zeros(high - low + 3, np.bool_)
        is_there[numbers - self._low] = True
        self._table = np.cumsum(is_there, dtype=np.int32)
        self._table -= 1
        self._table[~is_there] = -1
        self.n = max(int(np.count_nonzero(is_there)), 1)

    def _looked_up(self, values: pl.Series) -> Ints:
        assert self._table is not None
        # Nothing names nobody, as what lies beyond does.
        numbers = values.cast(pl.Int64).fill_null(self._low).to_numpy()
        places = np.clip(numbers, self._low, self._high) - self._low
        return self._table[places].astype(np.int64)


def _fitting(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return values in a type, null where they would become others."""
    cast = values.cast(dtype, strict=False)
    if values.dtype != dtype:
        cast = cast.zip_with(cast.cast(values.dtype, strict=False) == values, cast.clear(cast.len()))
    return _without_nan(cast, dtype)


def _without_nan(values: V, dtype: pl.DataType) -> V:
    # Not a number is no entity: it does not equal itself.
    return values.fill_nan(None) if dtype.is_float() else values
