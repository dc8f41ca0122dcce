"""What decides between rows of one entity and instant: their keys, in one order for every feeder and store.

The order in which rows arrive would not do: a restart reads by time and key what came in any order. A whole
number or a time decides by its size, so that of rows that were numbered as they came the last one stands;
any other key by a hash that no library and no machine computes otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from varv.kernel.hashing import Hashes, hashed_numbers, hashed_texts, mixed

_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_SIGN = np.uint64(1 << 63)


def ties_of(rows: pl.DataFrame, key: Sequence[str]) -> Hashes:
    """Return what each row has in the order of keys, shape (n,): of rows of one entity and instant the one
    with the largest stands last.

    Parameters
    ----------
    key
        Columns of numbers, truth values, texts and times in UTC.

    Examples
    --------
    >>> rows = pl.DataFrame({"id": [3, -7, 5]})
    >>> np.argsort(ties_of(rows, ["id"]))
    array([1, 0, 2])
    """
    columns = [rows.get_column(name) for name in key]
    if len(columns) == 1 and _is_whole(columns[0].dtype):
        return _in_order(columns[0])
    found = np.zeros(rows.height, np.uint64)
    for column in columns:
        found = mixed(found ^ _hashed(column))
    return found


def _is_whole(dtype: pl.DataType) -> bool:
    return dtype in _WHOLE or isinstance(dtype, pl.Datetime)


def _in_order(column: pl.Series) -> Hashes:
    if column.dtype == pl.UInt64:
        return column.fill_null(0).to_numpy()
    return column.cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64) ^ _SIGN


def _hashed(column: pl.Series) -> Hashes:
    """Return a hash of each value; equal values of different widths have one."""
    if column.null_count():
        found = np.zeros(len(column), np.uint64)
        found[column.is_not_null().to_numpy()] = _hashed(column.drop_nulls())
        return found
    if column.dtype.is_float():
        return hashed_numbers(column.cast(pl.Float64).to_numpy())
    if _is_whole(column.dtype):
        return mixed(_in_order(column))
    return hashed_texts(column.cast(pl.String).to_list())
