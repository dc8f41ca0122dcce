"""The list of a ranked request is kept with its prediction, whichever way it came."""

from __future__ import annotations

import polars as pl
from tests.serving.said import NOW, SAID, FixedRuntime, answering, fixed, schema_of
from tests.serving.samples import table

from varv.features import FeatureEngine, FeatureStore
from varv.serving import DataPlane, predicted
from varv.serving.capture import read_captures
from varv.serving.prediction_log import served_frames
from varv.serving.scores import answer_schema

RANKING, ROW = SAID["ranking"]


def test_the_list_comes_back_from_the_log_as_it_was_sent(tmp_path):
    served = answering(tmp_path, "sorted", RANKING, ROW)
    served.answer({"x": [1.0, 2.0], "query": ["shoes", "hats"]}, "both")
    [path] = served._log.seal()
    frames = served_frames(schema_of("sorted", RANKING), read_captures(path))
    assert frames.predictions["group"].to_list() == ["shoes", "hats"]
    assert frames.requests["query"].to_list() == ["shoes", "hats"]


def test_a_past_request_keeps_its_list_before_and_after_the_first_champion():
    schema = schema_of("sorted", RANKING)
    requests = pl.DataFrame(
        {"id": ["a", "b"], "asked_at": [NOW, NOW], "query": ["shoes", None], "x": [1.0, 2.0]},
        schema_overrides={"asked_at": pl.Datetime("us", "UTC")},
    )
    engine = FeatureEngine(schema.features, schema.requests, FeatureStore())
    plane = DataPlane(RANKING, FixedRuntime())
    before = predicted(schema, engine, plane, requests)
    plane.warm(1, fixed(RANKING, ROW))
    plane.swap(table(1))
    after = predicted(schema, engine, plane, requests)
    assert before["group"].to_list() == after["group"].to_list() == ["shoes", ""]
    assert before.schema == after.schema
    assert after["score"].to_list() == [2.5, 2.5]


def test_only_a_task_with_lists_keeps_them():
    assert answer_schema(RANKING)["group"] == pl.String
    assert all("group" not in answer_schema(task) for name, (task, _) in SAID.items() if name != "ranking")
