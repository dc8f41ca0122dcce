from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varv.features import known_rows
from varv.features.known_rows import KnownRows, first_of_each


def hashes_of(keys):
    return known_rows.hashes_of([pl.Series("key", keys, dtype=pl.String)], 7)


KEYS = st.lists(st.text("abc", max_size=2), max_size=12)


@pytest.fixture(autouse=True, params=[False, True], ids=["in memory", "in files"])
def short_runs(request, monkeypatch):
    monkeypatch.setattr(known_rows, "_RECENT", 3)
    if request.param:
        monkeypatch.setattr(known_rows, "ROWS_IN_MEMORY", 2)
        monkeypatch.setattr(known_rows, "_STEP", 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(KEYS, max_size=6), KEYS)
def test_rows_are_found_as_in_a_dictionary_however_they_were_added(batches, asked):
    known, expected = KnownRows(1), {}
    for batch in batches:
        keys = [key for key in dict.fromkeys(batch) if key not in expected]
        hashes = hashes_of(keys)
        times = np.arange(len(keys)) + len(expected)
        known.add(hashes, times, [times * 2])
        expected |= dict(zip(keys, times.tolist(), strict=True))
    assert len(known) == len(expected)
    assert known.has(hashes_of(asked)).tolist() == [key in expected for key in asked]
    there = [key for key in asked if key in expected]
    times, codes = known.rows(hashes_of(there))
    assert times.tolist() == [expected[key] for key in there]
    assert codes[:, 0].tolist() == [2 * expected[key] for key in there]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(KEYS, max_size=6))
def test_a_part_is_stated_once_a_row(batches):
    known, stated = KnownRows(0), set()
    names = sorted({key for batch in batches for key in batch})
    known.add(hashes_of(names), np.zeros(len(names), np.int64), [])
    for batch in batches:
        fresh = known.state(1, hashes_of(batch))
        expected = []
        for key in batch:
            expected.append(key not in stated)
            stated.add(key)
        assert fresh.tolist() == expected
    assert known.state(2, hashes_of(names)).all()


def test_rows_before_an_instant_are_forgotten():
    known = KnownRows(0)
    known.add(hashes_of(["a", "b"]), np.array([1, 2]), [])
    known.trim(2)
    assert known.has(hashes_of(["a", "b"])).tolist() == [False, True]


def test_the_first_of_each_is_marked():
    assert first_of_each(np.array([3, 1, 3, 1, 2])).tolist() == [True, True, False, False, True]


def test_keys_have_the_hashes_of_their_salt_and_columns():
    keys = [pl.Series("a", ["x", "y"]), pl.Series("b", [1, 1])]
    hashes = known_rows.hashes_of(keys, 1 << 63)
    assert hashes.tolist() == known_rows.hashes_of(keys, 1 << 63).tolist()
    assert not set(hashes) & set(known_rows.hashes_of(keys, 1))
    assert not set(hashes) & set(known_rows.hashes_of(keys[:1], 1 << 63))
