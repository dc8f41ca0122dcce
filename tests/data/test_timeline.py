"""A timeline, however large and however it came in, reads as the sorted rows do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.data import timeline
from varv.data.timeline import TimelineWriter
from varv.kernel.clock import DAY, Instant
from varv.kernel.columns import TIME

NONE = pl.DataFrame(schema={"key": pl.String(), "at": TIME, "x": pl.Int64()})
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200 * DAY)), max_size=30)


def frame(rows, first=0):
    keys, times = [key for key, _ in rows], pl.Series([at for _, at in rows], dtype=pl.Int64)
    numbers = range(first, first + len(rows))
    return pl.DataFrame({"key": keys, "at": times.cast(TIME), "x": numbers}, schema=NONE.schema)


@pytest.fixture
def tiny(monkeypatch):
    """Everything is much, and three rows are a chunk."""
    monkeypatch.setattr(timeline, "MOST_IN_MEMORY", 1)
    monkeypatch.setattr(timeline, "CHUNK_ROWS", 3)


def made(batches):
    with tempfile.TemporaryDirectory() as folder:
        writer = TimelineWriter("at", ["key"], NONE, Path(folder) / "part")
        for batch in batches:
            writer.add(batch)
        yield writer.finish()


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, max_size=4), st.integers(-DAY, 201 * DAY), st.integers(-DAY, 201 * DAY))
def test_any_stretch_is_what_the_sorted_rows_hold(batches, since, until):
    frames = [frame(rows, 100 * number) for number, rows in enumerate(batches)]
    whole = pl.concat([NONE, *frames]).sort("at", "key", maintain_order=True)
    at = pl.col("at").to_physical()
    for line in made(frames):
        assert line.n_rows == whole.height
        assert line.fingerprint == int(whole.with_row_index("row").hash_rows(seed=0).sum())
        before = whole.filter(at < until)
        assert line.between(Instant(since), Instant(until)).equals(before.filter(at >= since))
        assert line.count_before(Instant(until)) == before.height
        span = line.span_before(Instant(until))
        times = before["at"].to_physical()
        assert span == ((times[0], times[-1]) if before.height else None)
        assert line.select("x").equals(whole.select("x"))


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4), st.lists(st.integers(-DAY, 201 * DAY), min_size=2, max_size=2))
def test_what_lies_in_files_reads_as_what_is_held(batches, cuts):
    since, until = sorted(cuts)
    frames = [frame(rows, 100 * number) for number, rows in enumerate(batches)]
    [held] = made(frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "MOST_IN_MEMORY", 1)
        patch.setattr(timeline, "CHUNK_ROWS", 3)
        for filed in made(frames):
            for one in (since, until):
                assert filed.count_before(Instant(one)) == held.count_before(Instant(one))
                assert filed.span_before(Instant(one)) == held.span_before(Instant(one))
            assert (filed.n_rows, filed.fingerprint) == (held.n_rows, held.fingerprint)
            stretch = Instant(since), Instant(until)
            assert filed.between(*stretch).equals(held.between(*stretch))
            assert filed.select("key", "x").equals(held.select("key", "x"))


def test_only_what_is_much_lies_in_files(tmp_path, tiny):
    rows = frame([("a", day * DAY) for day in range(10)])
    writer = TimelineWriter("at", ["key"], NONE, tmp_path / "part")
    writer.add(rows)
    line = writer.finish()
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == [
        f"chunk-{number}.arrows" for number in range(4)
    ]
    assert line.between(Instant(2 * DAY), Instant(5 * DAY)).equals(rows[2:5])
