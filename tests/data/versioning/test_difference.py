"""How two versions differ: columns, and rows by key, whatever files they lie in."""

from __future__ import annotations

import pytest
from tests.data.versioning.stores import TRIPS, Store, base, done

from varv.data.versioning import difference as module
from varv.data.versioning.difference import difference
from varv.kernel import table_folder


@pytest.fixture(params=[500_000, 2], ids=["at once", "in buckets"])
def store(tmp_path, monkeypatch, request):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", request.param)
    monkeypatch.setattr(table_folder, "_MANY", 2)
    made = Store(tmp_path)
    made.append("at", base(("a", 1, 1), ("b", 2, None)), "d1")
    made.append("at", base(("c", 3, 3), ("d", 4, 4)), "d2")
    made.append("done_at", done(("a", 2, True)), "d1")
    return made


def test_rows_are_told_apart_by_their_keys(store):
    store.datasets.overwrite(TRIPS, "at", base(("a", 1, 1), ("b", 2, 7), ("c", 5, None), ("e", 5, 5)))
    found = difference(store.datasets, TRIPS, 3, 4, most_rows=10)
    [changes, outcomes] = found.parts
    assert (changes.n_before, changes.n_after, changes.n_added) == (4, 4, 1)
    assert (changes.n_removed, changes.n_changed, changes.n_equal) == (1, 2, 1)
    assert changes.columns == {"at": 1, "size": 2}
    assert (outcomes.n_before, outcomes.n_changed, outcomes.n_added) == (1, 0, 0)
    shown = {row.key["id"]: (row.kind, row.columns) for row in found.rows}
    assert shown["b"] == ("changed", {"size": (None, 7)})
    assert shown["c"] == (
        "changed",
        {"at": ("2013-01-03T00:00:00Z", "2013-01-05T00:00:00Z"), "size": (3, None)},
    )
    assert shown["e"][1]["size"] == (None, 5)
    assert shown["d"][1]["size"] == (4, None)
    assert len(difference(store.datasets, TRIPS, 3, 4, most_rows=2).rows) == 2


def test_what_is_compared_backwards_is_the_other_way_round(store):
    store.datasets.merge(TRIPS, "at", base(("b", 2, 7), ("e", 5, 5)))
    there = difference(store.datasets, TRIPS, 3, 4).parts[0]
    back = difference(store.datasets, TRIPS, 4, 3).parts[0]
    assert (there.n_added, there.n_removed, there.n_changed) == (1, 0, 1)
    assert (back.n_added, back.n_removed, back.n_changed) == (0, 1, 1)


def test_a_version_in_the_middle_of_a_file_is_compared_as_it_was(store):
    store.compact()
    assert [one.n_segments for one in store.datasets.extents(TRIPS, "at")] == [2]
    found = difference(store.datasets, TRIPS, 1, 3)
    assert [(one.n_before, one.n_after, one.n_added, one.n_removed) for one in found.parts] == [
        (2, 4, 2, 0),
        (0, 1, 1, 0),
    ]
    assert difference(store.datasets, TRIPS, 2, 2).is_empty


def test_files_that_both_versions_have_are_not_read(store, monkeypatch):
    store.datasets.merge(TRIPS, "at", base(("c", 3, 30)))
    read, rows_in = [], store.datasets.rows_in

    def noted(dataset, part, extent):
        read.append(extent.name)
        return rows_in(dataset, part, extent)

    monkeypatch.setattr(store.datasets, "rows_in", noted)
    assert difference(store.datasets, TRIPS, 3, 4).parts[0].columns == {"size": 1}
    assert "d1" not in read
    assert "d2" in read
