"""Requests into views whose rows are the requests themselves: the same numbers by every path, and in a replay
those of a live server, which looks features up before it keeps the row.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.data import Dataset, Frame
from varv.data.intake import Batch
from varv.features import FeatureEngine, FeatureView, windows
from varv.features.bulk import SourceTables, TrainingSetMaker, features_for
from varv.features.program import FEW, FeatureProgram
from varv.features.store import FeatureStore
from varv.kernel.clock import MINUTE, instant
from varv.kernel.columns import TIME

START = instant("2026-03-02")
TYPES = {"id": pl.Int64(), "at": TIME, "who": pl.String(), "size": pl.Float64()}
ROWS = st.lists(
    st.tuples(st.integers(0, 14), st.sampled_from(["x", "x", "y", None]), st.sampled_from([None, 1.0, 2.5])),
    min_size=1,
    max_size=14,
)


def trips(rows):
    timed = [(number, START + at * MINUTE, who, size) for number, (at, who, size) in enumerate(rows)]
    frame = pl.DataFrame(timed, schema={**TYPES, "at": pl.Int64}, orient="row").cast({"at": TIME})
    return Dataset("trips", source=Frame(frame), key="id", event_time="at"), frame


def own_views(data):
    def view(name, features, **more):
        return FeatureView(name, source=data, entity="who", features=features, **more)

    both = ["count", "sum"]
    return [
        view("last", ["size"]),
        view("fresh", ["size"], ttl="4m"),
        view("sliding", windows("size", both, over=["1m", "5m"])),
        view("whole", windows("size", both, every="5m")),
        view("visit", windows("size", both, gap="3m", longest="8m")),
    ]


def brute(frame, who, when):
    """Return the features of a request, found by looking at every row of before it."""
    own = [
        (at, number, size)
        for number, at, whose, size in frame.with_columns(pl.col("at").cast(pl.Int64)).rows()
        if whose is not None and whose == who and at < when
    ]
    last = max(own, default=None)
    is_fresh = last is not None and when - last[0] <= 4 * MINUTE
    end = when - when % (5 * MINUTE)
    begin = when
    for at, _, size in sorted(own, reverse=True):
        if size is not None and at >= begin - 3 * MINUTE:
            begin = at
    found = [last[2] if last else None, last[2] if is_fresh else None]
    for after, until in (
        (when - MINUTE, when),
        (when - 5 * MINUTE, when),
        (end - 5 * MINUTE - 1, end),
        (max(begin - 1, when - 8 * MINUTE), when),
    ):
        sizes = [size for at, _, size in own if after < at < until and size is not None]
        found += [float(len(sizes)), sum(sizes) if sizes else None]
    return tuple(found)


class Asked:
    """Requests in plain arrays, of the columns size and who."""

    def __init__(self, frame):
        self.numbers = frame.select("size").to_numpy()
        self.texts = [frame["who"].to_list()]


def by_program(engine, frame, times):
    """Return features in single precision as a program finds them, each request so many times in one call."""
    program, found = FeatureProgram(engine, TYPES, ["size"], ["who"]), []
    for (when,), some in frame.group_by(pl.col("at").cast(pl.Int64), maintain_order=True):
        numbers, _ = program.compute(Asked(pl.concat([some] * times)), when)
        assert all(np.array_equal(numbers[: some.height], part, True) for part in np.split(numbers, times))
        found.append(numbers[: some.height])
    return np.concatenate(found)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_requests_see_of_their_own_dataset_what_came_before_their_instant(rows):
    data, frame = trips(sorted(rows, key=lambda row: row[0]))
    replayed, live = FeatureEngine(own_views(data), data), FeatureEngine(own_views(data), data)
    replayed.store.observe(data, "at", frame)
    found = replayed.lookup(frame, "at")
    assert found.rows() == [
        brute(frame, who, when) for who, when in frame.select("who", pl.col("at").cast(pl.Int64)).rows()
    ]

    served = []
    for (when,), some in frame.group_by(pl.col("at").cast(pl.Int64), maintain_order=True):
        live.store.trim(when)
        served.append(live.lookup(some, "at"))
        live.store.observe(data, "at", some)
    assert pl.concat(served).equals(found)

    for times in (1, 2, FEW + 1):
        assert np.array_equal(by_program(replayed, frame, times), found.to_numpy(), equal_nan=True)

    maker = TrainingSetMaker(features_for(own_views(data), data), "at", SourceTables())
    trained = maker.of(frame).select(maker.names())
    assert trained.rows() == found.rows()


def test_other_requests_at_the_instant_of_a_row_see_it():
    data, frame = trips([(0, "x", 1.0)])
    asking = Dataset("asked", source=Frame(frame), key="id", event_time="at")
    engine = FeatureEngine([own_views(data)[0]], asking)
    engine.store.observe(data, "at", frame)
    assert engine.lookup(frame, "at").rows() == [(1.0,)]


def test_no_request_sees_what_came_of_a_row_of_its_own_instant():
    known = {"done_at": ["good"]}
    types = {**TYPES, "at": pl.Int64, "done_at": pl.Int64, "good": pl.Boolean}
    # The first outcome is known at once, the second a minute later, when the third request is made.
    rows = [(0, 0, 0, True), (1, 0, 1, False), (2, 1, 9, True)]
    timed = [
        (one, START + at * MINUTE, "x", 1.0, START + done * MINUTE, good) for one, at, done, good in rows
    ]
    frame = pl.DataFrame(timed, schema=types, orient="row").cast({"at": TIME, "done_at": TIME})
    data = Dataset("trips", source=Frame(frame), key="id", event_time="at", known_at=known)
    outcome = FeatureView("outcome", source=data, entity="who", features=["good"])
    counts = FeatureView("counts", source=data, entity="who", features=windows("good", "count", over="5m"))
    asking = Dataset("asked", source=Frame(frame), key="id", event_time="at")
    for requests, wanted in (
        (data, [(None, 0.0), (None, 0.0), (0.0, 2.0)]),
        (asking, [(1.0, 1.0), (1.0, 1.0), (0.0, 2.0)]),
    ):
        engine = FeatureEngine([outcome, counts], requests)
        for part in data.parts:
            engine.store.observe(data, part, data.part(frame, part))
        assert engine.lookup(frame, "at").rows() == wanted
        maker = TrainingSetMaker(features_for([outcome, counts], requests), "at", SourceTables())
        assert maker.of(frame).select(maker.names()).rows() == wanted
    by_event = TrainingSetMaker(features_for([outcome, counts], data), "at", SourceTables(), mode="event")
    assert by_event.of(frame).select(by_event.names()).rows() == [(None, 0.0), (None, 0.0), (0.0, 2.0)]


def test_models_of_two_datasets_read_the_outcomes_of_one():
    known = {"done_at": ["good"]}
    frame = pl.DataFrame(
        [(0, START, "x", START, True)],
        schema={"id": pl.Int64, "at": pl.Int64, "who": pl.String, "done_at": pl.Int64, "good": pl.Boolean},
        orient="row",
    ).cast({"at": TIME, "done_at": TIME})
    data = Dataset("trips", source=Frame(frame), key="id", event_time="at", known_at=known)
    outcome = FeatureView("outcome", source=data, entity="who", features=["good"])
    store = FeatureStore()
    asking = Dataset("asked", source=Frame(frame), key="id", event_time="at")
    own, others = (FeatureEngine([outcome], requests, store) for requests in (data, asking))
    for part in data.parts:
        store.observe(data, part, data.part(frame, part))
    assert [one.lookup(frame, "at").rows() for one in (own, others)] == [[(None,)], [(1.0,)]]
    store.observe_anew(data, [Batch(data, part, data.part(frame, part)) for part in data.parts])
    assert [one.lookup(frame, "at").rows() for one in (own, others)] == [[(None,)], [(1.0,)]]
