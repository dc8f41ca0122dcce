"""Keys in memory: the same answers as a dictionary, however rows were grouped."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varv.data import key_runs
from varv.data.keys import KeyIndex, repeats, stated

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=20)


def frame(rows):
    times = pl.Series("at", [value for _, value in rows], dtype=pl.Int64)
    return pl.DataFrame({"id": [key for key, _ in rows], "value": [value for _, value in rows]}).with_columns(
        times.cast(pl.Datetime("us", "UTC"))
    )


@pytest.fixture(params=[False, True], ids=["in memory", "in files"])
def filed(request, monkeypatch):
    """Let runs of more than two rows be files, and files be merged three keys at a time."""
    if request.param:
        monkeypatch.setattr(key_runs, "ROWS_IN_MEMORY", 2)
        monkeypatch.setattr(key_runs, "_STEP", 3)


@given(batches=st.lists(ROWS, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_repeats_are_those_that_a_dictionary_finds(filed, batches):
    index, known = KeyIndex(), {}
    for rows in (rows for rows in batches if rows):
        given_rows = stated(frame(rows), ["id"], "at", is_base=True)
        found = index.find(given_rows.keys)
        repeated, equal = repeats(given_rows, found)
        expected = []
        for key, value in rows:
            expected.append((key in known, known.get(key) == value))
            known.setdefault(key, value)
        assert list(zip(repeated.tolist(), equal.tolist(), strict=True)) == expected
        index.add(given_rows.only(~repeated))
    everything = stated(frame(sorted(known.items())), ["id"], "at", is_base=True)
    found = index.find(everything.keys)
    assert found.known.all()
    assert found.times.tolist() == [value for _, value in sorted(known.items())]


def test_what_is_said_again_later_of_a_row_is_the_same():
    first = stated(frame([(1, 1)]), ["id"], "at", is_base=False)
    later = stated(frame([(1, 1)]).with_columns(pl.col("at").dt.offset_by("1h")), ["id"], "at", is_base=False)
    assert first.rows.tolist() == later.rows.tolist()
    base = stated(frame([(1, 1)]).with_columns(pl.col("at").dt.offset_by("1h")), ["id"], "at", is_base=True)
    assert base.rows.tolist() != stated(frame([(1, 1)]), ["id"], "at", is_base=True).rows.tolist()
