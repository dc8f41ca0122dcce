"""Correlations that changed are alarmed on once, shown among open alarms, and cleared when they are back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.home.skew.test_watching import Watched

from varv.home.alarms import alarm_list
from varv.home.skew import health
from varv.home.skew.correlations import SURE, CorrelationWatch
from varv.kernel.clock import DAY


@pytest.fixture
def watched(lived, tmp_path):
    home = lived(tmp_path)
    yield Watched(home)
    home.close()


def days(names, n_days, sign, seed):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_days):
        load = rng.normal(size=200)
        columns = {"load": load, "heat": sign * load + rng.normal(size=200)}
        found.append(pl.DataFrame({name: columns[name] for name in names if name in columns}))
    return found


def test_two_features_that_part_are_alarmed_on_and_cleared(watched, monkeypatch):
    sign = {"recent": 1}

    def served(desk, model, names, now, n_days, ago):
        return days(names, n_days, 1 if ago else sign["recent"], int(now // DAY) + n_days)

    monkeypatch.setattr(health, "_days", served)
    own = watched.home.home
    watch = CorrelationWatch(watched.desk(), own.engine)
    watch.beat()
    assert alarm_list(own.views) == ()
    sign["recent"] = -1
    watch.beat()
    assert alarm_list(own.views) == (), "once a day"
    for _ in range(2):
        watched.past(24)
        watch.beat()
    [alarm] = alarm_list(own.views)
    assert (alarm.room, alarm.kind) == ("features", "correlation")
    assert "load with heat is correlated otherwise" in alarm.what
    sign["recent"] = 1
    watched.past(24)
    watch.beat()
    assert alarm_list(own.views) == ()


def test_a_day_has_the_share_of_false_alarms_that_ten_years_leave_it():
    assert pytest.approx(1 / 3650) == SURE


def test_without_requests_nothing_is_alarmed_on(watched):
    own = watched.home.home
    CorrelationWatch(watched.desk(), own.engine).beat()
    assert alarm_list(own.views) == ()
