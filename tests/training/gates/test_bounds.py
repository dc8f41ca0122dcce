"""A number is refused if it is shown to lie beyond its bound, or, where proof is asked for, unless within."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.gates.judgements import WITH_OUTCOME, case, judgement, one

import varv
from varv.kernel.clock import DAY
from varv.kernel.errors import InvalidDeclaration
from varv.stats.intervals import Estimate
from varv.training import gate
from varv.training.gates.bounds import Limit, held_against, share_of

NUMBERS = st.floats(-10, 10)


@pytest.mark.parametrize(
    ("name", "metric"),
    [(name, metric) for name in WITH_OUTCOME for metric in case(name).task.metrics],
)
def test_every_metric_of_every_task_can_be_bounded(name, metric):
    rows = judgement(name)
    value = one(gate.at_least(metric, 0.0), rows).evidence["value"]
    assert one(gate.at_least(metric, value - 100), rows).verdict == "within bounds"
    assert one(gate.at_most(metric, value - 100), rows).verdict == "beyond bounds"
    near = one(gate.at_least(metric, value), rows)
    assert (near.passed, near.verdict) == (
        True,
        "not shown" if near.evidence["low"] < value else near.verdict,
    )


def test_a_bound_inside_the_interval_passes_unless_proof_is_asked_for():
    rows = judgement("regression")
    value = one(gate.at_most("absolute", 1e6), rows).evidence["value"]
    careless, careful = (one(gate.at_most("absolute", value, shown=shown), rows) for shown in (False, True))
    assert (careless.passed, careless.verdict) == (True, "not shown")
    assert "Not shown beyond, so the rollout decides" in careless.answer
    assert (careful.passed, careful.verdict) == (False, "not shown")
    assert "which is asked for" in careful.answer
    assert one(gate.at_most("absolute", value + 50, shown=True), rows).passed


def test_too_few_days_show_nothing_and_are_no_proof():
    rows = replace(judgement("binary"), at=np.zeros(3000, dtype=np.int64))
    assert one(gate.at_least("auc", 0.99), rows).passed
    careful = one(gate.at_least("auc", 0.5, shown=True), rows)
    assert (careful.passed, careful.verdict, careful.interval) == (False, "nothing shown", None)


def test_a_slice_has_its_own_number_and_name():
    rows = judgement("multiclass")
    right = (rows.rows["side"] == "right").to_numpy()
    spoiled = replace(rows, candidate=np.where(right[:, None], rows.candidate[::-1], rows.candidate))
    bounded = [gate.at_least("accuracy", 0.6, slice=varv.slice("side", side)) for side in ("left", "right")]
    left, right = (one(each, spoiled) for each in bounded)
    assert (left.gate, left.n) == ("at_least accuracy, side left", 1500)
    assert left.evidence["value"] > right.evidence["value"]
    assert not right.passed


def test_a_metric_that_the_task_lacks_is_refused_with_those_it_has():
    with pytest.raises(
        InvalidDeclaration, match=r"gate 'at_most' has no metric 'mae' .* absolute or squared"
    ):
        gate.at_most("mae", 12.0).require_task(case("regression").task)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gate.at_least("auc", "high"), "gate 'at_least' has a bad bound"),
        (lambda: gate.at_least("auc", float("inf")), "gate 'at_least' has a bad bound"),
        (lambda: gate.at_most(None, 1.0), "gate 'at_most' has a bad metric"),
        (lambda: gate.at_most("ece", 0.1, shown="yes"), "gate 'at_most' has a bad shown"),
        (lambda: gate.at_most("ece", 0.1, slice=("side", "left")), "gate 'at_most' has a bad slice"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(make, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make()


@given(low=NUMBERS, width=st.floats(0, 5), place=st.floats(0, 1), bound=NUMBERS)
@settings(max_examples=200)
def test_proof_is_never_easier_than_doubt(low, width, place, bound):
    found = Estimate(low + place * width, low, low + width, 100)
    for limit in (Limit(low=bound), Limit(high=bound), Limit(bound - 1, bound + 1)):
        careless, careful = (held_against(found, limit, "it", shown=shown) for shown in (False, True))
        assert careless.passed or not careful.passed
        assert careful.passed == (limit.holds(found.low) and limit.holds(found.high))
        assert careless.passed != limit.misses(found)


@given(right=st.lists(st.booleans(), min_size=1, max_size=60), n_days=st.integers(1, 7))
@settings(max_examples=100)
def test_a_share_lies_in_its_interval_and_that_in_nought_to_one(right, n_days):
    found = share_of(np.array(right), np.arange(len(right)) % n_days * DAY)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12
    assert found.high <= 1
    assert found.low < 1
