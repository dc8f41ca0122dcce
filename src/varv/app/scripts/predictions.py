"""Predictions on a pinned probe set, as a script has written them: columns of numbers and texts."""

from __future__ import annotations

import io
from pathlib import PurePath

import numpy as np
import polars as pl

from varv.kernel.errors import InvalidInput
from varv.runs.reproduction import Columns

MOST_ROWS = 1_000_000
FORMATS = (".csv", ".npy", ".jsonl")


def predictions_in(data: bytes, name: str) -> Columns:
    """Return the columns of a file.

    Parameters
    ----------
    name
        By whose ending it is read: one of `FORMATS`.

    Raises
    ------
    InvalidInput
        If it is none of them, or cannot be read.
    """
    require_format(name)
    read = {".csv": _csv, ".npy": _npy, ".jsonl": _jsonl}[PurePath(name).suffix]
    try:
        found = read(data)
    except (pl.exceptions.PolarsError, ValueError, OSError, EOFError) as error:
        raise InvalidInput("predictions", name, "cannot be read", why=str(error)[:200]) from None
    if any(len(column) > MOST_ROWS for column in found.values()):
        raise InvalidInput("predictions", name, "has too many rows", most=MOST_ROWS)
    return found


def require_format(name: str) -> None:
    """Raise `InvalidInput` unless the ending of a file is one of `FORMATS`."""
    if PurePath(name).suffix not in FORMATS:
        hint = f"write {', '.join(FORMATS)}"
        raise InvalidInput("predictions", name, "has a format that is not read", hint=hint)


def _npy(data: bytes) -> Columns:
    # Never pickled ones: a file of objects is refused.
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim > 2:
        raise ValueError(f"an array of {array.ndim} dimensions")
    if array.ndim < 2:
        return {"prediction": np.atleast_1d(array)}
    return {f"prediction_{i}": array[:, i] for i in range(array.shape[1])}


def _csv(data: bytes) -> Columns:
    return _columns(pl.read_csv(io.BytesIO(data), infer_schema_length=None))


def _jsonl(data: bytes) -> Columns:
    return _columns(pl.read_ndjson(io.BytesIO(data), infer_schema_length=None))


def _columns(frame: pl.DataFrame) -> Columns:
    return {
        name: column.to_numpy()
        if column.dtype.is_numeric()
        else np.array(column.cast(pl.String).to_list(), str)
        for name, column in zip(frame.columns, frame.get_columns(), strict=True)
    }
