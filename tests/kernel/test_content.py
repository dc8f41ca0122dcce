"""The digest of rows depends on what they say and on nothing else."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel import content
from varv.kernel.content import Content, rows_digest
from varv.kernel.errors import InvalidInput

NOON = dt.datetime(2013, 1, 1, 12, tzinfo=dt.UTC)
EVERY_TYPE = pl.DataFrame(
    {
        "whole": pl.Series([1, None, -3], dtype=pl.Int64),
        "small": pl.Series([1, None, 3], dtype=pl.UInt8),
        "real": pl.Series([0.5, None, float("nan")]),
        "single": pl.Series([0.5, None, -0.0], dtype=pl.Float32),
        "truth": pl.Series([True, None, False]),
        "text": pl.Series(["ä", None, ""]),
        "kind": pl.Series(["a", None, "a"], dtype=pl.Categorical),
        "one_of": pl.Series(["a", None, "b"], dtype=pl.Enum(["a", "b"])),
        "at": pl.Series([NOON, None, NOON], dtype=pl.Datetime("us", "UTC")),
        "local": pl.Series([NOON.replace(tzinfo=None), None, None], dtype=pl.Datetime("ms")),
        "day": pl.Series([dt.date(2013, 1, 1), None, None]),
        "hour": pl.Series([dt.time(1, 2), None, None]),
        "span": pl.Series([dt.timedelta(1), None, None]),
        "price": pl.Series([Decimal("1.10"), None, None], dtype=pl.Decimal(10, 2)),
        "nothing": pl.Series([None, None, None]),
    }
)


def test_rows_keep_their_digest_whatever_file_they_are_stored_in(tmp_path):
    digest = rows_digest(EVERY_TYPE)
    for options in ({}, {"compression": "uncompressed"}, {"row_group_size": 1, "compression": "gzip"}):
        EVERY_TYPE.write_parquet(tmp_path / "a.parquet", **options)
        assert rows_digest(pl.read_parquet(tmp_path / "a.parquet")) == digest
    chunks = pl.concat([EVERY_TYPE[:1], EVERY_TYPE[1:]], rechunk=False)
    assert rows_digest(chunks) == digest


def test_any_stretch_of_rows_has_the_digest_that_it_has_alone():
    every = Content(EVERY_TYPE)
    for first in range(4):
        for n in range(4 - first):
            assert every.digest(first, n) == rows_digest(EVERY_TYPE[first : first + n])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_many_rows_have_the_digest_of_the_same_rows_at_once(monkeypatch, size):
    frame = pl.concat([EVERY_TYPE, EVERY_TYPE.drop_nulls("whole"), EVERY_TYPE[1:2]])
    digest = rows_digest(frame)
    monkeypatch.setattr(content, "STRETCH", size)
    monkeypatch.setattr(content, "FEW_TEXTS", size - 1)
    assert rows_digest(frame) == digest
    assert Content(frame).digest(1, 3) == rows_digest(frame[1:4])


@pytest.mark.parametrize("column", EVERY_TYPE.columns)
def test_a_column_that_is_gone_renamed_or_moved_changes_the_digest(column):
    digests = {
        rows_digest(EVERY_TYPE),
        rows_digest(EVERY_TYPE.drop(column)),
        rows_digest(EVERY_TYPE.rename({column: "other"})),
        rows_digest(EVERY_TYPE.select(pl.exclude(column), column)),
    }
    assert len(digests) == (3 if column == EVERY_TYPE.columns[-1] else 4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, None], [1, 0]),
        ([0.0, 1.0], [-0.0, 1.0]),
        ([1, 2], [2, 1]),
        ([1, 2], [1.0, 2.0]),
        (["a", None], ["a", ""]),
        (["ab", "c"], ["a", "bc"]),
        ([True], [1]),
        (["1"], [1]),
        ([NOON], [NOON.replace(tzinfo=None)]),
    ],
)
def test_rows_that_differ_have_other_digests(one, other):
    assert rows_digest(pl.DataFrame({"a": one})) != rows_digest(pl.DataFrame({"a": other}))


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=4))
def test_texts_cannot_run_into_each_other(rows):
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    shifted = frame.with_columns(a=pl.col("a") + pl.col("b").str.head(1), b=pl.col("b").str.slice(1))
    assert (rows_digest(frame) == rows_digest(shifted)) == frame.equals(shifted)


def test_what_cannot_be_kept_has_no_digest():
    with pytest.raises(InvalidInput, match="List"):
        rows_digest(pl.DataFrame({"a": [[1]]}))


def test_digests_are_those_that_ledgers_hold():
    large = pl.DataFrame(
        {
            "whole": pl.Series([2**53 + 1, None, -(2**63)], dtype=pl.Int64),
            "natural": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
        }
    )
    assert [rows_digest(frame)[:16] for frame in (EVERY_TYPE, EVERY_TYPE.drop_nulls("whole"), large)] == [
        "1e4b5dff5e9341fc",
        "236386d383d15ef1",
        "45a475ecf7067a13",
    ]
