"""Rows that take the place of others: what is refused, what is kept, and what follows them."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from tests.data.versioning.stores import TRIPS, Store, at, base, done

from varv.data import DatasetsView, keys
from varv.kernel import table_folder
from varv.kernel.errors import Conflict, InvalidInput


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    made.append("at", base(("a", 1, 1), ("b", 2, 2)), "d1")
    made.append("at", base(("c", 3, 3)), "d2")
    made.append("done_at", done(("a", 2, True), ("z", 9, True)), "d1")
    return made


def late(store, version=None):
    rows = store.datasets.read(TRIPS, version=version)
    return dict(zip(rows["id"].to_list(), rows["late"].to_list(), strict=True))


def test_a_merge_touches_only_the_files_whose_rows_change(store):
    found = store.datasets.merge(TRIPS, "at", base(("b", 2, 20), ("c", 3, 3), ("d", 4, 4)), by="ana")
    assert (found.version, found.n_new, found.n_changed, found.n_unchanged) == (4, 1, 1, 1)
    assert store.sizes() == {"a": 1, "b": 20, "c": 3, "d": 4}
    assert store.sizes(3) == {"a": 1, "b": 2, "c": 3}
    assert "d2" in [one.name for one in store.datasets.extents(TRIPS, "at")]
    last = store.datasets.versions(TRIPS)[-1]
    assert (last.version, last.cause, last.by, last.n_rows) == (4, "merge", "ana", 3)


def test_the_same_rows_once_more_make_no_version(store):
    rows = base(("b", 2, 20), ("d", 4, 4))
    assert store.datasets.merge(TRIPS, "at", rows).version == 4
    assert store.datasets.merge(TRIPS, "at", rows).version == 4
    assert store.datasets.overwrite(TRIPS, "at", rows).version == 5
    assert store.datasets.overwrite(TRIPS, "at", rows).version == 5


def test_a_corrected_outcome_stands_with_its_time(store):
    store.datasets.merge(TRIPS, "done_at", done(("a", 3, False), ("b", 2, True)))
    assert late(store) == {"a": False, "b": True, "c": None}
    assert late(store, 3) == {"a": True, "b": None, "c": None}
    assert store.datasets.merge(TRIPS, "done_at", done(("a", 4, False))).n_changed == 1
    assert store.datasets.read(TRIPS).filter(id="a")["done_at"][0] == at(4)


@pytest.mark.parametrize("restarts", [False, True])
def test_keys_follow_a_rewrite_also_after_a_restart(store, restarts):
    store.datasets.overwrite(TRIPS, "at", base(("b", 2, 20), ("z", 9, 1)))
    if restarts:
        store.reopen()
    with store.views.reading(DatasetsView) as view:
        assert view.arrivals.counts("trips", "done_at").n_waiting == 1
    assert store.append("at", base(("a", 1, 5), ("b", 2, 9)), "d3").version == 5
    assert store.sizes() == {"a": 5, "b": 20, "z": 1}
    assert late(store) == {"a": True, "b": None, "z": True}


def test_a_batch_that_was_replaced_does_not_come_back(store):
    store.datasets.overwrite(TRIPS, "at", base(("z", 9, 1)))
    again = store.datasets.prepare_append(TRIPS, "at", base(("c", 3, 3)), segment="d2")
    assert (again.facts, again.accepted) == ((), False)


def test_a_batch_that_lies_in_a_replaced_file_does_not_come_back(store, monkeypatch):
    monkeypatch.setattr(table_folder, "_MANY", 2)
    store.compact()
    store.append("at", base(("e", 5, 5)), "d3")
    store.datasets.merge(TRIPS, "at", base(("a", 1, 9)))
    store.reopen()
    again = store.datasets.prepare_append(TRIPS, "at", base(("c", 3, 3)), segment="d2")
    assert (again.facts, again.accepted) == ((), False)
    kept = store.datasets.prepare_append(TRIPS, "at", base(("e", 5, 5)), segment="d3")
    assert (kept.facts, kept.accepted) == ((), True)


def test_rows_that_break_the_contract_change_nothing(store):
    head = store.ledger.head()
    with pytest.raises(InvalidInput, match="null of at") as refused:
        store.datasets.merge(
            TRIPS, "at", base(("a", 1, 5)).with_columns(at=pl.lit(None, TRIPS.types()["at"]))
        )
    assert refused.value.facts == {"row": 0, "n_rows": 1}
    with pytest.raises(InvalidInput, match="state a key twice and differ"):
        store.datasets.overwrite(TRIPS, "at", base(("a", 1, 5), ("a", 1, 6)))
    with pytest.raises(InvalidInput, match="from before the row that they are about"):
        store.datasets.merge(TRIPS, "done_at", done(("c", 1, True)))
    assert store.ledger.head() == head
    assert store.sizes() == {"a": 1, "b": 2, "c": 3}


def test_who_saw_another_version_is_told_both(store):
    with pytest.raises(Conflict, match="expected=2, found=3"):
        store.datasets.merge(TRIPS, "at", base(("a", 1, 5)), seen=2)
    assert store.datasets.merge(TRIPS, "at", base(("a", 1, 5)), seen=3).version == 4


def test_a_rewrite_that_a_compaction_came_before_is_prepared_anew(store, monkeypatch):
    monkeypatch.setattr(table_folder, "_MANY", 2)
    prepare, n_times = store.datasets.prepare_merge, []

    def with_a_compaction(*given):
        prepared = prepare(*given)
        if not n_times:
            other = store.another()
            other.commit(other.compact(TRIPS))
        n_times.append(1)
        return prepared

    monkeypatch.setattr(store.datasets, "prepare_merge", with_a_compaction)
    assert store.datasets.merge(TRIPS, "at", base(("a", 1, 5))).version == 4
    assert len(n_times) == 2
    assert store.sizes() == {"a": 5, "b": 2, "c": 3}


def test_a_rewrite_that_another_came_before_is_refused(store, monkeypatch):
    prepare = store.datasets.prepare_merge

    def with_another(*given):
        prepared = prepare(*given)
        store.another().merge(TRIPS, "at", base(("c", 3, 30)))
        return prepared

    monkeypatch.setattr(store.datasets, "prepare_merge", with_another)
    with pytest.raises(Conflict, match="expected=3, found=4"):
        store.datasets.merge(TRIPS, "at", base(("a", 1, 5)))
    assert store.sizes() == {"a": 1, "b": 2, "c": 30}


@pytest.mark.parametrize("share", [True, False])
def test_threads_that_write_to_one_dataset_lose_no_row(store, share):
    refused = []

    def write(writer):
        datasets = store.datasets if share else store.another()
        for number in range(8):
            frame = base((f"{writer}-{number}", 1, number), ("shared", 1, number))
            if number % 2:
                datasets.append(TRIPS, "at", frame, segment=f"{writer}-{number}")
            else:
                while True:
                    try:
                        datasets.merge(TRIPS, "at", frame)
                        break
                    except Conflict as error:
                        refused.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in "vw"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own = {f"{writer}-{number}" for writer in "vw" for number in range(8)}
    assert set(store.sizes()) == own | {"a", "b", "c", "shared"}
    rows = pl.concat([store.datasets.rows_in(TRIPS, "at", e) for e in store.datasets.extents(TRIPS, "at")])
    assert not rows["id"].is_duplicated().any()
    assert {error.kind for error in refused} <= {"dataset"}


def test_what_was_said_last_of_a_key_stands_through_every_merge_of_runs(monkeypatch):
    from varv.data import key_runs

    monkeypatch.setattr(key_runs, "ROWS_IN_MEMORY", 4)
    index = keys.KeyIndex()
    said = {}
    for turn in range(40):
        chosen = [(turn * 7 + step) % 11 for step in range(1 + turn % 4)]
        frame = pl.DataFrame({"id": chosen, "at": [turn] * len(chosen), "v": [turn] * len(chosen)})
        index.add(keys.stated(frame.with_columns(pl.col("at")), ["id"], "at", is_base=True))
        said |= dict.fromkeys(chosen, turn)
        known = pl.DataFrame({"id": list(said)}).hash_rows(seed=0).to_numpy()
        assert index.find(known).times.tolist() == list(said.values())
