"""Requests and answers are transformed as declared; what is captured is what the version said."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.serving.said import NOW, FixedRuntime, fixed, schema_of
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureStore
from varv.kernel.clock import VirtualClock
from varv.kernel.errors import Corrupt, FailedPrecondition, InvalidInput, UserCodeFailed
from varv.serving import Answering, CaptureLog, DataPlane
from varv.serving.capture import read_captures
from varv.serving.policy import Check, LogPolicy, ServingPolicy
from varv.serving.prediction_log import served_frames
from varv.serving.transforming import AFTER, BEFORE

BINARY = varv.task.binary()
KM = varv.transform({"x": pl.col("miles") * 1.5}, inputs={"miles": float})
LABEL = varv.transform(
    {
        "label": pl.when(pl.col("probability") >= 0.2).then(pl.lit("late")).otherwise(pl.lit("on time")),
        "probability": pl.col("probability").round(0),
    }
)


class Called:
    """A function of columns that another process would run, and that can be made to fail."""

    def __init__(self, made):
        self.made = made
        self.error = None
        self.asked = []

    def load(self, transform, reads):
        return self

    def call(self, columns):
        self.asked.append(columns)
        if self.error is not None:
            raise self.error
        return self.made(columns)


def answering(
    folder, *, before=None, after=None, task=BINARY, said=(0.25,), checks=(), log=None, transforms=None
):
    schema = schema_of("transformed", task)
    policy = ServingPolicy(
        checks=checks,
        log=log or LogPolicy(),
        before=None if before is None else before.of_requests("transformed", schema.requests),
        after=None if after is None else after.of_answers("transformed", task),
    )
    schema = replace(schema, serving=policy)
    plane = DataPlane(task, FixedRuntime())
    plane.warm(1, fixed(task, said))
    plane.swap(table(1))
    engine = FeatureEngine(schema.features, schema.requests, FeatureStore())
    captures = CaptureLog(folder / "log")
    made = Answering(schema, engine, plane, captures, VirtualClock(NOW), transforms=transforms)
    return (
        made,
        lambda: served_frames(schema, [x for p in captures.seal() for x in read_captures(p)]).predictions,
    )


def asked(made, way="answer", **columns):
    n = len(next(iter(columns.values())))
    return getattr(made, way)({"query": ["q"] * n, **columns}, "r")


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
def test_a_model_reads_what_is_made_and_callers_send_the_rest(way, tmp_path):
    made, kept = answering(tmp_path, before=KM)
    assert made.columns.keys() >= {"miles", "query"}
    assert "x" not in made.columns
    assert not made.waits
    asked(made, way, miles=[2.0, 4])
    assert kept()["x"].to_list() == [3.0, 6.0]


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
def test_an_answer_shows_what_is_made_and_the_log_keeps_the_score(way, tmp_path):
    made, kept = answering(tmp_path, after=LABEL)
    answered = asked(made, way, x=[1.0])
    assert dict(answered.shown) == {"label": ["late"], "probability": [0.0]}
    assert answered.scores.tolist() == [[0.25]]
    [score] = kept()["score"].to_list()
    assert score == 0.25
    assert [one.name for one in made.tensors] == [], "what is shown in its place is not said twice"


def test_each_of_several_callers_sees_what_was_made_of_its_rows(tmp_path):
    double = varv.transform({"double": pl.col("probability") * 2, "by": pl.col("arm")})
    made, _ = answering(tmp_path, after=double)
    several = [
        made.ready({"query": ["q"], "x": [1.0]}, "r"),
        made.ready({"query": ["q"] * 2, "x": [1.0, 2]}, "s"),
    ]
    found = made.answer_together(several)
    assert [list(one.shown["double"]) for one in found] == [[0.5], [0.5, 0.5]]
    assert list(found[1].shown["by"]) == ["champion"] * 2


def test_a_transformation_comes_before_the_checks(tmp_path):
    made, _ = answering(tmp_path, before=KM, checks=(Check(column="x", high=10.0, otherwise="flag"),))
    assert dict(asked(made, miles=[2.0, 20.0]).flagged) == {"x": [1]}


def test_who_does_not_send_what_is_read_is_told(tmp_path):
    made, _ = answering(tmp_path, before=KM)
    with pytest.raises(InvalidInput, match=r"'miles' is missing .*send miles"):
        asked(made, x=[1.0])
    with pytest.raises(InvalidInput, match="miles"):
        asked(made, miles=["far"])


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
@pytest.mark.parametrize("otherwise", ["reject", "pass", "default"])
def test_what_fails_before_a_model_is_refused_or_goes_on_marked(otherwise, way, tmp_path):
    called = Called(lambda columns: {"x": [value + 1 for value in columns["x"]]})
    default = {"x": 9.0} if otherwise == "default" else None
    before = varv.transform(
        plus_one, inputs={"x": float}, outputs=["x"], otherwise=otherwise, default=default
    )
    made, kept = answering(tmp_path, before=before, transforms=called)
    assert made.waits
    assert made.ready({"query": ["q"], "x": [1.0]}, "r") is None, "it is never called on the event loop"
    asked(made, way, x=[1.0])
    called.error = UserCodeFailed("function", "plus_one", "raised ValueError")
    if otherwise == "reject":
        with pytest.raises(UserCodeFailed):
            asked(made, way, x=[1.0])
        assert kept()["x"].to_list() == [2.0]
        return
    assert [*asked(made, way, x=[1.0, 2.0]).flagged] == [BEFORE]
    found = kept()
    assert found["x"].to_list() == [2.0, *([9.0, 9.0] if default else [1.0, 2.0])]
    assert found["flagged"].to_list() == [None, BEFORE, BEFORE]


@pytest.mark.parametrize("otherwise", ["reject", "pass", "default"])
def test_what_fails_after_a_model_is_refused_or_shown_marked(otherwise, tmp_path):
    called = Called(lambda columns: {"label": ["late"] * len(columns["probability"])})
    default = {"label": "?"} if otherwise == "default" else None
    after = varv.transform(plus_one, outputs={"label": str}, otherwise=otherwise, default=default)
    made, kept = answering(tmp_path, after=after, transforms=called)
    assert made.waits
    assert made.has_fallback == (otherwise != "reject")
    assert list(asked(made, x=[1.0]).shown["label"]) == ["late"]
    assert called.asked[0] == {"probability": [0.25], "version": [1], "arm": ["champion"]}
    called.error = Corrupt("endpoint", "clean", "fails to answer")
    if otherwise == "reject":
        with pytest.raises(Corrupt):
            asked(made, x=[1.0])
        assert kept()["score"].to_list() == [0.25], "who is refused leaves nothing"
        return
    answered = asked(made, x=[1.0])
    assert [*answered.flagged] == [AFTER]
    assert list(answered.shown["label"]) == ["?" if default else None]
    assert answered.scores.tolist() == [[0.25]]
    assert kept()["flagged"].to_list() == [None, AFTER]


def test_of_several_callers_none_is_passed_on_for_anothers_row(tmp_path):
    called = Called(lambda columns: {"label": ["late"] * len(columns["probability"])})
    after = varv.transform(plus_one, outputs={"label": str}, otherwise="pass")
    made, _ = answering(tmp_path, after=after, transforms=called)
    several = [made.ready({"query": ["q"], "x": [1.0]}, name) for name in "rs"]
    called.error = UserCodeFailed("function", "plus_one", "raised ValueError")
    with pytest.raises(UserCodeFailed):
        made.answer_together(several)


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ({"label": ["a"], "more": ["b"]}, "answers with other columns"),
        ({"label": []}, "does not answer with 1 values"),
        ({"label": [3]}, "of the kind 'text'"),
    ],
)
def test_what_a_function_returns_is_not_believed(returned, told, tmp_path):
    after = varv.transform(plus_one, outputs={"label": str})
    made, _ = answering(tmp_path, after=after, transforms=Called(lambda columns: returned))
    with pytest.raises(Corrupt, match=told):
        asked(made, x=[1.0])


def test_what_is_no_number_is_shown_as_null(tmp_path):
    made, _ = answering(tmp_path, after=varv.transform({"odds": pl.col("probability") / 0}))
    assert list(asked(made, x=[1.0]).shown["odds"]) == [None]


def test_numbers_of_several_are_read_one_by_one(tmp_path):
    task = varv.task.multiclass(classes=["A", "B"])
    after = varv.transform({"sure": pl.max_horizontal("probabilities.A", "probabilities.B")})
    made, _ = answering(tmp_path, after=after, task=task, said=(0.75, 0.25))
    assert list(asked(made, x=[1.0]).shown["sure"]) == [0.75]


def test_questions_about_a_version_are_transformed_alike(tmp_path):
    made, _ = answering(tmp_path, before=KM, after=LABEL)
    answered = made.questions.answer(1, {"query": ["q"], "miles": [2.0]}, "r")
    assert answered.shown["label"] == ["late"]
    assert not answered.captured


def test_who_may_ask_nobody_elsewhere_does_not_begin(tmp_path):
    with pytest.raises(FailedPrecondition, match="runs elsewhere"):
        answering(tmp_path, after=varv.transform(plus_one, outputs={"label": str}))


def plus_one(columns):
    return {"x": [value + 1 for value in columns["x"]]}
