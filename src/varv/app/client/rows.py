"""Rows to send to a server: frames of polars or pandas, or dicts, as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
import polars as pl

from varv.kernel.errors import InvalidInput
from varv.kernel.verbs import MOST_REQUEST_BYTES

MOST_AT_ONCE = 1000
"""Rows of one request; more are sent in several."""
_ROOM = MOST_REQUEST_BYTES * 3 // 4
"""Bytes of rows in one request to the control plane."""


@runtime_checkable
class PandasFrame(Protocol):
    """What is used of a pandas frame."""

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        """Return the rows as dicts."""
        ...


Rows = pl.DataFrame | Sequence[Mapping[str, Any]] | PandasFrame
"""Rows: a polars or pandas frame, or a list of dicts."""


def frame_of_rows(rows: Rows) -> pl.DataFrame:
    """Return rows as a frame.

    Raises
    ------
    InvalidInput
        If there are none, or they are no rows.
    """
    if isinstance(rows, pl.DataFrame):
        found = rows
    else:
        try:
            found = pl.DataFrame(_dicts(rows), infer_schema_length=None)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            hint = "give a frame, or a list of dicts whose values are of one type a column"
            raise InvalidInput("rows", "", "are no table", why=str(error)[:200], hint=hint) from None
    if found.is_empty():
        raise InvalidInput("rows", "", "are none", hint="give at least one")
    return found


def plain_rows(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as JSON can hold them; what is missing is left out, as null."""
    if not isinstance(rows, pl.DataFrame):
        found = _dicts(rows)
    else:
        found = pl.DataFrame([sendable(series) for series in rows.get_columns()]).to_dicts()
    if not found:
        raise InvalidInput("rows", "", "are none", hint="give at least one")
    return [{name: _value(value) for name, value in row.items()} for row in found]


def _dicts(rows: object) -> list[dict[str, Any]]:
    if isinstance(rows, PandasFrame) and not isinstance(rows, Mapping):
        return [{str(name): _value(value) for name, value in row.items()} for row in rows.to_dict("records")]
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        return [dict(row) for row in rows]
    hint = "give a polars or pandas frame, or a list of dicts"
    raise InvalidInput("rows", type(rows).__name__, "are no rows", hint=hint)


def _value(value: Any) -> Any:
    """Return a value of a row, NaN and its like as null, numbers of numpy as Python's."""
    value = value.item() if hasattr(value, "item") else value
    return None if value != value or type(value).__name__ in ("NaTType", "NAType") else value


def in_parts(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return rows in parts that one request takes."""
    parts: list[list[dict[str, Any]]] = [[]]
    size = 0
    for row in rows:
        n_bytes = len(msgspec.json.encode(row, enc_hook=str)) + 1
        if parts[-1] and (size + n_bytes > _ROOM or len(parts[-1]) >= MOST_AT_ONCE):
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += n_bytes
    return parts


def sendable(series: pl.Series) -> pl.Series:
    """Return a column as a tensor holds it: times as ISO 8601, no NaN."""
    if isinstance(series.dtype, pl.Datetime):
        utc = series.dt.convert_time_zone("UTC") if series.dtype.time_zone else series
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if series.dtype == pl.Date:
        return series.dt.strftime("%Y-%m-%dT00:00:00Z")
    return series.fill_nan(None) if series.dtype.is_float() else series
