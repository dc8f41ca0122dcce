"""Dataframes as sources: of polars, of pandas, or anything that offers its columns through Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from varv.data.sources.kept import in_kept_types
from varv.data.sources.steps import Asked, Step
from varv.kernel.content import rows_digest
from varv.kernel.errors import InvalidDeclaration


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

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return False

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return ()

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

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"frame {getattr(self._rows, '__qualname__', '')}".strip()

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield all rows, if they are others than before."""
        if callable(self._rows) and not _is_frame(self._rows):
            self._loaded = None
        rows = self.load()
        content = rows_digest(in_kept_types(rows))
        if asked.cursor.get("rows") != content:
            yield Step(rows, {"rows": content})

    def _read(self) -> pl.DataFrame:
        rows = self._rows if _is_frame(self._rows) or not callable(self._rows) else self._rows()
        if not _is_frame(rows):
            name = getattr(self._rows, "__name__", "Frame")
            problem = f"returned {type(rows).__name__}, not a dataframe"
            raise InvalidDeclaration("function", name, problem, hint=_FRAMES)
        return _in_polars(rows)


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
