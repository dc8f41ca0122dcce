"""How often skew is alarmed on though nothing is wrong, and how soon if something is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from varv.features.skew import FeatureSkew
from varv.home.skew.model import TOLERANCE, SkewMeasured
from varv.home.skew.views import ModelSkew, SkewView, alarms, threshold
from varv.kernel.clock import DAY, HOUR, Instant
from varv.kernel.ids import ModelName, Version
from varv.kernel.ledger import Entry
from varv.monitoring.model import Window
from varv.stats.sequential import detector_logs, log_e_value


def hours_until(shares, limit, most):
    """Return after how many hours the evidence reaches `limit`, `most` if it never does."""
    logs = ()
    for hour, share in enumerate(shares, 1):
        logs = detector_logs(logs, share, TOLERANCE)
        if log_e_value(logs) >= limit:
            return hour
    return most


def single_rows(rng, n):
    return rng.binomial(42, TOLERANCE, n) / 42


def whole_hours(rng, n):
    """Return hours of which all is wrong, once in a thousand hours: no row is independent of its hour."""
    return (rng.random(n) < TOLERANCE).astype(float)


@pytest.mark.parametrize("shares", [single_rows, whole_hours])
def test_false_alarms_are_as_rare_as_stated_whatever_the_wrong_values_have_in_common(shares):
    rng, stated, most = np.random.default_rng(3), 100, 600
    lengths = [hours_until(shares(rng, most), math.log(stated), most) for _ in range(150)]
    # Runs are cut at 600 hours, so the true mean is longer still.
    assert np.mean(lengths) >= stated


def test_the_threshold_is_ten_years_of_hours_for_each_feature():
    assert math.exp(threshold(1)) == pytest.approx(3650 * 24)
    assert math.exp(threshold(20)) == pytest.approx(20 * 3650 * 24)


@pytest.mark.parametrize(("share", "within"), [(1.0, 3), (0.1, 6), (0.01, 14)])
def test_wrong_values_are_alarmed_on_within_hours_after_a_quiet_year(share, within):
    limit = threshold(20)
    shares = [0.0] * 8760 + [share] * 100
    assert hours_until(shares, limit, 10_000) - 8760 <= within


def measured(hour, *, different=0, n=40):
    window = Window(Instant(hour * HOUR), Instant((hour + 1) * HOUR))
    feature = FeatureSkew(name="v.f", n=n, different=different)
    return SkewMeasured(model=ModelName("m"), window=window, n_requests=n, n_compared=n, features=(feature,))


def entry(seq):
    return Entry(
        seq=seq,
        stream="skew/m",
        version=seq,
        name="",
        event_version=1,
        at=Instant(0),
        cause=None,
        data=b"",
        hash=b"",
    )


def folded(events):
    view = SkewView()
    raised = []
    for seq, event in enumerate(events, 1):
        facts = [fact.event for fact in alarms(view.of("m"), event, Version(1))]
        raised += facts
        for one in (event, *facts):
            view.apply(entry(seq), one)
    return view, raised


def test_an_alarm_is_raised_once_and_cleared_after_a_day_without_a_wrong_value():
    _, raised = folded([*(measured(hour, different=40) for hour in range(10)), *map(measured, range(10, 40))])
    assert [type(one).__name__ for one in raised] == ["AlarmRaised", "AlarmCleared"]


def test_days_add_up_and_old_ones_are_forgotten():
    view, _ = folded([measured(hour) for hour in (0, 1, 24, 24 * 60)])
    held = view.of("m")
    assert isinstance(held, ModelSkew)
    assert list(held.days) == [60 * DAY]
    view, _ = folded([measured(0), measured(1, different=1), measured(24)])
    assert view.of("m").since(0)["v.f"].n == 120
    assert view.of("m").since(DAY)["v.f"].different == 0
