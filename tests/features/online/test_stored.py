"""Models served from the online store get the numbers that memory holds, to the last bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.online.homes import ORDERS, VIEWS, OnlineHome, base, later, moment
from tests.features.online.test_materialising import histories

from varv.features import FeatureEngine, FeatureStore, derived
from varv.features.online.materialising import READS_BACK
from varv.features.online.stored import StoredHistory
from varv.features.program import FeatureProgram
from varv.kernel.clock import MINUTE
from varv.kernel.errors import InvalidInput, Unavailable

FEATURES = [*VIEWS, "size", derived("twice", pl.col("recent__size_mean_2h") * 2)]


class Asked:
    """Requests in plain arrays, of the columns size and kind, and who and color."""

    def __init__(self, rows):
        self.numbers = np.array([[row["size"], row["kind"]] for row in rows], np.float64)
        self.texts = [[row["who"] for row in rows], [row["color"] for row in rows]]


def served(home):
    store = FeatureStore(stored=lambda view: StoredHistory(view, home.store))
    return FeatureEngine(FEATURES, ORDERS, store)


def filled(folder, history):
    home = OnlineHome(folder)
    for part, rows, _ in history:
        home.append(part, rows)
    for view in VIEWS:
        home.materialiser.materialise(view)
    return home


@settings(max_examples=15)
@given(history=histories(), n=st.sampled_from([1, 3, 9]))
def test_a_model_gets_the_same_numbers_from_the_store_as_from_memory(tmp_path_factory, history, n):
    home = filled(tmp_path_factory.mktemp("stored"), history)
    engines = home.engine(FEATURES), served(home)
    # At the instant of a row itself memory hides what becomes of it, and the store holds what has come.
    newest = max(rows[part].cast(pl.Int64).max() for part, rows, _ in history) + 1
    whose = [("ann", 1), ("bob", 2), (None, 1), ("nobody", 2), ("zoë", None)]
    rows = [
        {"id": i, "at": newest, "who": whose[i % 5][0], "kind": whose[i % 5][1], "size": 1.0, "color": None}
        for i in range(n)
    ]
    types = {name: ORDERS.types()[name] for name in rows[0]}
    asked = pl.DataFrame(rows, schema={**types, "at": pl.Int64}).cast({"at": types["at"]})
    expected, found = (engine.lookup(asked, "at") for engine in engines)
    assert found.equals(expected)
    programs = [FeatureProgram(engine, types, ["size", "kind"], ["who", "color"]) for engine in engines]
    (numbers, texts), (others, other_texts) = (one.compute(Asked(rows), newest) for one in programs)
    assert numbers.tobytes() == others.tobytes()
    assert texts == other_texts


def test_an_order_at_the_oldest_instant_that_is_kept_sees_the_one_before(tmp_path):
    back = READS_BACK // MINUTE
    rows = [
        (1, 0, "ann", 1, 1.0, "red"),
        (2, 60, "ann", 1, 2.0, "blue"),
        (3, 60 + back, "bob", 1, 3.0, "red"),
    ]
    home = filled(tmp_path, [("at", base(rows), False)])
    asked = base([(2, 60, "ann", 1, 2.0, "blue")])
    found = served(home).lookup(asked, "at")
    assert found.equals(home.engine(FEATURES).lookup(asked, "at"))
    assert found["colors.color"].to_list() == ["red"]
    with pytest.raises(InvalidInput, match="keeps"):
        served(home).lookup(base([(2, 59, "ann", 1, 2.0, "blue")]), "at")


def test_a_view_that_is_not_online_is_refused(tmp_path):
    home = OnlineHome(tmp_path)
    history = StoredHistory(VIEWS[0], home.store)
    with pytest.raises(Unavailable, match="last"):
        history.lookup_one(["ann"], moment(0), [])


def test_a_request_from_before_what_is_kept_is_refused(tmp_path):
    rows = [("at", base([(1, 9000, "ann", 1, 1.0, "red")]), False), ("done_at", later([]), False)]
    home = filled(tmp_path, rows[:1])
    history = StoredHistory(VIEWS[0], home.store)
    with pytest.raises(InvalidInput, match="last"):
        history.lookup_one(["ann"], moment(0), [])
