"""The columns of a part as those of a Delta table.

Unsigned numbers are widened, since Delta has none: a file that holds them is read as the wider type by every
reader that was tried (delta-rs, Arrow, Polars, DuckDB). No type is as wide as `UInt64`, so such a column has
to be written anew, which an export elsewhere does.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidInput

_NOT_IN_NAMES = frozenset(" ,;{}()\n\t=")
_TYPES: dict[pl.DataType, str] = {
    pl.Int8(): "byte",
    pl.Int16(): "short",
    pl.Int32(): "integer",
    pl.Int64(): "long",
    pl.UInt8(): "short",
    pl.UInt16(): "integer",
    pl.UInt32(): "long",
    pl.Float32(): "float",
    pl.Float64(): "double",
    pl.Boolean(): "boolean",
    pl.String(): "string",
    TIME: "timestamp",
}
_WIDER: dict[pl.DataType, pl.DataType] = {
    pl.UInt8(): pl.Int16(),
    pl.UInt16(): pl.Int32(),
    pl.UInt32(): pl.Int64(),
    pl.UInt64(): pl.Int64(),
}


def delta_types(dataset: str, types: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Return the columns of a part by the names of Delta's types, for files as they are stored.

    Raises
    ------
    FailedPrecondition
        If Delta has no such type, or a name is none of a column there.

    Examples
    --------
    >>> delta_types("trips", {"id": pl.String(), "n": pl.UInt8()})
    {'id': 'string', 'n': 'short'}
    """
    for name, dtype in types.items():
        if dtype not in _TYPES:
            hint = "write a table elsewhere, varv data publish --to, where it becomes Int64"
            hint = hint if dtype in _WIDER else "leave the column out, or declare it of another type"
            problem = f"has the type {dtype} in {name!r}, which Delta has not"
            raise FailedPrecondition("dataset", dataset, problem, hint=hint)
    require_names(dataset, types)
    return {name: _TYPES[dtype] for name, dtype in types.items()}


def require_names(dataset: str, types: Mapping[str, pl.DataType]) -> None:
    """Raise `FailedPrecondition` if a column could not be called so in a Delta table."""
    for name in types:
        if not _NOT_IN_NAMES.isdisjoint(name):
            problem = f"has a column {name!r}, whose name holds one of ' ,;{{}}()=', a tab or a new line"
            raise FailedPrecondition("dataset", dataset, problem, hint="rename it in the source")


def widened(types: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the types in which columns are written to tables elsewhere."""
    return {name: _WIDER.get(dtype, dtype) for name, dtype in types.items()}


def in_wider_types(dataset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in the types of `widened`.

    Raises
    ------
    InvalidInput
        If a number is too large for `Int64`.
    """
    wider = {name: to for name, to in widened(dict(rows.schema)).items() if rows.schema[name] != to}
    try:
        return rows.cast(wider, strict=True) if wider else rows  # type: ignore[arg-type]
    except pl.exceptions.InvalidOperationError as error:
        why = str(error).split("\n")[0][:200]
        raise InvalidInput("dataset", dataset, "holds numbers that do not fit in Int64", why=why) from None
