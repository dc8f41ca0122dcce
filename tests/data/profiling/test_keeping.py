"""Profiles of versions: kept, and continued from the last one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.versioning.stores import TRIPS, Store, at, base, done

from varv.data.profiling.keeping import Profiles, kept_versions, last_kept
from varv.data.service import Datasets
from varv.kernel.errors import NotFound


def _rows(first: int, n: int, size: int = 10) -> pl.DataFrame:
    return base(*((f"t{number}", 1 + number % 28, size + number % 7) for number in range(first, first + n)))


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path)
    for number in range(3):
        found.datasets.append(TRIPS, "at", _rows(number * 500, 500), segment=f"s{number}")
    return found


def _profiles(store) -> Profiles:
    return Profiles(store.datasets, store.folder)


def test_the_profile_of_a_version_is_that_of_its_rows(store):
    for version in (1, 3):
        found = _profiles(store).of_version(TRIPS, "at", version)
        rows = store.datasets.read_part(TRIPS, "at", version=version)
        assert found.n_rows == rows.height
        scale, column = found.column("size")
        assert column.sums.moments(scale)[0] == pytest.approx(rows["size"].mean())
    with pytest.raises(NotFound, match="no version 4"):
        _profiles(store).of_version(TRIPS, "at", 4)


def test_the_next_profile_reads_only_what_came_since(store, monkeypatch):
    first = _profiles(store).of_version(TRIPS, "at", 2)
    read, rows_in = [], Datasets.rows_in

    def noted(self, dataset, part, extent):
        read.append(extent.name)
        return rows_in(self, dataset, part, extent)

    monkeypatch.setattr(Datasets, "rows_in", noted)
    assert first.to_bytes() == _profiles(store).of_version(TRIPS, "at", 2).to_bytes()
    assert not read
    store.datasets.append(TRIPS, "at", _rows(1500, 500), segment="s3")
    kept = _profiles(store)
    scale_only = kept.scale(TRIPS, "at", store.datasets.extents(TRIPS, "at", upto=2), 2)
    del read[:]
    monkeypatch.setattr(Profiles, "scale", lambda *_: scale_only)
    found = kept.of_version(TRIPS, "at", 4)
    assert found.n_rows == 2_000
    assert read == ["s2", "s3"]


def test_a_profile_that_was_continued_is_the_one_made_at_once(store, tmp_path):
    _profiles(store).of_version(TRIPS, "at", 3)
    large = pl.DataFrame(
        {
            "id": [f"u{number}" for number in range(30_000)],
            "at": [at(1 + number % 28) for number in range(30_000)],
            "size": np.random.default_rng(0).integers(0, 40, 30_000),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    store.datasets.append(TRIPS, "at", large, segment="s4")
    store.datasets.append(TRIPS, "at", _rows(3_000, 500), segment="s5")
    one = _profiles(store)
    one.of_version(TRIPS, "at", 4)
    continued = one.of_version(TRIPS, "at", 5)
    at_once = Profiles(store.datasets, tmp_path / "elsewhere").of_version(TRIPS, "at", 5)
    slack = [column.frequent.slack for column in continued.columns]
    assert [column.sums for column in continued.columns] == [column.sums for column in at_once.columns]
    assert np.array_equal(continued.sample.hashes, at_once.sample.hashes)
    assert max(slack) < 100


def test_rows_that_were_replaced_are_no_part_of_the_next_profile(store):
    _profiles(store).of_version(TRIPS, "at", 3)
    store.datasets.merge(TRIPS, "at", base(("t1", 2, 99)))
    found = _profiles(store).of_version(TRIPS, "at", 4)
    assert found.n_rows == 1_500
    assert found.column("size")[1].high == 99
    assert _profiles(store).of_version(TRIPS, "at", 3).column("size")[1].high < 99


def test_a_kept_profile_that_went_bad_is_made_anew(store):
    first = _profiles(store).of_version(TRIPS, "at", 3)
    [file] = (store.folder / "profiles").rglob("*.profile")
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    assert last_kept(store.folder, "trips", "at") is None
    assert _profiles(store).of_version(TRIPS, "at", 3).to_bytes() == first.to_bytes()
    assert last_kept(store.folder, "trips", "at")[0] == 3


def test_a_part_without_rows_has_a_profile_too(store):
    found = _profiles(store).of_version(TRIPS, "done_at", 3)
    assert found.n_rows == 0
    store.datasets.append(TRIPS, "done_at", done(("t1", 5, True)), segment="d1")
    assert _profiles(store).of_version(TRIPS, "done_at", 4).n_rows == 1
    assert kept_versions(store.folder, "trips", "done_at") == [3, 4]
