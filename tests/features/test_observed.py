"""What was observed, given to another process: from there on the two are the same."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.test_engine import ROW, START, TRIPS, done, small_features, trips

from varv.data import Dataset, Frame
from varv.data.intake import Batch
from varv.data.shape import shape_of
from varv.features import FeatureEngine, FeatureStore, FeatureView, history, known_rows, run, windows
from varv.features.observed import PATIENCE, ObservedState
from varv.kernel.clock import MINUTE
from varv.kernel.errors import InvalidInput
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots


class Homes:
    """Stores of one home, which give each other their states through files."""

    def __init__(self, folder):
        self.secret = Secret(folder / "digest.key")
        self.ledger = SqliteLedger(folder / "ledger.db")
        [entry] = self.ledger.commit(Change(at=START, facts=(Append("dataset/trips", shape_of(TRIPS)),)))
        self._position = Position(entry.seq, entry.hash)
        self._snapshots = Snapshots(folder / "snapshots", self.secret, "1", durable=False)

    def engine(self, features=None):
        return FeatureEngine(features or small_features(), TRIPS, FeatureStore(self.secret))

    def another(self, engine):
        """Return an engine that goes on from what this one has observed."""
        state, made = engine.store.as_state(TRIPS), self.engine()
        assert made.store.identity(TRIPS) == engine.store.identity(TRIPS)
        assert self._snapshots.write("trips", self._position, state)
        # What comes after it was taken must not be in it.
        engine.store.observe(TRIPS, "at", trips(("later", START, "z", 1.0)))
        engine.store.observe(TRIPS, "done_at", done(*((f"t{i}", START, True) for i in range(12))))
        kept = self._snapshots.newest("trips", ObservedState, self.ledger)
        made.store.restore(TRIPS, kept.state, kept.lies_in, engine.store.oldest)
        return made


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    made = Homes(tmp_path_factory.mktemp("home"))
    yield made
    made.ledger.close()


@pytest.fixture(params=[False, True], ids=["in memory", "in files"])
def short_runs(request, monkeypatch):
    for module in (history, known_rows):
        monkeypatch.setattr(module, "_RECENT", 3)
    for module in (run, known_rows):
        if request.param:
            monkeypatch.setattr(module, "ROWS_IN_MEMORY", 2)
            monkeypatch.setattr(module, "_STEP", 3)


ASKED = trips(
    *((f"q{i}{who}", START + i * MINUTE, who, None) for i in range(22) for who in ("x", "y", None, "z"))
)


def messages_of(found, order):
    """Return every row and every outcome as a message of its own, some twice, in any order."""
    messages = [("at", trips((f"t{i}", START + at * MINUTE, who, size))) for i, (at, who, size, _) in found]
    messages += [
        ("done_at", done((f"t{i}", START + (at + after[0]) * MINUTE, after[1])))
        for i, (at, _, _, after) in found
        if after is not None
    ]
    messages += messages[::3]
    order.shuffle(messages)
    return messages


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(
    rows=st.lists(ROW, max_size=12),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 40),
    again=st.integers(0, 5),
    trimmed=st.booleans(),
)
def test_a_state_and_what_came_after_it_are_what_one_that_went_on_would_hold(
    homes, short_runs, rows, order, cut, again, trimmed
):
    messages = messages_of(list(enumerate(rows)), order)
    whole, first = homes.engine(), homes.engine()
    for engine, some in ((whole, messages), (first, messages[:cut])):
        for part, frame in some:
            engine.store.observe(TRIPS, part, frame)
        if trimmed:
            engine.store.trim(START + 4 * MINUTE)
    made = homes.another(first)
    # Some once more, as when a batch is told that the state holds already.
    for part, frame in messages[max(0, cut - again) :]:
        made.store.observe(TRIPS, part, frame)
    asked = ASKED[16:] if trimmed else ASKED
    assert made.lookup(asked, "at").equals(whole.lookup(asked, "at"))
    assert waiting(made) == waiting(whole)
    made.store.let_go()
    # What was stated is known, so saying it otherwise changes nothing.
    for i in range(len(rows)):
        made.store.observe(TRIPS, "at", trips((f"t{i}", START, "y", 3.0)))
        made.store.observe(TRIPS, "done_at", done((f"t{i}", START + 5 * MINUTE, False)))
        whole.store.observe(TRIPS, "done_at", done((f"t{i}", START + 5 * MINUTE, False)))
    assert made.lookup(asked, "at").equals(whole.lookup(asked, "at"))


def waiting(engine):
    frame = engine.store._observed["trips"]._waiting.get("done_at")
    return sorted(map(repr, frame.unique().rows())) if frame is not None else []


def test_what_was_forgotten_stays_forgotten(homes):
    engine = homes.engine()
    engine.store.observe(TRIPS, "at", trips(("a", START, "x", 1.0)))
    engine.store.trim(START + 2 * PATIENCE)
    made = homes.another(engine)
    assert made.store.oldest == START + 2 * PATIENCE
    with pytest.raises(InvalidInput, match="reach back"):
        made.lookup(ASKED, "at")


def test_a_state_of_other_views_columns_or_parts_says_so(homes):
    identity = homes.engine().store.identity(TRIPS)
    fewer, other = small_features()[1:], small_features()
    other[1] = FeatureView("s", source=TRIPS, entity="who", features=windows("size", "mean", over=["6m"]))
    assert homes.engine(fewer).store.identity(TRIPS) != identity
    assert homes.engine(other).store.identity(TRIPS) != identity
    # The order in which models name them is no part of it.
    assert homes.engine(small_features()[::-1]).store.identity(TRIPS) == identity
    assert homes.engine(["who"]).store.identity(TRIPS) == ""
    assert homes.engine(["who"]).store.as_state(TRIPS) is None


def test_keys_of_other_number_types_are_the_same_if_they_fit():
    frame = pl.DataFrame({"id": [1, 2], "at": [START, START], "size": [1.0, 2.0]})
    frame = frame.cast({"at": pl.Datetime("us", "UTC")})
    dataset = Dataset("numbered", source=Frame(frame), key="id", event_time="at")
    view = FeatureView("all", source=dataset, features=windows("size", ["mean", "count"], over=["1h"]))
    engine = FeatureEngine([view], dataset)
    for dtype in (pl.Int64, pl.Int32, pl.Float64):
        engine.store.observe(dataset, "at", frame.cast({"id": dtype}))
    asked = frame.with_columns(pl.col("at") + pl.duration(minutes=1))
    assert engine.lookup(asked, "at")["all.size_count_1h"].to_list() == [2.0, 2.0]
    with pytest.raises(InvalidInput, match="does not fit Int64"):
        engine.store.observe(dataset, "at", frame.with_columns(id=pl.lit(1.5)))


@settings(max_examples=25, deadline=None)
@given(
    before=st.lists(ROW, max_size=8),
    rows=st.lists(ROW, max_size=12),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 40),
)
def test_rows_that_replace_others_are_all_that_was_observed(before, rows, order, cut):
    messages = messages_of(list(enumerate(rows)), order)
    whole, replaced = (FeatureEngine(small_features(), TRIPS, FeatureStore()) for _ in range(2))
    for part, frame in messages_of(list(enumerate(before)), order):
        replaced.store.observe(TRIPS, part, frame)
    replaced.lookup(ASKED, "at")
    replaced.store.observe_anew(TRIPS, [Batch(TRIPS, part, frame) for part, frame in messages[:cut]])
    for part, frame in messages[:cut]:
        whole.store.observe(TRIPS, part, frame)
    for engine in (whole, replaced):
        for part, frame in messages[cut:]:
            engine.store.observe(TRIPS, part, frame)
    assert replaced.lookup(ASKED, "at").equals(whole.lookup(ASKED, "at"))
    held, expected = ([found for _, found in engine.store.progress()] for engine in (replaced, whole))
    assert held == expected
