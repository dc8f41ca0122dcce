"""Reads of views that declare an age are counted by every path, and so are those that were as fresh."""

from __future__ import annotations

import numpy as np
import polars as pl
from tests.features.online.homes import BASE, ORDERS, OnlineHome, base, moment

from varv.data import Dataset, Frame
from varv.features import FeatureEngine, FeatureStore, FeatureView
from varv.features.online.stored import StoredHistory
from varv.features.program import FeatureProgram
from varv.features.reads import ReadCounts, Reads, added
from varv.kernel.clock import HOUR, MINUTE

FRESH = FeatureView("prompt", source=ORDERS, entity="who", features=["size"], fresh="1h")
PLAIN = FeatureView("plain", source=ORDERS, entity="who", features=["size"])
TYPES = {"id": pl.Int64(), "at": BASE["at"], "who": pl.String()}
ASKED = Dataset("asked", source=Frame(pl.DataFrame(schema=TYPES)), key="id", event_time="at")
ROWS = base([(1, 0, "ann", 1, 1.0, "red")])


class Plain:
    """Two requests in plain arrays."""

    def __init__(self):
        self.numbers = np.zeros((2, 0))
        self.texts = [["ann", "bob"]]


def asked(minute):
    rows = [(1, moment(minute), "ann"), (2, moment(minute), "bob")]
    return pl.DataFrame(rows, schema={**TYPES, "at": pl.Int64}, orient="row").cast({"at": TYPES["at"]})


def test_models_count_reads_from_memory_and_from_the_store(tmp_path):
    home = OnlineHome(tmp_path)
    home.append("at", ROWS)
    for view in (FRESH, PLAIN):
        home.materialiser.materialise(view)
    for stored in (lambda _: None, lambda view: StoredHistory(view, home.store)):
        store = FeatureStore(stored=stored)
        engine = FeatureEngine([FRESH, PLAIN], ASKED, store)
        store.observe(ORDERS, "at", ROWS)
        program = FeatureProgram(engine, TYPES, [], ["who"])
        program.compute(Plain(), moment(60))
        program.compute(Plain(), moment(60) + 1)
        engine.lookup(asked(30), "at")
        engine.lookup(asked(90), "at")
        assert store.reads.totals() == {"prompt": Reads(HOUR, 8, 4)}


def test_reads_of_the_store_itself_are_counted(tmp_path):
    home = OnlineHome(tmp_path)
    home.append("at", ROWS)
    home.materialiser.materialise(FRESH)
    reader = home.reader([FRESH])
    reader.read(["prompt"], {"who": ["ann", "bob", "nobody"]}, moment(59))
    reader.read(["prompt"], {"who": ["ann"]}, moment(61))
    assert reader.reads.totals() == {"prompt": Reads(HOUR, 4, 3)}


def test_a_view_without_a_row_is_not_fresh():
    counts = ReadCounts()
    counts.of(FRESH).count(3, moment(0), None)
    assert counts.totals()["prompt"].share == 0
    assert counts.of(PLAIN) is None


def test_counts_of_several_processes_add_up_and_take_the_age_declared_last():
    first, second = {"a": Reads(HOUR, 4, 1)}, {"a": Reads(MINUTE, 6, 5), "b": Reads(HOUR, 1, 1)}
    assert added([first, second]) == {"a": Reads(MINUTE, 10, 6), "b": Reads(HOUR, 1, 1)}
