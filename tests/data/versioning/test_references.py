"""Which version a reference means: by number, by tag, and by the time of the ledger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.versioning.stores import Store, base

from varv.data.versioning.references import Reference, parse_reference
from varv.kernel.clock import DAY, HOUR, iso
from varv.kernel.errors import InvalidInput, NotFound


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_time_means_the_last_version_that_had_come_by_then(store):
    begun = store.clock.now()
    for number in range(7):
        store.clock.move_to(begun + number * 9 * HOUR)
        store.append("at", base((f"k{number}", 1, number)), f"d{number}")
    for version in range(1, 8):
        came = begun + (version - 1) * 9 * HOUR
        assert store.meant(f"trips@{iso(came)}") == version
        assert store.meant(f"trips@{iso(came + HOUR)}") == version
    assert store.meant(f"trips@{iso(begun + 300 * DAY)}") == store.meant("trips") == 7
    with pytest.raises(NotFound, match="had no version by"):
        store.meant(f"trips@{iso(begun - 1)}")


def test_a_tag_moves_and_what_it_named_before_is_on_record(store):
    for number in range(3):
        store.append("at", base((f"k{number}", 1, number)), f"d{number}")
    store.versions.tag(Reference("trips", version=1), "audit", by="ana")
    moved = store.versions.tag(Reference("trips"), "audit", by="bo", why="the year is over")
    assert (moved.version, moved.before, store.meant("trips@audit")) == (3, 1, 3)
    head = store.ledger.head()
    store.versions.tag(Reference("trips"), "audit")
    assert store.ledger.head() == head
    store.versions.untag("trips", "audit")
    with pytest.raises(NotFound, match="the tags of trips are none"):
        store.meant("trips@audit")


@pytest.mark.parametrize("text", ["trips@", "trips@No", "trips@-1", "trips@2013-13-01", "trips@1e3"])
def test_what_is_no_version_tag_or_time_is_refused(text):
    with pytest.raises(InvalidInput, match="names no version"):
        parse_reference(text)


def test_a_version_or_dataset_that_is_not_there_is_not_found(store):
    with pytest.raises(NotFound, match="the last is 0"):
        store.meant("trips@1")
    with pytest.raises(NotFound, match="the datasets are trips"):
        store.meant("trip@1")


@given(st.one_of(st.integers(0, 10**9).map(str), st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True)))
def test_a_reference_reads_back_as_it_is_written(given_text):
    text = f"flights@{given_text}"
    assert parse_reference(str(parse_reference(text))) == parse_reference(text)
