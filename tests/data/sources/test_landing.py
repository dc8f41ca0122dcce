"""Landing folders: files are read once they are whole, by the rules of whoever puts them there."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from varv.data import Landing
from varv.data.sources.steps import Asked
from varv.kernel.clock import MINUTE, Instant, SystemClock
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

TYPES = {"id": pl.String(), "n": pl.Int64()}


def pull(source: Landing, cursor: dict[str, str], *, later: int = MINUTE):
    now = Instant(SystemClock().now() + later)
    found = list(source.steps(Asked(cursor, TYPES, now)))
    for step in found:
        cursor |= step.moved
    return found


def ids(steps) -> list[str]:
    return [key for step in steps if step.rows.height for key in step.rows["id"].to_list()]


def test_a_file_that_was_just_written_waits_until_it_is_left_alone(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "1.csv").write_text("id,n\na,1\n")
    (tmp_path / ".2.csv").write_text("id,n\nhidden,1\n")
    (tmp_path / "3.csv.part").write_text("id,n\npart,1\n")
    source, cursor = Landing(str(tmp_path)), {}
    assert ids(pull(source, cursor, later=0)) == []
    assert ids(pull(source, cursor)) == ["a"]
    assert ids(pull(source, cursor)) == []
    assert source.types() == TYPES


def test_what_nifi_renames_is_whole_at_once(tmp_path):
    (tmp_path / ".1.jsonl").write_text('{"id": "a", "n": 1}\n')
    source, cursor = Landing(str(tmp_path), of="nifi"), {}
    assert ids(pull(source, cursor, later=0)) == []
    (tmp_path / ".1.jsonl").rename(tmp_path / "1.jsonl")
    assert ids(pull(source, cursor, later=0)) == ["a"]


def airbyte(folder: Path, name: str, *rows: dict) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_records_of_airbyte_have_their_own_columns_and_the_time_they_were_read(tmp_path):
    at = int(dt.datetime(2024, 5, 1, tzinfo=dt.UTC).timestamp() * 1000)
    common = {"_airbyte_raw_id": "r", "_airbyte_extracted_at": at, "_airbyte_generation_id": 3}
    airbyte(
        tmp_path,
        "2024_05_01_1714521600000_0.jsonl",
        {**common, "_airbyte_meta": {"sync_id": 1, "changes": []}, "_airbyte_data": {"id": "a", "n": 1}},
        {
            **common,
            "_airbyte_meta": {"sync_id": 1, "changes": [{"field": "n", "change": "NULLED"}]},
            "_airbyte_data": {"id": "b", "n": None},
        },
    )
    airbyte(tmp_path, "_SUCCESS.jsonl", {"id": "other"})
    source, cursor = Landing(str(tmp_path), of="airbyte"), {}
    declared = source.types()
    assert declared["_airbyte_extracted_at"] == pl.Datetime("us", "UTC")
    assert {"id", "n"} <= declared.keys()
    [step] = pull(source, cursor)
    assert step.rows["id"].to_list() == ["a", "b"]
    assert step.broken.to_list() == [False, True]
    assert cursor["_airbyte_generation_id"] == "3"
    old = {**common, "_airbyte_generation_id": 2, "_airbyte_data": {"id": "old", "n": 1}}
    airbyte(tmp_path, "2024_05_02_1714521700000_0.jsonl", old)
    assert ids(pull(source, cursor)) == []


def test_records_of_an_older_airbyte_are_read_too(tmp_path):
    airbyte(
        tmp_path,
        "2022_05_01_1651363200000_0.jsonl",
        {"_airbyte_ab_id": "r", "_airbyte_emitted_at": 1651363200000, "_airbyte_data": {"id": "a", "n": 1}},
    )
    [step] = pull(Landing(str(tmp_path), of="airbyte"), {})
    assert step.rows["_airbyte_extracted_at"][0] == dt.datetime(2022, 5, 1, tzinfo=dt.UTC)


def test_a_folder_without_files_and_a_tool_that_is_not_known_are_refused(tmp_path):
    with pytest.raises(NotFound, match="holds no file"):
        Landing(str(tmp_path)).types()
    with pytest.raises(InvalidDeclaration, match="is of 'fivetran'"):
        Landing(str(tmp_path), of="fivetran")
    with pytest.raises(InvalidDeclaration, match="has options for the folder"):
        Landing(str(tmp_path), options={"region": "eu-north-1"})
    with pytest.raises(InvalidDeclaration, match="holds a secret"):
        Landing("s3://lake/trips", options={"secret_access_key": "hunter2"})


def test_files_of_avro_and_such_with_gzip_are_read(tmp_path):
    at = dt.datetime(2024, 5, 1, 1, 2, 3, 4)
    rows = pl.DataFrame({"id": ["a", None], "n": [1, None], "at": [at, None], "day": [at.date(), None]})
    rows.write_avro(tmp_path / "1.avro", compression="deflate")
    (tmp_path / "2.csv.gz").write_bytes(gzip.compress(b"id,n\nb,2\n"))
    (tmp_path / "3.jsonl.gz").write_bytes(gzip.compress(b'{"id": "c", "n": 3}\n{"id": "d"}\n'))
    (tmp_path / "4.parquet.gz").write_bytes(b"")
    source, cursor = Landing(str(tmp_path), of="nifi"), {}
    assert ids(pull(source, cursor)) == ["a", None, "b", "c", "d"]
    assert ids(pull(source, cursor)) == []
    assert source.load()["n"].to_list() == [1, None, 2, 3, None]
    [first, *_] = source.batches()
    assert first["at"].to_list() == [at, None]


def test_a_file_of_avro_that_is_cut_off_is_refused_by_name(tmp_path):
    place = tmp_path / "1.avro"
    pl.DataFrame({"id": ["a"] * 1000}).write_avro(place)
    place.write_bytes(place.read_bytes()[:-10])
    with pytest.raises(InvalidInput, match=r"'1\.avro' cannot be read"):
        pull(Landing(str(tmp_path), of="nifi"), {})
