"""Object stores as sources: each object is read once, and anew when it is another."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.data.ingestion.sources import Pulls
from tests.data.sources.stores import s3

from varv.data import Landing, Objects
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, NotFound, Unavailable

pytest.importorskip("obstore")
TYPES = {"id": pl.String(), "n": pl.Int64()}


def pull(source: Objects, cursor: dict[str, str]) -> list[str]:
    found: list[str] = []
    for step in source.steps(Asked(cursor, TYPES, Instant(0))):
        cursor |= step.moved
        found += step.rows["id"].to_list() if step.rows.height else []
    return found


def test_objects_of_a_folder_are_read_in_the_order_of_their_names(tmp_path):
    for name, key in (("a", "x"), ("b", "y")):
        pl.DataFrame({"id": [key], "n": [1]}).write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "c.txt").write_text("no rows")
    source, cursor = Objects(f"file://{tmp_path}/*.parquet"), {}
    assert source.types() == TYPES
    assert pull(source, cursor) == ["x", "y"]
    assert pull(source, cursor) == []
    pl.DataFrame({"id": ["z"], "n": [1]}).write_parquet(tmp_path / "c.parquet")
    assert pull(source, cursor) == ["z"]
    with pytest.raises(NotFound, match="matches no object"):
        Objects(f"file://{tmp_path}/*.csv").types()


def test_a_secret_that_stands_in_the_declaration_is_refused():
    with pytest.raises(InvalidDeclaration, match="holds a secret"):
        Objects("s3://bucket/*.csv", options={"secret_access_key": "hunter2"})
    with pytest.raises(InvalidDeclaration, match="has the pattern"):
        Objects("bucket/*.csv")


@pytest.mark.slow
def test_objects_of_s3_are_read_anew_when_they_are_written_anew():
    with s3() as lake:
        lake.put("trips/1.csv", "id,n\na,1\n")
        source, cursor = Objects("s3://lake/trips/*.csv", options=lake.options), {}
        assert pull(source, cursor) == ["a"]
        lake.put("trips/2.csv", "id,n\nb,1\n")
        lake.put("trips/1.csv", "id,n\na,1\nc,2\n")
        assert pull(source, cursor) == ["a", "c", "b"]
        with pytest.raises(Unavailable) as refused:
            pull(Objects("s3://none/*.csv", options=lake.options), {})
        assert "hunter2" not in str(refused.value)


@pytest.mark.slow
def test_a_refresh_of_airbyte_in_s3_replaces_what_was_there(tmp_path):
    with s3() as lake:
        first = airbyte(lake, 1, 1, row("a", 1), row("b", 2))
        lake.put("shop/trips/_SUCCESS.jsonl", "")
        lake.put("shop/trips_old/2024_05_01_1_0.jsonl", "{}")
        source = Landing("s3://lake/shop/trips", of="airbyte", options=lake.options)
        pulls = Pulls(tmp_path, source, updates="merge")
        pulls.pull()
        assert pulls.rows() == {"a": (1, None), "b": (2, None)}
        airbyte(lake, 2, 2, row("a", 10))
        assert pulls.pull().n_removed == 0
        lake.delete(first)
        assert pulls.pull().n_removed == 1
        assert pulls.rows() == {"a": (10, None)}
        airbyte(lake, 3, 2, {"id": "a", "_ab_cdc_deleted_at": "2013-02-01T00:00:00Z"}, row("c", 3))
        assert pulls.pull().n_removed == 1
        assert pulls.rows() == {"c": (3, None)}


def airbyte(lake, at: int, generation: int, *records: dict) -> str:
    said = {"_airbyte_raw_id": "r", "_airbyte_extracted_at": at, "_airbyte_generation_id": generation}
    name = f"shop/trips/2024_05_01_{at}_0.jsonl"
    lake.put(name, "".join(json.dumps({**said, "_airbyte_data": one}) + "\n" for one in records))
    return name


def row(key: str, size: int) -> dict:
    return {"id": key, "at": "2013-01-01T00:00:00Z", "size": size, "done_at": None, "late": None}
