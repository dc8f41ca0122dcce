"""Rows of a subject go from merged files, and from the smaller ones that only published versions name."""

from __future__ import annotations

import msgspec
from tests.data.delta.test_merging import published_often, superseded
from tests.data.delta.test_publishing import Publisher, read_by
from tests.data.versioning.stores import TRIPS

from varv.home.erasure.rows import Store, SubjectRows
from varv.home.erasure.subject import Subject
from varv.kernel.faults import Faults


def test_a_subject_goes_from_merged_files_and_those_they_were_made_of(tmp_path):
    store = Publisher(tmp_path)
    published_often(store, 17)
    assert len(superseded(store)) == 16
    held = Store(store.datasets, store.columns, store.views, store.secret, Faults())
    subject = Subject(erasure="e-1", dataset="trips", column="id", texts=("k3",), key="00", keys=())
    found = SubjectRows(held, subject).find_keys()
    assert found["id"].to_list() == ["k3"]
    rows = SubjectRows(held, msgspec.structs.replace(subject, keys=tuple(found.to_dicts())))
    assert sum(rows.n_rows().values()) == 2
    rows.erase()
    assert rows.n_rows() == {}
    assert len(superseded(store)) == 16
    assert sum(not one.removed_by for one in superseded(store)) == 15
    assert not any("k3" in read["id"] for read in map(store.datasets.rows_in, *every(store)))
    store.publish()
    assert sorted(read_by("polars", store.table("at"), None)["id"]) == sorted(
        f"k{n}" for n in range(1, 18) if n != 3
    )


def every(store):
    found = store.datasets.extents(TRIPS, "at")
    return [TRIPS] * len(found), ["at"] * len(found), found
