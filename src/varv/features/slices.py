"""Slices: the part of the requests that a guard or a gate looks at by itself.

A slice is a test of one feature, as it was known at the request and is kept beside the prediction. It is a
value that ledgers hold as JSON. Gates and rollouts cut frames with it; nothing here knows a loss.
"""

from __future__ import annotations

import msgspec
import polars as pl

from varv.kernel.errors import InvalidDeclaration, InvalidInput

Value = bool | int | float | str


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The requests whose feature `column` passes a test; one without a value is in no slice.

    Made by `slice`, which checks it.
    """

    column: str
    values: tuple[Value, ...] = ()
    """The feature is one of these; empty for any."""
    above: float | None = None
    """The feature is larger than this."""
    below: float | None = None
    """The feature is smaller than this."""

    @property
    def label(self) -> str:
        """Return the slice as a text, which tells it from every other.

        Examples
        --------
        >>> slice("carrier", "UA", "AA").label, slice("distance", above=1000, below=2500).label
        ('carrier UA or AA', 'distance above 1000 and below 2500')
        """
        tests = [" or ".join(map(str, self.values))] if self.values else []
        tests += [] if self.above is None else [f"above {self.above:g}"]
        tests += [] if self.below is None else [f"below {self.below:g}"]
        return f"{self.column} {' and '.join(tests)}"

    def of(self, frame: pl.DataFrame) -> pl.Series:
        """Return which rows of `frame` are in the slice, booleans without null.

        Raises
        ------
        InvalidInput
            If the frame lacks the column, or it cannot be compared with what the slice names.

        Examples
        --------
        >>> frame = pl.DataFrame({"distance": [900.0, 1400.0, None]})
        >>> slice("distance", above=1000).of(frame).to_list()
        [False, True, False]
        """
        if self.column not in frame.columns:
            hint = "name a feature of the model"
            raise InvalidInput("slice", self.label, "has a column that the rows lack", hint=hint)
        column = frame[self.column]
        if problem := self.misfit(column.dtype):
            raise InvalidInput("slice", self.label, problem, hint="compare like with like")
        # NaN is no value; Polars would call it larger than any number.
        column = column.fill_nan(None) if column.dtype.is_float() else column
        column = column.cast(pl.Int8) if column.dtype == pl.Boolean else column
        inside = column.is_not_null()
        if self.values:
            texts = _texts(self.values)
            wanted = list(self.values) if texts else [float(value) for value in self.values]
            inside &= column.cast(pl.String if texts else pl.Float64).is_in(wanted)
        if self.above is not None:
            inside &= column > self.above
        if self.below is not None:
            inside &= column < self.below
        return inside.fill_null(value=False).alias("in slice")

    def misfit(self, dtype: pl.DataType) -> str:
        """Return why a column of this type cannot be compared with what the slice names, or nothing.

        Examples
        --------
        >>> slice("carrier", above=3).misfit(pl.String())
        'compares a column of type String with numbers'
        """
        numbers = self.above is not None or self.below is not None or not _texts(self.values)
        texts = _texts(self.values)
        if numbers and not (dtype.is_numeric() or dtype == pl.Boolean):
            return f"compares a column of type {dtype} with numbers"
        if texts and dtype not in (pl.String, pl.Categorical, pl.Enum):
            return f"compares a column of type {dtype} with texts"
        return ""


def slice(column: str, *values: Value, above: float | None = None, below: float | None = None) -> Slice:
    """Declare a slice of the requests.

    Parameters
    ----------
    column
        A feature of the model, by its name.
    values
        The feature is one of these; texts or numbers, not both.
    above, below
        The feature is larger, or smaller, than this. An edge itself is in neither.

    Raises
    ------
    InvalidDeclaration
        If it tests nothing, tests values and edges at once, mixes texts with numbers, or its edges leave
        nothing between them.

    Examples
    --------
    >>> slice("carrier", "UA")
    Slice(column='carrier', values=('UA',), above=None, below=None)
    """
    edges = [edge for edge in (above, below) if edge is not None]
    if not isinstance(column, str) or not column:
        raise _wrong(repr(column)[:40], "names no column")
    if bool(values) == bool(edges):
        raise _wrong(column, "needs either values or edges")
    if not all(isinstance(value, bool | int | float | str) for value in values):
        raise _wrong(column, "has a value that is neither a text nor a number")
    if 0 < sum(isinstance(value, str) for value in values) < len(values):
        raise _wrong(column, "mixes texts with numbers")
    if not all(_is_number(edge) for edge in edges) or (len(edges) == 2 and not edges[0] < edges[1]):
        raise _wrong(column, "has edges that are no numbers in order")
    low, high = (None if edge is None else float(edge) for edge in (above, below))
    return Slice(column=column, values=values, above=low, below=high)


def _wrong(column: str, problem: str) -> InvalidDeclaration:
    hint = 'write varv.slice("carrier", "UA") or varv.slice("distance", above=1000)'
    return InvalidDeclaration("slice", column, problem, hint=hint)


def _texts(values: tuple[Value, ...]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
