"""Monitors are found by their tags, ours and those that a package brings, and say what they cannot watch."""

import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from varv import task
from varv.kernel.clock import DAY, Duration
from varv.kernel.codec import canonical
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, NotFound, UserCodeFailed
from varv.monitoring import MonitorPlan, kinds, monitor
from varv.monitoring.model import PerformanceMeasured
from varv.monitoring.reference import reference

from .streams import REFERENCE_DAYS, before, day_instant
from .watch import watch
from .worlds import TASKS, world

ROOT = Path(__file__).parents[2]
CODE = '''
from varv.monitoring import Measured, Monitor, Watch
from varv.stats.intervals import clustered_mean
from varv.tasks.signals import mean_error


class HighLoads(Monitor, frozen=True, tag="high_loads", kw_only=True):
    """Watches by how much outcomes of high loads lie above what was predicted."""

    least: float

    def watches(self, task):
        return (
            Watch(
                source="high_loads", subject="high_loads", direction=1, kind="calibration",
                learns_level=False, margin=1.1, label="rate less score of high loads",
            ),
        )

    def measure(self, rows, task):
        high = rows.filter(rows["load"] > self.least)
        if high.is_empty():
            return {}
        residual = (high["outcome"] - high["score"]).cast(float).to_numpy()
        found = clustered_mean(residual, high["requested_at"].dt.hour().to_numpy())
        return {"high_loads": Measured(found.value, None, None, mean_error(residual))}


class Broken(HighLoads, frozen=True, tag="broken", kw_only=True):
    def measure(self, rows, task):
        raise KeyError("humidity")
'''


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package that brings two monitors, and something that is none."""
    (tmp_path / "watching.py").write_text(CODE)
    info = tmp_path / "watching-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watching\nVersion: 1.0\n")
    points = ["high_loads = watching:HighLoads", "broken = watching:Broken", "odd = json:dumps"]
    (info / "entry_points.txt").write_text("[varv.monitors]\n" + "\n".join(points))
    monkeypatch.syspath_prepend(str(tmp_path))
    import watching

    yield watching
    kinds.KINDS._loaded.clear()


def test_ours_come_by_the_same_door():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["varv.monitors"] == kinds.OURS
    for tag in kinds.OURS:
        assert kinds.tag_of(kinds.KINDS.load(tag)) == tag


def test_what_is_watched_depends_on_the_task():
    seen = {kind: monitor.plan(monitor.standard(one), task=one) for kind, one in TASKS.items()}
    subjects = {kind: [watch.subject for watch, _ in plan.watches()] for kind, plan in seen.items()}
    both = ["underestimated", "overestimated"]
    assert subjects == {
        "binary": ["excess_loss", *both],
        "multiclass": ["excess_loss", *both],
        "absolute": ["loss", *both],
        "squared": ["loss", *both],
        "quantiles": ["loss", *both, "intervals_too_wide", "intervals_too_narrow"],
        "ranking": ["loss"],
        "score": [],
    }
    assert seen["score"].kinds == frozenset()
    assert seen["ranking"].kinds == {"performance", "drift"}


def test_numbers_of_one_monitor_share_its_false_alarms():
    plan = monitor.plan([monitor.calibration(false_alarm_every="200d")], task=TASKS["quantiles"])
    assert {length for _, length in plan.watches()} == {800.0}


def test_any_loss_or_performance_signal_of_the_task_may_be_watched():
    plan = monitor.plan([monitor.performance("brier", tolerance=0.01)])
    assert [(watch.source, watch.tolerance) for watch, _ in plan.watches()] == [
        ("excess_loss", 0.0),
        ("brier", 0.01),
    ]
    plan = monitor.plan([monitor.performance("accuracy")], task=TASKS["multiclass"])
    assert [watch.direction for watch, _ in plan.watches()] == [1, -1]
    plan = monitor.plan([monitor.performance("squared", tolerance=9.0)], task=TASKS["absolute"])
    assert [watch.source for watch, _ in plan.watches()] == ["loss", "squared"]


@pytest.mark.parametrize(
    ("kind", "declare", "named"),
    [
        ("score", monitor.performance, "'score' is compared with nothing"),
        ("score", monitor.calibration, "'score' does not say what will happen"),
        ("ranking", monitor.calibration, "'ranking' does not say what will happen"),
        ("absolute", lambda: monitor.performance("auc"), "auc.*absolute, squared, loss"),
        ("binary", lambda: monitor.performance("bias"), "bias"),
        ("quantiles", lambda: monitor.calibration(tolerance=3), "tolerance"),
    ],
)
def test_what_a_task_does_not_have_cannot_be_watched(kind, declare, named):
    with pytest.raises(InvalidDeclaration, match=named):
        monitor.plan([declare()], task=TASKS[kind])


def test_a_plan_of_before_there_were_other_tasks_can_be_read():
    kept = {
        "monitors": [
            {"type": "performance", "metric": "auc", "tolerance": 0.01, "false_alarm_every": 200 * DAY},
            {"type": "calibration", "tolerance": 0.0, "false_alarm_every": 200 * DAY},
        ],
        "maturity": DAY,
    }
    plan = msgspec.json.decode(json.dumps(kept), type=MonitorPlan)
    assert plan == monitor.plan([monitor.performance("auc", tolerance=0.01), monitor.calibration()])
    assert plan.kinds == {"performance", "calibration"}


def test_a_monitor_of_another_package_measures_watches_and_alarms(others):
    wolf = Duration(200 * DAY)
    plan = monitor.plan([others.HighLoads(least=1.0, false_alarm_every=wolf)])
    assert msgspec.json.decode(canonical(plan), type=MonitorPlan) == plan
    frame = world("binary", 3, n_days=REFERENCE_DAYS + 60, rows=200, wrong=1.0, wrong_from=70)
    made = reference(
        frame.filter(before(REFERENCE_DAYS)),
        task=task.binary(),
        model="m",
        version=1,
        features=["load"],
        monitors=plan.declared,
    )
    assert all("high_loads" in day.values for day in made.days)
    run = watch(frame, made, plan, start=day_instant(REFERENCE_DAYS), end=day_instant(REFERENCE_DAYS + 60))
    assert all("high_loads" in one.measured for one in run.of(PerformanceMeasured))
    alarm = run.raised()[0]
    assert (alarm.kind, alarm.subject) == ("calibration", "high_loads")
    assert alarm.window.start >= day_instant(70)
    assert alarm.evidence_line().startswith("rate less score of high loads ")


def test_what_a_monitor_of_another_package_raises_names_it(others):
    frame = world("binary", 3, n_days=REFERENCE_DAYS)
    broken = others.Broken(least=1.0, false_alarm_every=Duration(200 * DAY))
    with pytest.raises(UserCodeFailed, match=r"broken.*humidity"):
        reference(frame, task=task.binary(), model="m", version=1, features=["load"], monitors=[broken])


def test_a_monitor_that_is_not_registered_is_refused():
    class Private(kinds.Monitor, frozen=True, tag="private", kw_only=True):
        pass

    with pytest.raises(InvalidDeclaration, match=r"not registered as 'private'"):
        monitor.plan([Private(false_alarm_every=Duration(30 * DAY))])


def test_a_kind_that_is_gone_or_is_none_is_named(others):
    with pytest.raises(NotFound, match="monitor 'gone' does not exist"):
        _ = MonitorPlan(({"type": "gone"},)).declared
    with pytest.raises(FailedPrecondition, match="odd"):
        _ = MonitorPlan(({"type": "odd"},)).declared
