"""What goes wrong in the rows of a source is counted before it is declared."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.moving.recorded import at

from varv.features.moving.model import FeastSource
from varv.features.moving.source_rows import has_one_clock, place_of, rows_of
from varv.kernel.errors import NotFound

SOURCE = FeastSource(name="s", kind="BATCH_FILE", time="when", created="written", place="s.parquet")
MINUTES = st.one_of(st.none(), st.integers(0, 3))


def looked_at(folder, rows, source=SOURCE, keys=("id",)):
    rows.write_parquet(folder / "s.parquet")
    return rows_of(source, folder, keys)


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 2)), MINUTES, MINUTES), min_size=1, max_size=12)
)
def test_counts_are_those_of_rows_counted_one_by_one(tmp_path_factory, said):
    times = [(key, *(None if one is None else at(one) for one in both)) for key, *both in said]
    rows = pl.DataFrame(times, schema={"id": pl.Int64, "when": _TIME, "written": _TIME}, orient="row")
    found = looked_at(tmp_path_factory.mktemp("rows"), rows)
    assert found.n_rows == len(said)
    assert found.n_without_key == sum(key is None for key, _, _ in said)
    assert found.n_without_time == sum(when is None for _, when, _ in said)
    assert found.n_without_created == sum(written is None for _, _, written in said)
    both = [(when, written) for _, when, written in said if when is not None and written is not None]
    assert found.n_early == sum(written < when for when, written in both)
    assert found.n_repeats == len(said) - len({one[:2] for one in said})
    assert found.n_ties == len(said) - len(set(said))


def test_columns_have_the_names_that_feast_gives_them(tmp_path):
    rows = pl.DataFrame({"id": [1], "ts": [at(0)], "wrote": [at(0) + dt.timedelta(days=93)], "x": [1.0]})
    source = FeastSource(
        name="s",
        kind="BATCH_FILE",
        time="when",
        created="written",
        place="file://s.parquet",
        mapping={"ts": "when", "wrote": "written"},
    )
    found = looked_at(tmp_path, rows, source)
    assert list(found.types) == ["id", "when", "written", "x"]
    assert found.n_too_late == 1


def test_times_with_and_without_a_zone_cannot_be_compared_as_they_are(tmp_path):
    naive = at(0).replace(tzinfo=None)
    found = looked_at(tmp_path, pl.DataFrame({"id": [1], "when": [at(5)], "written": [naive]}))
    assert found.n_early == 1
    assert not has_one_clock(found.types, SOURCE)


def test_files_elsewhere_are_not_looked_at(tmp_path):
    remote = FeastSource(name="s", kind="BATCH_FILE", time="when", place="gs://bucket/s.parquet")
    assert rows_of(remote, tmp_path, ["id"]) is None
    assert place_of(SOURCE, tmp_path) == str(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"id": [1], "when": [at(0)]}, "no column 'written'"),
        ({"when": [at(0)], "written": [at(0)]}, "no column 'id'"),
        ({"id": [1], "when": ["2026"], "written": [at(0)]}, "no times in 'when'"),
    ],
)
def test_rows_that_are_not_what_the_registry_says_are_refused(tmp_path, rows, says):
    with pytest.raises(NotFound, match=says):
        looked_at(tmp_path, pl.DataFrame(rows))


_TIME = pl.Datetime("us", "UTC")
