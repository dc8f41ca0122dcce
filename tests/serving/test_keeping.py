"""What of requests is kept: a share that is on record, nothing of some columns, digests of others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.serving.said import NOW, FixedRuntime, fixed
from tests.serving.samples import table

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.kernel.clock import VirtualClock
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.kernel.secret import Secret
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema
from varv.serving.capture import read_captures
from varv.serving.policy import LogPolicy, ServingPolicy
from varv.serving.prediction_log import served_frames

TASK = varv.task.binary()
PAST = pl.DataFrame(
    {"id": ["a"], "asked_at": [NOW], "x": [1.0], "unit": ["u"], "mail": ["m"], "age": [3], "born": [NOW]},
    schema_overrides={"asked_at": TIME, "born": TIME},
)
DATA = varv.Dataset("asked", source=varv.Frame(PAST), key="id", event_time="asked_at", known_at={})
PLAIN = RequestSchema(ModelName("m"), DATA, FeatureSet(("x",), DATA), TASK, "unit")


class Kept:
    """A model whose log follows a policy."""

    def __init__(self, folder, policy, *, secret="key", log="log"):
        self.schema = replace(PLAIN, serving=ServingPolicy(log=policy))
        plane = DataPlane(TASK, FixedRuntime())
        for version in (1, 2):
            plane.warm(version, fixed(TASK, (version / 8,)))
        plane.swap(table(1, candidate=2, share=0.5))
        self.log = CaptureLog(folder / log)
        engine = FeatureEngine(self.schema.features, DATA, FeatureStore())
        key = Secret(folder / secret) if secret else None
        clock = VirtualClock(NOW)
        self.answering = Answering(
            self.schema, engine, plane, self.log, clock, secret=key, nullable=frozenset({"mail", "age"})
        )

    def frames(self):
        return served_frames(self.schema, [line for path in self.log.seal() for line in read_captures(path)])


def columns(*units, **more):
    n = len(units)
    return {
        "x": [float(number) for number in range(n)],
        "unit": list(units),
        "mail": [f"{unit}@home" for unit in units],
        "age": [2**60 + number for number in range(n)],
        **more,
    }


@pytest.mark.parametrize("way", ["answer", "answer_generally"])
def test_nothing_is_kept_of_a_column_and_digests_of_another(way, tmp_path):
    kept = Kept(tmp_path, LogPolicy(redact=("age", "born"), pseudonymise=("mail",)))
    getattr(kept.answering, way)(columns("a", "b", born=["2020-01-01", "2021-01-01"]), "r")
    getattr(kept.answering, way)(columns("b", mail=[None]), "s")
    requests = kept.frames().requests
    assert requests["age"].to_list() == requests["born"].to_list() == [None] * 3
    first, second, none = requests["mail"].to_list()
    assert none is None
    assert len({first, second}) == 2
    assert not any("@" in text or len(text) != 24 for text in (first, second))
    again = Kept(tmp_path, LogPolicy(pseudonymise=("mail",)), log="again")
    again.answering.answer(columns("b"), "r")
    assert again.frames().requests["mail"].to_list() == [second], "the same text has the same digest"
    other = Kept(tmp_path, LogPolicy(pseudonymise=("mail",)), secret="another", log="other")
    other.answering.answer(columns("b"), "r")
    assert other.frames().requests["mail"].to_list() != [second], "and another one under another key"


def test_digests_need_a_key(tmp_path):
    with pytest.raises(FailedPrecondition):
        Kept(tmp_path, LogPolicy(pseudonymise=("mail",)), secret=None)


def test_a_unit_is_kept_with_all_its_requests_or_not_at_all(tmp_path):
    kept = Kept(tmp_path, LogPolicy(share=0.3))
    units = [f"u{number % 200}" for number in range(1000)]
    said = kept.answering.answer(columns(*units), "r")
    assert said.n_rows == 1000
    assert not said.captured, "not all of it is on record"
    frames = kept.frames()
    found = Counter(frames.requests["unit"].to_list())
    assert set(found.values()) == {5}
    assert abs(len(found) / 200 - 0.3) < 0.1
    predictions = frames.predictions
    assert predictions["logged_share"].unique().to_list() == [0.3]
    # The arm depends on another coin, so a sample has both in their shares.
    assert abs((predictions["arm"] == "candidate").mean() - 0.5) < 0.2
    by_key = dict(zip(said.keys, said.scores[:, 0].tolist(), strict=True))
    assert all(by_key[key] == score for key, score in predictions.select("key", "score").iter_rows())


@pytest.mark.parametrize("together", [True, False])
def test_each_of_several_requests_is_told_whether_it_is_kept(together, tmp_path):
    kept = Kept(tmp_path, LogPolicy(share=0.5))
    asked = [(columns(f"u{number}", f"u{number}", age=[1, 2]), f"r{number}") for number in range(40)]
    if together:
        ready = [kept.answering.ready(*one) for one in asked]
        said = kept.answering.answer_together(ready)
    else:
        said = [kept.answering.answer_generally(*one) for one in asked]
    told = {one.keys[0] for one in said if one.captured}
    on_record = set(kept.frames().predictions["key"].to_list())
    assert told == {key for key in on_record if key.endswith("-0")}
    assert 0 < len(told) < 40
    assert np.isfinite([one.scores for one in said]).all()
