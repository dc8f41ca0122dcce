"""What may go wrong between a ledger and an answer, and that each is told from the others."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.skew.world import SHOPS, START, World, busy, features

from varv.features import FeatureEngine, FeatureSet, FeatureStore, FeatureView, windows
from varv.features.skew import FeatureSkew, Served, compare, counted
from varv.features.skew.classes import DIFFERENT, EQUAL, LATE, STALE
from varv.kernel.clock import HOUR, MINUTE
from varv.kernel.columns import TIME

NAMES = ("last.size", "recent.size_mean_2h", "recent.size_mean_12h", "delays.late_mean_12h", "ratio")


def skew(world, served=None, fresh=None):
    found = compare(world.datasets, world.features, served or world.result())
    every = np.ones(len(world.asked), bool)
    return {name: counted(name, values, every, fresh) for name, values in found.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return busy(World(tmp_path_factory.mktemp("sound")))


def test_what_an_up_to_date_store_served_is_equal_feature_by_feature(sound):
    found = skew(sound)
    assert {name: one.equal for name, one in found.items()} == dict.fromkeys(found, len(sound.asked))
    assert set(NAMES) < set(found)


def test_values_of_other_shops_are_different_and_right_for_another_entity(sound):
    served = sound.result()
    turned = pl.concat([served.values[1:], served.values[:1]])
    found = skew(sound, Served(served.rows, served.at, turned))
    for name in ("last.size", "recent.size_mean_2h", "recent.size_mean_12h"):
        one = found[name]
        assert one.different >= one.n - 3, name
        assert one.stale + one.late + one.missing_online == 0, name
    # Of the three of a moment the last one got what the next moment gives.
    assert found["last.size"].other_entity == 20
    assert found["recent.size_mean_2h"].other_entity == 20


def test_a_store_that_is_behind_serves_stale_values_and_says_for_how_long(tmp_path):
    world = busy(World(tmp_path, behind=4))
    found = skew(world, fresh=10 * MINUTE)
    one = found["last.size"]
    assert one.stale == one.n
    assert one.different == one.late == 0
    assert one.in_time == 0
    # Two batches every ten minutes: what came 11 and 1 minutes before the request was not seen.
    assert one.longest_lag == 11 * MINUTE
    assert skew(world, fresh=11 * MINUTE)["last.size"].in_time == one.n
    assert found["ratio"].stale == one.n


def test_rows_that_came_late_are_no_fault_of_the_store(tmp_path):
    world = busy(World(tmp_path))
    now = START + 18 * HOUR
    for shop in SHOPS:
        world.ask(now, shop)
    # Known before the requests by its own word, got by the ledger after them.
    world.came(now + HOUR, (90_000, "b", now - 5 * MINUTE, 77.0))
    one = skew(world)["last.size"]
    assert (one.late, one.stale, one.different) == (1, 0, 0)
    assert one.longest_lag == 5 * MINUTE
    assert one.equal == one.n - 1


def test_a_changed_definition_gives_different_values_and_its_own_name(sound):
    other = FeatureEngine(features(sound.data, over=["12h", "2h"]), sound.features.requests)
    restored = [sound.data]
    for dataset in restored:
        for part in dataset.parts:
            other.store.observe(dataset, part, sound.datasets.read_part(dataset, part))
    served = sound.result()
    values = other.lookup(served.rows, served.at)
    swapped = served.values.with_columns(values["recent.size_mean_12h"].alias("recent.size_mean_2h"))
    found = skew(sound, Served(served.rows, served.at, swapped))
    one = found["recent.size_mean_2h"]
    assert (one.different, one.stale, one.late, one.other_entity) == (one.n, 0, 0, 0)
    assert one.resembles == "recent.size_mean_12h"
    assert found["recent.size_mean_12h"].equal == one.n


def test_a_definition_that_nobody_knows_is_different_and_resembles_nothing(sound):
    served = sound.result()
    values = served.values.with_columns((pl.col("recent.size_mean_2h") * 1.01).cast(pl.Float32))
    one = skew(sound, Served(served.rows, served.at, values))["recent.size_mean_2h"]
    assert (one.different, one.other_entity, one.resembles) == (one.n, 0, "")


def test_values_that_are_missing_on_either_side_are_told_apart(sound):
    served = sound.result()
    nothing = served.values.with_columns(pl.lit(None, pl.Float32).alias("last.size"))
    assert skew(sound, Served(served.rows, served.at, nothing))["last.size"].missing_online == len(
        sound.asked
    )
    unknown = served.rows.with_columns(shop=pl.lit("nobody"))
    one = skew(sound, Served(unknown, served.at, served.values))["last.size"]
    assert one.missing_offline == one.n


def test_numbers_two_units_apart_are_equal_and_three_units_are_not(sound):
    served = sound.result()
    bits = served.values["last.size"].to_numpy().view(np.int32)
    for step, expected in ((2, EQUAL), (3, DIFFERENT)):
        moved = pl.Series("last.size", (bits + step).view(np.float32))
        values = served.values.with_columns(moved)
        found = compare(sound.datasets, sound.features, Served(served.rows, served.at, values))
        assert set(found["last.size"].codes.tolist()) == {expected}


@settings(max_examples=8)
@given(
    seed=st.integers(0, 10_000),
    behind=st.lists(st.integers(0, 8), min_size=3, max_size=12),
)
def test_any_lag_is_found_request_by_request(tmp_path_factory, seed, behind):
    world = World(tmp_path_factory.mktemp("lags"))
    rng = np.random.default_rng(seed)
    n_rows, waiting, expected = 0, [], []
    at = START
    for number, lag in enumerate(behind):
        for _ in range(int(rng.integers(1, 4))):
            at += int(rng.integers(1, 30)) * MINUTE
            world.came(at, (n_rows, SHOPS[n_rows % 3], at, float(rng.normal())))
            n_rows += 1
        at += MINUTE
        engine = FeatureEngine(world.features, world.features.requests)
        seen = max(0, n_rows - lag)
        rows = world.datasets.read_part(world.data, "at").filter(pl.col("id") < seen)
        if rows.height:
            engine.store.observe(world.data, "at", rows)
        shop = SHOPS[number % 3]
        there = [row for row in range(n_rows) if SHOPS[row % 3] == shop]
        old = [row for row in there if row < seen]
        world.ask(at, shop, engine=engine)
        expected.append(EQUAL if old == there else STALE if old else None)
        waiting.append(seen)
    found = compare(world.datasets, world.features, world.result())["last.size"]
    for code, wanted in zip(found.codes.tolist(), expected, strict=True):
        assert wanted is None or code == wanted
    assert LATE not in found.codes


def test_a_view_over_the_requests_themselves_is_served_as_it_is_computed_later(tmp_path):
    world = World(tmp_path)
    over = windows("size", ["count", "last"], over="2h")
    views = [
        FeatureView("last", source=world.data, entity="shop", features=["size"]),
        FeatureView("lately", source=world.data, features=over),
    ]
    chosen, store = FeatureSet(views, world.data), FeatureStore()
    engine, asked, served = FeatureEngine(chosen, world.data, store), [], []
    for number in range(30):
        rows = [
            (3 * number + i, shop, START + number * MINUTE, float(number)) for i, shop in enumerate("aab")
        ]
        frame = pl.DataFrame(rows, schema=["id", "shop", "at", "size"], orient="row").cast({"at": TIME})
        served.append(engine.lookup(frame, "at"))
        asked.append(frame)
        store.observe(world.data, "at", frame)
        world.came(START + number * MINUTE, *rows)
    found = compare(world.datasets, chosen, Served(pl.concat(asked), "at", pl.concat(served)))
    assert len(found) == 3
    assert all((one.codes == EQUAL).all() for one in found.values())


def test_counts_add_up_over_stretches_of_time():
    one = FeatureSkew(name="f", n=10, stale=2, in_time=9, fresh=HOUR, longest_lag=5)
    other = FeatureSkew(name="f", n=30, different=3, in_time=27, fresh=HOUR, longest_lag=3)
    both = one.plus(other)
    assert (both.n, both.equal, both.stale, both.wrong, both.in_time, both.longest_lag) == (
        40,
        35,
        2,
        3,
        36,
        5,
    )
    low, high = both.interval("different")
    assert low < 3 / 40 < high
