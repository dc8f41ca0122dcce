"""Guards: how they are written, what of them depends on the task, and how they read."""

from __future__ import annotations

import pytest

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.rollout.guards import LOG_LOSS, Declared, Latency, default_guard, read
from varv.tasks import task_of

from .samples import BINARY

UA = varv.slice("carrier", "UA")
MINUTES = varv.task.regression(range=(-60, 600))
TASKS = {
    "binary": BINARY,
    "multiclass": varv.task.multiclass(classes=["A", "B", "C"]),
    "regression": MINUTES,
    "quantiles": varv.task.quantiles(levels=[0.1, 0.5, 0.9], range=(-60, 600)),
    "ranking": varv.task.ranking(group="query"),
}


@pytest.mark.parametrize(
    ("name", "loss", "limit"),
    [
        ("binary", "log_loss", "0.01 nats"),
        ("multiclass", "log_loss", "0.01 nats"),
        ("regression", "absolute", "0.9 outcome units"),
        ("quantiles", "pinball", "0.5 outcome units"),
        ("ranking", "ndcg_loss", "0.01"),
    ],
)
def test_the_default_guard_is_small_beside_the_bound_of_its_loss(name, loss, limit):
    (guard,) = Declared().of_task(TASKS[name])
    assert (guard.loss, guard.limit) == (loss, limit)


def test_what_older_plans_mean_is_a_binary_task_s_default():
    assert default_guard(BINARY) == LOG_LOSS


def test_guards_come_in_the_order_of_the_declaration_those_of_slices_last():
    guard = {("brier", UA): "not worse by 0.05", "brier": "not worse by 0.02", "log_loss": "not worse by 5%"}
    found = read(guard).of_task(BINARY)
    assert [one.name for one in found] == ["brier", "log_loss", "brier, carrier UA"]
    assert [one.title for one in found][-1] == "Brier score of carrier UA"
    assert (found[1].relative, found[1].margin) == (0.05, 0.0)


def test_a_guard_on_a_slice_comes_beside_one_on_all_requests():
    found = read({("log_loss", UA): "not worse by 0.05"}).of_task(BINARY)
    assert [one.name for one in found] == ["log_loss", "log_loss, carrier UA"]


@pytest.mark.parametrize(
    ("text", "latency", "limit"),
    [
        ("p99 not above 20ms", Latency(limit_ms=20.0, share=0.01), "p99 not above 20 ms"),
        ("p99.9 not above 2.5 ms", Latency(limit_ms=2.5, share=0.001), "p99.9 not above 2.5 ms"),
        ("not slower by 2x", Latency(factor=2.0), "not slower by 2x"),
    ],
)
def test_latency_is_guarded_by_a_quantile_or_a_factor(text, latency, limit):
    found = read({"latency": text})
    assert (found.latency, found.latency.limit) == (latency, limit)
    assert found.of_task(BINARY) == (LOG_LOSS,)


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        ({}, "not a mapping"),
        ({"log_loss": "not worse by 60%"}, "worse by 60 %"),
        ({("log_loss", UA): "not worse by 5%"}, "whose loss nobody knows before"),
        ({("log_loss", "UA"): "not worse by 0.1"}, "neither a loss nor a loss of a slice"),
        ({"latency": "fast"}, "how slow is too slow"),
        ({"latency": "p10 not above 20ms"}, "between p50 and p99.9"),
        ({"latency": "not slower by 1x"}, "between 1.2 and 1000"),
        ({"score_shift": "small"}, "how far scores may move"),
    ],
)
def test_a_guard_that_means_nothing_is_refused(guard, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        read(guard)


@pytest.mark.parametrize(
    ("task", "guard", "problem"),
    [
        (BINARY, {"absolute": "not worse by 1"}, "are log_loss, brier"),
        (BINARY, {"log_loss": "not worse by 3"}, "no margin for log_loss between"),
        (BINARY, {"log_loss": "not worse by 0.00001"}, "no margin for log_loss between"),
        (BINARY, {"score_shift": "at most 0.2"}, "has an outcome"),
        (varv.task.regression(), {"absolute": "not worse by 1"}, "none before its range"),
        (varv.task.regression(range=(0, 0.001)), {"absolute": "not worse by 0.0001"}, "too little to keep"),
        (task_of("score"), {"log_loss": "not worse by 0.01"}, "'score' has none"),
    ],
)
def test_a_guard_that_does_not_suit_the_task_is_refused(task, guard, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        read(guard).of_task(task)


def test_a_task_without_a_range_has_no_guard_before_its_history_is_seen():
    (guard,) = Declared().of_task(varv.task.regression())
    assert (guard.bound, guard.margin) == (0.0, 0.0)
