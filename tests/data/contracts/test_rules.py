"""Contracts: silent about a year of the real world, loud about a broken producer."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from tests.data.new_york import flights, rows, weather

from varv.data.contracts.inference import contract_of_types, infer_contract
from varv.data.contracts.report import Report
from varv.data.contracts.rules import screen
from varv.kernel.clock import instant
from varv.kernel.errors import InvalidInput
from varv.tasks import task_of

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "name"),
    [(flights, "requested_at"), (flights, "departed_at"), (flights, "arrived_at"), (weather, "observed_at")],
)
def test_a_contract_of_january_finds_the_one_impossible_value_of_the_year(dataset, name):
    contract = january(dataset(), name)
    days = (
        part(dataset(), name).with_columns(day=pl.col(name).dt.date()).partition_by("day", include_key=False)
    )
    assert len(days) > 360
    screenings = [screen(contract, day, now=NOW) for day in days]
    # The data hold one gust of 1,048 miles an hour, on 12 February at Newark.
    wild = {"observed_at": ["impossible value of wind_speed"]}.get(name, [])
    assert [why for one in screenings for why in one.reasons.drop_nulls()] == wild
    assert contract.n_impossible == 0


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
    report = screen(contract, broken(july(weather(), "observed_at"), column, change), now=NOW).report
    assert (rule, column) in [(found.rule, found.column) for found in report.violations]


def test_missing_and_unknown_columns_condemn_the_batch_as_a_whole():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    missing = screen(contract, day.drop("temp"), now=NOW)
    unknown = screen(contract, day.with_columns(snow=1), now=NOW)
    assert [(v.rule, v.column) for v in missing.report.violations] == [("missing column", "temp")]
    assert [(v.rule, v.column) for v in unknown.report.violations] == [("unknown column", "snow")]
    assert missing.whole
    assert missing.reasons.to_list() == ["batch"] * 72


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("temp", 9999.0, "impossible value of temp"),
        ("temp", -9999.0, "impossible value of temp"),
        ("temp", float("inf"), "infinite value of temp"),
        ("origin", None, "null of origin"),
        ("observed_at", None, "null of observed_at"),
        ("observed_at", dt.datetime(9999, 1, 1, tzinfo=dt.UTC), "time out of range of observed_at"),
        ("observed_at", dt.datetime(1900, 1, 1, tzinfo=dt.UTC), "time out of range of observed_at"),
    ],
)
def test_a_bad_row_costs_that_row_and_is_counted_once(column, value, reason):
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at").with_row_index("i")
    spoiled = pl.when(pl.col("i") == 5).then(pl.lit(value, day.schema[column])).otherwise(column)
    screening = screen(contract, day.with_columns(spoiled.alias(column)).drop("i"), now=NOW)
    assert not screening.whole
    assert [i for i, why in enumerate(screening.reasons) if why] == [5]
    assert screening.reasons[5] == reason
    assert [(v.reason, v.n_rows) for v in screening.report.violations] == [(reason, 1)]


def test_a_row_that_breaks_several_rules_counts_for_the_first():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    first = pl.int_range(pl.len()) == 0
    bad = day.with_columns(
        pl.when(first).then(1e9).otherwise("temp").alias("temp"),
        pl.when(first).then(pl.lit(None, pl.String)).otherwise("origin").alias("origin"),
    )
    report = screen(contract, bad, now=NOW).report
    assert [(v.rule, v.column, v.n_rows) for v in report.violations] == [("null", "origin", 1)]


def test_too_many_impossible_values_condemn_the_batch_unless_its_rows_were_acknowledged():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    often = pl.when(pl.int_range(pl.len()) % 4 == 0).then(9999.0).otherwise("temp")
    bad = day.with_columns(often.alias("temp"))
    assert screen(contract, bad, now=NOW).whole
    one_by_one = screen(contract, bad, now=NOW, acknowledged=True)
    assert not one_by_one.whole
    assert one_by_one.reasons.count() == 18


def test_a_new_extreme_passes_alone_or_among_many_and_many_of_them_do_not():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    hot = pl.lit(130.0)
    one = day.with_columns(pl.when(pl.int_range(pl.len()) == 0).then(hot).otherwise("temp").alias("temp"))
    assert screen(contract, one, now=NOW).report.ok
    assert screen(contract, one.head(1), now=NOW).report.ok
    assert screen(contract, day.with_columns(temp=hot), now=NOW).whole


def test_what_was_impossible_in_the_reference_does_not_widen_its_range():
    reference = part(weather(), "observed_at").filter(pl.col("observed_at") < FEBRUARY)
    n = reference.height
    sentinel = pl.when(pl.int_range(pl.len()) % 200 == 0).then(-9999.0).otherwise("temp")
    dirty = infer_contract(
        reference.with_columns(sentinel.alias("temp")), key=weather().key, time="observed_at"
    )
    clean = infer_contract(reference, key=weather().key, time="observed_at")

    def bounds(contract):
        return next((rule.low, rule.high, rule.lowest) for rule in contract.columns if rule.name == "temp")

    assert bounds(dirty) == bounds(clean)
    assert dirty.n_impossible == -(-n // 200)


def test_a_contract_is_the_same_however_its_rows_are_cut():
    reference = part(weather(), "observed_at").filter(pl.col("observed_at") < FEBRUARY)
    stray = pl.when(pl.int_range(pl.len()) % 300 == 7).then(9e6).otherwise("temp")
    rows = reference.with_columns(stray.alias("temp"))
    whole = infer_contract(rows, key=weather().key, time="observed_at")
    cut = infer_contract(rows.iter_slices(100), key=weather().key, time="observed_at")
    assert cut == whole
    assert cut.n_impossible == rows.filter(pl.col("temp") == 9e6).height


def test_a_column_that_is_nearly_always_one_value_has_no_impossible_ones():
    frame = pl.DataFrame(
        {
            "at": [dt.datetime(2013, 1, 1, tzinfo=dt.UTC)] * 2000,
            "id": range(2000),
            "rain": [0.0] * 1900 + [float(n) for n in range(100)],
        }
    ).cast({"at": pl.Datetime("us", "UTC")})
    [rule] = [one for one in infer_contract(frame, key=["id"], time="at").columns if one.name == "rain"]
    assert (rule.low, rule.high, rule.highest) == (-99.0, 198.0, None)


def test_nothing_is_impossible_in_a_column_of_a_few_values():
    frame = pl.DataFrame(
        {"at": [dt.datetime(2013, 1, 1, tzinfo=dt.UTC)] * 500, "id": range(500), "flag": [0, 1] * 250}
    ).cast({"at": pl.Datetime("us", "UTC")})
    contract = infer_contract(frame, key=["id"], time="at")
    assert [rule.highest for rule in contract.columns if rule.name == "flag"] == [None]


@pytest.mark.parametrize("n_rows", [20, 5000])
def test_a_heavy_tail_is_not_called_impossible(n_rows):
    amounts = [(1.0 - i / (n_rows + 1)) ** -0.7 for i in range(n_rows)]
    frame = pl.DataFrame(
        {"at": [dt.datetime(2013, 1, 1, tzinfo=dt.UTC)] * n_rows, "id": range(n_rows), "amount": amounts}
    ).cast({"at": pl.Datetime("us", "UTC")})
    assert infer_contract(frame, key=["id"], time="at").n_impossible == 0


def test_a_binary_column_takes_nothing_but_its_two_values():
    types = {"id": pl.Int64(), "at": pl.Datetime("us", "UTC"), "late": pl.Float64()}
    contract = contract_of_types(types, key=["id"], time="at", outcomes={"late": task_of("binary").rule()})
    frame = pl.DataFrame(
        {"id": [1, 2, 3, 4], "at": [dt.datetime(2013, 1, 1)] * 4, "late": [0.0, 1.0, 0.5, None]}
    ).with_columns(pl.col("at").dt.replace_time_zone("UTC"))
    reasons = screen(contract, frame, now=NOW).reasons
    assert reasons.to_list() == [None, None, "value of late", None]


def test_without_a_reference_only_types_keys_and_times_are_checked():
    types = weather().part_types("observed_at")
    contract = contract_of_types(types, key=weather().key, time="observed_at")
    day = july(weather(), "observed_at")
    assert screen(contract, day.with_columns(temp=pl.lit(1e9)), now=NOW).report.ok
    assert screen(contract, day.with_columns(origin=pl.lit(None, pl.String)), now=NOW).reasons.count() == 72
    assert screen(contract, day.with_columns(temp=pl.lit("x")), now=NOW).whole


def test_an_empty_batch_is_fine_and_an_empty_reference_is_not():
    contract = january(weather(), "observed_at")
    day = july(weather(), "observed_at")
    assert screen(contract, day.clear(), now=NOW).report == Report(n_rows=0)
    with pytest.raises(InvalidInput, match="no reference rows"):
        infer_contract(day.clear(), key=weather().key, time="observed_at")
