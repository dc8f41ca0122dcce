"""The behaviour of a column store."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.kernel.columns import FolderColumns
from varv.kernel.errors import Conflict, InvalidInput, NotFound
from varv.kernel.faults import Crash, Faults

JANUARY = pl.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "s": ["a", None]})
FEBRUARY = pl.DataFrame({"n": [3], "x": [1.5], "s": ["ä"]})


@pytest.fixture
def columns(tmp_path):
    return FolderColumns(tmp_path / "columns")


def test_segments_are_scanned_in_the_order_of_their_names(columns):
    columns.append("flights/raw", "2013-02", FEBRUARY)
    columns.append("flights/raw", "2013-01", JANUARY)
    assert columns.segments("flights/raw") == ["2013-01", "2013-02"]
    assert columns.scan("flights/raw").select("n").collect()["n"].to_list() == [1, 2, 3]
    assert columns.scan("flights/raw", ["2013-02"]).collect().equals(FEBRUARY)


def test_appending_the_same_rows_again_is_harmless_and_other_rows_conflict(columns):
    columns.append("t", "a", JANUARY)
    columns.append("t", "a", JANUARY)
    with pytest.raises(Conflict, match="other rows"):
        columns.append("t", "a", JANUARY.with_columns(n=pl.Series([1, 3])))
    with pytest.raises(Conflict, match="other columns"):
        columns.append("t", "a", FEBRUARY.select("n"))
    assert columns.scan("t").collect().equals(JANUARY)


def test_times_keep_their_unit_and_zone(columns):
    times = pl.Series([dt.datetime(2013, 1, 1, tzinfo=dt.UTC)], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"at": times, "carrier": pl.Series(["UA"], dtype=pl.Categorical)})
    columns.append("t", "a", frame)
    columns.append("t", "a", frame)
    assert columns.scan("t").collect_schema()["at"] == pl.Datetime("us", "UTC")


def test_an_empty_segment_keeps_its_columns(columns):
    columns.append("t", "a", JANUARY.clear())
    assert columns.scan("t").collect().schema == JANUARY.schema
    with pytest.raises(InvalidInput, match="no columns"):
        columns.append("t", "b", pl.DataFrame())


def test_what_is_not_there_is_not_found(columns):
    assert columns.segments("t") == []
    with pytest.raises(NotFound):
        columns.scan("t")
    columns.append("t", "a", JANUARY)
    with pytest.raises(NotFound, match="t/b"):
        columns.scan("t", ["a", "b"])
    columns.drop("t", "a")
    columns.drop("t", "a")
    assert columns.segments("t") == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../t", "a/../b", "/a", "a//b", ".a", "a\x00", "a\n", "é", "x" * 129, 7]
)
def test_a_name_that_could_leave_its_folder_is_refused(columns, name):
    with pytest.raises(InvalidInput):
        columns.append(name, "a", JANUARY)
    with pytest.raises(InvalidInput):
        columns.append("t", name, JANUARY)
    with pytest.raises(InvalidInput):
        columns.segments(name)


def test_a_segment_name_has_no_folder(columns):
    with pytest.raises(InvalidInput):
        columns.append("t", "a/b", JANUARY)


def test_a_crash_before_the_rename_leaves_no_segment(tmp_path):
    with pytest.raises(Crash):
        FolderColumns(tmp_path, faults=Faults("columns.before_rename")).append("t", "a", JANUARY)
    columns = FolderColumns(tmp_path)
    assert columns.segments("t") == []
    columns.append("t", "a", JANUARY)
    assert columns.scan("t").collect().equals(JANUARY)
