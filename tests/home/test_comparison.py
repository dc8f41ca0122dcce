"""Policies are held against each other by what their task says, whatever the task."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.serving.said import CLASSES

import varv
from varv.home.comparison import DECLARED, PolicyRun, compare, read_comparisons
from varv.home.model import Comparison, PoliciesCompared
from varv.kernel.clock import DAY, SECOND, Instant, instant
from varv.kernel.codec import decode_event
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.serving.scores import score_columns
from varv.stats.calibration import calibration_error, log_losses
from varv.stats.intervals import clustered_mean
from varv.stats.ranking import auc_interval
from varv.tasks import Task

SINCE = instant("2024-01-03")
N_DAYS, PER_DAY = 40, 30
N = N_DAYS * PER_DAY
DAYS = np.repeat(np.arange(N_DAYS), PER_DAY)
LISTS = np.arange(N) // 6
TASKS = {
    "binary": varv.task.binary(),
    "multiclass": varv.task.multiclass(classes=CLASSES),
    "regression": varv.task.regression(range=(-60, 120)),
    "quantiles": varv.task.quantiles(levels=[0.1, 0.5, 0.9], range=(-60, 120)),
    "ranking": varv.task.ranking(group="query"),
}


def past(task: Task, noise: float, seed: int = 3) -> pl.DataFrame:
    """Return requests with an outcome, and predictions that are as far off as `noise`."""
    rng, off = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    signal = rng.normal(size=N)
    seen = signal + noise * off.normal(size=N)
    if task.name == "binary":
        outcome = rng.random(N) < 1 / (1 + np.exp(-2 * signal))
        predicted = (1 / (1 + np.exp(-2 * seen)))[:, None]
    elif task.name == "multiclass":
        outcome = np.digitize(signal, (-0.5, 0.5))
        weights = np.exp(np.column_stack([-2 * seen, np.zeros(N), 2 * seen]))
        predicted = weights / weights.sum(axis=1, keepdims=True)
    else:
        outcome = 10 * signal + rng.normal(size=N)
        predicted = 10 * seen[:, None] + (np.array([[-9.0, 0.0, 9.0]]) if task.width == 3 else 0.0)
    if task.group:
        outcome = np.clip(np.round(outcome), 0, 5)
    at = SINCE + np.arange(N) * (DAY // PER_DAY)
    if task.group:
        # Six rows a list, seconds apart; what is asked for comes again the next day, as another list.
        at = SINCE + LISTS * 6 * (DAY // PER_DAY) + np.arange(N) % 6 * SECOND
    frame = pl.DataFrame(
        {
            "key": np.arange(N).astype(str),
            "requested_at": pl.Series(at).cast(pl.Datetime("us", "UTC")),
            **{
                name: predicted[:, column].astype(np.float32)
                for column, name in enumerate(score_columns(task))
            },
            "outcome": pl.Series(outcome).cast(task.outcome_dtype),
        }
    )
    lists = pl.Series("group", [f"q{number % 10}" for number in LISTS])
    return frame.with_columns(lists) if task.group else frame


def run(task: Task, rows: pl.DataFrame) -> PolicyRun:
    return PolicyRun(ModelName("shown"), task, rows, 2, 1, 0, 100, None)


def compared(task: Task, declared: pl.DataFrame, other: pl.DataFrame) -> Comparison:
    runs = {DECLARED: run(task, declared), "never": run(task, other)}
    return compare(runs, since=SINCE, until=Instant(SINCE + N_DAYS * DAY), seed=1)


@pytest.mark.parametrize("name", TASKS)
def test_the_better_policy_has_less_loss_and_a_gain_above_zero(name):
    task = TASKS[name]
    found = compared(task, past(task, 0.2), past(task, 1.0))
    good, bad = found.policies
    assert good.loss < bad.loss
    assert good.loss_low < good.loss < good.loss_high
    assert good.gains[0].low > 0 > bad.gains[0].high
    assert good.gains[0].difference == pytest.approx(bad.loss - good.loss, abs=2e-6)
    assert found.task == task.spec
    assert good.metrics.keys() == task.metrics.keys()
    assert [month.month for month in good.months] == ["2024-01", "2024-02"]
    assert all(month.low < month.loss < month.high for month in good.months)


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_those_of_the_task_with_intervals_over_days(name):
    task = TASKS[name]
    rows = past(task, 0.5)
    shown = compared(task, rows, rows).policies[0]
    predicted = rows.select(score_columns(task)).to_numpy()
    groups = LISTS if task.group else None
    days = rows["requested_at"].dt.date().to_physical().to_numpy()
    for metric in task.metrics.values():
        expected = metric.estimate(rows["outcome"].to_numpy(), predicted, days, groups)
        found = shown.metrics[metric.name]
        assert (found.value, found.low, found.high) == pytest.approx(expected[:3], abs=1e-6)


def test_the_numbers_of_a_binary_model_are_what_they_were():
    task = TASKS["binary"]
    rows = past(task, 0.5)
    shown = compared(task, rows, past(task, 1.0)).policies[0]
    outcome, score = rows["outcome"].to_numpy(), rows["score"].to_numpy()
    days = rows["requested_at"].dt.date().to_physical().to_numpy()
    loss = clustered_mean(log_losses(outcome, score), days)
    assert (shown.log_loss, shown.log_loss_low, shown.log_loss_high) == tuple(
        round(one, 6) for one in loss[:3]
    )
    assert (shown.loss, shown.loss_low) == (shown.log_loss, shown.log_loss_low)
    ranking = auc_interval(outcome, score, days)
    assert (shown.auc, shown.auc_low, shown.auc_high) == tuple(round(one, 6) for one in ranking[:3])
    assert shown.ece == round(calibration_error(outcome, score).value, 6)
    january = outcome[rows["requested_at"].dt.month().to_numpy() == 1]
    assert shown.months[0].base_rate == round(float(january.mean()), 6)


def test_a_number_has_no_log_loss_and_no_area_under_a_curve():
    task = TASKS["regression"]
    shown = compared(task, past(task, 0.2), past(task, 1.0)).policies[0]
    assert shown.log_loss is shown.auc is shown.ece is shown.auc_within_days is None
    assert shown.months[0].log_loss is shown.months[0].base_rate is None


def test_a_classifier_needs_two_kinds_of_outcome_and_a_number_does_not():
    equal = pl.lit(1)
    for name in ("binary", "multiclass"):
        task = TASKS[name]
        rows = past(task, 0.2).with_columns(outcome=equal.cast(task.outcome_dtype))
        with pytest.raises(FailedPrecondition, match="outcomes of both kinds"):
            compared(task, rows, rows)
    task = TASKS["regression"]
    rows = past(task, 0.2).with_columns(outcome=equal.cast(pl.Float64))
    assert compared(task, rows, rows).policies[0].loss > 0


def test_one_day_is_too_little_whatever_the_task():
    task = TASKS["regression"]
    rows = past(task, 0.2).head(PER_DAY)
    with pytest.raises(FailedPrecondition, match="too little to be compared on") as caught:
        compared(task, rows, rows)
    assert "outcomes of both kinds" not in caught.value.hint


def test_without_an_outcome_only_answers_are_counted():
    task = varv.task.score()
    rows = past(TASKS["regression"], 0.2).with_columns(outcome=pl.lit(None, pl.Float64))
    found = compared(
        task, rows, rows.with_columns(score=pl.lit(None, pl.Float32)).head(0).vstack(rows.head(500))
    )
    assert [policy.n for policy in found.policies] == [500, 500]
    assert all(policy.loss is None and not policy.gains and not policy.months for policy in found.policies)
    assert found.policies[0].n_retrains == 1
    with pytest.raises(FailedPrecondition, match="'shown' answered nothing;"):
        compared(task, rows, rows.head(0))


def of_before() -> dict:
    """Return a comparison as it was written when every task was binary."""
    month = {
        "month": "2013-02",
        "n": 10,
        "base_rate": 0.2,
        "log_loss": 0.5,
        "low": 0.4,
        "high": 0.6,
        "auc": 0.7,
    }
    policy = {
        **{"name": "declared", "n": 10, "log_loss": 0.5, "log_loss_low": 0.45, "log_loss_high": 0.55},
        **{"auc": 0.7, "auc_low": 0.65, "auc_high": 0.75, "ece": 0.01, "n_trainings": 1, "n_retrains": 0},
        **{"n_alarms": 0, "work": 5, "months": [month]},
    }
    return {
        **{"model": "late", "scored_from": 0, "scored_until": 1, "n_requests": 10, "n_without_outcome": 0},
        "policies": [policy],
    }


@pytest.mark.parametrize("form", ["file of one model", "file of many", "entry"])
def test_a_comparison_from_before_tasks_is_read_as_binary(form):
    if form == "entry":
        data = msgspec.json.encode({"comparison": of_before()})
        event = decode_event(PoliciesCompared.event_name, 1, data)
        found = event.comparison
    else:
        held = of_before() if form == "file of one model" else {"warnings": [], "models": [of_before()]}
        [found] = read_comparisons(msgspec.json.encode(held)).models
    [policy] = found.policies
    assert found.task.name == "binary"
    assert (policy.loss, policy.loss_low, policy.loss_high) == (0.5, 0.45, 0.55)
    assert policy.metrics["auc"].high == 0.75
    assert policy.metrics["ece"].value == 0.01
    assert (policy.months[0].loss, policy.months[0].metrics["base_rate"].value) == (0.5, 0.2)
