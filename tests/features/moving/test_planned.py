"""Each thing of a registry is imported, or left out with a reason that names it."""

from __future__ import annotations

import json

import pytest

from varv.features.moving.declaring import declaration
from varv.features.moving.planned import planned
from varv.features.moving.registry import registry_in_dump

FILE = {
    "name": "rows",
    "type": "BATCH_FILE",
    "timestampField": "at",
    "fileOptions": {"uri": "s3://bucket/rows.parquet"},
}


def view(name="v", **changes):
    features = [{"name": "x", "valueType": "DOUBLE"}, {"name": "y", "valueType": "STRING"}]
    spec = {"name": name, "entities": ["k"], "features": features, "batchSource": FILE, "ttl": "5400s"}
    return {"spec": {**spec, **changes}}


def plan_of(**objects):
    entities = [{"spec": {"name": "k", "joinKey": "key"}}]
    text = json.dumps({"project": "p", "entities": entities, **objects})
    return planned(registry_in_dump(text.encode(), "p"), lambda source, keys: None)


def said(plan, kind="not imported"):
    return [one.line() for one in plan.differences if one.kind == kind]


def test_a_plain_view_is_imported_and_nothing_is_left_out():
    plan = plan_of(featureViews=[view()])
    assert (plan.views[0].columns, plan.views[0].ttl) == (("x", "y"), "1h30m")
    assert plan.datasets[0].keys == ("key",)
    assert said(plan) == []
    assert said(plan, "changed") == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"disabled": True}, "view v: it is disabled"),
        ({"batchSource": None}, "view v: it has no rows of its own"),
        ({"featureTransformation": {"userDefinedFunction": {}}, "mode": "ray"}, "view v: code computes it"),
        ({"features": [{"name": "x", "valueType": "MAP"}]}, "view v: none of its features"),
        ({"batchSource": FILE | {"type": "BATCH_SPARK"}}, "source rows: its rows are in Spark"),
        ({"batchSource": FILE | {"type": "CUSTOM_SOURCE"}}, "source rows: its rows are read by code"),
        ({"batchSource": FILE | {"dataSourceClassType": "my.Own"}}, "source rows: its rows are read by code"),
        ({"batchSource": FILE | {"timestampField": "at time"}}, "source rows: its column of times 'at time'"),
        (
            {"batchSource": FILE | {"fileOptions": {"fileFormat": {"deltaFormat": {}}, "uri": "t"}}},
            "source rows: it is a table of Delta",
        ),
    ],
)
def test_what_cannot_be_imported_is_left_out_with_its_reason(changes, why):
    plan = plan_of(featureViews=[view(**changes)], featureServices=[service({"featureViewName": "v"})])
    assert any(one.startswith(why) for one in said(plan)), said(plan)
    assert "service s: v is not imported" in said(plan)
    assert plan.lists[0].items == ()
    compile(declaration(plan, "/srv"), "declared", "exec")


def service(*projections):
    return {"spec": {"name": "s", "features": list(projections)}}


def test_services_say_what_they_take_otherwise():
    plan = plan_of(
        featureViews=[view("a"), view("b"), view("c")],
        featureServices=[
            service(
                {"featureViewName": "a", "featureColumns": [{"name": "x"}]},
                {
                    "featureViewName": "b",
                    "featureColumns": [{"name": "x"}, {"name": "y"}],
                    "joinKeyMap": {"key": "other"},
                },
                {
                    "featureViewName": "c",
                    "featureViewNameAlias": "d",
                    "featureColumns": [{"name": "x"}, {"name": "y"}],
                },
            )
        ],
    )
    assert plan.lists[0].items == ("a", "b_other", "c")
    assert said(plan) == []
    assert [(use.name, use.of.name, use.asked_by) for use in plan.uses] == [
        ("b_other", "b", {"key": "other"})
    ]
    assert plan.lists[0].notes == ("Feast takes of a only: x", "c is called d there")
    assert 'b_other = b.used_as("b_other", asked_by={"key": "other"})' in declaration(plan, "/feast")


def test_aggregations_become_a_view_for_each_column_and_window():
    hour, day = "3600s", "86400s"
    aggregations = [
        {"column": "x", "function": "avg", "timeWindow": hour},
        {"column": "x", "function": "max", "timeWindow": hour},
        {"column": "x", "function": "sum", "timeWindow": day},
        {"column": "y", "function": "count_distinct", "timeWindow": hour},
        {"column": "x", "function": "skewness", "timeWindow": hour},
        {"column": "x", "function": "sum"},
    ]
    stream = {"type": "STREAM_KINESIS", "name": "k", "batchSource": FILE}
    found = view(aggregations=aggregations, streamSource=stream, userDefinedFunction={"name": "f"})
    plan = plan_of(streamFeatureViews=[found])
    windows = [(one.name, one.columns, one.statistics, one.window) for one in plan.views]
    assert windows == [
        ("v_x_1h", ("x",), ("mean", "max"), "1h"),
        ("v_x_1d", ("x",), ("sum",), "1d"),
        ("v_y_1h", ("y",), ("distinct",), "1h"),
    ]
    assert said(plan) == [
        "aggregation v:skewness(x): is no statistic of windows here",
        "aggregation v:sum(x): has no window",
        "stream k: rows come from Kinesis (): send them as rows of the dataset rows",
    ]


def test_a_view_on_demand_reads_views_and_requests_by_their_names_here():
    projection = {"featureViewName": "V", "featureColumns": [{"name": "x"}, {"name": "z"}]}
    request = {"requestDataOptions": {"schema": [{"name": "r", "valueType": "INT64"}]}}
    sources = {"V": {"featureViewProjection": projection}, "r": {"requestDataSource": request}}

    def on_demand(body, *features):
        function = {"bodyText": f"def f(inputs):\n    return {body}\n"}
        spec = {"name": "d", "sources": sources, "featureTransformation": {"userDefinedFunction": function}}
        return {"spec": {**spec, "features": [{"name": one} for one in features]}}

    body = '{"sum": inputs["x"] + inputs["V__x"] + inputs["r"]}'
    plan = plan_of(featureViews=[view("V")], onDemandFeatureViews=[on_demand(body, "sum")])
    assert plan.derived[0].code == 'pl.col("v__x") + pl.col("v__x") + pl.col("r")'
    assert plan.derived[0].reads == ("v",)
    for wrong, features, why in (
        ('{"sum": inputs["z"]}', ["sum"], "z is not imported"),
        ('{"sum": inputs["x"]}', ["other"], "it does not say how other is computed"),
        ('{"sum": max(inputs["x"])}', ["sum"], "it has `max(inputs['x'])`"),
    ):
        plan = plan_of(featureViews=[view("V")], onDemandFeatureViews=[on_demand(wrong, *features)])
        assert said(plan) == [f"on-demand view d: is not arithmetic of columns: {why}"]
        assert "# d = varv.derived" in declaration(plan, "/srv")


def test_a_view_on_demand_reads_a_view_that_it_joins_by_other_columns():
    sources = {}
    for alias, more in (("here", {}), ("there", {"joinKeyMap": {"key": "other"}})):
        projection = {"featureViewName": "v", "featureViewNameAlias": alias, **more}
        sources[alias] = {"featureViewProjection": {**projection, "featureColumns": [{"name": "x"}]}}
    function = {"bodyText": 'def f(inputs):\n    return {"gap": inputs["there__x"] - inputs["here__x"]}\n'}
    spec = {"name": "d", "sources": sources, "featureTransformation": {"userDefinedFunction": function}}
    service = {"spec": {"name": "s", "features": [{"featureViewName": "d", "featureColumns": []}]}}
    plan = plan_of(
        featureViews=[view("v")],
        onDemandFeatureViews=[{"spec": {**spec, "features": [{"name": "gap"}]}}],
        featureServices=[service],
    )
    assert said(plan) == []
    assert [(use.name, use.asked_by) for use in plan.uses] == [("there", {"key": "other"})]
    assert plan.derived[0].code == 'pl.col("there__x") - pl.col("v__x")'
    text = declaration(plan, "/srv")
    assert text.index("there = v.used_as(") < text.index("gap = varv.derived(")
    assert plan.lists[0].items == ("there", "v", "gap")
