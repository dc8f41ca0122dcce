"""Statistics as declarations name them: ``"mean"``, ``"p95"``, ``share(above=15)``."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.ids import checked_name

OF_NUMBERS = ("mean", "sum", "std", "min", "max")
OF_ALL = ("count", "distinct", "first", "last")
Relation = Literal["is", "above", "below"]
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,3})?)")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class Share(msgspec.Struct, frozen=True):
    """The part of the values in a window for which a condition holds."""

    relation: Relation
    value: str | float
    name: str
    """What it is called in names of features."""

    def __str__(self) -> str:
        """Return it in words."""
        value = self.value if isinstance(self.value, str) else f"{self.value:.15g}"
        return f"share {self.relation} {value}"


Statistic = str | Share
"""A name such as ``"mean"`` or ``"p95"``, or a share."""


def share(
    of: str | float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    name: str | None = None,
) -> Share:
    """Return the share of values in a window for which a condition holds, for `windows`.

    Parameters
    ----------
    of
        The value that is counted; True for Booleans.
    above, below
        The number that values have to be above or below. One of the three is given.
    name
        What it is called in the names of features; made of the condition by default.

    Raises
    ------
    InvalidDeclaration
        If there is not one condition, or no name can be made of it.

    Examples
    --------
    >>> share("cancelled").name, share(above=15).name
    ('share_cancelled', 'share_above_15')
    """
    given = [("is", of), ("above", above), ("below", below)]
    stated = [(relation, value) for relation, value in given if value is not None]
    if len(stated) != 1 or not isinstance(stated[0][1], str | int | float):
        hint = "write share('cancelled'), share(above=15) or share(below=0)"
        raise InvalidDeclaration("share", name or "", "needs one condition", hint=hint)
    [(relation, value)] = stated
    if relation != "is" and isinstance(value, str):
        raise InvalidDeclaration(
            "share", name or value, f"compares a text by {relation!r}", hint="give a number"
        )
    if name is None:
        words = f"{value:g}" if isinstance(value, int | float) else value
        name = f"share_{'' if relation == 'is' else relation + '_'}{_plain(words)}"
    try:
        checked_name("share", name)
    except InvalidInput as error:
        hint = "give it a name of lower-case letters: share(..., name='...')"
        raise InvalidDeclaration("share", error.name, error.problem, hint=hint) from None
    return Share(relation, value if isinstance(value, str) else float(value), name)  # type: ignore[arg-type]


def _plain(words: str) -> str:
    return _NOT_IN_NAMES.sub("_", words.lower().replace("-", "minus_").replace(".", "_")).strip("_")


def name_of(statistic: Statistic) -> str:
    """Return what a statistic is called in names of features.

    Examples
    --------
    >>> name_of("p99.9")
    'p99_9'
    """
    return statistic.name if isinstance(statistic, Share) else statistic.replace(".", "_")


def quantile_of(statistic: str) -> tuple[int, int] | None:
    """Return the quantile that a name means, as a fraction of two whole numbers; None if it means none.

    Examples
    --------
    >>> quantile_of("p95"), quantile_of("p99.9"), quantile_of("mean")
    ((95, 100), (999, 1000), None)
    """
    found = _QUANTILE.fullmatch(statistic)
    if found is None or float(found[1]) == 0:
        return None
    whole, _, rest = found[1].partition(".")
    return int(whole + rest), 100 * 10 ** len(rest)


def statistic_of(column: str, statistic: object) -> Statistic:
    """Return a statistic of a column as it was declared.

    Raises
    ------
    InvalidDeclaration
        If there is none of that name.
    """
    if isinstance(statistic, Share):
        return statistic
    if isinstance(statistic, str) and (
        statistic in (*OF_NUMBERS, *OF_ALL) or quantile_of(statistic) is not None
    ):
        return statistic
    hint = f"use {', '.join((*OF_NUMBERS, *OF_ALL))}, quantiles such as p95, or share(...)"
    raise InvalidDeclaration("windows", column, f"have no statistic {statistic!r}", hint=hint)


def is_of_numbers(statistic: Statistic) -> bool:
    """Return whether a statistic is of numbers only, not of texts."""
    if isinstance(statistic, Share):
        return not isinstance(statistic.value, str)
    return statistic not in OF_ALL


def is_of_texts(statistic: Statistic) -> bool:
    """Return whether a statistic is of texts only, not of numbers."""
    return isinstance(statistic, Share) and isinstance(statistic.value, str)
