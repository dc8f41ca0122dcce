"""What was captured comes back as it was asked, computed and said, in whichever form it was written."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.serving.samples import table

import varv
from varv.data.values import in_json
from varv.features import FeatureSet
from varv.kernel.clock import Instant, instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.serving import Capture, RequestSchema, RoutingShare, RoutingTable
from varv.serving.blocks import FeatureRows, layout_of
from varv.serving.capture import encoded_line
from varv.serving.prediction_log import Recorder, Served, served_frames, table_of
from varv.serving.scored import Scored, answers_frame

NOW = instant("2024-05-02T09:30:00Z")
NAME = ModelName("parcels")
TYPES = {
    "id": pl.String(),
    "asked_at": TIME,
    "due": TIME,
    "size": pl.Float64(),
    "weight": pl.Float32(),
    "account": pl.Int64(),
    "serial": pl.UInt64(),
    "shelf": pl.Int8(),
    "urgent": pl.Boolean(),
    "route": pl.String(),
}
WHOLE = {pl.Int64: (-(2**63), 2**63 - 1), pl.UInt64: (0, 2**64 - 1), pl.Int8: (-128, 127)}
FEATURES = ["size", "weight", "account", "shelf", "urgent", "route"]


def schema() -> RequestSchema:
    past = pl.DataFrame([dict.fromkeys(TYPES) | {"id": "a", "asked_at": NOW}], schema_overrides=TYPES)
    data = varv.Dataset("parcels", source=varv.Frame(past), key="id", event_time="asked_at", known_at={})
    hour = varv.derived("hour", pl.col("due").dt.hour())
    kind = varv.derived("kind", pl.col("route").str.to_uppercase())
    return RequestSchema(NAME, data, FeatureSet([*FEATURES, hour, kind], data), varv.task.binary())


SCHEMA = schema()
SHARES = (RoutingShare(Version(2), 0.25), RoutingShare(Version(1), 0.75))
TABLE = RoutingTable(epoch=7, shares=SHARES, former=Version(3), salt="r")


def values(dtype: pl.DataType) -> st.SearchStrategy[object]:
    if dtype == TIME:
        return st.integers(0, 2**52)
    if dtype.is_integer():
        return st.integers(*WHOLE[dtype])
    if dtype.is_float():
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    return st.booleans() if dtype == pl.Boolean else st.text(max_size=5)


@st.composite
def requests(draw: st.DrawFn) -> pl.DataFrame:
    n = draw(st.integers(1, 4))
    columns = [pl.Series("asked_at", [NOW] * n, dtype=pl.Int64).cast(TIME)]
    for name, dtype in TYPES.items():
        if name == "asked_at":
            continue
        some = values(dtype) if name == "id" else st.none() | values(dtype)
        drawn = draw(st.lists(some, min_size=n, max_size=n))
        plain = pl.Series(name, drawn, dtype=pl.Int64 if dtype == TIME else dtype)
        columns.append(plain.cast(dtype))
    return pl.DataFrame(columns)


def said(n: int, candidate: int | None) -> Scored:
    scores = np.linspace(0, 1, n, dtype=np.float32)[:, None]
    in_force = table(1) if candidate is None else TABLE
    found = Scored(in_force, scores, champion_ms=1.5)
    if candidate is not None:
        found.coins = np.linspace(0.1, 0.9, n)
        found.candidate, found.candidate_ms = scores / 2, 0.5
        found.former = scores / 3
        found.candidate[-1] = np.nan
    return found


def rows_as_before(asked: pl.DataFrame, features: pl.DataFrame, found: Scored) -> list[Capture]:
    """Return the lines that an earlier version of varv wrote."""
    each = zip(
        asked["id"],
        in_json(asked),
        features.to_dicts(),
        answers_frame(SCHEMA.task, found).to_dicts(),
        strict=True,
    )
    served = [
        Served(key, Instant(row.pop("asked_at")), row, computed, answer)
        for key, row, computed, answer in each
    ]
    return [Capture(table=table_of(NAME), row=msgspec.structs.asdict(one)) for one in served]


@given(requests(), st.sampled_from([None, 2]))
def test_blocks_and_the_rows_of_before_hold_the_same(asked, candidate):
    layout, engine = layout_of(SCHEMA), varv.features.FeatureEngine(SCHEMA.features, SCHEMA.requests)
    features, found = engine.lookup(asked, at="asked_at"), said(asked.height, candidate)
    recorder = Recorder(NAME, layout)
    given = layout.request_rows(asked, asked["id"].to_list()), layout.feature_rows(features)
    lines = [recorder.head, *recorder.lines(NOW, *given, found)]
    block = served_frames(SCHEMA, [msgspec.json.decode(line, type=Capture) for line in lines])
    before = served_frames(SCHEMA, rows_as_before(asked, features, found))
    assert_frame_equal(block.requests, before.requests, check_exact=True)
    assert_frame_equal(block.predictions, before.predictions, check_exact=True)
    assert_frame_equal(block.requests, asked.select(block.requests.columns), check_exact=True)


def test_rows_that_are_too_long_for_one_line_take_several():
    texts = ["x" * 400_000, "y" * 400_000, "z" * 400_000]
    asked = pl.DataFrame({name: [None] * 3 for name in TYPES}, schema=TYPES).with_columns(
        id=pl.Series(["a", "b", "c"]), route=pl.Series(texts), asked_at=pl.lit(NOW).cast(TIME)
    )
    layout = layout_of(SCHEMA)
    recorder = Recorder(NAME, layout)
    rows = layout.request_rows(asked, asked["id"].to_list())
    none = FeatureRows(np.full((3, 1), np.nan, np.float32), [[None] * 3])
    lines = recorder.lines(NOW, rows, none, said(3, None))
    assert len(lines) == 2
    captures = [msgspec.json.decode(line, type=Capture) for line in [recorder.head, *lines]]
    found = served_frames(SCHEMA, captures)
    assert found.requests["route"].to_list() == texts
    assert found.predictions["champion_ms"].to_list() == [1.5, None, None]


def test_a_row_that_no_line_can_hold_is_refused():
    with pytest.raises(InvalidInput, match="is too large"):
        encoded_line(Capture(table="t", row={"text": "x" * (1 << 20)}))


def test_what_was_computed_before_the_features_changed_is_kept():
    asked = pl.DataFrame({name: [None] for name in TYPES}, schema=TYPES).with_columns(
        id=pl.lit("a"), asked_at=pl.lit(NOW).cast(TIME), size=pl.lit(1.5)
    )
    rows = layout_of(SCHEMA).request_rows(asked, ["a"])
    lines = []
    for names in (FEATURES, FEATURES[:1]):
        layout = layout_of(
            RequestSchema(NAME, SCHEMA.requests, FeatureSet(names, SCHEMA.requests), SCHEMA.task)
        )
        recorder = Recorder(NAME, layout)
        lines += [
            recorder.head,
            *recorder.lines(NOW, rows, FeatureRows(np.empty((1, 0), np.float32), []), said(1, None)),
        ]
    found = served_frames(SCHEMA, [msgspec.json.decode(line, type=Capture) for line in lines]).predictions
    assert found["size"].to_list() == [1.5, 1.5]
    assert "hour" not in found.columns
    assert set(FEATURES) <= set(found.columns)
