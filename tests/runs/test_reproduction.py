"""How alike two outcomes are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.kernel.errors import InvalidInput
from varv.runs.reproduction import Outcome, Tolerance, compared

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def outcome(metrics=None, artifacts=None, predictions=None, status="FINISHED"):
    columns = None if predictions is None else {"p": np.array(predictions)}
    return Outcome(status=status, metrics=metrics or {}, artifacts=artifacts or {}, predictions=columns)


def verdict(before, after, **tolerance):
    return compared(before, after, Tolerance(**tolerance)).verdict


@given(st.dictionaries(st.text(max_size=3), NUMBERS), st.lists(NUMBERS, max_size=4))
def test_an_outcome_is_bit_identical_with_itself(metrics, predictions):
    one = outcome(metrics, {"m": "a"}, predictions)
    assert verdict(one, one, relative=0.0) == "bit-identical"


@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_the_verdict_does_not_depend_on_who_was_first(a, b, relative):
    one, other = outcome({"x": a}), outcome({"x": b})
    assert verdict(one, other, relative=relative) == verdict(other, one, relative=relative)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (outcome({"x": 1}, {"m": "a"}, [1.0]), outcome({"x": 1}, {"m": "b"}, [1.0]), "prediction-identical"),
        (outcome({"x": 1}, {"m": "a"}), outcome({"x": 1}, {"m": "b"}), "within tolerance"),
        (outcome({"x": 1.0}), outcome({"x": 1.0 + 1e-9}), "within tolerance"),
        (outcome({"x": 1.0}, None, [1.0]), outcome({"x": 1.0}, None, [1.0 + 1e-9]), "within tolerance"),
        (outcome({"x": 1.0}), outcome({"x": 1.1}), "differs"),
        (outcome({"x": 1.0}, None, [1.0]), outcome({"x": 1.0}, None, [2.0]), "differs"),
        (outcome(None, {"m": "a"}), outcome(None, {"m": "b"}), "differs"),
        (outcome({"x": 1.0}), outcome({}), "differs"),
        (outcome({"x": 1.0}, None, [1.0]), outcome({"x": 1.0}), "differs"),
        (outcome({"x": 1.0}, None, [1.0]), outcome({"x": 1.0}, None, [1.0, 2.0]), "differs"),
        (outcome({"x": 1}, None, ["a"]), outcome({"x": 1}, None, ["b"]), "differs"),
        (outcome({"x": 1}), outcome({"x": 1}, status="FAILED"), "differs"),
        (outcome({"x": float("nan")}), outcome({"x": 1.0}), "differs"),
    ],
)
def test_the_verdict_is_the_best_that_can_be_said(before, after, expected):
    assert verdict(before, after) == expected


def test_what_differs_is_named():
    before = outcome({"auc": 0.5}, {"m": "a", "gone": "a"}, [1.0, 2.0])
    after = outcome({"auc": 0.6}, {"m": "b"}, [1.0, 3.0])
    assert compared(before, after, Tolerance()).differing == (
        "artifact gone: missing",
        "artifact m",
        "metric auc: 0.5, then 0.6",
        "predictions p: 1 of 2 differ, by 1 at most",
    )


def test_what_the_machine_does_and_what_is_ignored_is_no_difference():
    before = outcome({"x": 1.0, "system/cpu": 1.0, "fit_s": 1.0}, {"log.txt": "a"})
    after = outcome({"x": 1.0, "system/cpu": 2.0, "fit_s": 9.0}, {"log.txt": "b"})
    assert verdict(before, after, ignored=("*_s", "log.*")) == "bit-identical"


def test_a_tolerance_below_zero_is_refused():
    with pytest.raises(InvalidInput, match="out of range"):
        Tolerance(relative=-1.0)
