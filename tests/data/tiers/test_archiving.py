"""Files of old rows go into the archive and come back, and nobody is told anything wrong meanwhile."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from tests.data.tiers.stores import TierStore
from tests.data.versioning.stores import TRIPS, base, done

from varv.app.verifying import verify_report
from varv.data.delta.publishing import Publications
from varv.data.retention import Retention
from varv.data.tiers import Reach
from varv.data.versioning.references import Reference
from varv.kernel.clock import DAY, Duration, instant
from varv.kernel.errors import Conflict, Corrupt, FailedPrecondition, NotFound, Unavailable
from varv.kernel.faults import Crash, Faults

ROWS = {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.fixture
def store(tmp_path):
    return filled(TierStore(tmp_path))


def filled(store: TierStore) -> TierStore:
    """Return a store of four days in four files, of which those of the first two are old."""
    for number, (key, day) in enumerate((("a", 1), ("b", 2), ("c", 20), ("d", 21)), start=1):
        store.append("at", base((key, day, number)), f"w-{number:06d}")
    store.append("done_at", done(("a", 3, True)), "w-000001")
    store.clock.move_to(store.clock.now() + 2 * DAY)
    return store


def test_what_is_archived_is_refused_by_name_and_reads_as_before_when_restored(store):
    before, files = store.sizes(), store.files()
    assert before == ROWS
    moved = store.archive()
    assert (moved.n_files, moved.n_rows) == (3, 3)
    assert len(store.blobs()) == 3
    assert len(store.files()) == 2
    said = r"has rows of 2013-01-01 to 2013-01-02 in the archive .*varv data restore trips --since 2013"
    with pytest.raises(FailedPrecondition, match=said):
        store.sizes()
    with pytest.raises(FailedPrecondition, match="in the archive"):
        store.datasets.read(TRIPS)
    assert store.restore().n_files == 3
    assert (store.sizes(), store.files(), store.blobs()) == (before, files, set())


def test_rows_outside_of_what_is_archived_are_read_without_it(store):
    store.archive()
    rows = store.datasets.read_part(TRIPS, "at", since=instant("2013-01-15"))
    assert rows["id"].to_list() == ["c", "d"]
    assert store.datasets.read_part(TRIPS, "at", warm_only=True)["id"].to_list() == ["c", "d"]
    assert store.restore(since="2013-01-02", until="2013-01-03").n_files == 1
    assert store.datasets.read_part(TRIPS, "at", since=instant("2013-01-02")).height == 3


def test_what_a_view_looks_back_at_stays_and_who_does_is_said(store):
    now = store.clock.now()
    far = Duration(now - instant("2013-01-08"))
    store.reached = [Reach("at", far, "view old of late"), Reach("done_at", None, "late")]
    found = store.tiers.due(TRIPS, instant("2014-01-01"))
    assert {part: [one.name for one in several] for part, several in found.extents.items()} == {}
    assert found.kept == {
        f"view old of late, which looks back {(far // DAY)}d": 4,
        "late, which looks at all rows": 1,
    }
    store.reached = [Reach("at", Duration(now - instant("2013-01-19")), "view old of late")]
    assert {part: len(several) for part, several in store.tiers.due(TRIPS, now).extents.items()} == {
        "at": 2,
        "done_at": 1,
    }


def test_a_file_that_has_just_come_and_one_that_was_restored_stay(store):
    store.append("at", base(("e", 2, 5)), "w-000005")
    assert store.archive().kept == {"those that answer: they came within a day": 1}
    store.restore()
    found = store.tiers.due(TRIPS, instant("2013-01-10"), held_back=True)
    assert found.extents == {}
    store.clock.move_to(store.clock.now() + 8 * DAY)
    assert len(store.tiers.due(TRIPS, instant("2013-01-10"), held_back=True).extents["at"]) == 3


def test_keys_of_archived_rows_are_known_after_a_restart(store):
    store.archive()
    store.reopen()
    again = base(("a", 1, 1), ("b", 2, 99), ("z", 22, 7))
    store.append("at", again, "w-000009")
    assert store.datasets.read_part(TRIPS, "at", warm_only=True)["id"].to_list() == ["c", "d", "z"]
    shutil.rmtree(store.folder / "archive")
    store.reopen()
    with pytest.raises(NotFound, match="blob"):
        store.append("at", base(("y", 23, 1)), "w-000010")


def test_a_batch_that_comes_again_changes_nothing_though_it_is_archived(store):
    store.archive()
    seen = store.datasets.version(TRIPS)
    again = store.append("at", base(("a", 1, 1)), "w-000001")
    assert (again.version, store.datasets.version(TRIPS)) == (1, seen)
    with pytest.raises(Conflict):
        store.append("at", base(("a", 1, 2)), "w-000001")


def test_a_merge_reads_only_files_that_may_hold_its_keys(store):
    store.archive()
    store.datasets.merge(TRIPS, "at", base(("c", 20, 30)))
    with pytest.raises(FailedPrecondition, match="in the archive"):
        store.datasets.merge(TRIPS, "at", base(("a", 1, 10)))
    store.reopen()
    store.restore()
    store.datasets.merge(TRIPS, "at", base(("a", 1, 10)))
    assert store.sizes() == ROWS | {"a": 10, "c": 30}


def test_a_version_that_is_named_may_be_archived_and_is_not_lost(store):
    store.versions.tag(Reference("trips", version=2), "audit")
    store.datasets.overwrite(TRIPS, "at", base(("a", 25, 9)))
    store.clock.move_to(store.clock.now() + 3 * DAY)
    store.archive()
    assert store.sizes() == {"a": 9}
    assert store.versions.vacuum(TRIPS, Retention(n_versions=1)).n_files == 2
    with pytest.raises(FailedPrecondition, match="in the archive"):
        store.sizes(2)
    store.restore()
    assert store.sizes(2) == {"a": 1, "b": 2}


def test_a_vacuum_removes_what_is_archived_too(store):
    store.archive()
    store.datasets.overwrite(TRIPS, "at", base(("a", 25, 9)))
    store.clock.move_to(store.clock.now() + 3 * DAY)
    assert store.versions.vacuum(TRIPS, Retention(n_versions=1)).n_files == 4
    assert len(store.blobs()) == 1
    assert store.restore().n_files == 1
    assert store.blobs() == set()


def test_two_files_of_the_same_bytes_do_not_take_each_other_away(store):
    store.datasets.overwrite(TRIPS, "at", base(("a", 1, 1)))
    store.clock.move_to(store.clock.now() + 3 * DAY)
    assert store.archive().n_files == 4
    assert len(store.blobs()) == 3
    store.datasets.overwrite(TRIPS, "at", base(("a", 25, 9)))
    store.clock.move_to(store.clock.now() + 3 * DAY)
    store.versions.vacuum(TRIPS, Retention(n_versions=2))
    assert store.restore().n_files == 2
    assert store.datasets.read_part(TRIPS, "at", version=store.datasets.version(TRIPS) - 1).height == 1


def test_compacted_files_go_and_come_back_and_their_names_are_not_given_again(store, monkeypatch):
    monkeypatch.setattr("varv.kernel.table_folder._MANY", 2)
    store.compact()
    assert store.archive().n_files == 2
    assert "at/~000000001" in store.cold()
    for number, day in ((5, 26), (6, 27)):
        store.append("at", base((f"k{number}", day, number)), f"w-{number:06d}")
    store.compact()
    store.compact()
    assert {name for name in store.files() if name.startswith("~")} == {
        "~000000002.parquet",
        "~000000003.parquet",
    }
    with pytest.raises(FailedPrecondition, match="in the archive"):
        store.sizes(1)
    store.restore()
    assert store.sizes() == ROWS | {"k5": 5, "k6": 6}
    assert store.sizes(1) == {"a": 1}


def test_a_file_that_is_not_what_was_stored_is_not_archived(store):
    path = store.columns.file_of("data/trips/at", "w-000001")
    path.write_bytes(store.columns.file_of("data/trips/at", "w-000002").read_bytes())
    with pytest.raises(Corrupt, match="does not hold the rows that the ledger names"):
        store.archive()
    assert store.cold() == set()


def test_an_archive_that_is_not_what_was_put_there_restores_nothing(store):
    store.archive()
    name = sorted(store.blobs())[0]
    place = store.folder / "archive" / name[:2] / name[2:]
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match="does not hold what it is named after"):
        store.restore()
    assert len(store.cold()) == 3


def test_a_compaction_between_copy_and_record_leaves_the_file_warm(store, monkeypatch):
    monkeypatch.setattr("varv.kernel.table_folder._MANY", 2)
    keep, copied = store.datasets.cold.keep, []

    def kept(file, place):
        copied.append(file)
        found = keep(file, place)
        if len(copied) == 1:
            store.compact()
        return found

    monkeypatch.setattr(store.datasets.cold, "keep", kept)
    store.archive()
    assert store.cold() == {"done_at/w-000001"}
    assert store.sizes() == ROWS


@pytest.mark.parametrize("point", ["columns.before_unlink", "tiers.before_drop"])
def test_a_move_that_was_cut_short_is_finished_by_the_next(tmp_path, point):
    store = filled(TierStore(tmp_path))
    whole = store.files()
    store.faults = Faults(point)
    store.reopen()
    with pytest.raises(Crash):
        (store.archive(), store.restore())
    store.faults = None
    store.reopen()
    store.tiers.finish(TRIPS)
    if store.cold():
        assert len(store.files()) == 2
        store.restore()
    assert (store.files(), store.blobs(), store.sizes()) == (whole, set(), ROWS)


def test_columns_that_were_empty_in_archived_rows_are_remembered(store):
    store.append("at", base(("n", 4, None)), "w-000008")
    store.clock.move_to(store.clock.now() + 2 * DAY)
    store.archive()
    assert store.datasets.empty_in_archive(TRIPS) == {"size"}


def test_a_reader_that_has_begun_is_told_that_the_file_went(store):
    reading = store.datasets.batches(TRIPS, "at", columns=["id"])
    assert next(reading).equals(pl.DataFrame({"id": ["a"]}))
    store.archive()
    with pytest.raises(FailedPrecondition, match="in the archive"):
        list(reading)


def test_what_was_copied_and_never_recorded_does_not_stay_in_the_archive(tmp_path):
    store = filled(TierStore(tmp_path))
    store.faults = Faults("ledger.before_commit")
    store.ledger._faults = store.faults
    store.reopen()
    with pytest.raises(Crash):
        store.archive()
    assert len(store.blobs()) == 3
    store.ledger._faults = store.faults = Faults()
    store.reopen()
    store.tiers.finish(TRIPS)
    assert (store.blobs(), store.cold(), store.sizes()) == (set(), set(), ROWS)


def test_one_move_waits_for_no_other(store, monkeypatch):
    keep = store.datasets.cold.keep

    def kept(file, place):
        with pytest.raises(Unavailable, match="other files are being moved"):
            store.restore()
        return keep(file, place)

    monkeypatch.setattr(store.datasets.cold, "keep", kept)
    assert store.archive().n_files == 3


def test_verify_reads_archived_files_where_they_are(tmp_path):
    store = filled(TierStore(tmp_path, in_memory=False))
    store.archive()
    store.restore(until="2013-01-02")
    store.archive()
    assert flaws(tmp_path) == []
    [one, other, _] = sorted(store.blobs())
    (tmp_path / "archive" / one[:2] / one[2:]).unlink()
    place = tmp_path / "archive" / other[:2] / other[2:]
    place.write_bytes(place.read_bytes() + b" ")
    problems = [(found.place, found.problem) for found in flaws(tmp_path)]
    assert [place for place, _ in problems] == [f"archive/{name[:2]}/{name[2:]}" for name in (one, other)]
    assert problems[0][1].startswith("is missing; it is version")
    assert problems[1][1].startswith("does not hold what it is named after; it is version")
    store.ledger.close()


def flaws(home):
    """Return what verify finds; nobody signs checkpoints here."""
    found = [one for one in verify_report(home).findings if one.kind == "file"]
    return sorted(found, key=lambda one: one.place)


def test_a_published_file_stays_since_others_read_it(store):
    pytest.importorskip("deltalake")
    publications = Publications(store.datasets, store.columns, store.views, store.ledger, store.clock)
    publications.publish(TRIPS)
    why = "readers of the Delta table that was published last"
    assert store.archive("2013-02-01").kept == {why: 2}
    store.datasets.overwrite(TRIPS, "at", base(("a", 25, 9)))
    publications.publish(TRIPS)
    store.clock.move_to(store.clock.now() + 3 * DAY)
    assert store.archive("2013-02-01").kept == {why: 2}
    assert store.cold() == {"at/~000000001"}
    store.append("at", base(("b", 26, 9)), "w-000020")
    publications.publish(TRIPS)
    assert store.sizes() == {"a": 9, "b": 9}


def test_what_is_archived_is_restored_before_it_is_published(store):
    pytest.importorskip("deltalake")
    publications = Publications(store.datasets, store.columns, store.views, store.ledger, store.clock)
    store.archive()
    with pytest.raises(FailedPrecondition, match="varv data restore trips"):
        publications.publish(TRIPS)
    store.restore()
    assert [one.version for one in publications.publish(TRIPS)] == [5, 5]
