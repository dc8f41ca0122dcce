"""What is answered when the champion cannot, how it is marked, and what no statistic takes for an answer."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.serving.said import CLASSES, NOW, fixed, schema_of
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureStore
from varv.kernel.clock import MINUTE, VirtualClock, wall_seconds
from varv.kernel.errors import NotFound, UserCodeFailed
from varv.kernel.ids import ModelName, Version
from varv.serving import Answering, CaptureLog, DataPlane, RoutingShare, RoutingTable
from varv.serving.capture import read_captures
from varv.serving.fleet import DataPlanes
from varv.serving.policy import CachedStep, DefaultStep, FormerStep, ServingPolicy
from varv.serving.prediction_log import served_frames

BINARY = varv.task.binary()


class Fragile:
    """Says its number of every row, unless it is broken or asked of the number 13."""

    def __init__(self, row):
        self.row, self.broken = row, False

    def predict(self, rows):
        if self.broken or (rows[:, 0] == 13).any():
            raise RuntimeError("the model broke")
        return np.tile(np.array(self.row, np.float32), (len(rows), 1))


class FragileRuntime:
    def __init__(self):
        self.made = {}

    def load(self, package, *, threads=1):
        row = msgspec.json.decode(package.file("row"), type=tuple[float, ...])
        return self.made.setdefault(row, Fragile(row))


class Served:
    """A model that can be broken, behind its plan and its log."""

    def __init__(self, folder, policy, task=BINARY, said=None):
        self.runtime = FragileRuntime()
        self.schema = replace(schema_of("fragile", task), serving=policy)
        self.plane = DataPlane(task, self.runtime, wall_seconds)
        self.plane.serve_by(policy)
        for version, row in (said or {1: (0.25,)}).items():
            self.plane.warm(version, fixed(task, row))
        self.plane.swap(table(1, champion=max(said or {1: 0})))
        self.log = CaptureLog(folder / "log")
        engine = FeatureEngine(self.schema.features, self.schema.requests, FeatureStore())
        self.answering = Answering(self.schema, engine, self.plane, self.log, VirtualClock(NOW))

    def ask(self, *values, way="answer"):
        """Return version, arm and answer of each row."""
        found = getattr(self.answering, way)({"x": list(values), "query": ["q"] * len(values)}, "r")
        return list(zip(found.versions, found.arms, [one[0] for one in found.scores.tolist()], strict=True))

    def kept(self):
        lines = [line for path in self.log.seal() for line in read_captures(path)]
        return served_frames(self.schema, lines).predictions

    def break_(self, *rows):
        for row, model in self.runtime.made.items():
            model.broken = row in rows


def test_without_a_declaration_a_broken_model_is_an_error(tmp_path):
    served = Served(tmp_path, ServingPolicy())
    served.break_((0.25,))
    with pytest.raises(UserCodeFailed):
        served.ask(1.0)


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
def test_the_declared_default_is_answered_and_marked(way, tmp_path):
    served = Served(tmp_path, ServingPolicy(fallback=(DefaultStep((0.75,)),)))
    assert served.ask(1.0, way=way) == [(1, "champion", 0.25)]
    served.break_((0.25,))
    assert served.ask(1.0, 2.0, way=way) == [(1, "default", 0.75)] * 2
    kept = served.kept()
    assert kept["answered_by"].to_list() == [None, "default", "default"]
    assert kept["arm"].to_list() == ["champion"] * 3, "who was to answer is on record"
    assert kept["score"].to_list() == [0.25, 0.75, 0.75]
    assert kept["champion_score"].to_list() == [0.25, None, None], "a version is measured by its own answers"


def test_what_a_version_said_of_the_same_inputs_comes_before_the_default(tmp_path):
    policy = ServingPolicy(fallback=(CachedStep(MINUTE), DefaultStep((0.75,))))
    served = Served(tmp_path, policy)
    served.ask(1.0)
    served.break_((0.25,))
    assert served.ask(1.0, 2.0) == [(1, "cached", 0.25), (1, "default", 0.75)]
    assert served.kept()["answered_by"].to_list() == [None, "cached", "default"]


def test_the_champion_before_answers_from_reserve(tmp_path):
    policy = ServingPolicy(fallback=(FormerStep(), DefaultStep((0.75,))))
    served = Served(tmp_path, policy, said={1: (0.5,), 2: (0.25,)})
    served.plane.reserve(1)
    served.break_((0.25,))
    assert served.ask(1.0) == [(1, "fallback", 0.5)]
    assert served.kept()["answered_by"].to_list() == ["fallback:1"]
    served.break_((0.25,), (0.5,))
    assert served.ask(1.0) == [(2, "default", 0.75)]
    served.plane.unload(1)
    assert served.ask(1.0) == [(2, "default", 0.75)]


def test_who_scores_along_in_a_probation_answers_too(tmp_path):
    served = Served(tmp_path, ServingPolicy(fallback=(FormerStep(),)), said={1: (0.5,), 2: (0.25,)})
    alone = (RoutingShare(Version(2), 1.0),)
    served.plane.swap(RoutingTable(epoch=2, shares=alone, former=Version(1), salt="s"))
    served.break_((0.25,))
    assert served.ask(1.0) == [(1, "fallback", 0.5)]


def test_a_candidate_that_works_answers_its_own_requests(tmp_path):
    served = Served(tmp_path, ServingPolicy(fallback=(DefaultStep((0.75,)),)), said={2: (0.5,), 3: (0.25,)})
    served.plane.swap(table(2, champion=3, candidate=2, share=0.5))
    served.break_((0.25,))
    found = [served.answering.answer({"x": [1.0], "query": ["q"]}, f"r{n}") for n in range(40)]
    said = {(one.arms[0], float(one.scores[0, 0])) for one in found}
    assert said == {("candidate", 0.5), ("default", 0.75)}


def test_one_request_that_breaks_the_model_does_not_cost_the_others_their_answer(tmp_path):
    served = Served(tmp_path, ServingPolicy(fallback=(DefaultStep((0.75,)),)))
    ready = [
        served.answering.ready({"x": [x], "query": ["q"]}, f"r{n}") for n, x in enumerate((1.0, 13.0, 2.0))
    ]
    with pytest.raises(UserCodeFailed):
        served.answering.answer_together(ready)
    assert [served.ask(x)[0][1] for x in (1.0, 13.0, 2.0)] == ["champion", "default", "champion"]


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
def test_an_answer_that_is_not_sure_enough_is_held_back(way, tmp_path):
    served = Served(tmp_path, ServingPolicy(abstain_below=0.8))
    [(version, arm, score)] = served.ask(1.0, way=way)
    assert (version, arm) == (1, "abstained")
    assert np.isnan(score)
    kept = served.kept()
    assert kept.select("answered_by", "score", "champion_score").row(0) == ("abstained", None, 0.25)
    sure = Served(tmp_path / "sure", ServingPolicy(abstain_below=0.75))
    assert sure.ask(1.0, way=way) == [(1, "champion", 0.25)]


def test_a_class_that_is_held_back_has_no_label(tmp_path):
    task = varv.task.multiclass(classes=CLASSES)
    served = Served(tmp_path, ServingPolicy(abstain_below=0.6), task, {1: (0.5, 0.25, 0.25)})
    found = served.answering.answer({"x": [1.0], "query": ["q"]}, "r")
    [label] = [one.values(found.scores) for one in task.tensors() if one.name == "label"]
    assert label == [""]


def test_a_version_is_asked_once_for_the_same_while_its_answer_is_fresh(tmp_path):
    served = Served(tmp_path, ServingPolicy(cache=MINUTE))
    served.ask(1.0)
    served.break_((0.25,))
    assert served.ask(1.0) == [(1, "champion", 0.25)]
    with pytest.raises(UserCodeFailed):
        served.ask(2.0)


def test_flags_are_told_and_kept_with_each_row(tmp_path):
    checks = (
        varv.check("x", high=10, otherwise="flag"),
        varv.check("query", required=True, otherwise="default", default="none"),
    )
    served = Served(tmp_path, ServingPolicy(checks=checks))
    for way in ("answer", "answer_generally"):
        found = getattr(served.answering, way)({"x": [1.0, 11.0]}, "r")
        assert found.flagged == {"x": [1], "query": [0, 1]}
    assert served.kept()["flagged"].to_list() == ["query", "query,x"] * 2
    ready = [served.answering.ready({"x": [x], "query": ["q"]}, f"r{n}") for n, x in enumerate((1.0, 20.0))]
    assert [one.flagged for one in served.answering.answer_together(ready)] == [{}, {"x": [0]}]


def test_a_model_keeps_its_champion_before_from_one_promotion_to_the_next():
    planes = DataPlanes(FragileRuntime(), {})
    name = ModelName("m")
    plane = planes.add(name, BINARY, ServingPolicy(fallback=(FormerStep(),)))
    for version in (1, 2, 3):
        plane.warm(version, fixed(BINARY, (version / 8,)))
    planes.apply(name, table(1, champion=1))
    planes.reserve(name, None)
    planes.apply(name, table(2, champion=2))
    planes.unload(name, Version(1))
    assert plane.in_force.before == 1
    assert plane.warm_versions == {1, 2, 3}
    planes.apply(name, table(3, champion=3))
    planes.unload(name, Version(2))
    assert (plane.in_force.before, plane.warm_versions) == (2, {2, 3})
    planes.keep_no_reserve(name)
    assert (plane.in_force.before, plane.warm_versions) == (None, {3}), "no longer declared"
    plane.warm(2, fixed(BINARY, (2 / 8,)))
    planes.reserve(name, Version(2))
    # What comes back was replaced by something worse, which is nobody to fall back on.
    planes.apply(name, table(4, champion=2))
    planes.unload(name, Version(3))
    assert (plane.in_force.before, plane.warm_versions) == (None, {2})


def test_a_version_that_is_named_is_asked_itself(tmp_path):
    served = Served(tmp_path, ServingPolicy(), said={1: (0.5,), 2: (0.25,)})
    found = served.answering.questions.answer(1, {"x": [1.0], "query": ["q"]}, "r")
    assert (found.versions, found.arms, found.captured) == ([1], ["named"], False)
    assert found.scores.tolist() == [[0.5]]
    assert not served.log.seal()
    with pytest.raises(NotFound):
        served.answering.questions.answer(7, {"x": [1.0], "query": ["q"]}, "r")
