"""Declaring features: what would leak or does not exist is refused, with the fix."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from varv.data import Dataset, Frame
from varv.features import FeatureSet, FeatureView, derived, share, windows
from varv.kernel.errors import InvalidDeclaration

UTC = pl.Datetime("us", "UTC")
TRIPS = Dataset(
    "trips",
    source=Frame(
        pl.DataFrame(
            schema={
                "id": pl.String,
                "at": UTC,
                "carrier": pl.String,
                "distance": pl.Int64,
                "left_at": UTC,
                "left_late": pl.Boolean,
                "done_at": UTC,
                "late": pl.Boolean,
                "remark": pl.String,
            }
        )
    ),
    key="id",
    event_time="at",
    known_at={"left_at": ["left_late"], "done_at": ["late", "remark"]},
)
WEATHER = Dataset(
    "weather",
    source=Frame(
        pl.DataFrame(
            schema={
                "place": pl.String,
                "seen_at": UTC,
                "wind": pl.Float64,
                "sky": pl.String,
                "station": pl.Int64,
            }
        )
    ),
    key=["place", "seen_at"],
    event_time="seen_at",
)


def recent(**changes):
    given = {"source": TRIPS, "entity": "carrier", "features": windows("late", "mean", over=["6h", "7d"])}
    return FeatureView("recent", **{**given, **changes})


def test_features_have_names_and_kinds_in_the_declared_order():
    remark = FeatureView("last", source=TRIPS, entity="carrier", features=["remark"], ttl="2d")
    counted = recent(features=windows("late", ["mean", "count"], over=["6h", "7d"]), available_at="done_at")
    weekday = derived("weekday", pl.col("at").dt.weekday())
    features = FeatureSet([counted, "distance", weekday, remark, "carrier"], TRIPS)
    assert features.kinds == {
        "recent.late_mean_6h": "numeric",
        "recent.late_count_6h": "numeric",
        "recent.late_mean_7d": "numeric",
        "recent.late_count_7d": "numeric",
        "distance": "numeric",
        "weekday": "numeric",
        "last.remark": "categorical",
        "carrier": "categorical",
    }
    assert features.request_columns() == ("carrier", "distance", "at")


def test_a_column_known_only_later_is_refused_with_when_it_is_known_and_the_fix():
    with pytest.raises(
        InvalidDeclaration, match=r"column 'late' would leak.*'done_at'.*'at'.*windows\(\.\.\."
    ):
        FeatureSet(["late"], TRIPS)
    with pytest.raises(InvalidDeclaration, match="column 'left_at' would leak"):
        FeatureSet([derived("taxi", pl.col("left_at").dt.minute())], TRIPS)
    with pytest.raises(
        InvalidDeclaration, match=r"'late' is known at 'done_at'.*write available_at='done_at'"
    ):
        recent(available_at="left_at")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"features": windows("nope", "mean", over=["3h"])}, r"no column 'nope' in dataset 'trips'.*id, at"),
        (
            {"features": windows("remark", "mean", over=["3h"])},
            r"'remark' of type String.*numbers or Booleans",
        ),
        ({"features": ["late", "left_late"]}, "known at different times"),
        ({"features": []}, "needs a list of columns"),
        ({"features": "late"}, "needs a list of columns"),
        ({"features": ["late", "late"]}, "each once"),
        ({"features": ["left_at"]}, "type Datetime"),
        ({"entity": "nope"}, "no column 'nope'"),
        ({"entity": "remark"}, "entity 'remark', known only at 'done_at'"),
        ({"ttl": "3h"}, "ttl beside its windows"),
        ({"features": ["late"], "ttl": "soon"}, "ttl='soon', which is not understood"),
        ({"available_at": "nope"}, r"no time 'nope'.*at, left_at, done_at"),
    ],
)
def test_a_mistake_in_a_view_is_named(changes, match):
    with pytest.raises(InvalidDeclaration, match=match):
        recent(**changes)


@pytest.mark.parametrize("over", [[], ["3h", "3h"], ["1d", "24h"], ["soon"], ["-3h"], ["0s"]])
def test_bad_windows_are_refused(over):
    with pytest.raises(InvalidDeclaration, match=r"windows 'late'"):
        windows("late", "mean", over=over)


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("distance").mean(),
        pl.col("distance") - pl.col("distance").shift(1),
        pl.col("distance").rank().over("carrier"),
        (pl.col("distance") > pl.col("distance").max()).cast(pl.Int8) + 1,
        pl.when(pl.col("distance") > 1).then(pl.col("distance").sum()).otherwise(0),
        pl.all(),
        pl.col("distance", "at"),
        pl.lit(1),
        "distance",
    ],
)
def test_a_derived_feature_looks_at_one_row_only(expr):
    with pytest.raises(InvalidDeclaration, match="feature 'x'"):
        derived("x", expr)


def test_mistakes_in_the_list_of_features_are_named():
    with pytest.raises(InvalidDeclaration, match="feature 'carrier' is declared twice"):
        FeatureSet(["carrier", "carrier"], TRIPS)
    with pytest.raises(InvalidDeclaration, match="has no column 'nope'"):
        FeatureSet(["nope"], TRIPS)
    with pytest.raises(InvalidDeclaration, match="has no column 'nope'"):
        FeatureSet([derived("x", pl.col("nope") + 1)], TRIPS)
    with pytest.raises(InvalidDeclaration, match=r"feature 'at' has the type Datetime.*derived\('at_hour'"):
        FeatureSet(["at"], TRIPS)
    with pytest.raises(InvalidDeclaration, match="has no column 'place'"):
        FeatureSet([FeatureView("w", source=WEATHER, entity="place", features=["wind"])], TRIPS)
    with pytest.raises(InvalidDeclaration, match="cannot be computed"):
        FeatureSet([derived("x", pl.col("carrier").dt.hour())], TRIPS)
    with pytest.raises(InvalidDeclaration, match="gives Datetime"):
        FeatureSet([derived("x", pl.col("at").dt.truncate("1d"))], TRIPS)
    with pytest.raises(InvalidDeclaration, match="no known kind"):
        FeatureSet([3], TRIPS)
    with pytest.raises(InvalidDeclaration, match="are empty"):
        FeatureSet([], TRIPS)


def test_an_entity_of_another_type_is_refused():
    rows = pl.DataFrame({"id": ["a"], "at": [dt.datetime(2013, 1, 1)], "station": ["7"]})
    asking = Dataset("asking", source=Frame(rows), key="id", event_time="at")
    view = FeatureView("w", source=WEATHER, entity="station", features=["wind"])
    with pytest.raises(InvalidDeclaration, match="has String in 'station' where dataset 'weather' has Int64"):
        FeatureSet([view], asking)


@pytest.mark.parametrize(
    "expr",
    [
        pl.col("at").dt.convert_time_zone("America/New_York").dt.hour(),
        pl.when(pl.col("distance") > 1000).then(pl.lit("far")).otherwise(pl.lit("near")),
        pl.col("carrier").is_in(["AA", "UA"]),
        pl.concat_str("carrier", "distance", separator="-"),
        pl.max_horizontal("distance", pl.lit(100)),
        pl.col("distance").fill_null(0).log1p() / 3,
    ],
)
def test_functions_of_one_row_are_taken(expr):
    FeatureSet([derived("x", expr)], TRIPS)


def test_a_derived_feature_reads_features_of_views_and_columns():
    slow = derived("slow", pl.col("distance") / pl.col("recent__late_mean_6h"))
    features = FeatureSet([slow, recent()], TRIPS)
    assert features.request_columns() == ("distance", "carrier")
    assert features.read_of_views(slow) == {"recent__late_mean_6h": "recent.late_mean_6h"}
    assert features.computing(["slow"]) == list(features.declared)
    with pytest.raises(
        InvalidDeclaration, match=r"'recent__late_mean_6h' is no feature of a view.*are: none"
    ):
        FeatureSet([slow], TRIPS)
    with pytest.raises(InvalidDeclaration, match=r"are: recent__late_mean_6h, recent__late_mean_7d"):
        FeatureSet([recent(), derived("x", pl.col("recent__late_sum_6h") + 1)], TRIPS)


def test_windows_of_texts_have_the_statistics_of_texts():
    view = recent(features=windows("remark", ["last", "distinct", share("lost")], over="6h"))
    assert view.kinds() == {
        "recent.remark_last_6h": "categorical",
        "recent.remark_distinct_6h": "numeric",
        "recent.remark_share_lost_6h": "numeric",
    }
    with pytest.raises(
        InvalidDeclaration, match=r"type String for max, which is of numbers.*texts have count"
    ):
        recent(features=windows("remark", ["last", "max"], over="6h"))
    with pytest.raises(InvalidDeclaration, match=r"Boolean for share is lost, which is of a text"):
        recent(features=windows("late", share("lost"), over="6h"))
