"""The feed gives each row once, at the time at which it became known."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.loop.synthetic import declared, parcels

from varv.home.feed import Feed
from varv.kernel.clock import DAY, HOUR, Instant, instant
from varv.kernel.errors import InvalidDeclaration

START, END = instant("2024-03-01"), instant("2024-05-10")


@pytest.fixture(scope="module")
def feed():
    return Feed(declared().models[0].datasets)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 60 * 24), max_size=12))
def test_however_time_is_cut_every_row_comes_once_and_in_its_time(feed, hours):
    cuts = sorted({START, END, *(Instant(START + hour * HOUR) for hour in hours)})
    counts: dict[str, int] = {}
    for since, until in pairwise(cuts):
        for arrival in feed.between(since, until):
            times = arrival.rows[arrival.part].to_physical()
            assert times.min() >= since
            assert times.max() < until
            assert times.is_sorted()
            counts[arrival.part] = counts.get(arrival.part, 0) + arrival.rows.height
    past = parcels()
    assert counts == {"asked_at": past.height, "arrived_at": past["arrived_at"].drop_nulls().len()}


def test_a_request_arrives_without_what_becomes_known_later(feed):
    for arrival in feed.between(START, Instant(START + DAY)):
        if arrival.is_base:
            assert arrival.rows.columns == ["parcel", "asked_at", "load", "heat", "route"]
        else:
            assert arrival.rows.columns == ["parcel", "arrived_at", "late", "delay"]


def test_a_stretch_in_which_nothing_happened_is_empty(feed):
    assert feed.between(Instant(START - DAY), START) == []
    assert feed.between(START, START) == []


def test_what_a_column_came_to_be_stands_in_the_order_of_the_requests(feed):
    [requests] = [one for one in feed.between(START, Instant(START + DAY)) if one.is_base]
    later = feed.later(requests.dataset, requests.rows, "delay")
    expected = requests.rows.join(parcels().select("parcel", "delay"), on="parcel", maintain_order="left")
    assert later.equals(expected["delay"])
    assert later.null_count() == expected.filter(pl.col("delay").is_null()).height > 0


def test_rows_without_a_time_come_with_the_first_stretch_if_asked_for():
    past = parcels().with_columns(asked_at=pl.when(pl.int_range(pl.len()) != 3).then("asked_at"))
    [data] = declared(past).models[0].datasets
    feed = Feed([data])
    [plain] = [one for one in feed.between(START, Instant(START + DAY)) if one.is_base]
    [full] = [one for one in feed.between(START, Instant(START + DAY), undated=True) if one.is_base]
    assert full.rows.height == plain.rows.height + 1
    assert full.rows["asked_at"].null_count() == feed.n_undated(data) == 1
    assert feed.n_rows(data, "asked_at") == past.height


def test_a_key_that_does_not_identify_rows_is_told_with_one_that_does():
    past = parcels().with_columns(parcel=pl.lit("p") + (pl.int_range(pl.len()) // 2).cast(pl.String))
    with pytest.raises(InvalidDeclaration, match=r"3,600 of 7,200 repeat one") as refused:
        Feed(declared(past).models[0].datasets)
    assert refused.value.hint == 'did you mean key=["parcel", "asked_at"]?'


def test_the_same_rows_twice_are_no_wrong_key():
    Feed(declared(pl.concat([parcels(), parcels()])).models[0].datasets)
