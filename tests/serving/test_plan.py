"""A plan answers what the general way answers, to the last bit, or leaves the request to it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import varv
from varv.features import FeatureEngine, FeatureSet, FeatureStore
from varv.kernel.clock import HOUR, VirtualClock, instant
from varv.kernel.columns import TIME
from varv.kernel.environment import environment
from varv.kernel.errors import VarvError
from varv.kernel.ids import ModelName, Version
from varv.registry import Column, Package, Rows, Signature
from varv.serving import Answering, CaptureLog, DataPlane, RequestSchema, RoutingShare, RoutingTable
from varv.serving.capture import read_captures
from varv.serving.matrix import matrix_of
from varv.serving.plan import RequestPlan
from varv.serving.policy import ServingPolicy
from varv.serving.prediction_log import served_frames

NOW = instant("2024-05-02T09:30:00Z")
TYPES = {
    "id": pl.String(),
    "asked_at": TIME,
    "due": TIME,
    "size": pl.Float64(),
    "weight": pl.Float32(),
    "shelf": pl.Int16(),
    "account": pl.Int64(),
    "urgent": pl.Boolean(),
    "route": pl.String(),
    "note": pl.String(),
}
ROUTES = ["north", "south", "east", None, "unheard of"]


class Echo:
    """A model that says something of all that it is fed."""

    def __init__(self, scale: float):
        self._scale = scale

    def predict(self, rows: Rows) -> np.ndarray:
        if isinstance(rows, np.ndarray):
            numbers = np.nan_to_num(rows.astype(np.float64), nan=0.125, posinf=7.0, neginf=-7.0)
            said = (numbers * np.arange(1, rows.shape[1] + 1)).sum(axis=1)
        else:
            said = sum(
                np.array([len(text) for text in values])
                if values.dtype == object
                else np.nan_to_num(values.astype(np.float64), nan=0.125)
                for values in rows.values()
            )
        return (1 / (1 + np.exp(-np.asarray(said) * self._scale * 1e-3))).astype(np.float32).reshape(-1, 1)


class Echoes:
    def load(self, package: Package, *, threads: int = 1) -> Echo:
        return Echo(msgspec.json.decode(package.file("scale"), type=float))


def history(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    asked = NOW - rng.integers(1, 72 * HOUR, n)
    return pl.DataFrame(
        {
            "id": [f"h-{number}" for number in range(n)],
            "asked_at": asked,
            "due": asked + HOUR,
            "size": rng.normal(size=n),
            "weight": rng.normal(size=n),
            "shelf": rng.integers(0, 5, n),
            "account": rng.integers(0, 2**40, n),
            "urgent": rng.integers(0, 2, n) == 1,
            "route": rng.choice(["north", "south", "east"], n),
            "note": rng.choice(["", "fragile", "cold"], n),
            "done_at": asked + rng.integers(1, 12 * HOUR, n),
            "late": rng.integers(0, 2, n),
        },
        schema_overrides={**TYPES, "done_at": TIME, "late": pl.Int8()},
    ).with_columns(pl.col("asked_at", "due", "done_at").cast(TIME))


PAST = history()
DATA = varv.Dataset(
    "parcels", source=varv.Frame(PAST), key="id", event_time="asked_at", known_at={"done_at": ["late"]}
)
VIEWS = [
    varv.FeatureView("last", source=DATA, entity="route", features=["note", "size"], ttl="36h"),
    varv.FeatureView(
        "lately",
        source=DATA,
        entity="route",
        features=varv.windows("late", ["mean", "count"], over=["6h", "48h"]),
    ),
    varv.FeatureView("all", source=DATA, features=varv.windows("late", "mean", over=["24h"])),
    varv.FeatureView(
        "place", source=DATA, entity=["route", "shelf"], features=varv.windows("size", "mean", over=["72h"])
    ),
]
DERIVED = [
    varv.derived("hour", pl.col("due").dt.hour()),
    varv.derived("loud", pl.col("note").str.to_uppercase()),
]
PLAIN = ["size", "weight", "shelf", "account", "urgent", "route"]
OVER_VIEWS = [
    varv.derived("ratio", pl.col("size") / pl.col("all__late_mean_24h") + pl.col("lately__late_count_6h")),
    varv.derived("other", pl.col("last__note").fill_null("none") + pl.col("note").fill_null("")),
]
FEATURES = {
    "plain": PLAIN,
    "views": [*PLAIN, *VIEWS],
    "derived": [*PLAIN[2:], *DERIVED, VIEWS[1]],
    "over views": [OVER_VIEWS[0], "size", VIEWS[0], VIEWS[1], OVER_VIEWS[1], VIEWS[2]],
}


def package(features: FeatureSet, form: str, scale: float) -> Package:
    kinds = features.kinds
    columns = tuple(
        Column(name, "number")
        if kinds[name] == "numeric"
        else (
            Column(name, "text")
            if form == "columns"
            else Column(name, "category", ("east", "FRAGILE", "north"))
        )
        for name in reversed(features.names)
    )
    signature = Signature(columns, form=form)
    return Package(
        estimator="echo",
        signature=signature,
        environment=environment(),
        params={},
        seed=0,
        n_rows=1,
        task=varv.task.binary().spec,
        runtime="echo",
        files={"scale": msgspec.json.encode(scale)},
        probe=(),
        probe_scores=(),
    )


def store() -> FeatureStore:
    made = FeatureStore()
    made_engine = FeatureEngine(FeatureSet([*PLAIN, *VIEWS], DATA), DATA, made)
    assert len(made_engine.histories) == len(VIEWS)
    # In three parts, so that a history has long and short runs.
    for part in (PAST.head(300), PAST.slice(300, 80), PAST.tail(40)):
        made.observe(DATA, "asked_at", part)
        made.observe(DATA, "done_at", part)
    return made


STORE = store()


class Twins:
    """One model behind two ways of answering, each with a log of its own."""

    def __init__(
        self,
        folder: Path,
        features: str,
        form: str,
        table: RoutingTable,
        unit: str | None,
        policy: ServingPolicy | None = None,
    ):
        chosen = FeatureSet(FEATURES[features], DATA)
        policy = policy or ServingPolicy()
        self.schema = RequestSchema(
            ModelName("parcels"), DATA, chosen, varv.task.binary(), unit, serving=policy
        )
        plane = DataPlane(self.schema.task, Echoes())
        plane.serve_by(policy)
        for version in table.versions:
            plane.warm(version, package(chosen, form, float(version)))
        plane.swap(table)
        engine = FeatureEngine(chosen, DATA, STORE)
        self.logs = [CaptureLog(folder / name) for name in ("plan", "general")]
        self.planned, self.general = (
            Answering(
                self.schema, engine, plane, log, VirtualClock(NOW), nullable=frozenset({"size", "note"})
            )
            for log in self.logs
        )

    def answer(self, columns, request_id):
        """Return what both ways say, which is the same."""
        found = []
        for answer in (self.planned.answer, self.general.answer_generally):
            try:
                found.append(answer(columns, request_id))
            except VarvError as error:
                found.append(error.described())
        # A score that is held back is NaN, which is not equal to itself.
        plain = [one if isinstance(one, dict) else one._replace(scores=repr(one.scores)) for one in found]
        assert plain[0] == plain[1]
        return found[0]

    def captured(self):
        """Return what each log holds of it, which is the same."""
        frames = []
        for log in self.logs:
            lines = [line for path in log.seal() for line in read_captures(path)]
            frames.append(served_frames(self.schema, lines))
        assert_frame_equal(frames[0].requests, frames[1].requests, check_exact=True)
        assert_frame_equal(frames[0].predictions, frames[1].predictions, check_exact=True)
        return frames[0]


ONE = RoutingTable(epoch=3, shares=(RoutingShare(Version(1), 1.0),), salt="r")
SHARES = (RoutingShare(Version(2), 0.5), RoutingShare(Version(1), 0.5))
TWO = RoutingTable(epoch=4, shares=SHARES, former=Version(3), salt="r")
SHADOW = RoutingTable(epoch=5, shares=(RoutingShare(Version(1), 1.0),), shadows=(Version(2),), salt="r")

ORDINARY = {
    "id": st.text(min_size=1, max_size=8),
    "due": st.sampled_from(["2024-05-02T12:00:00Z", "2024-05-03", "2024-05-02T23:59:59.999+02:00"]),
    "size": st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6) | st.none(),
    "weight": st.floats(-1e6, 1e6, width=32),
    "shelf": st.integers(-(2**15), 2**15 - 1) | st.sampled_from([0, 1.0, 4]),
    "account": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10),
    "urgent": st.booleans(),
    "route": st.sampled_from([one for one in ROUTES if one]),
    "note": st.sampled_from(["", "fragile", "ö", None]),
}
ODD = st.sampled_from(
    [
        None,
        True,
        1,
        0.5,
        "x",
        "x" * 5000,
        10**400,
        2**63,
        3.5e38,
        -1e300,
        [],
        {"a": 1},
        "2024-13-01",
        float("nan"),
    ]
)


@st.composite
def asked(draw: st.DrawFn):
    n = draw(st.integers(1, 3) | st.just(9))
    columns = {}
    for name, values in ORDINARY.items():
        if name in ("id", "note", "due") and draw(st.booleans()):
            continue
        columns[name] = draw(st.lists(values, min_size=n, max_size=n))
    return columns


@pytest.mark.parametrize("features", list(FEATURES))
@pytest.mark.parametrize(
    ("form", "table", "unit"),
    [("matrix", ONE, None), ("columns", TWO, "route"), ("matrix", SHADOW, "account")],
)
def test_both_ways_say_and_keep_the_same(features, form, table, unit, tmp_path):
    twins = Twins(tmp_path, features, form, table, unit)
    assert isinstance(twins.planned._planned(), RequestPlan)

    @settings(max_examples=60, deadline=None)
    @given(asked(), st.text(min_size=1, max_size=5))
    def same(columns, request_id):
        answers = twins.answer(columns, request_id)
        if not isinstance(answers, dict):
            twins.captured()

    same()


POLICY = ServingPolicy(
    checks=(
        varv.check("size", low=-1000, high=1000, required=True, otherwise="default", default=0.5),
        varv.check("note", one_of=["", "fragile"], otherwise="flag"),
        varv.check("route", one_of=["north", "south", "east"], otherwise="default", default="east"),
        varv.check("shelf", low=-30000, high=30000),
        varv.check("urgent", one_of=[True], otherwise="flag"),
    ),
    abstain_below=0.6,
)


@pytest.mark.parametrize("table", [ONE, TWO])
def test_both_ways_check_hold_back_and_keep_the_same(table, tmp_path):
    twins = Twins(tmp_path, "views", "matrix", table, None, POLICY)

    @settings(max_examples=60, deadline=None)
    @given(asked(), st.text(min_size=1, max_size=5))
    def same(columns, request_id):
        answers = twins.answer(columns, request_id)
        if not isinstance(answers, dict):
            twins.captured()

    same()


@settings(max_examples=150, deadline=None)
@given(asked(), st.sampled_from(sorted(ORDINARY)), ODD, st.sampled_from(["put", "drop", "add", "shorter"]))
def test_both_ways_refuse_the_same(columns, name, odd, how):
    folder = Path(tempfile.mkdtemp())
    try:
        twins = Twins(folder, "plain", "matrix", ONE, None)
        columns = {key: list(values) for key, values in columns.items()}
        if how == "put":
            columns[name] = [odd] * len(columns["route"])
        elif how == "drop":
            columns.pop(name, None)
        elif how == "add":
            columns["unknown"] = columns["route"]
        else:
            columns = {key: [] for key in columns}
        twins.answer(columns, "r")
    finally:
        shutil.rmtree(folder)


def test_a_plan_is_what_answers(tmp_path, monkeypatch):
    twins = Twins(tmp_path, "views", "matrix", TWO, None)
    monkeypatch.setattr(twins.planned, "answer_generally", None)
    columns = {name: [1] for name in ("size", "weight", "shelf", "account")}
    columns |= {"urgent": [True], "route": ["north"]}
    assert twins.planned.answer(columns, "r").keys == ["r"]


def test_requests_of_one_moment_are_answered_as_if_alone(tmp_path):
    twins = Twins(tmp_path, "views", "matrix", SHADOW, "route")
    several = [
        {
            "size": [n / 7],
            "weight": [0.5],
            "shelf": [n % 5],
            "account": [n],
            "urgent": [n % 2 == 0],
            "route": [ROUTES[n % 3]],
        }
        for n in range(20)
    ]
    ready = [twins.planned.ready(columns, f"r-{n}") for n, columns in enumerate(several)]
    together = twins.planned.answer_together(ready)
    alone = [twins.general.answer_generally(columns, f"r-{n}") for n, columns in enumerate(several)]
    for one, other in zip(together, alone, strict=True):
        assert one._replace(scores=0) == other._replace(scores=0)
        assert one.scores.tolist() == other.scores.tolist()
    twins.captured()


def test_a_plan_is_made_anew_for_another_table(tmp_path):
    twins = Twins(tmp_path, "plain", "matrix", TWO, None)
    first = twins.planned._planned()
    assert twins.planned._planned() is first
    alone = RoutingTable(epoch=6, shares=(RoutingShare(Version(2), 1.0),), salt="r")
    twins.planned._dataplane.swap(alone)
    assert twins.planned._planned() is not first
    columns = {
        "size": [1.0],
        "weight": [1.0],
        "shelf": [1],
        "account": [1],
        "urgent": [True],
        "route": ["east"],
    }
    assert twins.answer(columns, "r").versions == [2]


@given(st.lists(st.floats(-1e30, 1e30) | st.none() | st.integers(-(2**60), 2**60), min_size=6, max_size=6))
def test_a_matrix_is_its_columns(values):
    names = ("a", "b", "c")
    assert dict(matrix_of(names, values)) == {name: values[place::3] for place, name in enumerate(names)}
