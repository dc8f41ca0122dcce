"""What a Delta log says of the rows of one file, so that readers can pass it over.

Times and numbers have their extremes, keys and texts have none: a log keeps what it says for ever, also of
rows that are erased.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

import msgspec
import polars as pl

from varv.kernel.columns import TIME

MOST_COLUMNS = 32
"""Columns with statistics; a log of wider ones is longer than what it saves."""
_MS = 1000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def statistics(rows: pl.DataFrame, key: Collection[str]) -> str:
    """Return the statistics of the rows of one file, as JSON.

    Parameters
    ----------
    key
        Columns that identify a row.

    Notes
    -----
    Per-file statistics of the Delta protocol. Times are in milliseconds there, so minima are rounded down
    and maxima up. A column with NaN has no extremes, since readers do not agree on their order.

    Examples
    --------
    >>> statistics(pl.DataFrame({"id": ["a", "b"], "n": [3, None]}), ["id"])
    '{"numRecords":2,"minValues":{"n":3},"maxValues":{"n":3},"nullCount":{"id":0,"n":1}}'
    """
    columns = rows.columns[:MOST_COLUMNS]
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    for name in columns:
        found = None if name in key and rows[name].dtype != TIME else _extremes(rows[name])
        if found is not None:
            least[name], most[name] = found
    nulls = {name: rows[name].null_count() for name in columns}
    said = {"numRecords": rows.height, "minValues": least, "maxValues": most, "nullCount": nulls}
    return msgspec.json.encode(said).decode()


def _extremes(values: pl.Series) -> tuple[Any, Any] | None:
    """Return the smallest and the largest value as a log says them; None if it says neither."""
    if not (values.dtype.is_numeric() or values.dtype == TIME) or values.null_count() == len(values):
        return None
    if values.dtype.is_float() and not values.drop_nulls().is_finite().all():
        return None
    if values.dtype == TIME:
        times = values.cast(pl.Int64)
        least, most = times.min(), times.max()
        assert isinstance(least, int)
        assert isinstance(most, int)
        return _shown(least // _MS), _shown(-(-most // _MS))
    return values.min(), values.max()


def _shown(ms: int) -> str:
    at = _EPOCH + dt.timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
