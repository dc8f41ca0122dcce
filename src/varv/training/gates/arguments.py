"""How arguments of gates are checked when they are declared."""

from __future__ import annotations

import math
import re

from varv.features.slices import Slice
from varv.kernel.errors import InvalidDeclaration
from varv.training.gates.bounds import Limit

LONGEST_NAME = 80
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


def wrong(gate: str, argument: str, value: object, hint: str) -> InvalidDeclaration:
    """Return the error of an argument that cannot be."""
    return InvalidDeclaration("gate", gate, f"has a bad {argument}", given=repr(value)[:60], hint=hint)


def number_of(
    gate: str, argument: str, value: object, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return a finite number from `low` to `high`.

    Raises
    ------
    InvalidDeclaration
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(gate, argument, value, _range(low, high))
    if not low <= value <= high:
        raise wrong(gate, argument, value, _range(low, high))
    return float(value)


def limit_of(gate: str, at_least: object, at_most: object) -> Limit:
    """Return the limit of two arguments of which at least one is given.

    Raises
    ------
    InvalidDeclaration
        If none is, or they leave nothing between them.
    """
    if at_least is None and at_most is None:
        raise InvalidDeclaration("gate", gate, "has no bound", hint="write at_least=... or at_most=...")
    low = None if at_least is None else number_of(gate, "at_least", at_least)
    high = None if at_most is None else number_of(gate, "at_most", at_most)
    if low is not None and high is not None and low > high:
        raise wrong(gate, "at_most", at_most, f"give a number of at least {low:g}")
    return Limit(low, high)


def name_of(gate: str, value: object) -> str:
    """Return a name: a text of one line.

    Raises
    ------
    InvalidDeclaration
        If it is none.
    """
    if (
        not isinstance(value, str)
        or not value.strip()
        or not value.isprintable()
        or len(value) > LONGEST_NAME
    ):
        raise wrong(gate, "name", value, f"give a text of at most {LONGEST_NAME} characters")
    return value


def truth_of(gate: str, argument: str, value: object) -> bool:
    """Return a truth value.

    Raises
    ------
    InvalidDeclaration
        If it is none.
    """
    if not isinstance(value, bool):
        raise wrong(gate, argument, value, f"write {argument}=True or {argument}=False")
    return value


def slice_of(gate: str, value: object) -> Slice | None:
    """Return a slice, or None for all rows.

    Raises
    ------
    InvalidDeclaration
        If it is neither.
    """
    if value is not None and not isinstance(value, Slice):
        raise wrong(gate, "slice", value, 'write slice=varv.slice("carrier", "UA")')
    return value


def size_of(gate: str, argument: str, value: object) -> int:
    """Return the bytes of a size such as ``"20MB"`` or ``"1.5 GiB"``.

    Raises
    ------
    InvalidDeclaration
        If it is none.

    Examples
    --------
    >>> size_of("size", "max", "20MB"), size_of("size", "max", "1.5 KiB")
    (20000000, 1536)
    """
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not float(found[1]) > 0:
        raise wrong(gate, argument, value, f'give a size such as "20MB"; units are {", ".join(_UNITS)}')
    return int(float(found[1]) * _UNITS[found[2]])


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "give a number"
    if math.isinf(high):
        return f"give a number of at least {low:g}"
    return f"give a number from {low:g} to {high:g}"
