"""A glance settles only what counting would find as well."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.data.contracts.model import ColumnRule, Contract
from varv.data.contracts.rules import Screen
from varv.kernel.clock import instant
from varv.kernel.columns import TIME

NOW = instant("2013-02-01")
CONTRACT = Contract(
    key=("key",),
    time="at",
    columns=(
        ColumnRule(name="key", kind="integer", null_share=0.0),
        ColumnRule(name="at", kind="time", null_share=0.0),
        ColumnRule(name="x", kind="number", null_share=0.2, low=-1.0, high=2.0, lowest=-9.0, highest=9.0),
        ColumnRule(name="n", kind="integer", null_share=0.2, low=0.0, high=3.0),
        ColumnRule(name="late", kind="integer", values=(0.0, 1.0)),
        ColumnRule(name="kind", kind="text", values=("a", "b")),
        ColumnRule(name="town", kind="text", null_share=0.1, domain=("Oslo", "Rome")),
        ColumnRule(name="flag", kind="boolean", values=(0.0, 1.0)),
    ),
    earliest=instant("2013-01-01"),
)
TYPES = {
    "key": pl.Int64(),
    "at": TIME,
    "x": pl.Float64(),
    "n": pl.Int64(),
    "late": pl.Int8(),
    "kind": pl.String(),
    "town": pl.String(),
    "flag": pl.Boolean(),
}
SOUND = {
    "key": 1,
    "at": dt.datetime(2013, 1, 20, tzinfo=dt.UTC),
    "x": 0.5,
    "n": 1,
    "late": 1,
    "kind": "a",
    "town": "Rome",
    "flag": True,
}
ODD = {
    "key": (None,),
    "at": (None, dt.datetime(2012, 1, 1, tzinfo=dt.UTC), dt.datetime(2019, 1, 1, tzinfo=dt.UTC)),
    "x": (None, float("nan"), float("inf"), -float("inf"), 3.0, -20.0, 2.0, -1.0),
    "n": (None, 4, -1, 3, 0),
    "late": (None, 2, 0),
    "kind": (None, "c", "b"),
    "town": (None, "Bonn"),
    "flag": (None, False),
}


def frame(rows, **types):
    return pl.DataFrame(rows, schema={**TYPES, **types}, orient="row", strict=False)


def both_ways(batch):
    """Return what is said of a batch after a glance, and what is said without one."""
    glancing, counting = Screen(CONTRACT, TYPES), Screen(CONTRACT, TYPES)
    counting._is_plainly_sound = lambda frame, now: False
    said = [screen.look(batch, now=NOW) for screen in (glancing, counting)]
    return [(one.report, one.reasons.to_list(), one.whole) for one in said]


@st.composite
def batches(draw):
    rows = [dict(SOUND, key=number) for number in range(draw(st.integers(1, 12)))]
    for row in rows:
        for name in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=1)):
            row[name] = draw(st.sampled_from(ODD[name]))
    return frame([tuple(row.values()) for row in rows])


@settings(deadline=None)
@given(batches())
def test_a_glance_says_what_counting_says(batch):
    glanced, counted = both_ways(batch)
    assert glanced == counted


def test_a_sound_batch_is_settled_by_a_glance():
    batch = frame([tuple(SOUND.values())] * 3)
    assert Screen(CONTRACT, TYPES)._is_plainly_sound(batch, NOW)


@pytest.mark.parametrize(
    "batch",
    [
        frame([tuple(SOUND.values())], n=pl.Int32()),
        frame([tuple(SOUND.values())], at=pl.Datetime("ms", "UTC")),
        frame([tuple(SOUND.values())]).with_columns(town=pl.lit(None)),
        frame([tuple(SOUND.values())]).clear(),
        frame([tuple(SOUND.values())]).drop("town"),
        frame([tuple(SOUND.values())]).with_columns(more=1),
    ],
    ids=["other integer", "other unit", "nulls of no type", "no rows", "column missing", "column unknown"],
)
def test_other_types_and_columns_are_judged_alike(batch):
    glanced, counted = both_ways(batch)
    assert glanced == counted
