"""Where a dataset's rows come from: files of Parquet or CSV, or a dataframe, brought to the few types that
are kept.

A source is cheap to make and to ask for its schema; rows are read only by `load`. Kept types are numbers,
Booleans, texts, and times as microseconds in UTC: anything else is refused by name, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from varv.data.pointers import resolved
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, NotFound

KEPT: tuple[pl.DataType, ...] = (
    *(pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64()),
    *(pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), TIME),
)
"""Every type in which values are kept, but for some rare widths of numbers."""
Types = dict[str, pl.DataType]
BATCH_ROWS = 1 << 18


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

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, as many at a time as fit well into memory; of some columns only, if
        they are named.
        """
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

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, some hundred thousand at a time."""
        yield from _in_batches(self._scan(), columns)

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

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, some hundred thousand at a time."""
        yield from _in_batches(self._scan(), columns)

    def _scan(self) -> pl.LazyFrame:
        def scan(files: str | list[Path]) -> pl.LazyFrame:
            return pl.scan_csv(
                files, null_values=[self.null, ""], try_parse_dates=True, infer_schema_length=10_000
            )

        return _found("csv", self.pattern, scan)


class Frame:
    """A dataframe, or a function without arguments that returns one; the function is called when its rows
    are needed, which is once in a replay.

    Parameters
    ----------
    rows
        Of polars or pandas, or anything that offers its columns through Arrow (``__arrow_c_stream__``).

    Raises
    ------
    InvalidDeclaration
        If it is none of these.
    """

    def __init__(self, rows: object) -> None:
        if not _is_frame(rows) and not callable(rows):
            problem = f"cannot be made of {type(rows).__name__}"
            raise InvalidDeclaration("source", "Frame", problem, hint=_FRAMES)
        self._rows = rows
        self._loaded: pl.DataFrame | None = None

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the dataframe and their types."""
        return self.load().schema

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        if self._loaded is None:
            self._loaded = self._read()
        return self._loaded

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the dataframe; what a function returned is not kept beyond that."""
        yield self.load() if columns is None else self.load().select(columns)
        if callable(self._rows) and not _is_frame(self._rows):
            self._loaded = None

    def _read(self) -> pl.DataFrame:
        rows = self._rows if _is_frame(self._rows) or not callable(self._rows) else self._rows()
        if not _is_frame(rows):
            name = getattr(self._rows, "__name__", "Frame")
            problem = f"returned {type(rows).__name__}, not a dataframe"
            raise InvalidDeclaration("function", name, problem, hint=_FRAMES)
        return _in_polars(rows)


def _in_batches(rows: pl.LazyFrame, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
    wanted = rows if columns is None else rows.select(columns)
    return wanted.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)


_FRAMES = "give a dataframe of polars or pandas, an Arrow table, or a function that returns one"


def _is_frame(rows: object) -> bool:
    return isinstance(rows, pl.DataFrame) or _is_pandas(rows) or hasattr(rows, "__arrow_c_stream__")


def _is_pandas(rows: object) -> bool:
    # By name, since pandas is no dependency: whoever gives such a frame has imported it.
    kind = type(rows)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas"


def _in_polars(rows: Any) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    if not _is_pandas(rows):
        return pl.DataFrame(rows)
    # Through Arrow it would take pyarrow, which is not always there; NumPy always is.
    columns = [_in_series(str(name), rows.iloc[:, place]) for place, name in enumerate(rows.columns)]
    try:
        return pl.DataFrame(columns)
    except pl.exceptions.DuplicateError as error:
        why = str(error).splitlines()[0][:200]
        raise InvalidDeclaration("source", "Frame", "has two columns of one name", why=why) from None


def _in_series(name: str, values: Any) -> pl.Series:
    """Return a column of pandas: what is missing is null, times with a zone are in UTC."""
    if getattr(values.dtype, "tz", None) is not None:
        naive = values.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, naive.to_numpy()).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if values.dtype.kind in "fM":
        found = pl.Series(name, values.to_numpy(dtype="float64" if values.dtype.kind == "f" else None))
        return found.fill_nan(None) if found.dtype.is_float() else found
    missing = values.isna().to_numpy()
    if values.dtype.kind in "iub" and not missing.any():
        return pl.Series(
            name, values.to_numpy(dtype=values.dtype.name.lower() if values.dtype.kind != "b" else bool)
        )
    plain = values.astype(object).to_list()
    listed = [None if gone else value for value, gone in zip(plain, missing.tolist(), strict=True)]
    try:
        return pl.Series(name, listed, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        problem = f"has values of several kinds in {name!r}"
        hint = "give the column one type, such as .astype(str)"
        raise InvalidDeclaration("source", "Frame", problem, hint=hint) from None


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


def _found(kind: str, pattern: str, scan: Callable[[str | list[Path]], pl.LazyFrame]) -> pl.LazyFrame:
    # A pointer's text must never be taken for rows; a file of CSV would let it.
    files = resolved(pattern)
    try:
        lazy = scan(pattern if files is None else files)
        lazy.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        hint = "check the path; it is relative to the folder in which varv runs"
        raise NotFound(f"{kind} source", pattern, "cannot be read", why=str(error)[:200], hint=hint) from None
    return lazy
