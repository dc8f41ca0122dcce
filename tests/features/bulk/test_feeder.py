"""Many requests at once: against brute force over all that can be wrong with rows, and against the engine."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from tests.features.test_engine import between, observed, real_features

from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.features import FeatureEngine, FeatureView, run, windows
from varv.features.bulk import BulkFeeder, Requests, SourceTables, StoredTables, points, spill, tables
from varv.features.observed import PATIENCE
from varv.kernel import table_folder
from varv.kernel.clock import HOUR, VirtualClock, instant
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

START = instant("2026-10-24")
SEEDS = range(24)
TTL, SPANS = 3 * HOUR, {"1h": HOUR, "6h": 6 * HOUR}
TYPES = {"id": pl.Int64, "who": pl.String, "at": TIME, "v": pl.Float64, "said": pl.String}
TYPES |= {"done_at": TIME, "late": pl.Float64}


def hazards(seed, n=60):
    """Return rows with ties, nulls, repeated keys, and later parts that are early, late or far too late."""
    rng = np.random.default_rng(seed)
    # On a grid of an hour, so that times tie, and ends of a ttl and of windows are hit exactly.
    at = START + rng.integers(0, 48, n) * HOUR
    after = rng.choice([-HOUR, 0, HOUR, 5 * HOUR, PATIENCE, PATIENCE + HOUR], n)
    rows = {
        "id": rng.integers(0, n * 5 // 4, n),
        "who": rng.choice(["a", "b", "c", None], n, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
        "at": [None if rng.random() < 0.05 else int(when) for when in at],
        "v": [None if rng.random() < 0.2 else float(value) for value in rng.integers(-9, 9, n)],
        "said": [None if rng.random() < 0.2 else str(value) for value in rng.integers(0, 9, n)],
        "done_at": [None if rng.random() < 0.1 else int(when) for when in at + after],
        "late": [None if rng.random() < 0.2 else float(value) for value in rng.integers(0, 2, n)],
    }
    return pl.DataFrame(rows, schema=TYPES, strict=False)


def asked(seed, n=40):
    """Return requests: some twice, some without an entity or a time, some of entities without rows."""
    rng = np.random.default_rng(seed + 1000)
    at = [None if rng.random() < 0.1 else int(START + hour * HOUR) for hour in rng.integers(-2, 60, n)]
    rows = {"who": rng.choice(["a", "b", "c", "nobody", None], n).tolist(), "at": at}
    made = pl.DataFrame(rows, schema={"who": pl.String, "at": TIME}, strict=False)
    return pl.concat([made, made.sample(fraction=0.3, seed=seed)])


def events(frame):
    known = {"done_at": ["late"]}
    return Dataset("events", source=Frame(frame), key="id", event_time="at", known_at=known)


def views(data):
    over = {"over": list(SPANS)}
    return [
        FeatureView("last", source=data, entity="who", features=["v", "said"]),
        FeatureView("fresh", source=data, entity="who", features=["v", "said"], ttl="3h"),
        FeatureView("shared", source=data, features=["v"]),
        FeatureView("outcome", source=data, entity="who", features=["late"], ttl="3h"),
        FeatureView("recent", source=data, entity="who", features=windows("v", ["mean", "count"], **over)),
        FeatureView("delays", source=data, entity="who", features=windows("late", ["mean", "max"], **over)),
    ]


def bulk(tables, data, requests, mode="known", most_bytes=1 << 28):
    times = requests["at"].cast(pl.Int64)
    given = Requests(requests, times.fill_null(0).to_numpy(), times.is_not_null().to_numpy())
    return BulkFeeder(tables, mode, most_bytes=most_bytes).features(views(data), given)


def dataset_of(requests):
    return Dataset("requests", source=Frame(requests), key="at", event_time="at")


@pytest.fixture
def datasets(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db", durability="process")
    columns, clock = FolderColumns(tmp_path / "columns", durable=False), VirtualClock(START)
    yield Datasets(ledger, columns, clock, Views(ledger, DatasetsView), Secret(tmp_path / "digest.key"))
    ledger.close()


def stored(datasets, data, frame, name="first"):
    """Store rows in no order, in several segments."""
    datasets.commit(datasets.register(data))
    for part in data.parts:
        rows = frame.select(data.columns(part)).filter(pl.col(part).is_not_null())
        for number, piece in enumerate(rows.iter_slices(9)):
            datasets.append(data, part, piece, segment=f"{name}-{number}")


# --- brute force -------------------------------------------------------------------------------------------


def stated(frame, part, columns):
    """Return the rows of one part by key, the first statement of each, in their order."""
    found = {}
    for row in frame.with_columns(pl.col(TIME).cast(pl.Int64)).rows(named=True):
        if row[part] is not None:
            found.setdefault(row["id"], {name: row[name] for name in columns})
    return found


def history(base, later, part, mode):
    """Return (entity, order, row): the order is time, then what decides between equal times."""
    if part == "at":
        return [(row["who"], (row["at"], 0, key), row) for key, row in base.items()]
    joined = [(base[key], row, key) for key, row in later.items() if key in base]
    return [
        (one["who"], (one["at"] if mode == "event" else row["done_at"], row["done_at"], key), row)
        for one, row, key in joined
        if 0 <= row["done_at"] - one["at"] <= PATIENCE
    ]


def brute(base, later, requests, mode):
    """Return each feature of each request, found by looking at every row."""
    found = {}
    for who, at in requests.with_columns(pl.col("at").cast(pl.Int64)).rows():
        for name, part, columns, ttl in (
            ("last", "at", ["v", "said"], None),
            ("fresh", "at", ["v", "said"], TTL),
            ("shared", "at", ["v"], None),
            ("outcome", "done_at", ["late"], TTL),
        ):
            whom = (
                {row[0] for row in history(base, later, part, mode)} if name == "shared" else {who} - {None}
            )
            seen = [
                (order, row)
                for entity, order, row in history(base, later, part, mode)
                if at is not None
                and entity in whom
                and order[0] <= at
                and (ttl is None or at - order[0] <= ttl)
            ]
            last = max(seen, key=lambda one: one[0])[1] if seen else dict.fromkeys(columns)
            for column in columns:
                found.setdefault(f"{name}.{column}", []).append(last[column])
        for name, part, column, second in (
            ("recent", "at", "v", "count"),
            ("delays", "done_at", "late", "max"),
        ):
            for text, span in SPANS.items():
                values = [
                    row[column]
                    for entity, order, row in history(base, later, part, mode)
                    if None not in (at, who, row[column]) and entity == who and at - span < order[0] <= at
                ]
                mean = sum(values) / len(values) if values else None
                none = None if second == "max" or at is None else 0
                other = len(values) if second == "count" and values else max(values, default=none)
                found.setdefault(f"{name}.{column}_mean_{text}", []).append(mean)
                found.setdefault(f"{name}.{column}_{second}_{text}", []).append(other)
    return found


def require_equal(found, wanted):
    for name, values in found.items():
        for ours, theirs in zip(values.to_list(), wanted[name], strict=True):
            same = ours == theirs or (None not in (ours, theirs) and ours == pytest.approx(theirs, abs=1e-6))
            assert same, (name, ours, theirs)


@pytest.mark.parametrize("mode", ["known", "event"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_sources_say_is_what_brute_force_finds(seed, mode):
    frame, requests = hazards(seed), asked(seed)
    base = stated(frame.sort("at", maintain_order=True), "at", ["who", "at", "v", "said"])
    later = stated(frame.sort("done_at", maintain_order=True), "done_at", ["done_at", "late"])
    found = bulk(SourceTables(), events(frame), requests, mode)
    require_equal(found, brute(base, later, requests, mode))


@pytest.mark.parametrize("mode", ["known", "event"])
@pytest.mark.parametrize("seed", SEEDS[::4])
def test_what_is_stored_as_of_a_version_is_what_brute_force_finds(seed, mode, datasets, monkeypatch):
    frame, requests = hazards(seed), asked(seed)
    data = events(frame)
    stored(datasets, data, frame)
    version = datasets.version(data)
    stored(datasets, data, hazards(seed + 500), "later")
    # The version ends with the first segment of a file.
    monkeypatch.setattr(table_folder, "_MANY", len(datasets.extents(data, "at", upto=version)) - 1)
    datasets.commit(datasets.compact(data))
    extents = [extent for part in data.parts for extent in datasets.extents(data, part)]
    assert any(extent.is_file and extent.number <= version < extent.last_number for extent in extents)
    base, later = (
        stated(datasets.read_part(data, part, version=version), part, columns)
        for part, columns in (("at", ["who", "at", "v", "said"]), ("done_at", ["done_at", "late"]))
    )
    found = bulk(StoredTables(datasets, {data.name: version}), data, requests, mode)
    require_equal(found, brute(base, later, requests, mode))


@pytest.mark.parametrize("seed", SEEDS[::8])
def test_little_memory_changes_no_bit(seed, monkeypatch):
    data, requests = events(hazards(seed)), asked(seed)
    plenty = [bulk(SourceTables(), data, requests, mode) for mode in ("known", "event")]
    monkeypatch.setattr(spill, "STRETCH_ROWS", 5)
    stretched = [bulk(SourceTables(), data, requests, mode) for mode in ("known", "event")]
    monkeypatch.setattr(tables, "BATCH_ROWS", 7)
    little = [bulk(SourceTables(), data, requests, mode, 64) for mode in ("known", "event")]
    for one, *others in zip(plenty, stretched, little, strict=True):
        assert all(values.equals(other[name]) for name, values in one.items() for other in others)


@pytest.mark.parametrize("seed", SEEDS[::8])
def test_entities_and_instants_too_many_for_64_bits_change_no_bit(seed, monkeypatch):
    data, requests = events(hazards(seed)), asked(seed)
    before = bulk(SourceTables(), data, requests)
    monkeypatch.setattr(points, "_MOST_KEYS", 2)
    monkeypatch.setattr(run, "_MOST_KEYS", 200)
    after = bulk(SourceTables(), data, requests)
    assert all(values.equals(after[name]) for name, values in before.items())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_many_requests_get_at_once_is_what_the_engine_says_to_the_bit(seed):
    frame = hazards(seed)
    data, requests = events(frame), asked(seed).filter(pl.col("at").is_not_null())
    engine = FeatureEngine(views(data), dataset_of(requests))
    for part in data.parts:
        rows = data.part(frame, part)
        for piece in rows.iter_slices(11):
            engine.store.observe(data, part, piece)
    found, wanted = bulk(SourceTables(), data, requests), engine.lookup(requests, "at")
    assert all(values.equals(wanted[name]) for name, values in found.items())


def test_numbers_texts_booleans_and_pairs_name_entities():
    rows = pl.DataFrame(
        {
            "id": range(6),
            "at": pl.Series([START + hour * HOUR for hour in range(6)]).cast(TIME),
            "number": [1, 2, 1, None, -(2**62), 7],
            "real": [0.5, math.nan, -0.5, None, 0.5, 1.0],
            "flag": [True, False, None, True, False, True],
            "text": ["x", "y", "x", "", None, "x"],
            "v": range(6),
        }
    )
    data = Dataset("events", source=Frame(rows), key="id", event_time="at")
    for entity in (["number"], ["real"], ["flag"], ["text"], ["number", "text"]):
        view = FeatureView("last", source=data, entity=entity, features=["v"])
        requests = rows.with_columns(pl.col("at") + pl.duration(days=1))
        engine = FeatureEngine([view], data)
        engine.store.observe(data, "at", rows)
        times = requests["at"].cast(pl.Int64).to_numpy()
        given = Requests(requests, times, np.ones(len(times), np.bool_))
        found = BulkFeeder(SourceTables(), most_bytes=1 << 28).features([view], given)
        wanted = engine.lookup(requests, "at")["last.v"].to_list()
        # Not a number equals itself in some dictionaries of Python, and names nobody here.
        nan = rows["real"].is_nan().fill_null(False) if entity == ["real"] else pl.Series([False] * 6)
        wanted = [None if skip else value for skip, value in zip(nan, wanted, strict=True)]
        assert found["last.v"].to_list() == wanted, entity


def test_a_request_of_another_number_type_finds_its_entity_and_a_fraction_finds_none():
    rows = pl.DataFrame({"id": [1, 2], "at": [START, START], "who": [1, 2], "v": [1.0, 2.0]})
    data = Dataset(
        "events", source=Frame(rows.with_columns(pl.col("at").cast(TIME))), key="id", event_time="at"
    )
    view = FeatureView("last", source=data, entity="who", features=["v"])
    requests = pl.DataFrame({"who": [1.0, 2.0, 1.5, math.nan]})
    given = Requests(requests, np.full(4, START), np.ones(4, np.bool_))
    found = BulkFeeder(SourceTables(), most_bytes=1 << 28).features([view], given)
    assert found["last.v"].to_list() == [1.0, 2.0, None, None]


def test_a_month_of_flights_gets_the_bits_that_the_engine_finds():
    january = between("2013-01-01", "2013-02-01")
    features = real_features()
    asked_views = [feature for feature in features if isinstance(feature, FeatureView)]
    times = january["requested_at"].cast(pl.Int64).to_numpy()
    given = Requests(january, times, np.ones(len(times), np.bool_))
    # The source holds the whole year, and nothing of what comes later may be seen.
    found = BulkFeeder(SourceTables(), most_bytes=1 << 28).features(asked_views, given)
    wanted = observed(january, features).lookup(january, "requested_at")
    assert len(found) > 15
    assert all(values.equals(wanted[name]) for name, values in found.items())


@pytest.mark.parametrize("seed", SEEDS[::8])
def test_windows_that_all_share_or_that_hold_texts_are_the_same_in_stretches(seed, monkeypatch):
    data, requests = events(hazards(seed)), asked(seed)
    several = ["mean", "last", "first", "distinct", "p95"]
    shared = FeatureView("shared", source=data, features=windows("v", several, over=["6h"]))
    texts = windows("said", ["last", "distinct"], over=["6h"])
    said = FeatureView("said", source=data, entity="who", features=texts)
    times = requests["at"].cast(pl.Int64)
    given = Requests(requests, times.fill_null(0).to_numpy(), times.is_not_null().to_numpy())
    feeder = BulkFeeder(SourceTables(), most_bytes=1 << 28)
    before = feeder.features([shared, said], given)
    monkeypatch.setattr(spill, "STRETCH_ROWS", 3)
    after = feeder.features([shared, said], given)
    assert all(values.equals(after[name]) for name, values in before.items())
