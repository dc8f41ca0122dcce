import msgspec
import pytest

from varv.kernel.clock import DAY, Instant, instant
from varv.kernel.sagas import TimerFired
from varv.monitoring import monitor
from varv.monitoring.model import (
    AlarmCleared,
    AlarmRaised,
    DriftMeasured,
    FeatureDrift,
    PerformanceMeasured,
    ReferenceSet,
    SignalBaseline,
    Window,
)
from varv.monitoring.rules import MonitorSaga, MonitorState

START = instant("2013-02-01")
SAGA = MonitorSaga()
BASELINES = {
    "excess_loss": SignalBaseline(0.0, 0.1, 31),
    "auc": SignalBaseline(0.7, 0.05, 31),
    "bias": SignalBaseline(0.0, 0.1, 31),
}


def reference_set(version=1, *, monitors=None, at=START):
    plan = monitor.plan(monitors or [monitor.performance("auc"), monitor.calibration(), monitor.drift()])
    return ReferenceSet(
        model="late", version=version, plan=plan, signals=BASELINES, reference="0" * 64, at=at
    )


def day(n, *, version=1, n_rows=500, excess=0.0, auc=0.7, bias=0.0):
    window = Window(Instant(START + n * DAY), Instant(START + (n + 1) * DAY))
    return PerformanceMeasured(
        model="late",
        version=version,
        window=window,
        n_requests=n_rows,
        n=n_rows,
        missing_share=0.0,
        excess_loss=excess,
        auc=auc,
        base_rate=0.2 + bias,
        mean_score=0.2,
    )


def drift(n, *, harmful, version=1):
    one = FeatureDrift(
        name="temperature", psi=3.0, ks=0.9, p_value=0.001, missing_share=0.0, drifted=True, harm=0.1,
        harm_low=0.02, harm_p_value=0.001, harm_share=1.0, harmful=harmful,
    )  # fmt: skip
    window = Window(Instant(START + (n - 13) * DAY), Instant(START + (n + 1) * DAY))
    return DriftMeasured(
        model="late", version=version, window=window, n=900, n_days=14, features=(one,), share_drifted=1.0
    )


class Run:
    """The saga fed event by event."""

    def __init__(self, *events):
        self.state = SAGA.initial("monitor/late")
        self.facts, self.told = [], []
        self.feed(*events)

    def feed(self, *events):
        for event in events:
            step = SAGA.step(self.state, event, START)
            assert {fact.stream for fact in step.emits} <= {"alarms/late"}
            self.state = msgspec.json.decode(msgspec.json.encode(step.state), type=MonitorState)
            self.facts += [fact.event for fact in step.emits]
            self.told += list(step.tells)
        return self

    def raised(self):
        return [(one.kind, one.subject) for one in self.facts if isinstance(one, AlarmRaised)]

    def cleared(self):
        return [(one.subject, one.reason) for one in self.facts if isinstance(one, AlarmCleared)]


@pytest.mark.parametrize(
    ("worse", "alarm"),
    [
        ({"excess": 0.2}, ("performance", "excess_loss")),
        ({"auc": 0.6}, ("performance", "auc")),
        ({"bias": 0.2}, ("calibration", "underestimated")),
        ({"bias": -0.2}, ("calibration", "overestimated")),
    ],
)
def test_a_lasting_change_for_the_worse_is_one_alarm_and_the_loop_hears_of_it(worse, alarm):
    run = Run(reference_set(), *(day(n) for n in range(30)), *(day(n, **worse) for n in range(30, 60)))
    assert run.raised() == [alarm]
    assert [(one.saga, one.event) for one in run.told] == [("loop/late", run.facts[0])]
    raised = run.facts[0]
    assert raised.window.start < START + 40 * DAY
    assert raised.severity == "critical"
    assert raised.evidence["cusum"] >= raised.evidence["threshold"]
    assert raised.evidence["days_between_false_alarms"] == 400


@pytest.mark.parametrize("better", [{"excess": -0.3}, {"auc": 0.9}])
def test_a_change_for_the_better_is_no_alarm(better):
    assert Run(reference_set(), *(day(n, **better) for n in range(60))).facts == []


def test_one_terrible_day_is_no_alarm():
    assert Run(reference_set(), day(0), day(1, excess=50.0, bias=0.8, auc=0.0), day(2)).facts == []


def test_a_tolerated_worsening_is_no_alarm():
    strict = [monitor.performance("log_loss")]
    lenient = [monitor.performance("log_loss", tolerance=0.1)]
    days = [day(n, excess=0.12) for n in range(60)]
    assert Run(reference_set(monitors=strict), *days).raised()
    assert not Run(reference_set(monitors=lenient), *days).raised()


def test_an_alarm_clears_soon_after_the_recovery_and_may_be_raised_again():
    run = Run(reference_set(), *(day(n, excess=0.3) for n in range(40)), *(day(n) for n in range(40, 60)))
    assert run.cleared() == [("excess_loss", "recovered")]
    run.feed(*(day(n, excess=0.3) for n in range(60, 70)))
    assert run.raised() == [("performance", "excess_loss")] * 2


def test_a_new_version_starts_afresh_and_closes_the_alarms_of_the_old_one():
    run = Run(reference_set(), *(day(n, excess=0.3) for n in range(20)))
    run.feed(reference_set(2, at=Instant(START + 20 * DAY)))
    assert run.cleared() == [("excess_loss", "new version")]
    assert run.state.open == ()
    assert {one.total for one in run.state.signals.values()} == {0.0}
    run.feed(*(day(n, excess=0.3) for n in range(20, 40)))
    assert len(run.raised()) == 1
    run.feed(*(day(n, version=2, excess=0.3) for n in range(20, 40)))
    assert len(run.raised()) == 2


def test_telling_the_same_version_twice_forgets_nothing():
    run = Run(reference_set(), *(day(n, excess=0.15) for n in range(4)))
    before = run.state
    assert run.feed(reference_set()).state == before


def test_a_day_counts_once_and_days_of_the_past_do_not_count():
    sooner = [day(3, excess=0.2), day(1, excess=0.2), day(-1, excess=0.2)]
    once = Run(reference_set(), day(3, excess=0.2)).state
    assert Run(reference_set(), day(3, excess=0.2), *sooner).state == once


def test_a_day_of_few_rows_or_without_outcomes_is_no_evidence():
    run = Run(reference_set(), *(day(n, n_rows=5, excess=0.5) for n in range(30)))
    run.feed(msgspec.structs.replace(day(31), excess_loss=None, auc=None, base_rate=None))
    assert run.facts == []
    assert {one.total for one in run.state.signals.values()} == {0.0}


def test_harmful_drift_is_an_alarm_and_harmless_drift_is_not():
    assert Run(reference_set(), drift(14, harmful=False)).facts == []
    run = Run(reference_set(), *(drift(n, harmful=True) for n in (14, 21, 28)))
    assert run.raised() == [("drift", "temperature")]
    assert run.facts[0].severity == "warning"
    assert run.facts[0].evidence["harm"] == 0.1
    assert run.feed(drift(35, harmful=False)).cleared() == [("temperature", "recovered")]


def test_drift_of_another_version_is_passed_over():
    assert Run(reference_set(), drift(14, harmful=True, version=7)).facts == []


def test_events_before_any_reference_and_foreign_events_change_nothing():
    fresh = SAGA.initial("monitor/late")
    for event in (day(0, excess=9.0), drift(14, harmful=True), TimerFired(key="x", due=START)):
        assert SAGA.step(fresh, event, START).state == fresh


def test_only_what_was_declared_is_watched():
    assert Run(reference_set(monitors=[monitor.drift()])).state.signals == {}
    assert set(Run(reference_set(monitors=[monitor.performance()])).state.signals) == {"excess_loss"}
