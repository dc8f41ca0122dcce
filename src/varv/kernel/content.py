"""Content: the digest of rows, whatever file they are stored in.

The digest depends on the names, types, order and values of the columns and on nothing else: not on
compression, chunks, the version of a library, or whether the rows lie in a file of their own or amid others.
So a digest that the ledger holds can be compared after compaction too. `kernel.columns` compares it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.codec import Digest, canonical
from varv.kernel.errors import InvalidInput

_Bytes = npt.NDArray[np.uint8]


class Content:
    """The rows of a frame as bytes, of which the digest of any stretch can be taken.

    All values of fixed width lie row by row in one matrix. A day of live traffic has thousands of segments of
    a few rows each in one file, and a stretch costs a few calls this way, not one for each column.

    Parameters
    ----------
    frame
        Numbers, truth values, texts, times, and categories.

    Raises
    ------
    InvalidInput
        If a column has another type.

    Examples
    --------
    >>> both = Content(pl.DataFrame({"a": [1, None, 3]}))
    >>> both.digest(1, 2) == Content(pl.DataFrame({"a": [None, 3]})).digest()
    True
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._n_rows = frame.height
        self._header = canonical([[name, _type_name(dtype)] for name, dtype in frame.schema.items()])
        self._texts: list[tuple[bytes, npt.NDArray[np.int64]]] = []
        columns = [
            (valid, values.to_numpy() if sizes is None else self._sizes(values, sizes))
            for valid, values, sizes in _ready(frame)
        ]
        self._width = sum(1 + numbers.dtype.itemsize for _, numbers in columns)
        rows = np.ones((frame.height, self._width), np.uint8)
        at = 0
        for valid, numbers in columns:
            if valid is not None:
                rows[:, at] = valid.to_numpy()
            width = numbers.dtype.itemsize
            rows[:, at + 1 : at + 1 + width] = _bytes_of(numbers, width)
            at += 1 + width
        self._fixed = memoryview(rows.tobytes())

    def _sizes(self, values: pl.Series, sizes: pl.Series) -> npt.NDArray[np.int64]:
        """Keep texts, and return their sizes in bytes."""
        numbers = sizes.to_numpy().astype(np.int64)
        ends = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(numbers, out=ends[1:])
        self._texts.append(("".join(values.to_list()).encode(), ends))
        return numbers

    def digest(self, first: int = 0, n_rows: int | None = None) -> Digest:
        """Return the SHA-256 of `n_rows` rows from row `first` on; by default of all."""
        last = self._n_rows if n_rows is None else first + n_rows
        found = hashlib.sha256(self._header)
        found.update(b"\n%d\n" % (last - first))
        found.update(self._fixed[first * self._width : last * self._width])
        for text, ends in self._texts:
            found.update(text[ends[first] : ends[last]])
        return Digest(found.hexdigest())


def rows_digest(frame: pl.DataFrame) -> Digest:
    """Return the digest of all rows of a frame.

    Raises
    ------
    InvalidInput
        If a column holds lists, structs, bytes or objects.

    Examples
    --------
    >>> rows_digest(pl.DataFrame({"a": [1, None]})) == rows_digest(pl.DataFrame({"a": [1, 0]}))
    False
    """
    return Content(frame).digest()


def _bytes_of(values: npt.NDArray[np.generic], width: int) -> _Bytes:
    """Return the bytes of values, a row each."""
    # Little-endian everywhere, since the digest must not depend on the machine.
    ordered = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return ordered.view(np.uint8).reshape(len(values), width)


def _ready(frame: pl.DataFrame) -> Iterator[tuple[pl.Series | None, pl.Series, pl.Series | None]]:
    """Yield of each column which values are there (None: all), the values with zeros or nothing for those
    that are not, and the sizes of texts in bytes.
    """
    columns = frame.get_columns()
    exprs = _query(tuple((one.name, one.dtype, one.null_count() > 0) for one in columns))
    # One query for all: a tenth of a millisecond for each would be most of what a small segment costs.
    found = {one.name: one for one in frame.select(exprs).get_columns()} if exprs else {}
    for number, series in enumerate(columns):
        valid, values, sizes = (found.get(name) for name in _parts(number))
        yield valid, series if values is None else values, sizes


@lru_cache(maxsize=256)
def _query(columns: tuple[tuple[str, pl.DataType, bool], ...]) -> list[pl.Expr]:
    """Return what has to be computed of columns by name, type, and whether some values are not there.

    To write it down costs more than to compute it of a few rows, and batches of a table are alike.
    """
    exprs: dict[str, pl.Expr] = {}
    for number, (name, dtype, has_nulls) in enumerate(columns):
        exprs |= _prepared(number, name, dtype, has_nulls=has_nulls)
    return [expr.alias(name) for name, expr in exprs.items()]


def _parts(number: int) -> tuple[str, str, str]:
    return f"{number} valid", f"{number} values", f"{number} sizes"


def _prepared(number: int, name: str, dtype: pl.DataType, *, has_nulls: bool) -> dict[str, pl.Expr]:
    """Return what has to be computed of a column; nothing of numbers that are all there."""
    valid, values, sizes = _parts(number)
    column = pl.col(name)
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum) or dtype.is_decimal()
    ready = column.cast(pl.String) if is_text else _number(name, dtype)
    exprs: dict[str, pl.Expr] = {}
    if has_nulls:
        exprs[valid] = column.is_not_null()
        ready = ready.fill_null("" if is_text else 0)
    if is_text:
        exprs[sizes] = ready.str.len_bytes()
    if has_nulls or not (dtype == pl.String or dtype.is_integer() or dtype.is_float()):
        exprs[values] = ready
    return exprs


def _number(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column that is no text as numbers."""
    if dtype.is_integer() or dtype.is_float():
        return pl.col(name)
    if dtype.is_temporal():
        return pl.col(name).to_physical()
    if dtype in (pl.Boolean, pl.Null):
        return pl.col(name).cast(pl.UInt8)
    hint = "send numbers, truth values, texts and times"
    raise InvalidInput("column", name[:80], f"has the type {dtype}", hint=hint)


def _type_name(dtype: pl.DataType) -> str:
    """Return the name of a type; the library's own text for it may change between versions."""
    name = dtype.base_type().__name__
    if isinstance(dtype, pl.Datetime):
        return f"{name}[{dtype.time_unit}, {dtype.time_zone or ''}]"
    if isinstance(dtype, pl.Duration):
        return f"{name}[{dtype.time_unit}]"
    return name
