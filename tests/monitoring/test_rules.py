import msgspec
import numpy as np
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
    SignalDay,
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
ERROR = 0.02
SHAPES = np.random.default_rng(11).permuted(np.linspace(-1.7, 1.7, 31)).tolist()


def reference_days(*, excess=0.0, bias=0.0, scale=1.0, until=START, n_days=31):
    """Return days that spread by 0.1 for excess loss and bias, and by 0.05 for the AUC, before `until`."""
    return tuple(
        SignalDay(
            Instant(until + (k - n_days) * DAY),
            {
                "excess_loss": (excess + 0.1 * scale * shape, ERROR),
                "bias": (bias - 0.1 * scale * shape, ERROR),
                "auc": (0.7 + 0.05 * scale * shape, ERROR),
            },
        )
        for k, shape in enumerate(SHAPES[:n_days])
    )


def reference_set(version=1, *, monitors=None, at=START, days=None):
    plan = monitor.plan(monitors or [monitor.performance("auc"), monitor.calibration(), monitor.drift()])
    return ReferenceSet(
        model="late", version=version, plan=plan, signals=BASELINES, reference="0" * 64, at=at,
        days=reference_days() if days is None else days,
    )  # fmt: skip


def day(n, *, version=1, n_rows=500, excess=0.0, auc=0.7, bias=0.0, role="champion"):
    window = Window(Instant(START + n * DAY), Instant(START + (n + 1) * DAY))
    return PerformanceMeasured(
        model="late",
        version=version,
        window=window,
        n_requests=n_rows,
        n=n_rows,
        missing_share=0.0,
        role=role,
        excess_loss=excess,
        excess_loss_error=ERROR,
        auc=auc,
        auc_error=ERROR,
        bias=bias,
        bias_error=ERROR,
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
    run.feed(msgspec.structs.replace(day(31), excess_loss=None, auc=None, base_rate=None, bias=None))
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


def test_the_rarest_false_alarms_that_may_be_declared_can_be_watched():
    monitors = [monitor.performance("auc", false_alarm_every="36500d")]
    run = Run(reference_set(monitors=monitors), *(day(n, excess=0.9) for n in range(40)))
    assert run.raised() == [("performance", "excess_loss")]


def test_only_what_was_declared_is_watched():
    assert Run(reference_set(monitors=[monitor.drift()])).state.signals == {}
    assert set(Run(reference_set(monitors=[monitor.performance()])).state.signals) == {"excess_loss"}


def test_the_evidence_of_an_alarm_excludes_what_is_allowed():
    worse = [{"excess": 0.15}, {"bias": 0.15}, {"bias": -0.15}, {"auc": 0.63}]
    for change in worse:
        run = Run(reference_set(), *(day(n) for n in range(5)), *(day(n, **change) for n in range(5, 60)))
        (alarm,) = [one for one in run.facts if isinstance(one, AlarmRaised)]
        seen = alarm.evidence
        assert seen["low"] < seen["mean"] < seen["high"]
        assert not seen["low"] <= seen["reference"] <= seen["high"]
        assert seen["n"] == 500 * seen["days"]


def test_a_version_born_in_a_storm_is_calm_when_the_sun_comes_out():
    storm = reference_days(excess=0.3, bias=0.3, n_days=7)
    run = Run(reference_set(days=storm), *(day(n, excess=-0.05, bias=-0.02) for n in range(120)))
    assert run.raised() == []


def test_a_storm_at_approval_does_not_hide_a_later_bias():
    storm = reference_days(bias=0.2, n_days=7)
    calm = [day(n, bias=0.05 * (-1) ** n) for n in range(40)]
    run = Run(reference_set(days=storm), *calm, *(day(n, bias=-0.3) for n in range(40, 60)))
    assert run.raised() == [("calibration", "overestimated")]


def test_a_bias_shown_at_approval_is_allowed_and_more_of_it_is_not():
    biased = reference_set(days=reference_days(bias=0.3))
    run = Run(biased, *(day(n, bias=0.3 + 0.1 * SHAPES[n % 31]) for n in range(62)))
    assert run.raised() == []
    assert [(one.subject, round(one.allowed, 6)) for one in run.facts] == [("underestimated", 0.3)]
    assert run.state.signals["overestimated"].allowed == 0.0
    run.feed(*(day(n, bias=1.0) for n in range(62, 80)))
    assert run.raised() == [("calibration", "underestimated")]
    assert run.facts[-1].evidence["allowed"] == pytest.approx(0.3)


def test_versions_share_what_is_known_of_days():
    calm = [day(n, excess=0.02 * SHAPES[n % 31], bias=0.02 * SHAPES[n % 31]) for n in range(90)]
    at = Instant(START + 90 * DAY)
    days = reference_days(scale=0.2, until=at, n_days=7)
    known = Run(reference_set(days=reference_days(scale=0.2)), *calm, reference_set(2, at=at, days=days))
    fresh = Run(reference_set(2, at=at, days=days))
    after = [day(n, version=2, bias=0.06) for n in range(90, 150)]
    first = [next(k for k, one in enumerate(after) if run.feed(one).raised()) for run in (known, fresh)]
    assert first[0] < first[1]


def test_a_day_that_two_versions_share_says_once_how_days_spread():
    run = Run(reference_set(), *(day(n, bias=0.1) for n in range(3)))
    run.feed(reference_set(2, at=Instant(START + 3 * DAY), days=reference_days(until=START + 2 * DAY)))
    signal = run.state.signals["overestimated"]
    assert signal.pool.n_days + signal.own.n_days < 31 + 3 + 0.5


def test_days_of_the_former_champion_that_mature_later_still_say_how_days_spread():
    run = Run(reference_set(), reference_set(2, at=START, days=()))
    before = run.state.signals["underestimated"].pool
    run.feed(day(0, version=1, bias=0.4), day(0, version=1, bias=0.4))
    after = run.state.signals["underestimated"].pool
    assert after.square > before.square + 0.15
    assert after.n_days < before.n_days + 1
    assert run.state.signals["auc"].pool.n_days < 31


def test_the_day_of_the_promotion_counts_for_the_new_version():
    run = Run(reference_set(at=Instant(START + DAY // 2)), day(0, bias=0.3), day(0, bias=0.3))
    assert run.state.through == START + DAY
    assert run.state.signals["underestimated"].run_days == 1


def test_what_a_candidate_answered_is_no_day_of_the_champion():
    run = Run(
        reference_set(), *(day(n, bias=0.5, version=v, role="candidate") for n in range(9) for v in (1, 2))
    )
    assert run.state == Run(reference_set()).state


def test_a_lasting_change_does_not_widen_what_it_is_judged_by():
    run = Run(reference_set(), *(day(n, bias=0.16) for n in range(2)))
    before = run.state.signals["underestimated"]
    run.feed(*(day(n, bias=0.16) for n in range(2, 40)))
    assert run.raised() == [("calibration", "underestimated")]
    assert run.state.signals["underestimated"].own == before.own


def test_a_state_kept_before_days_were_goes_on_alarming():
    kept = {
        "model": "late", "version": 1, "through": START, "open": [],
        "signals": {
            "underestimated": {
                "kind": "calibration", "source": "bias", "direction": 1, "tolerance": 0.0,
                "run_length_days": 400.0, "total": 1.5, "days": 3, "sum": 0.2,
                "baseline": {"mean": 0.01, "sd": 0.02, "n_days": 7},
            }
        },
    }  # fmt: skip
    run = Run()
    run.state = msgspec.json.decode(msgspec.json.encode(kept), type=MonitorState)
    run.feed(*(day(n) for n in range(30)))
    assert run.facts == []
    run.feed(*(day(n, bias=0.2) for n in range(30, 45)))
    assert run.raised() == [("calibration", "underestimated")]


def test_a_reference_kept_before_days_were_is_still_one():
    run = Run(
        reference_set(days=()), *(day(n) for n in range(20)), *(day(n, excess=0.4) for n in range(20, 50))
    )
    assert run.raised() == [("performance", "excess_loss")]
