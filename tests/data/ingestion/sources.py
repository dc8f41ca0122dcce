"""A store, and a database beside it whose rows come and change."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl
from tests.data.sources.servers import Postgres
from tests.data.versioning.stores import TYPES, Store

from varv.data import Dataset, Datasets, DatasetsView, Sql
from varv.data.ingestion.pulling import Puller
from varv.data.ingestion.verbs import OfflineActs
from varv.data.ingestion.views import PullsView
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

__all__ = ["TYPES", "PostgresShop", "Pulls", "Shop", "Store", "pl"]


class Shop:
    """Trips in a database of SQLite."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.db"
        self.connection = sqlite3.connect(self.path)
        self.connection.execute(
            "CREATE TABLE trips (id TEXT, at TEXT, size INTEGER, done_at TEXT, late INTEGER, changed INTEGER)"
        )

    def say(
        self, key: str, day: int, size: int | None, changed: int, done: int | None = None, late=None
    ) -> None:
        self.connection.execute("DELETE FROM trips WHERE id = ?", (key,))
        at, done_at = (
            f"2013-01-{day:02d}T00:00:00Z",
            None if done is None else f"2013-01-{done:02d}T00:00:00Z",
        )
        row = (key, at, size, done_at, late, changed)
        self.connection.execute("INSERT INTO trips VALUES (?, ?, ?, ?, ?, ?)", row)
        self.connection.commit()

    def forget(self, key: str) -> None:
        self.connection.execute("DELETE FROM trips WHERE id = ?", (key,))
        self.connection.commit()

    def source(self, **more) -> Sql:
        return self.source_in(self.path.parent, **more)

    @staticmethod
    def source_in(folder: Path, **more) -> Sql:
        options = {"watermark": "changed", **more}
        return Sql("trips", url=f"sqlite:///{folder}/shop.db", times=("at", "done_at"), **options)


class PostgresShop(Shop):
    """Trips in a database of PostgreSQL, which is empty at first."""

    def __init__(self, server: Postgres) -> None:
        import psycopg

        self.url = server.url
        self.connection = psycopg.connect(server.url.replace(":${VARV_TEST_PASSWORD}", ""))
        self.connection.execute("DROP TABLE IF EXISTS trips")
        types = "id TEXT, at TIMESTAMPTZ, size BIGINT, done_at TIMESTAMPTZ, late BOOLEAN, changed BIGINT"
        self.connection.execute(f"CREATE TABLE trips ({types})")
        self.connection.commit()

    def say(
        self, key: str, day: int, size: int | None, changed: int, done: int | None = None, late=None
    ) -> None:
        at, done_at = f"2013-01-{day:02d}", None if done is None else f"2013-01-{done:02d}"
        self.connection.execute("DELETE FROM trips WHERE id = %s", (key,))
        row = (key, f"{at}T00:00:00Z", size, done_at and f"{done_at}T00:00:00Z", late, changed)
        self.connection.execute("INSERT INTO trips VALUES (%s, %s, %s, %s, %s, %s)", row)
        self.connection.commit()

    def source(self, **more) -> Sql:
        return Sql("trips", url=self.url, **{"watermark": "changed", **more})


class Pulls:
    """A store that pulls; `reopen` loses what is in memory."""

    def __init__(
        self, folder: Path, source, *, in_memory: bool = True, faults: Faults | None = None, **more
    ) -> None:
        self.folder, self.source = folder, source
        self.dataset = Dataset(
            "trips", source=source, key="id", event_time="at", known_at={"done_at": ["late"]}, **more
        )
        self.dataset.recall(dict(pl.Schema(TYPES)))
        self.clock = VirtualClock(instant("2014-02-01"))
        self.ledger = SqliteLedger(":memory:" if in_memory else folder / "ledger.db")
        self.faults = faults
        self.reopen()
        self.datasets.commit(self.datasets.register(self.dataset))

    def reopen(self) -> None:
        columns = FolderColumns(self.folder / "columns", durable=False, faults=self.faults)
        self.views = Views(self.ledger, DatasetsView, PullsView)
        self.datasets = Datasets(
            self.ledger, columns, self.clock, self.views, Secret(self.folder / "digest.key")
        )
        acts = OfflineActs(self.datasets)
        self.puller = Puller(self.datasets, self.views, self.clock, acts, faults=self.faults)

    def pull(self):
        return self.puller.pull(self.dataset)

    def rows(self) -> dict[str, tuple[int | None, bool | None]]:
        found = self.datasets.read(self.dataset)
        return {key: (size, late) for key, size, late in found.select("id", "size", "late").iter_rows()}
