"""The stated rates of false alarms, over simulated years of the whole path from rows to alarms."""

import pytest

from varv import task
from varv.kernel.clock import DAY
from varv.monitoring import monitor
from varv.monitoring.model import DriftMeasured
from varv.monitoring.reference import reference

from .streams import REFERENCE_DAYS, before, day_instant, stream
from .watch import watch
from .worlds import TASKS, world

pytestmark = pytest.mark.slow

FEATURES = ["load", "temperature", "carrier"]
N_DAYS = REFERENCE_DAYS + 365


def year(seed, plan, **options):
    frame = stream(seed, n_days=N_DAYS, rows=40, **options)
    made = reference(
        frame.filter(before(REFERENCE_DAYS)), task=task.binary(), model="late", version=1, features=FEATURES
    )
    return watch(frame, made, plan, start=day_instant(REFERENCE_DAYS), end=day_instant(N_DAYS))


SEEDS = pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 32), marks=pytest.mark.soak)])


@SEEDS
def test_a_year_of_warming_that_harms_nothing_is_noted_and_no_drift_alarm(seeds):
    plan = monitor.plan([monitor.drift()])
    years = [year(seed, plan, warming=0.1) for seed in seeds]
    for one in years:
        features = [feature for event in one.of(DriftMeasured) for feature in event.features]
        assert "temperature" in {feature.name for feature in features if feature.drifted}
    assert sum(len(one.raised()) for one in years) <= len(years) * 365 / 3650  # as stated


@SEEDS
def test_performance_alarms_are_rarer_than_stated_while_nothing_changes(seeds):
    plan = monitor.plan([monitor.performance("auc", false_alarm_every="200d")])
    alarms = sum(len(year(seed, plan, warming=0.1).raised()) for seed in seeds)
    assert alarms <= len(seeds) * 365 / 200


@pytest.mark.parametrize("kind", ["multiclass", "absolute", "squared", "quantiles", "ranking"])
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 21), marks=pytest.mark.soak)])
def test_models_of_other_tasks_keep_the_stated_rate_too(kind, seeds):
    predicts, n_days = TASKS[kind], REFERENCE_DAYS + 180
    plan = monitor.plan(monitor.standard(predicts), task=predicts)
    alarms = 0
    for seed in seeds:
        frame = world(kind, seed, n_days=n_days, rows=60, warming=0.1)
        made = reference(
            frame.filter(before(REFERENCE_DAYS)), task=predicts, model="m", version=1, features=FEATURES
        )
        alarms += len(watch(frame, made, plan, start=day_instant(40), end=day_instant(n_days)).raised())
    stated = sum(180 / (one.false_alarm_every / DAY) for one in plan.declared)
    assert alarms <= len(seeds) * stated


@pytest.mark.parametrize("bias", [1.0, -1.2])
def test_a_changed_world_is_found_within_weeks(bias):
    plan = monitor.plan([monitor.performance(), monitor.calibration()])
    found = year(3, plan, bias=bias, bias_from=140)
    after = [one for one in found.raised() if one.window.start >= day_instant(140)]
    assert after
    assert after[0].window.start < day_instant(140 + 21)
