"""Databases as sources: types are kept, cursors move with the watermark, secrets are nowhere."""

from __future__ import annotations

import datetime as dt
import sqlite3

import polars as pl
import pytest
from tests.data.sources.servers import BIN, Postgres

from varv.data import Dataset, Sql
from varv.data.sources import databases
from varv.data.sources.steps import Asked
from varv.kernel.clock import Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, Unavailable

NOTHING: dict[str, str] = {}


def asked(**cursor: str) -> Asked:
    return Asked(cursor, {}, Instant(0))


@pytest.fixture(params=["adbc", "sqlalchemy"])
def lake(request, tmp_path, monkeypatch):
    if request.param == "sqlalchemy":
        monkeypatch.setattr(databases, "_ADBC", {})
    place = tmp_path / "lake.db"
    with sqlite3.connect(place) as connection:
        connection.execute("CREATE TABLE rows (id TEXT, at TEXT, n INTEGER, x REAL, changed TEXT)")
        rows = [
            (
                f"k{number}",
                f"2013-01-0{1 + number}T00:00:00Z",
                number,
                number / 2 if number else None,
                changed,
            )
            for number, changed in enumerate(
                ["2013-01-01 10:00:00", "2013-01-01 10:00:00", "2013-01-01 10:20:00", None]
            )
        ]
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", rows)
    return place


def test_rows_have_the_types_of_the_database_and_times_that_are_named(lake):
    source = Sql("rows", url=f"sqlite:///{lake}", times=["at"])
    found = Dataset("rows", source=source, key="id", event_time="at").load()
    assert found.schema == {"id": pl.String, "at": TIME, "n": pl.Int64, "x": pl.Float64, "changed": pl.String}
    assert found["x"].to_list() == [None, 0.5, 1.0, 1.5]
    assert found["at"][3] == dt.datetime(2013, 1, 4, tzinfo=dt.UTC)
    query = Sql("SELECT id, at FROM rows WHERE n > 1;", url=f"sqlite:///{lake}", times=["at"])
    assert query.load()["id"].to_list() == ["k2", "k3"]


def test_the_lower_end_is_closed_and_lies_a_lag_before_the_last_watermark(lake):
    source = Sql("rows", url=f"sqlite:///{lake}", watermark="changed")
    [step] = source.steps(asked())
    assert step.rows["id"].to_list() == ["k0", "k1", "k2"]
    assert step.moved == {"at": "text:2013-01-01 10:20:00"}
    [again] = source.steps(asked(**step.moved))
    assert again.rows["id"].to_list() == ["k2"]
    lagging = Sql("rows", url=f"sqlite:///{lake}", watermark="changed", lag="20m")
    [late] = lagging.steps(asked(**step.moved))
    assert late.rows["id"].to_list() == ["k0", "k1", "k2"]
    assert late.moved == step.moved


def test_a_secret_is_named_and_never_shown(tmp_path, monkeypatch):
    with pytest.raises(InvalidDeclaration, match="holds a password"):
        Sql("rows", url="postgresql://reader:hunter2@127.0.0.1/shop")
    source = Sql("rows", url="postgresql://reader:${VARV_TEST_PASSWORD}@127.0.0.1:1/shop")
    assert source.identity == "sql postgresql://127.0.0.1:1/shop rows"
    monkeypatch.delenv("VARV_TEST_PASSWORD", raising=False)
    with pytest.raises(FailedPrecondition, match="VARV_TEST_PASSWORD, which is not set"):
        source.load()
    monkeypatch.setenv("VARV_TEST_PASSWORD", "hunter2")
    with pytest.raises(Unavailable) as refused:
        source.load()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"query": "", "url": "sqlite:///x"}, "names no database or no table"),
        ({"query": "t", "url": "shop.db"}, "names no database or no table"),
        ({"query": "t", "url": "sqlite:///x", "lag": "10m"}, "has a lag and no watermark"),
        ({"query": "t", "url": "sqlite:///x", "watermark": "w", "lag": "soon"}, "is not valid"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(given, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        Sql(**given)


def test_a_dataset_has_the_types_of_its_rows_while_its_source_is_away(lake):
    source = Sql("rows", url=f"sqlite:///{lake}", times=["at"])
    types = Dataset("rows", source=source, key="id", event_time="at").types()
    away = Sql("rows", url=f"sqlite:///{lake}.away", times=["at"])
    dataset = Dataset("rows", source=away, key="id", event_time="at")
    with pytest.raises(Unavailable):
        dataset.types()
    dataset.recall(types)
    assert dataset.types() == types
    guessing = Dataset("rows", source=source, key="id", event_time="at")
    guessing.recall({**types, "n": pl.Float64()})
    assert guessing.load()["n"].to_list() == [0.0, 1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def postgres():
    if not BIN.exists():
        pytest.skip("PostgreSQL is not installed")
    server = Postgres()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["adbc", "sqlalchemy"])
def test_a_real_postgres_keeps_its_types_and_its_watermarks(postgres, driver, monkeypatch):
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("VARV_TEST_PASSWORD", "of no use")
    url = postgres.url
    if driver == "sqlalchemy":
        url = url.replace("postgresql:", "postgresql+psycopg:")
    with psycopg.connect(f"postgresql://reader@127.0.0.1:{postgres.port}/postgres") as connection:
        connection.execute("DROP TABLE IF EXISTS trips")
        connection.execute(
            "CREATE TABLE trips (id text, at timestamptz, n int, x float8, late bool, day date,"
            " changed timestamptz)"
        )
        for number in range(5):
            connection.execute(
                "INSERT INTO trips VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    f"k{number}",
                    dt.datetime(2013, 1, 1 + number, tzinfo=dt.UTC),
                    number,
                    None if number == 2 else number / 4,
                    number % 2 == 0,
                    dt.date(2013, 1, 1),
                    dt.datetime(2013, 1, 1, number // 2, tzinfo=dt.UTC),
                ),
            )
    source = Sql("trips", url=url, watermark="changed")
    dataset = Dataset("trips", source=source, key="id", event_time="at")
    rows = dataset.load()
    assert rows["at"].dtype == rows["day"].dtype == TIME
    assert rows["late"].to_list() == [True, False, True, False, True]
    assert rows["x"].null_count() == 1
    [step] = source.steps(asked())
    [again] = source.steps(asked(**step.moved))
    assert again.rows["id"].to_list() == ["k4"]
    assert [keys["id"].len() for keys in source.keys(("id",))] == [5]
    broken = Sql("SELECT nothing FROM trips", url=url)
    with pytest.raises(Unavailable, match="cannot be read"):
        broken.load()
