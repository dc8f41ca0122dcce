"""What values of features are to a model: numbers or texts. How they are kept, and how they and what computes
them are named.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.ids import checked_name

Kind = Literal["numeric", "categorical"]


def kept_as(kind: Kind) -> pl.DataType:
    """Return the type in which features of a kind are kept."""
    return pl.Float32() if kind == "numeric" else pl.String()


def feature_kind(dtype: pl.DataType) -> Kind | None:
    """Return how values of a type enter a model, or None if they cannot."""
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "numeric"
    return "categorical" if dtype == pl.String else None


def exported(name: str) -> str:
    """Return the name under which a feature leaves, or an expression reads it.

    Examples
    --------
    >>> exported("recent.late_mean_6h")
    'recent__late_mean_6h'
    """
    return name.replace(".", "__", 1)


def declared_name(kind: str, name: str) -> str:
    """Return the name of what is declared.

    Raises
    ------
    InvalidDeclaration
        If it is not valid.
    """
    try:
        return checked_name(kind, name)
    except InvalidInput as error:
        raise InvalidDeclaration(kind, error.name, error.problem, hint=error.hint) from None
