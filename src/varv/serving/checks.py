"""Quality in flight: what a declaration demands of the values of a request, looked at before it is answered.

A request that breaks a check is refused, answered with a declared value in the place of its own, or answered
as it is and flagged. Whichever way it is answered by then gets the same columns, so the two ways cannot
differ in it. A value of a wrong kind breaks no check: whoever types it says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from varv.kernel.errors import InvalidInput
from varv.serving.matrix import MatrixColumns
from varv.serving.policy import Check
from varv.serving.scored import Flagged

Columns = Mapping[str, Sequence[Any]]


class Checked(NamedTuple):
    """The columns of a request after its checks."""

    columns: Columns
    flagged: Flagged


def checked(checks: Sequence[Check], columns: Columns) -> Checked:
    """Return the columns of a request as it is to be answered, and which of its values broke a check.

    Raises
    ------
    InvalidInput
        If a value breaks a check that refuses the request; it names the column and the first such row.
    """
    flagged: dict[str, Sequence[int]] = {}
    for check in checks:
        rows = _broken(check, columns)
        if not rows:
            continue
        if check.otherwise == "reject":
            given = columns[check.column][rows[0]] if check.column in columns else None
            raise InvalidInput(
                "column",
                check.column,
                "breaks a check",
                hint=f"send what is {check.line.partition(', else')[0].removeprefix(check.column).strip()}",
                reason="check",
                row=rows[0],
                given=str(given)[:40],
            )
        flagged[check.column] = rows
        if check.otherwise == "default":
            columns = _replaced(columns, check, rows)
    return Checked(columns, flagged)


def _broken(check: Check, columns: Columns) -> list[int]:
    """Return the rows that break a check."""
    if isinstance(columns, MatrixColumns):
        if check.column in columns.names:
            return _broken_numbers(check, columns.values_together[:, columns.names.index(check.column)])
    elif (values := columns.get(check.column)) is not None:
        return [row for row, value in enumerate(values) if _breaks(check, value)]
    return list(range(_n_rows(columns))) if check.required else []


def _breaks(check: Check, value: Any) -> bool:
    if value is None:
        return check.required
    if check.one_of:
        # True is 1 to Python, and no number to whoever declares numbers.
        is_truth = type(value) is bool
        return not any(one == value and (type(one) is bool) == is_truth for one in check.one_of)
    if type(value) not in (int, float):
        return False
    return not (_low(check) <= value <= _high(check))


def _broken_numbers(check: Check, values: np.ndarray[Any, Any]) -> list[int]:
    absent = np.isnan(values)
    if check.one_of:
        broken = ~np.isin(values, [one for one in check.one_of if type(one) in (int, float)])
    else:
        broken = (values < _low(check)) | (values > _high(check))
    broken = np.where(absent, check.required, broken)
    return np.flatnonzero(broken).tolist() if broken.any() else []


def _replaced(columns: Columns, check: Check, rows: Sequence[int]) -> Columns:
    """Return columns with the declared value in some rows of one."""
    name, value = check.column, check.default
    if isinstance(columns, MatrixColumns) and name in columns.names:
        values = columns.values_together.astype(np.float64)
        values[rows, columns.names.index(name)] = value
        return MatrixColumns(columns.names, values)
    given = columns.get(name)
    new = [value] * _n_rows(columns) if given is None else list(given)
    for row in rows:
        new[row] = value
    return {**columns, name: new}


def _n_rows(columns: Columns) -> int:
    if isinstance(columns, MatrixColumns):
        return len(columns.values_together)
    return len(next(iter(columns.values()), ()))


def _low(check: Check) -> float:
    return -math.inf if check.low is None else check.low


def _high(check: Check) -> float:
    return math.inf if check.high is None else check.high
