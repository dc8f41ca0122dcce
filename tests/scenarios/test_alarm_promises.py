"""What the monitors promise, on a few simulated models; `benchmarks.promises` holds the bars on hundreds."""

import numpy as np
import pytest
from benchmarks.promises import alarms, intervals
from benchmarks.promises.worlds import IID, WORLDS

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_false_alarms_stay_within_the_declared_rate(world):
    rows = alarms.false_alarms(world, "a week", 40, seed=3)
    assert len(rows) == 6
    assert [row.question for row in rows if not row.holds] == []


@pytest.mark.parametrize("change", ["bias", "accuracy"])
def test_a_change_is_seen_within_four_days(change):
    assert np.mean(alarms.delays(change, IID, "a week", 20, seed=3)) < 4


@pytest.mark.parametrize("setting", intervals.SETTINGS, ids=lambda setting: setting.name)
def test_the_interval_of_a_month_covers_the_auc(setting):
    row = intervals.coverage(setting, "January", 150, seed=3)
    assert float(row.found.rstrip("%")) > 90
