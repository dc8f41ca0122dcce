"""Skew while a home is served: hours are compared once, put on record, and alarmed on."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST

from varv.features.skew import SKEW
from varv.home.records import Records
from varv.home.skew.desk import FeatureDesk
from varv.home.skew.measuring import Measuring
from varv.home.skew.model import SkewMeasured
from varv.home.skew.verbs import CompareRequest, SkewRequest, compare_now, skew
from varv.home.skew.views import SkewView
from varv.home.skew.watching import SkewWatch
from varv.home.tables import Tables
from varv.kernel.clock import HOUR, MINUTE, iso
from varv.kernel.errors import InvalidInput
from varv.monitoring.views import MonitoringView

FEATURE = "recent.late_mean_24h"


class Watched:
    """A live home, and what watches its features."""

    def __init__(self, home):
        self.home = home
        own = home.home
        self.tables = Tables(own.folder, own.ledger, own.views, home.clock)
        self.measuring = Measuring(self.tables, self.tables.datasets, own.views)
        self.watch = SkewWatch(self.measuring, own.engine, own.views, home.clock)
        self.n = 0

    def serve(self, n, *, every=10 * MINUTE, **changes):
        for _ in range(n):
            self.home.clock.move_to(self.home.clock.now() + every)
            self.home.answering.answer({**REQUEST, **changes}, f"r-{self.n}")
            self.n += 1
            self.home.ingest()

    def past(self, hours):
        self.home.clock.move_to(self.home.clock.now() + hours * HOUR)

    def measured(self):
        entries = self.home.home.ledger.read(stream="skew/late-parcel")
        return [one.event for one in entries if isinstance(one.event, SkewMeasured)]

    def alarms(self):
        with self.home.home.views.reading(MonitoringView) as view:
            return [one for one in view.alarms(self.home.parts.name) if one.raised.kind == SKEW]

    def desk(self):
        own = self.home.home
        records = Records(
            home=own.folder,
            ledger=own.ledger,
            views=own.views,
            clock=self.home.clock,
            state="",
            tables=self.tables,
        )
        return FeatureDesk(records=records, measuring=self.measuring)


@pytest.fixture
def watched(lived, tmp_path):
    home = lived(tmp_path)
    yield Watched(home)
    home.close()


def test_an_hour_is_compared_once_an_hour_after_its_end(watched):
    watched.serve(3)
    assert watched.watch.beat() == 0
    watched.past(2)
    assert watched.watch.beat() == 2
    assert watched.watch.beat() == 0
    assert (
        SkewWatch(
            watched.measuring, watched.home.home.engine, watched.home.home.views, watched.home.clock
        ).beat()
        == 0
    )
    events = watched.measured()
    assert [one.n_requests for one in events] == [2, 1]
    assert [feature.equal for one in events for feature in one.features] == [2, 1]


def test_a_history_that_was_lived_through_has_no_skew_at_all(watched):
    asked = CompareRequest(since="2024-04-01", until="2024-05-01", share=1.0)
    report = compare_now(watched.desk(), asked)
    [one] = report.features
    assert one.n == one.equal == report.n_compared > 3000


def test_an_outcome_that_comes_late_is_counted_as_late(watched):
    watched.serve(1)
    # It was known before the next request, by its own word, and comes after it.
    known = iso(watched.home.clock.now() + MINUTE)
    watched.serve(1)
    watched.home.clock.move_to(watched.home.clock.now() + MINUTE)
    watched.home.accept_outcomes([{"parcel": "r-0", "late": True, "arrived_at": known}])
    watched.home.ingest()
    report = compare_now(watched.desk(), CompareRequest(since=iso(NOW), until=iso(NOW + HOUR)))
    [one] = report.features
    assert (one.n, one.equal, one.late, one.wrong) == (2, 1, 1, 0)
    assert one.longest_lag == 9 * MINUTE


def test_wrong_values_raise_an_alarm_within_hours_and_clear_it_in_a_day(watched, monkeypatch):
    watched.serve(1, route=["north"])
    watched.serve(1, route=["south"])
    watched.home.accept_outcomes([{"parcel": "r-0", "late": False}, {"parcel": "r-1", "late": True}])
    watched.home.ingest()
    # Each route is given what the other one has.
    [history] = watched.home.parts.features.histories
    plain, other = history.lookup_one, {"north": "south", "south": "north"}
    monkeypatch.setattr(
        history, "lookup_one", lambda entity, *given, **how: plain([other[entity[0]]], *given, **how)
    )
    for _ in range(9):
        watched.serve(1, route=["north"])
        watched.serve(1, route=["south"])
    monkeypatch.undo()
    watched.past(2)
    watched.watch.beat()
    [alarm] = watched.alarms()
    assert alarm.raised.subject == FEATURE
    assert 0 < alarm.raised.evidence["other_entity"] <= alarm.raised.evidence["wrong"]
    assert skew(watched.desk(), SkewRequest()).alarms == (FEATURE,)

    watched.serve(26, every=HOUR)
    watched.past(2)
    watched.watch.beat()
    watched.past(1)
    watched.watch.beat()
    [alarm] = watched.alarms()
    assert alarm.cleared_because == "recovered"
    with watched.home.home.views.reading(SkewView) as view:
        assert not view.of("late-parcel").evidence[FEATURE].is_open


def test_rows_that_were_corrected_since_are_as_they_were_when_they_were_served(watched):
    home = watched.home
    watched.serve(2)
    home.clock.move_to(home.clock.now() + MINUTE)
    home.accept_outcomes([{"parcel": "r-0", "late": True}, {"parcel": "r-1", "late": True}])
    home.ingest()
    watched.serve(2)
    data, datasets = home.parts.schema.requests, home.home.datasets
    told = datasets.read_part(data, "arrived_at", since=NOW).with_columns(late=pl.lit(value=False))
    home.clock.move_to(home.clock.now() + MINUTE)
    assert home.live.rewrite(data.name, lambda: datasets.merge(data, "arrived_at", told)).n_changed == 2
    watched.serve(2)
    report = compare_now(watched.desk(), CompareRequest(since=iso(NOW), until=iso(NOW + 2 * HOUR)))
    [one] = report.features
    assert (one.n, one.equal) == (6, 6)


def test_a_comparison_of_an_empty_window_is_refused(watched):
    with pytest.raises(InvalidInput, match="empty"):
        compare_now(watched.desk(), CompareRequest(since=iso(NOW), until=iso(NOW)))
