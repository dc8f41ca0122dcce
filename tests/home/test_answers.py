"""Intake: a bad batch labels nothing and loses nothing, a batch that comes twice counts once."""

from __future__ import annotations

import polars as pl
import pytest
from tests.loop.synthetic import DAY_US, declared, parcels

from varv.app.compose import open_home
from varv.data.identity import keys_of
from varv.data.intake import Batch
from varv.data.views import DatasetsView
from varv.home.answers import PastIntake
from varv.home.feed import Feed
from varv.kernel.clock import DAY, Instant, VirtualClock, instant
from varv.kernel.columns import segment_name
from varv.project import plan_of

START = instant("2024-03-01")
LAST = Instant(START + 100 * DAY)


class Bench:
    def __init__(self, folder):
        self.replay = declared()
        self.model = self.replay.models[0]
        self.clock = VirtualClock(START)
        self.home = open_home(folder, [plan_of(self.model)], self.clock, durability="process")
        self.parts = self.home.models[self.model.name]
        self.intake = PastIntake(self.home)
        self.feed = Feed(self.model.datasets)
        self.tell([fact for data in self.model.datasets for fact in self.home.datasets.register(data)])

    def tell(self, facts):
        self.home.engine.tell(facts=facts)

    def take(self, day: int, *, spoil=None):
        since, until = Instant(START + day * DAY), Instant(START + (day + 1) * DAY)
        self.clock.move_to(until)
        arrivals = [
            Batch(one.dataset, one.part, spoil(one.rows) if spoil and not one.is_base else one.rows)
            for one in self.feed.between(since, until)
        ]
        taken = self.intake.live_through(arrivals, segment_name(since))
        self.tell(taken.facts)
        return taken

    def contracts(self):
        self.tell(self.home.datasets.infer_contracts(self.model.datasets))

    def n_labelled(self) -> int:
        return self.parts.predictions.n_labelled(LAST, known_by=LAST)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.home.close()


def known_by(day: int) -> int:
    times = parcels()["arrived_at"].drop_nulls().to_physical()
    return int((times < START + day * DAY_US).sum())


def test_every_request_is_kept_with_its_features_and_every_outcome_labels(bench):
    taken = [bench.take(day) for day in range(3)]
    kept = bench.parts.predictions.requested(START, Instant(START + 3 * DAY))
    assert kept.height == sum(one.n_requests for one in taken) > 300
    assert bench.n_labelled() == known_by(3)
    assert {"load", "heat", "route", "recent.late_mean_24h"} <= set(kept.columns)
    assert kept["version"].null_count() == kept.height


def test_before_there_is_a_model_the_ledger_counts_requests_for_version_nought(bench):
    facts = [fact.event for fact in bench.take(0).facts if fact.stream == "requests/late-parcel"]
    assert [event.n_by_version for event in facts] == [{"0": facts[0].n_requests}]


def test_a_batch_that_breaks_its_contract_labels_nothing_feeds_nothing_and_is_kept(bench):
    bench.take(0)
    bench.contracts()
    before = bench.n_labelled()
    bench.take(1, spoil=lambda rows: rows.with_columns(late=pl.lit(None, pl.Boolean)))
    assert bench.n_labelled() == before
    with bench.home.views.reading(DatasetsView) as view:
        [held] = [view.arrivals.quarantined("parcels", "arrived_at", segment_name(Instant(START + DAY)))]
    assert held is not None
    assert not held.report.ok
    features = bench.parts.features.lookup(
        bench.feed.between(Instant(START + 2 * DAY), Instant(START + 3 * DAY))[0].rows.tail(1), at="asked_at"
    )
    assert features["recent.late_mean_24h"].null_count() == 1


def test_what_is_neither_nought_nor_one_labels_nothing(tmp_path):
    past = parcels().with_columns(late=pl.col("late").cast(pl.Int64) * 1000)
    replay = declared(past)
    clock = VirtualClock(Instant(START + DAY))
    home = open_home(tmp_path, [plan_of(replay.models[0])], clock, durability="process")
    home.engine.tell(facts=home.registered())
    arrivals = Feed(replay.models[0].datasets).between(START, Instant(START + DAY))
    PastIntake(home).live_through(arrivals, "s")
    n_zero = sum(int((one.rows["late"] == 0).sum()) for one in arrivals if not one.is_base)
    [parts] = home.models.values()
    assert parts.predictions.n_labelled(LAST, known_by=LAST) == n_zero
    home.close()


def test_a_batch_that_was_stored_but_not_committed_is_taken_in_again_with_the_same_facts(tmp_path):
    """As after a crash between the files and the ledger."""
    first = Bench(tmp_path)
    since, until = START, Instant(START + DAY)
    first.clock.move_to(until)
    facts = first.intake.live_through(first.feed.between(since, until), segment_name(since)).facts
    first.home.close()
    second = Bench(tmp_path)
    second.clock.move_to(until)
    again = second.intake.live_through(second.feed.between(since, until), segment_name(since)).facts
    assert again == facts
    second.tell(again)
    assert second.n_labelled() == known_by(1)
    second.home.close()


def test_a_restart_brings_features_and_telemetry_back_as_they_were(tmp_path):
    first = Bench(tmp_path)
    for day in range(4):
        first.take(day)
    asked = first.feed.between(Instant(START + 4 * DAY), Instant(START + 5 * DAY))
    requests = next(one.rows for one in asked if one.is_base)
    before = first.parts.features.lookup(requests, at="asked_at")
    seen = first.parts.predictions.matured(START, Instant(START + 4 * DAY), known_by=Instant(START + 3 * DAY))
    first.home.close()
    second = Bench(tmp_path)
    second.intake.restore()
    assert second.parts.features.lookup(requests, at="asked_at").equals(before)
    by = Instant(START + 3 * DAY)
    assert second.parts.predictions.matured(START, Instant(START + 4 * DAY), known_by=by).equals(seen)
    assert second.n_labelled() == known_by(4)
    second.home.close()


def test_a_key_of_any_columns_becomes_one_text():
    frame = pl.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    assert keys_of(["a", "b"], frame).to_list() == ["x|1", "y|2"]
    assert keys_of(["b"], frame).to_list() == ["1", "2"]


def test_names_of_segments_sort_as_their_times_do():
    times = [START, Instant(START + 1), Instant(START + DAY), instant("2024-12-31T23:59:59.5")]
    names = [segment_name(time) for time in times]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
