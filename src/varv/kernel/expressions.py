"""Expressions of polars as text that a ledger can keep, and whether they look at one row at a time.

Polars writes expressions as JSON; one that holds a function of Python is not kept, since reading it would
mean to unpickle it.
"""

from __future__ import annotations

import io

import polars as pl

_OPAQUE = ("PythonUdf", "PythonFunction", "AnonymousFunction", "python_function")
"""What the JSON of an expression names where it holds a function of Python."""


def written_expression(expr: pl.Expr) -> str:
    """Return an expression as polars writes it; nothing if it holds a function of Python."""
    written = expr.meta.serialize(format="json")
    return "" if any(mark in written for mark in _OPAQUE) else written


def read_expression(written: str) -> pl.Expr:
    """Return what `written_expression` has written.

    Raises
    ------
    ValueError
        If it is nothing, holds a function of Python, or this polars does not read it; the text says why.
    """
    if not written or any(mark in written for mark in _OPAQUE):
        raise ValueError
    try:
        return pl.Expr.deserialize(io.StringIO(written), format="json")
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(str(error).splitlines()[0][:200]) from None


def is_by_row(expr: pl.Expr) -> bool:
    """Return whether an expression makes of each row what it would make of that row alone.

    Examples
    --------
    >>> is_by_row(pl.col("a") > 1), is_by_row(pl.col("a") > pl.col("a").mean())
    (True, False)
    """
    # polars answers for the outermost function only: a difference is by row even if it subtracts a mean.
    return expr.meta.is_row_separable() and all(is_by_row(operand) for operand in expr.meta.pop())
