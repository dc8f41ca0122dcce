"""Content: the digest of rows, whatever file they are stored in.

The digest depends on the names, types, order and values of the columns and on nothing else: not on
compression, chunks, the version of a library, or whether the rows lie in a file of their own or amid others.
So a digest that the ledger holds can be compared after compaction too. `kernel.compared_files` compares it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.kernel.codec import Digest, canonical
from varv.kernel.errors import InvalidInput

STRETCH = 1 << 16
"""Rows whose digest is taken at a time: their matrix stays near the processor."""
FEW_TEXTS = 256
"""Texts up to which lists of Python are quicker than queries."""
_EXACT_IN_FLOAT64 = 2.0**53
"""Float64 holds every whole number up to here."""
_NUMPY: dict[pl.DataType, type[np.integer]] = {
    pl.Int8(): np.int8,
    pl.Int16(): np.int16,
    pl.Int32(): np.int32,
    pl.Int64(): np.int64,
    pl.UInt8(): np.uint8,
    pl.UInt16(): np.uint16,
    pl.UInt32(): np.uint32,
    pl.UInt64(): np.uint64,
}


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
        self._header = _header(frame.schema)
        columns = _ready(frame)
        self._fixed, self._width = _matrix(columns, frame.height)
        self._texts = [(one.text, _ends(one.numbers)) for one in columns if one.text is not None]

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
    """Return the digest of all rows of a frame, in memory that does not grow with it.

    Raises
    ------
    InvalidInput
        If a column holds lists, structs, bytes or objects.

    Examples
    --------
    >>> rows_digest(pl.DataFrame({"a": [1, None]})) == rows_digest(pl.DataFrame({"a": [1, 0]}))
    False
    """
    if frame.height <= STRETCH:
        return Content(frame).digest()
    found = hashlib.sha256(_header(frame.schema))
    found.update(b"\n%d\n" % frame.height)
    for stretch in frame.iter_slices(STRETCH):
        found.update(_matrix(_ready(stretch, with_text=False), stretch.height)[0])
    # All numbers come before all texts, so texts are read again.
    for name, dtype in frame.schema.items():
        if _is_text(dtype):
            for stretch in frame.select(name).iter_slices(STRETCH):
                found.update(_text(stretch.to_series()))
    return Digest(found.hexdigest())


def _header(schema: pl.Schema) -> bytes:
    return canonical([[name, _type_name(dtype)] for name, dtype in schema.items()])


def _matrix(columns: Sequence[_Column], n_rows: int) -> tuple[memoryview, int]:
    """Return all values of fixed width row by row, and the bytes of a row."""
    blank = _blank(tuple(one.numbers.dtype.str for one in columns))
    rows = np.repeat(blank, n_rows)
    for number, one in enumerate(columns):
        if one.valid is not None:
            rows[f"{number} valid"] = one.valid
        rows[f"{number}"] = one.numbers
    return rows.view(np.uint8).data if columns else memoryview(b""), blank.itemsize


def _ends(sizes: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return where each text begins and ends among all."""
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


@lru_cache(maxsize=256)
def _blank(types: tuple[str, ...]) -> npt.NDArray[np.void]:
    """Return one row of the matrix, shape (1,): for each column whether there is a value, and the value."""
    # Little-endian everywhere, since the digest must not depend on the machine.
    fields = [
        field
        for number, name in enumerate(types)
        for field in ((f"{number} valid", "u1"), (f"{number}", np.dtype(name).newbyteorder("<")))
    ]
    row = np.zeros(1, np.dtype(fields))
    for number in range(len(types)):
        row[f"{number} valid"] = 1
    return row


class _Column(NamedTuple):
    """Which values of a column are there (None: all), and the values, with zero for those that are not; of
    texts their sizes in bytes, and all texts one after the other.
    """

    valid: npt.NDArray[np.bool_] | None
    numbers: npt.NDArray[np.generic]
    text: bytes | None = None


def _ready(frame: pl.DataFrame, *, with_text: bool = True) -> list[_Column]:
    """Return each column as it enters the digest."""
    columns = frame.get_columns()
    found = [_at_hand(column, with_text=with_text) for column in columns]
    # One query for the rest: a tenth of a millisecond for each would be most of what a small segment costs.
    rest = tuple((one.name, one.dtype) for one, known in zip(columns, found, strict=True) if known is None)
    asked = iter(frame.select(_query(rest)).get_columns()) if rest else iter(())
    return [_Column(next(asked).to_numpy(), next(asked).to_numpy()) if one is None else one for one in found]


def _at_hand(column: pl.Series, *, with_text: bool) -> _Column | None:
    """Return a column as far as no query is needed for it, which would cost more than all the rest."""
    dtype, n_nulls = column.dtype, column.null_count()
    if _is_text(dtype):
        return _many_texts(column, with_text) if len(column) > FEW_TEXTS else _few_texts(column)
    if dtype.is_integer() or dtype.is_float():
        return _Column(None, column.to_numpy()) if not n_nulls else _with_nulls(column, n_nulls)
    if n_nulls:
        return None
    if dtype == pl.Boolean:
        return _Column(None, column.cast(pl.UInt8).to_numpy())
    if dtype.is_temporal():
        return _Column(None, column.cast(pl.Int32 if dtype == pl.Date else pl.Int64).to_numpy())
    return None


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum) or dtype.is_decimal()


def _few_texts(column: pl.Series) -> _Column:
    texts = column.cast(pl.String).to_list()
    valid = None
    if column.null_count():
        valid = np.fromiter((text is not None for text in texts), np.bool_, len(texts))
        texts = [text or "" for text in texts]
    together = "".join(texts)
    encoded = together.encode()
    # A text of ASCII letters alone has as many bytes.
    of_each = map(len, texts if len(encoded) == len(together) else map(str.encode, texts))
    return _Column(valid, np.fromiter(of_each, np.int64, len(texts)), encoded)


def _many_texts(column: pl.Series, with_text: bool) -> _Column:
    """Return texts as `_few_texts` does, without an object of Python for each."""
    texts = column.cast(pl.String)
    sizes = texts.str.len_bytes().cast(pl.Int64).fill_null(0).to_numpy()
    valid = column.is_not_null().to_numpy() if column.null_count() else None
    return _Column(valid, sizes, _text(texts) if with_text else None)


def _text(column: pl.Series) -> bytes:
    """Return all texts of a column one after the other."""
    together: str | None = column.cast(pl.String).str.join("").item()
    return (together or "").encode()


def _with_nulls(column: pl.Series, n_nulls: int) -> _Column | None:
    """Return a column of numbers of which some are not there, if these can be told from what is there."""
    # Nulls become NaN, and whole numbers float64.
    numbers = column.to_numpy()
    if numbers.dtype.kind != "f":
        return None
    valid = ~np.isnan(numbers)
    if len(numbers) - np.count_nonzero(valid) != n_nulls:
        return None
    zeroed = np.where(valid, numbers, numbers.dtype.type(0))
    if column.dtype.is_float():
        return _Column(valid, zeroed)
    exact = np.abs(zeroed).max(initial=0.0) < _EXACT_IN_FLOAT64
    return _Column(valid, zeroed.astype(_NUMPY[column.dtype])) if exact and column.dtype in _NUMPY else None


@lru_cache(maxsize=256)
def _query(columns: tuple[tuple[str, pl.DataType], ...]) -> list[pl.Expr]:
    """Return what has to be computed of columns by name and type: which values are there, and the values.

    To write it down costs more than to compute it of a few rows, and batches of a table are alike.
    """
    exprs: list[pl.Expr] = []
    for number, (name, dtype) in enumerate(columns):
        exprs.append(pl.col(name).is_not_null().alias(f"{number} valid"))
        exprs.append(_number(name, dtype).fill_null(0).alias(f"{number}"))
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
