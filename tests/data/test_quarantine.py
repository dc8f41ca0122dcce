"""Quarantine: rows are let out, replaced and given up by a person, and each of that is a fact."""

from __future__ import annotations

import polars as pl
import pytest

from varv.data import DatasetsView, Selection
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound

from .test_service import TRIPS, Store, at, base, done

WHOLE = Selection(dataset="trips")


@pytest.fixture
def store(tmp_path):
    """A store with 400 good rows, a contract, and a batch of which two of four rows are in quarantine."""
    made = Store(tmp_path)
    made.commit(made.datasets.register(TRIPS))
    many = base(*((f"x{i}", at(1 + i // 24, i % 24), i) for i in range(400)))
    made.datasets.append(TRIPS, "at", many, segment="d1")
    made.commit(made.datasets.infer_contracts([TRIPS]))
    batch = base(("y", at(20), 3), ("z", at(20), 99_999), (None, at(20), 4), ("w", at(21), 5))
    made.datasets.append(TRIPS, "at", batch, segment="d2")
    return made


def held(store):
    with store.views.reading(DatasetsView) as view:
        return view.arrivals.quarantine()


def size_of(store, key):
    return store.datasets.read(TRIPS).filter(pl.col("id") == key)["size"].to_list()


def test_rows_in_quarantine_are_shown_with_their_numbers_and_reasons(store):
    (batch,) = store.quarantine.batches(WHOLE)
    rows = store.quarantine.rows(batch)
    assert rows.select("@row", "id", "@reason").rows() == [
        (0, "z", "impossible value of size"),
        (1, None, "null of id"),
    ]
    only = store.quarantine.rows(batch, Selection(dataset="trips", reason="null"))
    assert only["@row"].to_list() == [1]


def test_chosen_rows_are_let_out_and_the_others_stay(store):
    chosen = Selection(dataset="trips", part="at", segment="d2", rows=(0,))
    taken = store.take(store.quarantine.release(chosen, by="ana", why="a long trip"))
    assert (taken.n_rows, taken.n_batches) == (1, 1)
    assert size_of(store, "z") == [99_999]
    (left,) = held(store)
    assert (left.n_rows, left.rows) == (1, [1])
    counts = store.counts("at")
    assert (counts.n_quarantined, counts.n_released, counts.n_arrived) == (1, 1, 404)
    with pytest.raises(InvalidInput, match="has no row 0"):
        store.quarantine.release(chosen, by="ana")
    store.reopen()
    (left,) = held(store)
    assert left.rows == [1]
    released = next(e.event for e in store.ledger.read() if e.name == "data.batch_released")
    assert (released.by, released.why, released.rows) == ("ana", "a long trip", (0,))


def test_a_row_that_cannot_be_one_of_the_dataset_is_not_let_out(store):
    head = store.ledger.head()
    with pytest.raises(FailedPrecondition, match="1 rows without 'id'"):
        store.quarantine.release(WHOLE, by="ana")
    assert store.ledger.head() == head
    store.datasets.append(TRIPS, "at", base(("q", at(3), 1)).with_columns(size=pl.lit("four")), segment="d3")
    with pytest.raises(FailedPrecondition, match="types"):
        store.quarantine.release(Selection(dataset="trips", segment="d3"), by="ana")


def test_corrected_rows_take_the_place_of_bad_ones(store):
    given = base(("z", at(20), 99), ("v", at(20), 4))
    taken = store.take(store.quarantine.replace(WHOLE, given, by="ana"))
    assert (taken.n_rows, taken.made[0][2].rows.height) == (2, 2)
    assert (size_of(store, "z"), size_of(store, "v")) == ([99], [4])
    assert held(store) == []
    counts = store.counts("at")
    assert (counts.n_replaced, counts.n_given, counts.n_arrived) == (2, 2, 404)


def test_a_correction_that_breaks_the_contract_is_refused_and_changes_nothing(store):
    head = store.ledger.head()
    with pytest.raises(InvalidInput, match="impossible value of size") as refused:
        store.quarantine.replace(WHOLE, base(("v", at(20), 4), ("z", at(20), -99_999)), by="ana")
    assert refused.value.facts["row"] == 1
    with pytest.raises(InvalidInput, match="are none"):
        store.quarantine.replace(WHOLE, base().clear(), by="ana")
    assert store.ledger.head() == head
    store.take(store.quarantine.replace(WHOLE, base(("z", at(20), 99)), by="ana"))
    assert size_of(store, "z") == [99]


def test_a_correction_of_a_key_that_has_been_stated_since_is_dropped_and_counted(store):
    store.datasets.append(TRIPS, "at", base(("z", at(20), 7)), segment="d3")
    given = base(("z", at(20), 99), ("v", at(20), 4))
    store.take(store.quarantine.replace(WHOLE, given, by="ana"))
    assert size_of(store, "z") == [7]
    counts = store.counts("at")
    assert (counts.n_given, counts.n_different, counts.n_arrived) == (1, 0, 405)


def test_rows_that_are_given_up_never_count(store):
    store.take(store.quarantine.drop(WHOLE, by="ana", why="a test rig"))
    assert held(store) == []
    assert store.datasets.read(TRIPS).height == 402
    counts = store.counts("at")
    assert (counts.n_discarded, counts.n_quarantined, counts.n_lost) == (2, 0, 2)
    batch = base(("y", at(20), 3), ("z", at(20), 99_999), (None, at(20), 4), ("w", at(21), 5))
    head = store.ledger.head()
    assert store.datasets.append(TRIPS, "at", batch, segment="d2").version == 2
    assert store.ledger.head() == head


def test_a_whole_batch_is_let_out_as_it_is(store):
    wild = base(*((f"r{i}", at(22), 5000) for i in range(9)))
    store.datasets.append(TRIPS, "at", wild, segment="d3")
    chosen = Selection(dataset="trips", segment="d3")
    assert store.take(store.quarantine.release(chosen, by="ana")).n_rows == 9
    assert size_of(store, "r8") == [5000]


def test_rows_of_one_reason_are_chosen_over_many_batches(store):
    for number in range(5):
        batch = base((f"a{number}", at(23), 99_999), (None, at(23), 1))
        store.datasets.append(TRIPS, "at", batch, segment=f"e{number}")
    chosen = Selection(dataset="trips", reason="impossible value")
    assert store.take(store.quarantine.release(chosen, by="ana")).n_batches == 6
    assert store.counts("at").n_quarantined == 6
    assert store.datasets.read(TRIPS).height == 402 + 6


def test_what_is_known_before_its_row_is_not_let_out_nor_given(store):
    store.datasets.append(TRIPS, "done_at", done(("y", at(2), True)), segment="d1")
    chosen = Selection(dataset="trips", part="done_at")
    with pytest.raises(FailedPrecondition, match="before the row that they are about"):
        store.quarantine.release(chosen, by="ana")
    with pytest.raises(InvalidInput, match="before the row"):
        store.quarantine.replace(chosen, done(("y", at(3), True)), by="ana")
    store.take(store.quarantine.replace(chosen, done(("y", at(21), True)), by="ana"))
    assert store.datasets.read(TRIPS).filter(pl.col("id") == "y")["late"].to_list() == [True]


def test_a_selection_that_names_nothing_says_so(store):
    for chosen in (
        Selection(dataset="trips", segment="d9"),
        Selection(dataset="trips", part="done_at"),
        Selection(dataset="trips", reason="unseen"),
    ):
        with pytest.raises(NotFound, match="not in quarantine"):
            store.quarantine.batches(chosen)
    with pytest.raises(NotFound, match="not registered"):
        store.quarantine.batches(Selection(dataset="flights"))
    with pytest.raises(InvalidInput, match="no segment"):
        store.quarantine.batches(Selection(dataset="trips", rows=(1,)))


def test_a_failed_commit_leaves_the_keys_free(store, monkeypatch):
    chosen = Selection(dataset="trips", reason="impossible value")
    prepared = store.quarantine.release(chosen, by="ana")
    monkeypatch.setattr(store.ledger, "commit", lambda change: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.datasets.commit(prepared.facts)
    monkeypatch.undo()
    assert store.datasets.append(TRIPS, "at", base(("z", at(20), 7)), segment="d4").version == 3
    assert size_of(store, "z") == [7]
