"""Object stores as sources: each object is read once, and anew when it is another."""

from __future__ import annotations

import polars as pl
import pytest
from tests.data.sources.servers import free_port

from varv.data import Objects
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidDeclaration, NotFound, Unavailable

obstore = pytest.importorskip("obstore")
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
def test_objects_of_s3_are_read_anew_when_they_are_written_anew(monkeypatch):
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("VARV_TEST_SECRET", "hunter2")
    options = {
        "endpoint": f"http://{host}:{port}",
        "region": "us-east-1",
        "access_key_id": "${VARV_TEST_SECRET}",
        "secret_access_key": "${VARV_TEST_SECRET}",
    }
    try:
        import httpx

        httpx.put(f"http://{host}:{port}/lake").raise_for_status()
        store = obstore.store.from_url(
            "s3://lake",
            config={**options, "access_key_id": "hunter2", "secret_access_key": "hunter2"},
            client_options={"allow_http": True},
        )
        obstore.put(store, "trips/1.csv", b"id,n\na,1\n")
        source, cursor = Objects("s3://lake/trips/*.csv", options=options), {}
        assert pull(source, cursor) == ["a"]
        obstore.put(store, "trips/2.csv", b"id,n\nb,1\n")
        obstore.put(store, "trips/1.csv", b"id,n\na,1\nc,2\n")
        assert pull(source, cursor) == ["a", "c", "b"]
        with pytest.raises(Unavailable) as refused:
            pull(Objects("s3://none/*.csv", options=options), {})
        assert "hunter2" not in str(refused.value)
    finally:
        server.stop()
