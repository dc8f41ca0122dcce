"""Where a dataset's rows come from: files of Parquet or CSV, or a dataframe, brought to the few types that
are kept.

A source is cheap to make and to ask for its schema; rows are read only by `load`. Kept types are numbers,
Booleans, texts, and times as microseconds in UTC: anything else is refused by name, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import polars as pl

from varv.kernel.errors import InvalidDeclaration, NotFound

TIME = pl.Datetime("us", "UTC")
Types = dict[str, pl.DataType]


class Source(Protocol):
    """Where rows come from."""

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types as the source states them, without reading the rows if
        possible.
        """
        ...

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        ...


@dataclass(frozen=True)
class Parquet:
    """The Parquet files that match a pattern such as ``"flights/*.parquet"``, in the order of their names."""

    pattern: str

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the first file and their types."""
        return self._scan().collect_schema()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._scan().collect()

    def _scan(self) -> pl.LazyFrame:
        return _found("parquet", self.pattern, pl.scan_parquet)


@dataclass(frozen=True)
class Csv:
    """The CSV files, with a header, that match a pattern; ISO 8601 dates and times are recognised."""

    pattern: str
    null: str = ""

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and the types that the first 10,000 rows suggest."""
        return self._scan().collect_schema()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._scan().collect()

    def _scan(self) -> pl.LazyFrame:
        def scan(pattern: str) -> pl.LazyFrame:
            return pl.scan_csv(
                pattern, null_values=[self.null, ""], try_parse_dates=True, infer_schema_length=10_000
            )

        return _found("csv", self.pattern, scan)


class Frame:
    """A dataframe, or a function without arguments that returns one; the function is called once, when
    needed.
    """

    def __init__(self, rows: pl.DataFrame | Callable[[], pl.DataFrame]) -> None:
        if not isinstance(rows, pl.DataFrame) and not callable(rows):
            hint = "give a polars DataFrame, or a function that returns one"
            raise InvalidDeclaration("source", "Frame", f"cannot be made of {type(rows).__name__}", hint=hint)
        self._rows = rows

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the dataframe and their types."""
        return self.load().schema

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._frame

    @cached_property
    def _frame(self) -> pl.DataFrame:
        rows = self._rows if isinstance(self._rows, pl.DataFrame) else self._rows()
        if not isinstance(rows, pl.DataFrame):
            name = getattr(self._rows, "__name__", "Frame")
            problem = f"returned {type(rows).__name__}, not a polars DataFrame"
            raise InvalidDeclaration(
                "function", name, problem, hint="end it with pl.from_pandas(...) if need be"
            )
        return rows


def kept_type(dtype: pl.DataType) -> pl.DataType | None:
    """Return the type in which values of `dtype` are kept, or None if they cannot be.

    Examples
    --------
    >>> kept_type(pl.Date()), kept_type(pl.Int16()), kept_type(pl.List(pl.Int16))
    (Datetime(time_unit='us', time_zone='UTC'), Int16, None)
    """
    if dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean:
        return dtype
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return TIME
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    return None


def in_kept_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with times in UTC microseconds (times without a zone are UTC) and categories as
    texts.
    """
    changed = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            changed.append(pl.col(name).dt.replace_time_zone("UTC").cast(TIME))
        elif (kept := kept_type(dtype)) is not None and kept != dtype:
            time = pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            changed.append(time if dtype == pl.Date else pl.col(name).cast(kept))
    return frame.with_columns(changed) if changed else frame


def _found(kind: str, pattern: str, scan: Callable[[str], pl.LazyFrame]) -> pl.LazyFrame:
    try:
        lazy = scan(pattern)
        lazy.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        hint = "check the path; it is relative to the folder in which varv runs"
        raise NotFound(f"{kind} source", pattern, "cannot be read", why=str(error)[:200], hint=hint) from None
    return lazy
