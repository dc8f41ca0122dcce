"""What an author may declare, and what is refused when it is declared."""

from __future__ import annotations

import math

import msgspec
import polars as pl
import pytest
from tests.data.contracts.rows import TYPES

from varv import expect
from varv.data import Dataset, Frame
from varv.data.contracts.model import Expectation
from varv.data.contracts.words import rule_reason
from varv.kernel.errors import InvalidDeclaration


def dataset(*rules):
    source = Frame(pl.DataFrame(schema=TYPES))
    return Dataset("d", source=source, key="id", event_time="at", expect=rules)


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda: expect.between("x"), "neither end"),
        (lambda: expect.between("x", 2, 1), "nothing between"),
        (lambda: expect.between("x", 2, "b"), "two kinds"),
        (lambda: expect.between("x", math.nan), "names the value"),
        (lambda: expect.between("x", 1, closed="open"), "closed='open'"),
        (lambda: expect.between("x", 1, severity="fatal"), "severity='fatal'"),
        (lambda: expect.between("x", 1, share=1), "share=1"),
        (lambda: expect.one_of("x", []), "names no values"),
        (lambda: expect.one_of("x", "abc"), "names no values"),
        (lambda: expect.matches("x", "(?=a)"), "is not read"),
        (lambda: expect.matches("x", r"(a)\1"), "is not read"),
        (lambda: expect.matches("x", "a" * 2000), "has no pattern"),
        (lambda: expect.length("x"), "has no bound"),
        (lambda: expect.compare("x", "=", "y"), "comparison='='"),
        (lambda: expect.that("mean", pl.col("x") > pl.col("x").mean()), "not about one row"),
        (lambda: expect.that("f", pl.col("x").map_elements(bool, pl.Boolean)), "not about one row|Python"),
        (lambda: expect.that("", pl.col("x") > 1), "has no name"),
        (lambda: expect.between("x", 1, when="x > 1"), "condition of type str"),
        (lambda: expect.statistic("x", "quantile", 1), "has no quantile"),
        (lambda: expect.statistic("x", "mode", 1), "of='mode'"),
        (lambda: expect.rows("at", 1, share=0.5), "has a share"),
        (lambda: expect.rows("at", 1, when=pl.col("x") > 1), "has a condition"),
        (lambda: expect.fresh("at", within="soon"), "within='soon'"),
        (lambda: expect.equal(["x", "x"]), "is one column"),
        (lambda: dataset("x > 1"), "expects a str"),
        (lambda: dataset(expect.between("x", 1), expect.between("x", high=2)), "twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(declare, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        declare()


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (expect.between("z", 1), "has no column 'z'"),
        (expect.between("town", 1), "does not fit the types"),
        (expect.between("at", "soon"), "is not ISO 8601"),
        (expect.matches("x", "a"), "does not fit the types"),
        (expect.that("sum", pl.col("n") + 1), "true or false of no row"),
        (expect.statistic("town", "mean", 1), "does not fit the types"),
        (expect.rows("x", 1), "columns of no one part"),
    ],
)
def test_a_rule_that_does_not_fit_its_columns_is_refused(rule, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        dataset(rule).part_of(rule)


def test_a_rule_belongs_to_the_part_that_brings_its_columns():
    source = Frame(pl.DataFrame(schema=TYPES | {"end": TYPES["at"], "late": pl.Boolean()}))
    both = expect.compare("x", "<", "late")
    data = Dataset("d", source=source, key="id", event_time="at", known_at={"end": ["late"]}, expect=[both])
    assert data.part_of(expect.one_of("late", [True])) == "end"
    assert data.part_of(expect.rows("end", 1)) == "end"
    assert data.part_of(expect.unique("id")) == "at"
    with pytest.raises(InvalidDeclaration, match="columns of no one part"):
        data.part_of(both)


def test_a_rule_is_the_same_after_it_was_written_down():
    rules = [
        expect.between("x", 0, 1, closed="left", severity="warn", when=pl.col("y") > 0, share=0.5),
        expect.pair_in("x", "y", [(1, 2)], skip="never"),
        expect.that("small", pl.col("x") < 3),
    ]
    for rule in rules:
        read = msgspec.json.decode(msgspec.json.encode(rule), type=Expectation)
        assert read.is_same(rule)
        assert not read.is_same(msgspec.structs.replace(rule, severity="error", share=0.25))
    assert [rule_reason(rule) for rule in rules] == ["declared range of x", "pair of x, y", "small"]
