"""A function of the author's is asked for one number, or for one a row, and its code is part of the gate."""

from __future__ import annotations

import polars as pl
import pytest
from tests.training.gates.judgements import judgement, one

from varv.kernel.errors import InvalidDeclaration, UserCodeFailed
from varv.training import gate
from varv.training.gates import identity_of


def hits(rows: pl.DataFrame):
    return ((rows["score"] > 0.5) == (rows["outcome"] == 1)).cast(pl.Float64)


def hit_rate(rows: pl.DataFrame) -> float:
    return hits(rows).mean()


def test_one_number_a_row_is_a_mean_with_its_interval_over_days():
    found = one(gate.check(hits, at_least=0.5), judgement("binary"))
    assert (found.gate, found.verdict, found.n) == ("check hits", "within bounds", 3000)
    low, high = found.interval
    assert 0.5 < low < found.evidence["value"] < high
    assert not one(gate.check(hits, at_least=0.99), judgement("binary")).passed


def test_one_number_is_taken_as_it_is():
    found = one(gate.check(hit_rate, name="hit rate", at_least=0.5), judgement("binary"))
    assert (found.gate, found.passed, found.interval) == ("check hit rate", True, None)
    assert one(gate.check(hit_rate, at_most=0.1), judgement("binary")).verdict == "beyond bounds"


def test_the_frame_holds_features_outcome_and_what_both_versions_said():
    seen: list[list[str]] = []

    def look(rows: pl.DataFrame) -> float:
        seen.append(rows.columns)
        return 0.0

    one(gate.check(look, at_most=1), judgement("binary", champion=0.5))
    one(gate.check(look, at_most=1), judgement("multiclass"))
    assert seen == [
        ["key", "side", "outcome", "score", "champion_score"],
        ["key", "side", "outcome", "score.A", "score.B", "score.C"],
    ]


def test_what_is_no_number_shows_nothing():
    found = one(gate.check(lambda rows: float("nan"), name="none", at_least=0), judgement("binary"))
    assert (found.passed, found.verdict) == (True, "nothing shown")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda rows: 1 / 0, "gate 'mine' raised ZeroDivisionError"),
        (lambda rows: [1.0, 2.0], r"returned an array of shape \(2,\)"),
        (lambda rows: "high", "returned a str"),
        (lambda rows: rows["outcome"] * float("nan"), "returned rows that are not finite"),
    ],
)
def test_a_function_that_fails_is_named_with_what_it_did(function, says):
    with pytest.raises(UserCodeFailed, match=says):
        one(gate.check(function, name="mine", at_least=0), judgement("binary"))


def test_other_code_is_another_gate_and_the_same_code_the_same():
    same = [identity_of(gate.check(hits, at_least=0.5)) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != identity_of(gate.check(hit_rate, name="hits", at_least=0.5))
    assert same[0] != identity_of(gate.check(hits, at_least=0.6))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gate.check(hits), "has no bound"),
        (lambda: gate.check(lambda: 1.0, name="mine", at_least=0), "does not take"),
        (lambda: gate.check(3, name="mine", at_least=0), "has a bad function"),
        (lambda: gate.check(hits, name="", at_least=0), "has a bad name"),
        (lambda: gate.check(hits, at_least=2, at_most=1), "has a bad at_most"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_argument(make, says):
    with pytest.raises(InvalidDeclaration, match=says):
        make()
