"""Rows with every sort of value, for tests of declared rules, and a plain reading of what breaks them."""

from __future__ import annotations

import datetime as dt

import polars as pl

from varv.data.contracts.inference import contract_of_types
from varv.data.contracts.rules import Screen
from varv.kernel.clock import instant
from varv.kernel.columns import TIME

NOW = instant("2013-02-01")
TYPES = {
    "id": pl.Int64(),
    "at": TIME,
    "x": pl.Float64(),
    "y": pl.Float64(),
    "n": pl.Int16(),
    "town": pl.String(),
    "code": pl.String(),
    "on": pl.Boolean(),
}


def at(hour):
    return dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=hour)


def batch(**columns):
    """Return rows with these values, and plain ones in all other columns."""
    n = len(next(iter(columns.values())))
    plain = {"id": range(n), "at": [at(i) for i in range(n)], "x": [0.5] * n, "y": [1.0] * n, "n": [1] * n}
    plain |= {"town": ["Oslo"] * n, "code": ["A1"] * n, "on": [True] * n}
    return pl.DataFrame({**plain, **columns}, schema=TYPES, strict=False)


def look(frame, *declared, **how):
    """Return what is said of a batch by declared rules and its types."""
    contract = contract_of_types(TYPES, key=["id"], time="at")
    return Screen(contract, TYPES, declared).look(frame, now=NOW, **how)


def broken(frame, *declared, **how):
    """Return the numbers of the rows that are put aside."""
    return [row for row, why in enumerate(look(frame, *declared, **how).reasons) if why is not None]
