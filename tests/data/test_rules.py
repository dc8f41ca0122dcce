"""Contracts: silent about a year of the real world, loud about a broken producer."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.data.rules import Report, check, contract_of_types, infer_contract
from varv.kernel.clock import instant
from varv.kernel.errors import InvalidInput

from .new_york import flights, rows, weather

NOW = instant("2014-06-01")
FEBRUARY = pl.datetime(2013, 2, 1, time_zone="UTC")


def part(dataset, name):
    return dataset.part(rows(dataset.name), name)


def january(dataset, name):
    reference = part(dataset, name).filter(pl.col(name) < FEBRUARY)
    return infer_contract(reference, key=dataset.key, time=name)


def july(dataset, name):
    day = dt.date(2013, 7, 9)
    return part(dataset, name).filter(pl.col(name).dt.date() == day)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [(flights, "requested_at"), (flights, "departed_at"), (flights, "arrived_at"), (weather, "observed_at")],
)
def test_a_contract_of_january_holds_on_every_day_of_the_year(dataset, name):
    contract = january(dataset(), name)
    days = (
        part(dataset(), name).with_columns(day=pl.col(name).dt.date()).partition_by("day", include_key=False)
    )
    assert len(days) > 360
    reports = [check(contract, day, now=NOW) for day in days]
    assert [report for report in reports if not report.ok] == []


def broken(frame, column, expr):
    return frame.with_columns(expr.alias(column))


@pytest.mark.parametrize(
    ("column", "change", "rule"),
    [
        ("temp", (pl.col("temp") - 32) * 5 / 9 + 273.15, "range"),
        ("pressure", pl.col("pressure") / 33.8639, "range"),
        ("temp", pl.col("temp").cast(pl.String), "type String"),
        ("temp", pl.lit(None, pl.Float64), "null"),
        ("visib", pl.lit(float("nan")), "range"),
        ("humid", pl.lit(float("inf")), "range"),
        ("origin", pl.lit("XXX"), "unseen value"),
        ("origin", pl.lit(None, pl.String), "null"),
        ("observed_at", pl.lit(None, pl.Datetime("us", "UTC")), "null"),
        ("observed_at", pl.col("observed_at").dt.offset_by("30y"), "time out of range"),
        ("observed_at", pl.col("observed_at").dt.offset_by("-30y"), "time out of range"),
    ],
)
def test_a_broken_producer_of_weather_is_caught(column, change, rule):
    contract = january(weather(), "observed_at")
    report = check(contract, broken(july(weather(), "observed_at"), column, change), now=NOW)
    assert (rule, column) in [(found.rule, found.column) for found in report.violations]


def test_missing_unknown_and_repeated_things_are_caught_and_counted():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    missing = check(contract, day.drop("temp"), now=NOW)
    unknown = check(contract, day.with_columns(snow=1), now=NOW)
    repeated = check(contract, pl.concat([day, day.head(3)]), now=NOW)
    assert [(v.rule, v.column) for v in missing.violations] == [("missing column", "temp")]
    assert [(v.rule, v.column) for v in unknown.violations] == [("unknown column", "snow")]
    (violation,) = repeated.violations
    assert (violation.rule, violation.n_rows) == ("duplicate key", 3)
    assert violation.examples[0].key == "EWR/2013-07-09 00:00:00+00:00"


def test_the_listing_of_rows_is_capped_and_the_count_is_exact():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    report = check(contract, day.with_columns(temp=pl.lit(300.0)), now=NOW)
    (violation,) = report.violations
    assert violation.n_rows == day.height == 72
    assert len(violation.examples) == 10
    assert violation.examples[0].value == "300.0"


def test_one_wild_value_among_many_does_not_condemn_a_batch_but_a_lone_one_does():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at").with_row_index("i")
    gust = pl.when(pl.col("i") == 0).then(1048.0).otherwise("wind_speed")
    assert check(contract, day.with_columns(wind_speed=gust).drop("i"), now=NOW).ok
    assert not check(contract, day.with_columns(wind_speed=gust).drop("i").head(1), now=NOW).ok


def test_without_a_reference_only_types_keys_and_times_are_checked():
    types = weather().part_types("observed_at")
    contract = contract_of_types(types, key=weather().key, time="observed_at")
    day = july(weather(), "observed_at")
    assert check(contract, day.with_columns(temp=pl.lit(1e9)), now=NOW).ok
    assert not check(contract, day.with_columns(origin=pl.lit(None, pl.String)), now=NOW).ok
    assert not check(contract, day.with_columns(temp=pl.lit("x")), now=NOW).ok


def test_an_empty_batch_is_fine_and_an_empty_reference_is_not():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    assert check(contract, day.clear(), now=NOW) == Report(n_rows=0)
    with pytest.raises(InvalidInput, match="no reference rows"):
        infer_contract(day.clear(), key=weather().key, time="observed_at")
