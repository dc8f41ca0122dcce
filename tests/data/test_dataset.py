"""Declaring a dataset: parts, and every mistake named."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.data import Dataset, Frame
from varv.data.dataset import dataset_of
from varv.data.model import DatasetRegistered
from varv.kernel.errors import Corrupt, InvalidDeclaration

TYPES = {"id": pl.String, "at": pl.Datetime, "size": pl.Int64, "done_at": pl.Datetime, "late": pl.Boolean}
ROWS = pl.DataFrame(
    [
        ("b", dt.datetime(2013, 1, 2), 2, dt.datetime(2013, 1, 3), True),
        ("a", dt.datetime(2013, 1, 1), 1, None, None),
    ],
    schema=TYPES,
    orient="row",
)


def declared(rows=ROWS, **changes):
    given = {"source": Frame(rows), "key": "id", "event_time": "at", "known_at": {"done_at": ["late"]}}
    return Dataset("trips", **{**given, **changes})


def test_a_dataset_has_a_part_for_each_time_at_which_columns_become_known():
    trips = declared()
    assert trips.parts == ("at", "done_at")
    assert trips.columns("at") == ("id", "at", "size")
    assert trips.columns("done_at") == ("id", "done_at", "late")
    assert {name: trips.known_when(name) for name in TYPES} == {
        "id": "at",
        "at": "at",
        "size": "at",
        "done_at": "done_at",
        "late": "done_at",
    }


def test_rows_come_in_utc_in_the_order_of_time_and_key_and_parts_without_what_is_never_known():
    trips = declared()
    frame = trips.load()
    assert frame["id"].to_list() == ["a", "b"]
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert trips.part(frame, "done_at").rows() == [("b", dt.datetime(2013, 1, 3, tzinfo=dt.UTC), True)]


def test_a_function_is_called_once_and_only_when_rows_are_needed():
    calls = []

    def rows():
        calls.append(1)
        return ROWS

    trips = declared(source=Frame(rows))
    assert not calls
    trips.types(), trips.load(), trips.load()
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"key": "nope"}, r"dataset 'trips' has no column 'nope'.*its columns are id, at"),
        ({"event_time": "nope"}, r"no column 'nope'"),
        ({"known_at": {"nope": ["late"]}}, r"no column 'nope'"),
        ({"known_at": {"done_at": ["nope"]}}, r"no column 'nope'"),
        ({"event_time": "size"}, r"times of type Int64 in 'size'.*to_datetime"),
        ({"known_at": {"done_at": []}}, r"names no column in 'done_at'"),
        ({"known_at": {"done_at": ["late", "late"]}}, r"names 'late' twice"),
        ({"known_at": {"done_at": ["late", "id"]}}, r"names 'id' twice"),
        ({"known_at": {"at": ["late"]}}, r"names 'at' twice"),
        ({"known_at": {"../done": ["late"]}}, r"cannot name a part"),
        ({"key": []}, r"names no column in 'key'"),
        ({"source": "flights.csv"}, r"source str.*varv\.Csv"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(changes, match):
    with pytest.raises(InvalidDeclaration, match=match):
        declared(**changes).types()


@pytest.mark.parametrize("name", ["Trips", "../trips", "", "a" * 64, "trips.x", None, 3])
def test_a_bad_name_is_refused(name):
    with pytest.raises(InvalidDeclaration, match="not a valid name"):
        Dataset(name, source=Frame(ROWS), key="id", event_time="at")


def test_a_type_that_is_not_kept_is_refused_by_name():
    with pytest.raises(InvalidDeclaration, match=r"type List\(Int64\) in 'size'"):
        declared(ROWS.with_columns(size=pl.Series([[1], [2]]))).types()


def test_a_row_without_event_time_comes_first_and_in_no_part():
    trips = declared(ROWS.with_columns(at=pl.Series([None, dt.datetime(2013, 1, 1)])))
    frame = trips.load()
    assert frame["id"].to_list() == ["b", "a"]
    assert trips.part(frame, "at")["id"].to_list() == ["a"]


def test_a_registered_dataset_is_the_declared_one_without_its_source():
    trips = declared()
    registered = DatasetRegistered(
        dataset=trips.name,
        key=trips.key,
        event_time=trips.event_time,
        known_at=dict(trips.known_at),
        types={name: str(dtype) for name, dtype in trips.types().items()},
    )
    again = dataset_of(registered)
    assert (again.key, again.parts, again.types()) == (trips.key, trips.parts, trips.types())
    strange = DatasetRegistered(
        dataset=trips.name, key=("id",), event_time="at", known_at={}, types={"id": "List(Int64)"}
    )
    with pytest.raises(Corrupt, match="List"):
        dataset_of(strange)


def test_a_function_that_returns_something_else_is_named():
    with pytest.raises(InvalidDeclaration, match="returned list"):
        declared(source=Frame(lambda: [1])).types()
