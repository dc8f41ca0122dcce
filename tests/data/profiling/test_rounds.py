"""Datasets that are judged while a home is served."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tests.data.profiling.test_watching import _alarms, _day, desk
from tests.data.versioning.stores import TRIPS

from varv.data.alarms import DataAlarmsView, declaration_facts
from varv.data.ingestion.views import PullsView
from varv.data.profiling.keeping import Profiles
from varv.data.profiling.model import AnomalyRaised
from varv.data.profiling.rounds import WatchRounds
from varv.data.profiling.watching import Watch
from varv.data.service import Datasets
from varv.kernel.clock import HOUR, Instant
from varv.kernel.errors import Expired
from varv.kernel.views import Views

__all__ = ["desk"]


@pytest.fixture
def rounds(desk):
    return _rounds(desk, [TRIPS])


def _rounds(desk, declared):
    watch = Watch(desk.datasets, Profiles(desk.datasets, desk.home), desk.ledger, desk.home)
    views = Views(desk.ledger, DataAlarmsView, PullsView)
    clock, commit = desk.versions._clock, desk.datasets.commit
    return WatchRounds(
        watch, desk.datasets, lambda: declared, lambda names: declaration_facts(views, names), clock, commit
    )


def test_what_breaks_is_put_on_record_without_being_asked_for(rounds, desk):
    assert rounds.beat() == len(_alarms(desk)) > 0
    assert (AnomalyRaised, "size", "missing") in _alarms(desk)


def test_rows_are_read_again_only_once_another_window_is_over(rounds, desk, monkeypatch):
    read, read_part = [], Datasets.read_part

    def noted(self, dataset, part, **more):
        read.append(more["since"])
        return read_part(self, dataset, part, **more)

    monkeypatch.setattr(Datasets, "read_part", noted)
    judged = Watch.judged
    asked = []
    monkeypatch.setattr(Watch, "judged", lambda *given, **more: asked.append(1) or judged(*given, **more))
    rounds.beat()
    assert (len(read), len(asked)) == (47, 1)
    assert rounds.beat() == 0
    assert (len(read), len(asked)) == (47, 1)
    desk.datasets.append(TRIPS, "at", _day(48, np.random.default_rng(1)), segment="s048")
    rounds.beat()
    assert (len(read), len(asked)) == (48, 2)


def test_rows_that_stop_coming_are_noticed_without_new_ones(rounds, desk):
    rounds.beat()
    clock = desk.versions._clock
    clock.move_to(Instant(clock.now() + 72 * HOUR))
    assert rounds.beat() == 1
    assert _alarms(desk)[-1] == (AnomalyRaised, "", "late")
    assert rounds.beat() == 0


def test_that_a_dataset_is_undeclared_is_put_on_record_until_it_is_again(rounds, desk):
    rounds.beat()
    clock = desk.versions._clock
    clock.move_to(Instant(clock.now() + 72 * HOUR))
    rounds.beat()
    later = _rounds(desk, [])
    assert later.beat() == 1
    assert later.beat() == 0
    assert rounds.beat() == 1
    *_, gone, back = desk.ledger.read()
    assert "not declared any more" in gone.event.line()
    assert "declared again" in back.event.line()


def test_what_cannot_be_judged_is_logged_and_tried_again(rounds, desk, monkeypatch, caplog):
    def gone(*_given, **_more):
        raise Expired("file", "s001", "was removed")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(Watch, "judged", gone)
        assert rounds.beat() == 0
    assert "data.not_watched" in caplog.text
    assert rounds.beat() > 0


def test_a_server_that_stops_keeps_what_was_read(rounds, desk):
    left = iter([False] * 10)
    assert rounds.beat(lambda: next(left, True)) == 0
    watch = Watch(desk.datasets, Profiles(desk.datasets, desk.home), desk.ledger, desk.home)
    assert len(watch.windows(TRIPS, "at", 24 * HOUR, lambda: True)) == 9
