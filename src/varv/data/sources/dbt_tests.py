"""Tests of dbt as rules of a contract: what they mean row by row, and the list of those that mean something
else.

Source: dbt's documentation of its generic tests, and that of the package dbt-utils.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from varv.data.contracts import expect
from varv.data.contracts.model import Expectation
from varv.data.moving.translation import Collector, Translated
from varv.data.sources.dbt_artifacts import DbtTest
from varv.kernel.errors import InvalidInput

_LEFT: Mapping[str, str] = {
    "relationships": "it compares two tables",
    "expression_is_true": "it is an expression of SQL; write it with varv.expect.that",
}
_PACKAGE = "dbt_utils."


def rules_of(tests: Sequence[DbtTest]) -> Translated:
    """Return the rules that tests of one model stand for, and those that were not translated."""
    found = Collector(None)
    for test in tests:
        kind = test.kind.removeprefix(_PACKAGE)
        what = f"{test.kind} of {test.column}" if test.column else test.kind
        make = _KINDS.get(kind)
        if make is None:
            found.leave(what, _LEFT.get(kind, "it is a query of its own"))
        elif test.where:
            found.leave(what, "its condition is one of SQL; write it with when=")
        else:
            found.take(what, lambda make=make, test=test: make(test))
    return found.translated("dbt")


def _accepted(test: DbtTest) -> Expectation:
    values = list(test.given["values"])
    if test.given.get("quote") is False:
        return expect.one_of(test.column, values, severity=_severity(test))
    return expect.one_of(test.column, [str(value) for value in values], severity=_severity(test))


def _range(test: DbtTest) -> Expectation:
    low, high = (_number(test.given.get(name)) for name in ("min_value", "max_value"))
    closed: Literal["both", "none"] = "both" if test.given.get("inclusive", True) else "none"
    return expect.between(test.column, low, high, closed=closed, severity=_severity(test))


def _number(value: Any) -> float | int | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise InvalidInput("test", "accepted_range", "has a limit that is an expression of SQL")


def _severity(test: DbtTest) -> Literal["warn", "error"]:
    return "warn" if test.severity == "warn" else "error"


def _together(test: DbtTest) -> Expectation:
    return expect.unique(list(test.given["combination_of_columns"]), severity=_severity(test))


_KINDS: Mapping[str, Callable[[DbtTest], Expectation]] = {
    "not_null": lambda test: expect.present(test.column, severity=_severity(test)),
    "unique": lambda test: expect.unique(test.column, severity=_severity(test)),
    "accepted_values": _accepted,
    "accepted_range": _range,
    "unique_combination_of_columns": _together,
    # A batch that is late is late with all its rows, so it is never put aside.
    "freshness": lambda test: expect.fresh(test.column, within=str(test.given["within"])),
}
