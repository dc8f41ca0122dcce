"""Files of rows that people give to commands, and that commands write for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput, NotFound

KINDS = (".csv", ".parquet", ".jsonl")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def kind_of(path: Path) -> str:
    """Return what a file is, by its name.

    Raises
    ------
    InvalidInput
        If it is none of `KINDS`.
    """
    if path.suffix not in KINDS:
        raise InvalidInput("file", str(path), "is of an unknown kind", hint=f"name it {', '.join(KINDS)}")
    return path.suffix


def read_rows(path: Path, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return the rows of a file, those of its columns that are among `types`, in these types.

    Raises
    ------
    NotFound
        If it cannot be read.
    InvalidInput
        If a value does not fit its column, or none of the columns is there.
    """
    kind = kind_of(path)
    try:
        if kind == ".parquet":
            found = pl.read_parquet(path, glob=False)
        elif kind == ".csv":
            found = pl.read_csv(path, infer_schema=False)
        else:
            found = pl.read_ndjson(path, infer_schema_length=None)
        frame = _known(found, path, types)
        return frame.with_columns(_typed(frame, name, types[name]) for name in frame.columns)
    except OSError as error:
        raise NotFound("file", str(path), "cannot be read", why=str(error)[:200]) from None
    except pl.exceptions.PolarsError as error:
        why = str(error).splitlines()[0][:200]
        raise InvalidInput("file", str(path), "does not hold rows of this dataset", why=why) from None


def write_rows(path: Path, rows: pl.DataFrame) -> None:
    """Write rows to a file of the kind that its name says; times as ISO 8601 where there are no times."""
    kind = kind_of(path)
    try:
        if kind == ".parquet":
            rows.write_parquet(path)
            return
        iso = "%Y-%m-%dT%H:%M:%S%.fZ"
        times = [pl.col(name).dt.strftime(iso) for name, dtype in rows.schema.items() if dtype == TIME]
        plain = rows.with_columns(times)
        if kind == ".csv":
            plain.write_csv(path)
        else:
            plain.write_ndjson(path)
    except OSError as error:
        raise NotFound("file", str(path), "cannot be written", why=str(error)[:200]) from None


def _known(frame: pl.DataFrame, path: Path, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    known = [name for name in types if name in frame.columns]
    if not known:
        hint = f"name the columns {', '.join(types)}"
        raise InvalidInput("file", str(path), "has none of the dataset's columns", hint=hint)
    return frame.select(known)


def _typed(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    if frame[name].dtype != pl.String or dtype == pl.String:
        return pl.col(name).cast(dtype)
    if dtype == TIME:
        # An empty column says nothing of how its times are written.
        is_empty = frame[name].null_count() == frame.height
        parsed = pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC")
        return pl.col(name).cast(pl.Int64).cast(TIME) if is_empty else parsed
    if dtype == pl.Boolean:
        return pl.col(name).str.to_lowercase().replace_strict(_TRUTHS, return_dtype=pl.Boolean)
    return pl.col(name).cast(dtype)
