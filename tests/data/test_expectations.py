"""Declared rules in a store: on record with their dataset, asked of every batch, and reported."""

from __future__ import annotations

import polars as pl
import pytest

from varv import expect
from varv.data import Dataset, Frame, Selection
from varv.data.model import ExpectationsDeclared
from varv.kernel.codec import decode_event
from varv.kernel.errors import InvalidDeclaration, InvalidInput

from .test_service import TYPES, Store, at, base, done

SHORT = expect.between("size", 0, 100)
FRESH = expect.fresh("at", within="20d")
LATE = expect.present("late", severity="warn")


def trips(*rules):
    source, later = Frame(pl.DataFrame(schema=TYPES)), {"done_at": ["late"]}
    return Dataset("trips", source=source, key="id", event_time="at", known_at=later, expect=rules)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path)
    made.commit(made.datasets.register(trips(SHORT, FRESH, LATE)))
    return made


def declared(store):
    entries = [decode_event(one.name, one.version, one.data) for one in store.ledger.read()]
    return [one.expectations for one in entries if isinstance(one, ExpectationsDeclared)]


def put_aside(store, batch, segment, data, part="at"):
    report = store.datasets.append(data, part, batch, segment=segment).report
    return [(one.reason, one.n_rows) for one in report.violations]


def test_rules_are_on_record_and_asked_of_each_batch_of_their_part(store):
    data = trips(SHORT, FRESH, LATE)
    assert put_aside(store, base(("a", at(20), 9), ("b", at(20), 101)), "d1", data) == [
        ("declared range of size", 1)
    ]
    assert put_aside(store, done(("a", at(21), None)), "d1", data, "done_at") == []
    assert store.counts("at").n_quarantined == 1
    assert store.counts("at").warnings == {}
    assert store.counts("done_at").warnings == {"missing value of late": 1}


def test_a_warning_is_in_the_ledger_and_puts_nothing_aside(store):
    data = trips(SHORT, FRESH, LATE)
    assert put_aside(store, base(("a", at(1), 9)), "d1", data) == []
    assert store.counts("at").warnings == {"freshness of at": 1}
    assert store.datasets.read(data)["id"].to_list() == ["a"]


def test_what_is_on_record_holds_until_another_declaration_is(store):
    loose = trips()
    assert put_aside(store, base(("a", at(20), 101)), "d1", loose) != []
    store.commit(store.datasets.register(loose))
    assert put_aside(store, base(("b", at(20), 101)), "d2", loose) == []
    assert [len(one) for one in declared(store)] == [3, 0]


def test_the_same_rules_again_are_no_new_fact(store):
    assert store.datasets.register(trips(SHORT, FRESH, LATE)) == ()
    store.reopen()
    assert store.datasets.register(trips(SHORT, FRESH, LATE)) == ()
    other = trips(expect.between("size", 0, 99), FRESH, LATE)
    assert len(store.datasets.register(other)) == 1


def test_a_rule_that_does_not_fit_is_refused_before_anything_is_recorded(store):
    with pytest.raises(InvalidDeclaration, match="no column 'weight'"):
        store.datasets.register(trips(expect.between("weight", 0, 1)))
    assert len(declared(store)) == 1


def test_corrected_rows_keep_declared_rules_too(store):
    data = trips(SHORT)
    put_aside(store, base(("a", at(20), 101)), "d1", data)
    chosen = Selection(dataset="trips", part="at", segment="d1")
    with pytest.raises(InvalidInput, match="declared range of size, expected 0 to 100"):
        store.quarantine.replace(chosen, base(("a", at(20), 102)), by="ana")
    store.take(store.quarantine.replace(chosen, base(("a", at(20), 10)), by="ana"))
    assert store.datasets.read(data)["size"].to_list() == [10]


def test_repeats_in_a_batch_are_put_aside_and_rows_sent_one_by_one_are_not(store):
    data = trips(expect.unique("size"))
    store.commit(store.datasets.register(data))
    two = base(("a", at(20), 7), ("b", at(20), 7), ("c", at(20), 8))
    assert put_aside(store, two, "d1", data) == [("repeat of size", 2)]
    again = base(("e", at(20), 7), ("f", at(20), 7))
    sent = store.datasets.prepare_append(data, "at", again, segment="d2", acknowledged=True)
    assert sent.report.ok


def test_how_many_rows_come_when_is_learned_where_a_rule_asks_for_it(store):
    data = trips(expect.volume("at", severity="error"))
    store.commit(store.datasets.register(data))
    hours = [
        (f"{day}-{hour}-{n}", at(day, hour), 1)
        for day in range(1, 30)
        for hour in range(24)
        for n in range(9)
    ]
    store.datasets.append(data, "at", base(*hours), segment="d1")
    store.commit(store.datasets.infer_contracts([data]))
    usual = [(f"x{hour}-{n}", at(30, hour), 1) for hour in range(24) for n in range(9)]
    assert put_aside(store, base(*usual), "d2", data) == []
    lost = [(f"y{hour}-{n}", at(31, hour), 1) for hour in (0, 1, 2, 5, 6) for n in range(9)]
    assert put_aside(store, base(*lost), "d3", data) == [("volume of at", 2)]
