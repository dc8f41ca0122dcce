"""Pages of a table, one after the other, are the table; whatever the pages' size."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.app.client.sources import LocalSource
from varv.home.entry_pages import EntryFilter, entries_page
from varv.home.paging import Table
from varv.home.tables import Tables
from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName

MODEL = ModelName("late-parcel")
FIRST, LAST = instant("2024-03-01"), instant("2024-05-03")
moments = st.integers(FIRST - DAY, LAST + DAY).map(Instant)


@pytest.fixture(scope="module")
def source(lived, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("home")
    lived(folder).close()
    source = LocalSource(folder)
    yield source
    source.close()


@pytest.fixture(scope="module")
def tables(source) -> Tables:
    return source.desk.tables


def whole(read, limit: int) -> pl.DataFrame:
    pages: list[pl.DataFrame] = []
    after = ""
    while True:
        page: Table = read(after, limit)
        assert page.rows.height <= limit
        pages.append(page.rows)
        if not page.after:
            return pl.concat(pages, how="diagonal_relaxed")
        assert page.after != after
        after = page.after


@settings(max_examples=25, deadline=None)
@given(moments, moments, st.integers(150, 5000))
def test_pages_of_predictions_are_the_window(tables: Tables, since, until, limit):
    every = tables.predictions(MODEL, since, until).rows
    paged = whole(lambda after, n: tables.predictions(MODEL, since, until, after=after, limit=n), limit)
    assert paged["key"].to_list() == every["key"].to_list()
    assert paged["outcome"].to_list() == every["outcome"].to_list()
    within = every["requested_at"].to_physical()
    assert within.is_empty() or since <= within.min() <= within.max() < until


@settings(max_examples=25, deadline=None)
@given(moments, moments, st.integers(150, 5000))
def test_pages_of_a_dataset_are_the_window(tables: Tables, since, until, limit):
    every = tables.rows("parcels", since, until).rows
    paged = whole(lambda after, n: tables.rows("parcels", since, until, after=after, limit=n), limit)
    assert paged.equals(every)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 300), st.booleans())
def test_pages_of_entries_are_the_ledger(source: LocalSource, limit, decisions):
    wanted = EntryFilter(decisions=decisions)
    ledger = source.desk.ledger
    every = entries_page(ledger, wanted).rows
    assert whole(lambda after, n: entries_page(ledger, wanted, after=after, limit=n), limit).equals(every)


def test_rows_of_one_instant_are_neither_lost_nor_given_twice_between_pages(tables, monkeypatch):
    at = pl.Series([5, 5, 5, 5, 7]).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"key": ["a", "b", "c", "d", "e"], "requested_at": at})

    def requests(model, segments, window, most):
        return rows.filter(rows["requested_at"].to_physical() >= window[0]), window[1]

    monkeypatch.setattr(tables, "_requests", requests)
    monkeypatch.setattr(tables, "outcome", lambda model: None)
    read = whole(lambda after, n: tables.predictions(MODEL, 0, 9, after=after, limit=n), 2)
    assert read["key"].to_list() == ["a", "b", "c", "d", "e"]


def test_an_outcome_that_is_known_before_its_request_is_not_what_was_predicted(tables):
    rows = tables.predictions(MODEL, FIRST, LAST).rows
    assert rows.filter(pl.col("known_at") < pl.col("requested_at")).is_empty()
    assert rows["outcome"].is_null().to_list() == rows["known_at"].is_null().to_list()


def test_a_page_that_nobody_gave_is_refused(tables):
    for after in ("x", "1.x", "9" * 30, "٣"):
        with pytest.raises(InvalidInput, match="names no page"):
            tables.predictions(MODEL, FIRST, LAST, after=after, limit=5)
