"""Change events of Debezium: what they say in each form, and what of a key is last in the log."""

from __future__ import annotations

import datetime as dt
import gzip
import json

import polars as pl
import pytest
from tests.data.sources.changes import (
    AT,
    ENCODINGS,
    created,
    deleted,
    event,
    flattened,
    row,
    truncated,
    updated,
    wrapped,
    write,
)

from varv.data import Debezium
from varv.data.sources.change_events import Changes
from varv.data.sources.connect_values import encoded_as
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

LOG = (created("a", 10, 1), created("b", 20, 2, done=True), updated("a", 30, 3), deleted("b", 40))


def table(source: Debezium) -> dict[str, int]:
    return dict(source.load().select("id", "size").iter_rows())


@pytest.mark.parametrize("form", [dict, wrapped, flattened])
def test_every_form_of_a_record_gives_the_same_table_and_types(tmp_path, form):
    write(tmp_path / "1.jsonl", *(form(one) for one in LOG), None)
    source = Debezium(str(tmp_path), key="id", encodings={} if form is wrapped else ENCODINGS)
    types = {"id": pl.String, "at": TIME, "size": pl.Int64, "done_at": TIME, "late": pl.Boolean}
    assert source.types() == {**types, "price": pl.Float64, "__source_ts_ms": TIME}
    [found] = source.load().iter_rows(named=True)
    day = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    said = {"id": "a", "at": day, "size": 3, "done_at": None, "late": None, "price": 3.25}
    assert found == {**said, "__source_ts_ms": day}


def test_parquet_and_packed_json_hold_changes_too(tmp_path):
    frame = pl.DataFrame([flattened(one) for one in LOG], infer_schema_length=None)
    frame.write_parquet(tmp_path / "flat.parquet")
    frame.write_avro(tmp_path / "flat.avro")
    pl.DataFrame(list(LOG), infer_schema_length=None).write_parquet(tmp_path / "envelope.parquet")
    dotted = [
        {"after.id": one["after"] and one["after"]["id"], "after.size": one["after"] and one["after"]["size"]}
        | {
            "before.id": one["before"] and one["before"]["id"],
            "source.lsn": one["source"]["lsn"],
            "op": one["op"],
        }
        for one in LOG
    ]
    pl.DataFrame(dotted, infer_schema_length=None).write_parquet(tmp_path / "dotted.parquet")
    text = "".join(json.dumps(one) + "\n" for one in LOG)
    (tmp_path / "envelope.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for file in sorted(tmp_path.iterdir()):
        alone = tmp_path / "sub" / file.name
        alone.parent.mkdir(exist_ok=True)
        file.rename(alone)
        assert table(Debezium(str(alone.parent), key="id")) == {"a": 3}, file.name
        alone.unlink()


POSITIONS = {
    "mysql": [
        {"file": "bin.000009", "pos": 154, "row": 0},
        {"file": "bin.000010", "pos": 4, "row": 0},
        {"file": "bin.000010", "pos": 4, "row": 1},
    ],
    "sequence": [{"sequence": '[null,"9"]'}, {"sequence": '["9","10"]'}, {"sequence": '["10","9"]'}],
    "sqlserver": [
        {"commit_lsn": "00000027:00000758:0005", "change_lsn": None, "event_serial_no": None},
        {
            "commit_lsn": "00000027:00000758:0005",
            "change_lsn": "00000027:00000758:0003",
            "event_serial_no": 2,
        },
        {
            "commit_lsn": "0000002a:00000758:0005",
            "change_lsn": "0000002a:00000758:0001",
            "event_serial_no": 1,
        },
    ],
    "oracle": [{"scn": "999"}, {"scn": "1000", "ssn": 1}, {"scn": "1000", "ssn": 2}],
}


@pytest.mark.parametrize("database", POSITIONS)
def test_the_place_in_the_log_of_each_database_orders_changes(tmp_path, database):
    events = [event("u", 0, None, row("a", n)) | {"source": one} for n, one in enumerate(POSITIONS[database])]
    write(tmp_path / "1.jsonl", *reversed(events))
    assert table(Debezium(str(tmp_path), key="id")) == {"a": 2}
    positions = [one.position for one in Changes(tmp_path / "1.jsonl", "jsonl", {}, "1.jsonl")]
    assert positions == sorted(positions, reverse=True)
    assert len(set(positions)) == 3


def test_a_truncation_empties_the_table_and_a_message_says_nothing(tmp_path):
    message = event("m", 25, None, None) | {"message": {"prefix": "p"}}
    write(
        tmp_path / "1.jsonl",
        created("a", 10, 1),
        message,
        truncated(30),
        created("b", 20, 2),
        created("c", 40, 3),
    )
    assert table(Debezium(str(tmp_path), key="id")) == {"c": 3}


def test_values_of_connect_and_debezium_are_decoded():
    assert encoded_as("Decimal(3)").decode("/w==") == -0.001
    assert encoded_as("Decimal(0)").decode("AQAAAAAAAAAA") == 2**64
    assert encoded_as("Decimal(2)").decode(1.5) == 1.5
    assert encoded_as("VariableScaleDecimal").decode({"scale": 1, "value": "DQ=="}) == 1.3
    assert encoded_as("Timestamp").decode(AT // 1000) == "2013-01-01T00:00:00Z"
    assert encoded_as("NanoTimestamp").decode(AT * 1000 + 1999) == "2013-01-01T00:00:00.000001Z"
    forever = 9223372036825200000
    assert encoded_as("MicroTimestamp").decode(forever) == forever


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (['{"id": 1}'], "holds a record that is no change event, in record 1"),
        ([json.dumps({"op": "u", "after": {"id": "a"}})], "does not say where in the log it is"),
        ([json.dumps(event("d", 1, None, None))], "holds a change without its row"),
        ([json.dumps(event("u", 1, None, {"n": 1}))], "holds a change without 'id'"),
        (["null", "{"], "is no JSON in line 2"),
        (
            [json.dumps(created("a", 1, 1)), json.dumps(created("a", 1, 1) | {"source": {"scn": "3"}})],
            "has places of several kinds: lsn, scn",
        ),
    ],
)
def test_what_is_no_change_event_is_refused_by_name(tmp_path, records, problem):
    (tmp_path / "1.jsonl").write_text("\n".join(records))
    with pytest.raises(InvalidInput, match=f"'1.jsonl' .*{problem}"):
        Debezium(str(tmp_path), key="id").types()


def test_a_declaration_that_cannot_be_meant_is_refused(tmp_path):
    with pytest.raises(InvalidDeclaration, match="has no key"):
        Debezium(str(tmp_path), key=())
    with pytest.raises(InvalidDeclaration, match="encoding 'Decimal' does not exist"):
        Debezium(str(tmp_path), key="id", encodings={"price": "Decimal"})
    with pytest.raises(NotFound, match="holds no file"):
        Debezium(str(tmp_path), key="id").load()
