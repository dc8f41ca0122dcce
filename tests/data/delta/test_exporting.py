"""Versions written elsewhere: to folders and to an object store, and what is refused there."""

from __future__ import annotations

import socket
import subprocess
import sys

import deltalake
import duckdb
import httpx
import polars as pl
import pytest
from tests.data.delta.protocol import require_protocol
from tests.data.delta.test_publishing import Publisher
from tests.data.versioning.stores import TRIPS, UTC, at, base, done

from varv.data import Dataset, Frame
from varv.data.delta.exporting import export
from varv.data.delta.joined import joined_view, table_in
from varv.kernel.errors import Conflict, FailedPrecondition, InvalidInput, Unavailable


@pytest.fixture
def store(tmp_path):
    made = Publisher(tmp_path / "home")
    made.append("at", base(("a", 1, 1), ("b", 2, None)), "d1")
    made.append("at", base(("c", 3, 3)), "d2")
    made.append("done_at", done(("a", 9, True)), "d1")
    made.compact()
    return made


@pytest.fixture
def bucket(monkeypatch):
    """Give the address of a bucket of an object store on this machine."""
    pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A process, since the library holds the interpreter while it waits for an answer.
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = httpx.Client(transport=httpx.HTTPTransport(retries=20), timeout=60)
    assert made.put(f"{variables['AWS_ENDPOINT_URL']}/rows").status_code == 200
    yield "s3://rows"
    server.terminate()
    server.wait()


def rows_at(place, version=None):
    return pl.from_arrow(deltalake.DeltaTable(place, version=version).to_pyarrow_dataset().to_table())


def require_alike(store, place, delta_version, version):
    for part in TRIPS.parts:
        expected = store.datasets.read_part(TRIPS, part, version=version)
        found = rows_at(f"{place}/{part}", delta_version).cast(dict(expected.schema))
        assert found.select(expected.columns).sort(part, "id").equals(expected)


def test_a_version_is_written_whole_and_a_later_one_after_it(store, tmp_path):
    place = str(tmp_path / "out")
    assert [one.n_rows for one in export(store.datasets, TRIPS, 1, place)] == [2, 0]
    again = export(store.datasets, TRIPS, 1, place)
    assert [(one.delta_version, one.is_new) for one in again] == [(1, False), (1, False)]
    store.datasets.merge(TRIPS, "at", base(("b", 2, 2)))
    assert [one.delta_version for one in export(store.datasets, TRIPS, 4, place)] == [2, 2]
    require_alike(store, place, 1, 1)
    require_alike(store, place, 2, 4)
    for part in TRIPS.parts:
        require_protocol(tmp_path / "out" / part)
    with pytest.raises(FailedPrecondition, match="holds the later version 4 of trips"):
        export(store.datasets, TRIPS, 2, place)


def test_a_table_of_somebody_else_is_not_written_over(store, tmp_path):
    deltalake.write_deltalake(tmp_path / "at", base(("x", 1, 1)))
    deltalake.write_deltalake(tmp_path / "at", base(("y", 1, 1)), mode="append")
    with pytest.raises(FailedPrecondition, match="holds a table that is none of trips/at"):
        export(store.datasets, TRIPS, 1, str(tmp_path))
    assert rows_at(tmp_path / "at").height == 2


@pytest.mark.parametrize("top", [2**63 - 1, 2**63])
def test_numbers_without_a_sign_are_written_as_long_ones_if_they_fit(store, tmp_path, top):
    rows = pl.DataFrame(
        {"id": ["a"], "at": [at(1)], "n": [top]}, schema={"id": pl.String, "at": UTC, "n": pl.UInt64}
    )
    dataset = Dataset("big", source=Frame(rows), key="id", event_time="at")
    store.datasets.commit(store.datasets.register(dataset))
    store.datasets.append(dataset, "at", rows, segment="d1")
    if top < 2**63:
        export(store.datasets, dataset, 1, str(tmp_path))
        assert rows_at(tmp_path / "at")["n"].to_list() == [top]
    else:
        with pytest.raises(InvalidInput, match="holds numbers that do not fit in Int64"):
            export(store.datasets, dataset, 1, str(tmp_path))


@pytest.mark.slow
def test_an_object_store_gets_the_same_and_of_two_commits_at_once_one(store, bucket):
    place = f"{bucket}/trips"
    export(store.datasets, TRIPS, 2, place)
    export(store.datasets, TRIPS, 3, place)
    require_alike(store, place, 1, 2)
    require_alike(store, place, 2, 3)
    # What a commit there relies on: an entry is put only if there is none of its number.
    tables = [deltalake.DeltaTable(f"{place}/at") for _ in range(2)]
    ours = deltalake.CommitProperties(
        max_commit_retries=1, app_transactions=[deltalake.Transaction("varv:trips/at", 9)]
    )
    tables[0].create_write_transaction([], mode="append", schema=tables[0].schema(), commit_properties=ours)
    with pytest.raises(deltalake.exceptions.CommitFailedError):
        tables[1].create_write_transaction(
            [], mode="append", schema=tables[1].schema(), commit_properties=ours
        )
    with pytest.raises((Unavailable, Conflict)):
        export(store.datasets, TRIPS, 3, "s3://no-such-bucket/trips")


def test_the_view_joins_the_parts_as_a_reader_does(store):
    store.append("at", base(("d", 20, 4)), "d3")
    # Comes before the row that it is about, and is from before it.
    store.append("done_at", done(("e", 1, True)), "d2")
    store.append("at", base(("e", 5, 5)), "d4")
    store.publish()
    with duckdb.connect() as database:
        database.execute("set timezone to 'UTC'")
        for part in TRIPS.parts:
            database.register(f"table_{part}", deltalake.DeltaTable(store.table(part)).to_pyarrow_dataset())
        database.execute(joined_view(TRIPS, {part: f"table_{part}" for part in TRIPS.parts}, "duckdb"))
        found = database.sql('select * from trips order by "at", id').pl()
    expected = store.datasets.read(TRIPS)
    assert found.cast(dict(expected.schema)).equals(expected)
    assert expected["done_at"].null_count() == 4


def test_the_view_is_written_in_two_dialects_and_in_no_other():
    tables = {part: table_in("spark", f"/x/{part}", 3) for part in TRIPS.parts}
    text = joined_view(TRIPS, tables, "spark")
    assert "FROM delta.`/x/at` VERSION AS OF 3 AS p0" in text
    assert "CASE WHEN p1.`done_at` >= p0.`at` THEN p1.`late` END AS `late`" in text
    with pytest.raises(InvalidInput, match="choose duckdb or spark"):
        table_in("oracle", "/x")
