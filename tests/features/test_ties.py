"""What decides between rows of one entity and instant."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv.data import Dataset, Frame
from varv.features import FeatureEngine, FeatureView
from varv.features.bulk import BulkFeeder, Requests, SourceTables
from varv.features.ties import ties_of
from varv.kernel.clock import MINUTE, instant
from varv.kernel.columns import TIME

START = instant("2026-03-02")


def order(rows, key):
    return np.argsort(ties_of(rows, key)).tolist()


def test_whole_numbers_and_times_are_in_their_own_order():
    numbers = [5, -3, 0, 2**62, -(2**62)]
    assert order(pl.DataFrame({"k": numbers}), ["k"]) == [4, 1, 2, 0, 3]
    assert order(pl.DataFrame({"k": numbers[:3]}, schema={"k": pl.Int8}), ["k"]) == [1, 2, 0]
    assert order(pl.DataFrame({"k": [2**64 - 1, 7]}, schema={"k": pl.UInt64}), ["k"]) == [1, 0]
    assert order(pl.DataFrame({"k": pl.Series(numbers).cast(TIME)}), ["k"]) == [4, 1, 2, 0, 3]


def test_other_keys_decide_by_hashes_that_never_change():
    rows = pl.DataFrame(
        {"a": ["x", "y", ""], "b": [1.5, -0.0, None], "c": [True, None, False], "d": [1, 2, 3]}
    )
    assert [f"{one:016x}" for one in ties_of(rows, ["a", "b", "c", "d"]).tolist()] == [
        "69a8519e64d67203",
        "4c663c4f74453f30",
        "9dca3444746c040d",
    ]
    narrow = rows.cast({"b": pl.Float32, "d": pl.Int16})
    assert ties_of(narrow, ["a", "b", "c", "d"]).tolist() == ties_of(rows, ["a", "b", "c", "d"]).tolist()
    assert ties_of(rows, ["a", "b"]).tolist() != ties_of(rows, ["b", "a"]).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_of_rows_of_one_time_the_one_numbered_last_stands_everywhere(seed):
    n = 40
    numbers = np.random.default_rng(seed).permutation(n)
    fields = {"id": numbers, "at": [START] * n, "who": ["x"] * n, "v": numbers.astype(float)}
    rows = pl.DataFrame(fields).cast({"at": TIME})
    data = Dataset("events", source=Frame(rows), key="id", event_time="at")
    view = FeatureView("last", source=data, entity="who", features=["v"])
    requests = pl.DataFrame({"id": [0], "who": ["x"], "at": [START + MINUTE]}).cast({"at": TIME})
    engine = FeatureEngine([view], Dataset("asked", source=Frame(requests), key="id", event_time="at"))
    for some in rows.iter_slices(7):
        engine.store.observe(data, "at", some)
    given = Requests(requests, np.array([START + MINUTE]), np.array([True]))
    found = BulkFeeder(SourceTables(), most_bytes=1 << 28).features([view], given)
    assert engine.lookup(requests, "at")["last.v"].to_list() == [n - 1]
    assert found["last.v"].to_list() == [n - 1]
