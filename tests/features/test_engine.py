"""The engine of features: brute force, offline against online, late and repeated rows, no future."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.new_york import flights, rows, weather

from varv.data import Dataset, Frame
from varv.features import FeatureEngine, FeatureView, derived, windows
from varv.features.observed import PATIENCE
from varv.features.view_history import Progress
from varv.kernel.clock import DAY, HOUR, MINUTE, instant
from varv.kernel.errors import InvalidInput

UTC = pl.Datetime("us", "UTC")
START = instant("2013-01-01")
WEATHER_COLUMNS = ["temp", "wind_speed", "wind_gust", "visib", "precip", "pressure"]


def window_view(name, column, over, entity, statistics="mean"):
    return FeatureView(name, source=flights(), entity=entity, features=windows(column, statistics, over=over))


def real_features():
    return [
        FeatureView("origin_weather", source=weather(), entity="origin", ttl="3h", features=WEATHER_COLUMNS),
        window_view("origin_departures", "left_late", ["1h", "3h", "24h"], "origin"),
        window_view("carrier_departures", "left_late", ["6h"], "carrier"),
        window_view("departures", "left_late", ["1h"], None),
        window_view("arrivals", "late", ["3h"], None, ["mean", "count"]),
        window_view("carrier_arrivals", "late", ["6h", "7d"], "carrier"),
        window_view("route_arrivals", "late", ["7d"], ["origin", "dest"]),
        window_view("plane", "late", ["24h"], "tailnum"),
        *("carrier", "origin", "dest", "distance", "seats"),
        derived("weekend", pl.col("weekday") > 5),
    ]


def observed(frame, features=None):
    """Return an engine that has seen the weather and every part of `frame`, all at once."""
    engine = FeatureEngine(features or real_features(), flights())
    engine.store.observe(weather(), "observed_at", rows("weather"))
    for part in flights().parts:
        engine.store.observe(flights(), part, flights().part(frame, part))
    return engine


def between(first, last):
    when = pl.col("requested_at")
    return rows("flights").filter((when >= as_time(first)) & (when < as_time(last)))


def as_time(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def january():
    return between("2013-01-01", "2013-02-01")


# --- against brute force, on real days ---------------------------------------------------------------------


@pytest.mark.parametrize("day", ["2013-01-16", "2013-03-10", "2013-07-09", "2013-11-03", "2013-12-31"])
def test_the_weather_of_a_flight_is_the_last_one_of_the_three_hours_before_its_request(day):
    asked = between(day, (dt.date.fromisoformat(day) + dt.timedelta(1)).isoformat())
    view = FeatureView("w", source=weather(), entity="origin", ttl="3h", features=WEATHER_COLUMNS)
    engine = FeatureEngine([view], flights())
    engine.store.observe("weather", "observed_at", rows("weather").sample(fraction=1.0, shuffle=True, seed=1))
    found = engine.lookup(asked, "requested_at")
    seen = rows("weather").rows(named=True)
    by_hour = {(row["origin"], row["observed_at"]): row for row in seen}
    expected = []
    for origin, when in asked.select("origin", "requested_at").iter_rows():
        hour = when.replace(minute=0, second=0)
        hours = [hour - dt.timedelta(hours=back) for back in range(4)]
        known = [
            by_hour[origin, h] for h in hours if (origin, h) in by_hour and when - h <= dt.timedelta(hours=3)
        ]
        expected.append({f"w.{column}": known[0][column] if known else None for column in WEATHER_COLUMNS})
    assert found.equals(pl.DataFrame(expected, schema=dict.fromkeys(found.columns, pl.Float32)))


def test_windows_equal_brute_force_over_what_had_become_known(january):
    engine = observed(january)
    asked = january.filter(pl.col("requested_at") >= as_time("2013-01-20")).sample(120, seed=5)
    found = engine.lookup(asked, "requested_at")
    for row, got in zip(asked.iter_rows(named=True), found.iter_rows(named=True), strict=True):
        for name, entity, time, column, hours in (
            ("origin_departures.left_late_mean_3h", ["origin"], "departed_at", "left_late", 3),
            ("departures.left_late_mean_1h", [], "departed_at", "left_late", 1),
            ("route_arrivals.late_mean_7d", ["origin", "dest"], "arrived_at", "late", 168),
            ("plane.late_mean_24h", ["tailnum"], "arrived_at", "late", 24),
        ):
            since = row["requested_at"] - dt.timedelta(hours=hours)
            same = [pl.col(e).eq(pl.lit(row[e])) for e in entity]
            known = january.filter(pl.col(time) > since, pl.col(time) <= row["requested_at"], *same)
            mean = known[column].mean() if known.height else None
            assert got[name] == (None if mean is None else np.float32(mean)), name


@pytest.mark.slow
def test_offline_equals_online_for_every_flight_of_a_month_bit_for_bit(january):
    offline = observed(january).lookup(january, "requested_at")
    engine = FeatureEngine(real_features(), flights())
    stretches: dict[int, list] = {}
    sources = [(flights(), part, flights().part(january, part)) for part in flights().parts]
    sources.append(
        (weather(), "observed_at", rows("weather").filter(pl.col("observed_at") < as_time("2013-02-02")))
    )
    for dataset, part, frame in sources:
        for (index,), group in frame.group_by(
            pl.col(part).dt.truncate("1h").cast(pl.Int64), maintain_order=True
        ):
            stretches.setdefault(int(index), []).append((dataset, part, group))
    online = []
    for number, (since, arrivals) in enumerate(sorted(stretches.items())):
        # Parts in changing order: what arrives together may be taken in in any order.
        for dataset, part, frame in arrivals if number % 2 else reversed(arrivals):
            engine.store.observe(dataset, part, frame)
        requests = [frame for dataset, part, frame in arrivals if part == "requested_at"]
        online += [engine.lookup(frame, "requested_at") for frame in requests]
        if number % 24 == 0:
            engine.store.trim(since)
    assert pl.concat(online).equals(offline)


def test_what_becomes_known_after_an_instant_changes_no_feature_up_to_it(january):
    then = as_time("2013-01-15T18:00")
    shuffled = january
    for time, columns in flights().known_at.items():
        later = shuffled.filter(pl.col(time) > then)
        mixed = later.with_columns(pl.col(columns).sample(fraction=1.0, shuffle=True, seed=4))
        shuffled = shuffled.update(mixed.select("flight_id", *columns), on="flight_id")
    assert not shuffled["late"].equals(january["late"])
    asked = january.filter(pl.col("requested_at") <= then)
    before = observed(january).lookup(asked, "requested_at")
    assert observed(shuffled).lookup(asked, "requested_at").equals(before)
    after = january.filter(pl.col("requested_at") > then)
    assert (
        not observed(shuffled)
        .lookup(after, "requested_at")
        .equals(observed(january).lookup(after, "requested_at"))
    )


# --- a small world, exhaustively ---------------------------------------------------------------------------

TRIPS = Dataset(
    "trips",
    source=Frame(
        pl.DataFrame(
            schema={
                "id": pl.String,
                "at": UTC,
                "who": pl.String,
                "size": pl.Float64,
                "done_at": UTC,
                "late": pl.Boolean,
            }
        )
    ),
    key="id",
    event_time="at",
    known_at={"done_at": ["late"]},
)


def trips(*found):
    schema = {"id": pl.String, "at": pl.Int64, "who": pl.String, "size": pl.Float64}
    return pl.DataFrame(found, schema=schema, orient="row").cast({"at": UTC})


def done(*found):
    schema = {"id": pl.String, "done_at": pl.Int64, "late": pl.Boolean}
    return pl.DataFrame(found, schema=schema, orient="row").cast({"done_at": UTC})


def small_features():
    return [
        FeatureView(
            "w", source=TRIPS, entity="who", features=windows("late", ["mean", "count"], over=["3m", "1h"])
        ),
        FeatureView("s", source=TRIPS, entity="who", features=windows("size", "mean", over=["5m"])),
        FeatureView("last", source=TRIPS, entity="who", features=["size"], ttl="4m"),
        FeatureView("outcome", source=TRIPS, entity="who", features=["late"]),
        "who",
    ]


def expected_of(world, who, when):
    """Compute what `small_features` say, row by row, from all that there is to know."""
    known = [r for r in world if r["done_at"] is not None and r["who"] == who and who is not None]
    values = {}
    # An outcome of the very instant of its row counts a microsecond later.
    known = [{**r, "seen": r["done_at"] + (r["done_at"] == r["at"])} for r in known]
    for text, span in (("3m", 3 * MINUTE), ("1h", HOUR)):
        late = [r["late"] for r in known if when - span < r["seen"] <= when and r["late"] is not None]
        values[f"w.late_mean_{text}"] = np.float32(sum(late) / len(late)) if late else None
        values[f"w.late_count_{text}"] = float(len(late))
    # Rows of before the request, whose own dataset this is.
    own = [r for r in world if r["who"] == who and who is not None and r["at"] < when]
    sizes = [r["size"] for r in own if r["at"] > when - 5 * MINUTE and r["size"] is not None]
    values["s.size_mean_5m"] = np.float32(sum(sizes) / len(sizes)) if sizes else None
    return values


ROW = st.tuples(
    st.integers(0, 12),
    st.sampled_from(["x", "y", None]),
    st.sampled_from([None, 0.0, 1.5, 4.0]),
    st.one_of(st.none(), st.tuples(st.integers(0, 8), st.sampled_from([True, False, None]))),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(ROW, max_size=12), st.randoms(use_true_random=False), st.booleans())
def test_features_are_those_of_brute_force_whatever_the_order_repetition_and_portions(found, order, trimmed):
    world = [
        {
            "id": f"t{i}",
            "at": START + at * MINUTE,
            "who": who,
            "size": size,
            "done_at": None if outcome is None else START + (at + outcome[0]) * MINUTE,
            "late": None if outcome is None else outcome[1],
        }
        for i, (at, who, size, outcome) in enumerate(found)
    ]
    messages = [("at", trips((r["id"], r["at"], r["who"], r["size"]))) for r in world]
    messages += [("done_at", done((r["id"], r["done_at"], r["late"]))) for r in world]
    messages += messages[::3]
    order.shuffle(messages)
    engine = FeatureEngine(small_features(), TRIPS)
    if trimmed:
        engine.store.trim(START)
    for part, frame in messages:
        engine.store.observe(TRIPS, part, frame)
    bulk = FeatureEngine(small_features(), TRIPS)
    bulk.store.observe(
        TRIPS, "done_at", pl.concat([frame for part, frame in messages if part == "done_at"] or [done()])
    )
    bulk.store.observe(
        TRIPS, "at", pl.concat([frame for part, frame in messages if part == "at"] or [trips()])
    )
    asked = trips(
        *((f"q{i}{who}", START + i * MINUTE, who, None) for i in range(22) for who in ("x", "y", None, "z"))
    )
    got = engine.lookup(asked, "at")
    assert got.equals(bulk.lookup(asked, "at"))
    for (when, who), row in zip(
        asked.select(pl.col("at").cast(pl.Int64), "who").iter_rows(), got.iter_rows(named=True), strict=True
    ):
        expected = expected_of(world, who, when)
        assert {name: row[name] for name in expected} == expected


def test_the_last_row_known_is_taken_and_nothing_else():
    engine = FeatureEngine(small_features(), TRIPS)
    engine.store.observe(TRIPS, "at", trips(("a", START, "x", 1.0), ("b", START + 2 * MINUTE, "x", None)))
    asked = trips(*((f"q{i}", START + i * MINUTE, "x", None) for i in (-1, 0, 1, 2, 5, 6)))
    # The row of minute 2 holds no size, which is known after it; nor does a request see its own instant.
    assert engine.lookup(asked, "at")["last.size"].to_list() == [None, None, 1.0, 1.0, None, None]


def test_an_outcome_counts_from_its_own_instant_on_and_for_the_entity_of_its_row():
    engine = FeatureEngine(small_features(), TRIPS)
    engine.store.observe(TRIPS, "done_at", done(("a", START + MINUTE, True)))
    asked = trips(*((f"q{i}", START + i * MINUTE, who, None) for i in range(3) for who in "xy"))
    assert engine.lookup(asked, "at")["outcome.late"].null_count() == 6
    engine.store.observe(TRIPS, "at", trips(("a", START, "x", 1.0)))
    assert engine.lookup(asked, "at")["outcome.late"].to_list() == [None, None, 1.0, None, 1.0, None]


def test_rows_behind_the_watermark_count_and_are_counted():
    sizes = FeatureView(
        "sizes", source=TRIPS, entity="who", features=windows("size", "sum", over="1h"), lateness="2m"
    )
    ends = FeatureView("ends", source=TRIPS, features=windows("late", "count", over="1h"))
    engine = FeatureEngine([sizes, ends], TRIPS)
    for at, name in ((5, "a"), (3, "b"), (1, "c"), (7, "d"), (1, "c")):
        engine.store.observe(TRIPS, "at", trips((name, START + at * MINUTE, "x", 1.0)))
    late = [("a", START + 5 * MINUTE + PATIENCE, True), ("b", START + 4 * MINUTE + PATIENCE, True)]
    engine.store.observe(TRIPS, "done_at", done(*late))
    asked = trips(("q", START + 8 * MINUTE, "x", None))
    assert engine.lookup(asked, "at")["sizes.size_sum_1h"].to_list() == [4.0]
    found = {view.name: progress for view, progress in engine.store.progress()}
    assert found["sizes"] == Progress(START + 7 * MINUTE, START + 5 * MINUTE, n_rows=4, n_late=1)
    assert (found["ends"].n_rows, found["ends"].n_beyond) == (1, 1)


def test_an_outcome_after_the_patience_does_not_count_trimmed_or_not():
    for trimmed in (False, True):
        engine = FeatureEngine(small_features(), TRIPS)
        engine.store.observe(TRIPS, "at", trips(("a", START, "x", 1.0), ("b", START, "y", 1.0)))
        if trimmed:
            engine.store.trim(START + PATIENCE)
        engine.store.observe(
            TRIPS, "done_at", done(("a", START + PATIENCE, True), ("b", START + PATIENCE + MINUTE, True))
        )
        asked = trips(*((who, START + PATIENCE + 2 * MINUTE, who, None) for who in "xy"))
        assert engine.lookup(asked, "at")["outcome.late"].to_list() == [1.0, None]


def test_a_long_life_with_trimming_forgets_rows_and_repeats_change_nothing():
    engine = FeatureEngine(small_features(), TRIPS)
    whole = FeatureEngine(small_features(), TRIPS)
    for day in range(120):
        base = trips(
            *((f"{day}-{i}", START + day * DAY + i * MINUTE, "xy"[i % 2], float(i)) for i in range(5))
        )
        late = done(*((f"{day}-{i}", START + day * DAY + (i + 2) * MINUTE, i % 2 == 0) for i in range(5)))
        for each in (engine, whole):
            for part, frame in (("at", base), ("done_at", late), ("at", base), ("done_at", late)):
                each.store.observe(TRIPS, part, frame)
        engine.store.trim(START + day * DAY)
        asked = trips(*((f"q{i}", START + day * DAY + 6 * MINUTE, "xyz"[i], None) for i in range(3)))
        assert engine.lookup(asked, "at").equals(whole.lookup(asked, "at"))
    log = engine.store._observed["trips"]
    assert len(log._rows) < 120 * 5


def test_requests_before_what_is_kept_are_refused():
    engine = FeatureEngine(small_features(), TRIPS)
    engine.store.trim(START + HOUR)
    with pytest.raises(
        InvalidInput, match=r"reach back before the history that is kept.*2013-01-01T01:00:00Z"
    ):
        engine.lookup(trips(("a", START, "x", 1.0)), "at")


def test_numbers_come_as_float32_and_texts_as_text_and_absent_values_as_null():
    features = [
        FeatureView("sky", source=SKY, entity="place", features=["cover", "wind"], ttl="2h"),
        "place",
        derived("minute", pl.col("at").dt.minute()),
    ]
    asking = Dataset("asking", source=Frame(ASKING), key="id", event_time="at")
    engine = FeatureEngine(features, asking)
    engine.store.observe(SKY, "seen_at", SKY.load())
    found = engine.lookup(asking.load(), "at")
    assert found.schema == pl.Schema(
        {
            "sky.cover": pl.String,
            "sky.wind": pl.Float32,
            "place": pl.String,
            "minute": pl.Float32,
        }
    )
    assert found.rows() == [("clear", 1.5, "EWR", 5.0), (None, None, "JFK", 6.0), (None, None, None, 7.0)]


def test_bad_requests_are_named():
    engine = FeatureEngine([*small_features(), "size"], TRIPS)
    good = trips(("a", START, "x", 1.0))
    with pytest.raises(InvalidInput, match="request column 'who' is missing"):
        engine.lookup(good.drop("who"), "at")
    with pytest.raises(InvalidInput, match="hold no instants"):
        engine.lookup(good.with_columns(at=pl.lit("now")), "at")
    with pytest.raises(InvalidInput, match="hold no instants"):
        engine.lookup(good, "nope")
    with pytest.raises(InvalidInput, match="without an instant"):
        engine.lookup(good.with_columns(at=pl.lit(None, UTC)), "at")
    with pytest.raises(InvalidInput, match="'size' has the type String"):
        engine.lookup(good.with_columns(size=pl.lit("big")), "at")
    with pytest.raises(InvalidInput, match="column 'who' has the type Int64"):
        engine.lookup(good.with_columns(who=pl.lit(3, pl.Int64)), "at")
    assert engine.lookup(good.with_columns(size=pl.lit(float("nan"))), "at")["size"].to_list() == [None]
    assert engine.lookup(good.clear(), "at").shape == (0, 9)


def test_bad_rows_are_named_and_foreign_ones_passed_over():
    engine = FeatureEngine(small_features(), TRIPS)
    engine.store.observe("unknown", "at", trips(("a", START, "x", 1.0)))
    with pytest.raises(InvalidInput, match="column 'late' is missing"):
        engine.store.observe(TRIPS, "done_at", done(("a", START, True)).drop("late"))
    with pytest.raises(InvalidInput, match="has no part 'nope'"):
        engine.store.observe(TRIPS, "nope", done(("a", START, True)))
    with pytest.raises(InvalidInput, match="'size' has values too large"):
        engine.store.observe(TRIPS, "at", trips(("a", START, "x", 1e12)))


SKY = Dataset(
    "sky",
    source=Frame(
        pl.DataFrame(
            {
                "place": ["EWR", "JFK"],
                "seen_at": [dt.datetime(2013, 1, 1, 4), dt.datetime(2013, 1, 1, 2)],
                "cover": ["clear", "rain"],
                "wind": [1.5, 2.5],
            }
        )
    ),
    key=["place", "seen_at"],
    event_time="seen_at",
)
ASKING = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "at": [dt.datetime(2013, 1, 1, 5, minute) for minute in (5, 6, 7)],
        "place": ["EWR", "JFK", None],
    }
)
