"""Rules as an author writes them down: Python that is pasted into a declaration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from varv.data.contracts.model import Expectation
from varv.data.moving.conditions import in_python, tree_of
from varv.kernel.errors import InvalidInput

_APART = frozenset({"compare", "pair_in"})
"""Rules whose columns are arguments of their own."""
_LISTED = frozenset({"equal", "differing", "total"})
"""Rules that take their columns as a list."""


def declaration(expectations: Sequence[Expectation]) -> str:
    """Return rules as the argument ``expect`` of a dataset.

    Raises
    ------
    InvalidInput
        If a rule has an expression that is more than comparisons.

    Examples
    --------
    >>> from varv import expect
    >>> print(declaration([expect.between("delay", -60, 1500, severity="warn")]), end="")
    expect=[
        varv.expect.between("delay", low=-60, high=1500, severity="warn"),
    ],
    """
    lines = "".join(f"    {in_code(one)},\n" for one in expectations)
    return f"expect=[\n{lines}],\n"


def in_code(one: Expectation) -> str:
    """Return one rule as the call that makes it.

    Raises
    ------
    InvalidInput
        If it has an expression that is more than comparisons.
    """
    return f"varv.expect.{one.kind}({', '.join(_arguments(one))})"


def _arguments(one: Expectation) -> Iterator[str]:
    given: dict[str, Any] = dict(one.given)
    if one.kind == "that":
        yield _text(one.name)
        yield _condition(one, given["written"])
    elif one.kind in _APART:
        first, second = one.columns
        middle = [_text(given.pop("comparison"))] if one.kind == "compare" else []
        yield from (_text(first), *middle, _text(second))
    elif one.kind in _LISTED or len(one.columns) > 1:
        yield _plain(list(one.columns))
    else:
        yield _text(one.columns[0])
    if one.kind != "that":
        yield from (f"{name}={_plain(_as_given(name, value))}" for name, value in given.items())
    usual = "warn" if one.kind in ("fresh", "volume") else "error"
    if one.severity != usual:
        yield f"severity={_text(one.severity)}"
    if one.share:
        yield f"share={one.share!r}"
    if one.when_written:
        yield f"when={_condition(one, one.when_written)}"
    if one.name and one.kind != "that":
        yield f"name={_text(one.name)}"


def _as_given(name: str, value: Any) -> Any:
    return [tuple(pair) for pair in value] if name == "pairs" else value


def _condition(one: Expectation, written: str) -> str:
    try:
        return in_python(tree_of(written))
    except ValueError as error:
        hint = "it is in the project's file"
        raise InvalidInput("expectation", one.name or one.kind, str(error), hint=hint) from None


def _text(value: str) -> str:
    # In double quotes, as the rest of a declaration, where nothing has to be escaped for it.
    shown = repr(value)
    return f'"{value}"' if shown == f"'{value}'" and '"' not in value else shown


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return repr(value)
