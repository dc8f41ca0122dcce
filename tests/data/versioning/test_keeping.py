"""What a vacuum removes: files that only versions need which nothing names and retention does not keep."""

from __future__ import annotations

import pytest
from tests.data.versioning.stores import TRIPS, Store, base, trips

from varv.data.retention import Retention, retention_of
from varv.data.versioning.references import Reference
from varv.kernel import table_folder
from varv.kernel.clock import DAY
from varv.kernel.errors import Expired, InvalidDeclaration, InvalidInput
from varv.kernel.faults import Crash, Faults

ONE = Retention(n_versions=1)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    made.append("at", base(("a", 1, 1), ("b", 2, 2)), "d1")
    for size in (10, 20, 30):
        made.clock.move_to(made.clock.now() + DAY)
        made.datasets.overwrite(TRIPS, "at", base(("a", 1, size)))
    made.clock.move_to(made.clock.now() + 10 * DAY)
    return made


def test_a_version_whose_files_went_says_which_entry_removed_them(store):
    removed = store.versions.vacuum(TRIPS, ONE, by="ana")
    assert removed.n_files == 3
    assert len(store.files()) == 1
    with pytest.raises(Expired, match="has no version 2 any more: it expired") as refused:
        store.datasets.read(TRIPS, version=2)
    entry = store.ledger.read(refused.value.facts["entry"] - 1)[0]
    assert entry.name == "data.dataset_vacuumed"
    assert store.sizes() == {"a": 30}
    assert store.versions.vacuum(TRIPS, ONE).n_files == 0
    with pytest.raises(Expired):
        store.versions.tag(Reference("trips", version=2), "late")


def test_what_a_tag_or_somebody_else_names_stays(store):
    store.versions.tag(Reference("trips", version=1), "audit")
    store.named[3] = "model late v3"
    assert store.versions.removable(TRIPS, ONE).n_files == 1
    store.versions.vacuum(TRIPS, ONE)
    assert store.sizes(1) == {"a": 1, "b": 2}
    assert store.sizes(3) == {"a": 20}
    with pytest.raises(Expired):
        store.sizes(2)
    store.versions.untag("trips", "audit")
    store.named.clear()
    assert store.versions.vacuum(TRIPS, ONE).n_files == 2


def test_retention_keeps_versions_of_a_time_or_so_many(store):
    now = store.clock.now()
    assert store.versions.removable(TRIPS, Retention(span=11 * DAY)).n_files == 2
    assert store.versions.removable(TRIPS, Retention(span=12 * DAY)).n_files == 1
    assert store.versions.removable(TRIPS, Retention(span=now)).n_files == 0
    assert store.versions.removable(TRIPS, Retention(n_versions=3)).n_files == 1
    assert store.versions.removable(TRIPS).n_files == 0


def test_a_file_that_a_reader_may_still_hold_stays_for_a_day(store):
    store.datasets.overwrite(TRIPS, "at", base(("a", 1, 40)))
    assert store.versions.vacuum(TRIPS, ONE).n_files == 3
    store.clock.move_to(store.clock.now() + DAY)
    assert store.versions.vacuum(TRIPS, ONE).n_files == 1


def test_what_the_declaration_keeps_is_on_record_and_may_change(store):
    store.datasets.commit(store.datasets.register(trips(keep="2w")))
    assert store.versions.removable(TRIPS).retention == Retention(span=14 * DAY)
    assert store.datasets.register(trips(keep="2w")) == ()
    store.datasets.commit(store.datasets.register(trips(keep=1)))
    assert store.versions.removable(TRIPS).n_files == 3


def test_a_vacuum_that_was_cut_short_is_finished_by_the_next_compaction(tmp_path, store):
    store.columns._faults = Faults("columns.before_unlink", nth=2)
    with pytest.raises(Crash):
        store.versions.vacuum(TRIPS, ONE)
    assert len(store.files()) == 3
    store.reopen()
    with pytest.raises(Expired):
        store.datasets.read(TRIPS, version=1)
    store.compact()
    assert len(store.files()) == 1
    assert store.sizes() == {"a": 30}


def test_what_a_compaction_has_put_together_goes_with_its_file(store, monkeypatch):
    monkeypatch.setattr(table_folder, "_MANY", 3)
    for n in range(3):
        store.append("at", base((f"c{n}", 1, n)), f"e{n}")
    store.compact()
    assert {"e0.arrows", "e1.arrows", "e2.arrows"} < store.files()
    store.datasets.overwrite(TRIPS, "at", base(("z", 1, 1)))
    store.clock.move_to(store.clock.now() + 2 * DAY)
    store.versions.vacuum(TRIPS, ONE)
    assert len(store.files()) == 1


@pytest.mark.parametrize("keep", ["0", 0, "90", "soon", "-1"])
def test_what_is_no_retention_is_refused(keep):
    if keep == "90":
        assert retention_of(keep).n_versions == 90
        return
    with pytest.raises(InvalidInput):
        retention_of(keep)
    with pytest.raises(InvalidDeclaration, match="keeps"):
        trips(keep=keep)
