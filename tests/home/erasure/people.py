"""A home of one dataset of people, with rows of two of them everywhere that rows of a dataset can be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from unittest import mock

import polars as pl

from varv.app.compose import open_ledger, open_views
from varv.data import Dataset, Datasets, Frame
from varv.features.online.ports import KeyValue
from varv.home.erasure.carrying import Erasures
from varv.kernel import table_folder
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.secret import Secret

UTC = pl.Datetime("us", "UTC")
TYPES = {"id": pl.String, "at": UTC, "email": pl.String, "age": pl.Int64, "done_at": UTC, "late": pl.Boolean}
ANA, BOB = "ana.maria@example.org", "bob@example.org"


def people(**more) -> Dataset:
    source = Frame(pl.DataFrame(schema=TYPES))
    return Dataset("people", source=source, key="id", event_time="at", known_at={"done_at": ["late"]}, **more)


def day(number: int) -> dt.datetime:
    return dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number - 1)


def base(*rows: tuple[str, int, str, int]) -> pl.DataFrame:
    values = [(key, day(n), email, age) for key, n, email, age in rows]
    return pl.DataFrame(values, schema={n: TYPES[n] for n in ("id", "at", "email", "age")}, orient="row")


def done(*rows: tuple[str, int, bool]) -> pl.DataFrame:
    values = [(key, day(n), late) for key, n, late in rows]
    return pl.DataFrame(values, schema={n: TYPES[n] for n in ("id", "done_at", "late")}, orient="row")


class People:
    """The home, open; `fill` writes to it once."""

    def __init__(
        self,
        folder: Path,
        faults: Faults | None = None,
        dataset: Dataset | None = None,
        online: KeyValue | None = None,
    ) -> None:
        self.folder = folder
        self.dataset = dataset or people()
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = VirtualClock(instant("2014-02-01"))
        self.ledger = open_ledger(folder, durability="process", faults=faults)
        self.views = open_views(self.ledger)
        self.secret = Secret(folder / "digest.key")
        self.columns = FolderColumns(folder / "columns", durable=False, faults=faults)
        self.datasets = Datasets(self.ledger, self.columns, self.clock, self.views, self.secret)
        self.erasures = Erasures(folder, self.ledger, self.views, self.clock, faults, online)

    def fill(self) -> People:
        self.datasets.commit(self.datasets.register(self.dataset))
        for n in range(1, 7):
            rows = base((f"k{n}", n, ANA if n % 3 == 0 else BOB, 30 + n))
            self.datasets.append(self.dataset, "at", rows, segment=f"w-{n:06d}")
        self.datasets.append(self.dataset, "done_at", done(("k2", 9, True), ("k3", 9, False)), segment="w-1")
        self.compact()
        # A version of before holds what a merge has replaced, and quarantine a row without a key.
        self.datasets.merge(self.dataset, "at", base(("k6", 6, BOB, 40), ("k1", 1, ANA.upper(), 41)))
        bad = base(("k8", 8, ANA, 50), ("k9", 8, BOB, 51)).with_columns(pl.lit(None, UTC).alias("at"))
        self.datasets.append(self.dataset, "at", bad, segment="w-000008")
        self.datasets.append(self.dataset, "at", base(("k7", 7, BOB, 37)), segment="w-000009")
        return self

    def compact(self) -> None:
        # A few segments are worth a file.
        with mock.patch.object(table_folder, "_MANY", 3):
            self.datasets.commit(self.datasets.compact(self.dataset))

    def close(self) -> None:
        self.ledger.close()

    def ids(self, version: int | None = None, **more) -> set[str]:
        rows = self.datasets.read_part(self.dataset, "at", version=version, **more)
        return set(rows["id"].to_list())
