"""A store of one dataset of two parts, over a ledger in memory or in a folder."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.data.versioning.keeping import Named, Versions
from varv.data.versioning.references import parse_reference
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

UTC = pl.Datetime("us", "UTC")
TYPES = {"id": pl.String, "at": UTC, "size": pl.Int64, "done_at": UTC, "late": pl.Boolean}
NOTHING: dict[int, str] = {}


def trips(**more) -> Dataset:
    source = Frame(pl.DataFrame(schema=TYPES))
    return Dataset("trips", source=source, key="id", event_time="at", known_at={"done_at": ["late"]}, **more)


TRIPS = trips()


def at(day: int) -> dt.datetime:
    return dt.datetime(2013, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=day - 1)


def base(*rows: tuple[str, int, int | None]) -> pl.DataFrame:
    """Return rows of the base part: key, day, and size."""
    values = [(key, at(day), size) for key, day, size in rows]
    return pl.DataFrame(values, schema={"id": pl.String, "at": UTC, "size": pl.Int64}, orient="row")


def done(*rows: tuple[str, int, bool]) -> pl.DataFrame:
    """Return rows of the later part: key, day, and outcome."""
    values = [(key, at(day), late) for key, day, late in rows]
    return pl.DataFrame(values, schema={"id": pl.String, "done_at": UTC, "late": pl.Boolean}, orient="row")


class Store:
    """Everything of one store; `reopen` loses what is in memory."""

    def __init__(self, folder: Path, *, in_memory: bool = True, faults: Faults | None = None) -> None:
        self.folder = folder
        self.clock = VirtualClock(instant("2014-02-01"))
        self.faults = faults
        self.ledger = SqliteLedger(":memory:" if in_memory else folder / "ledger.db", faults=faults)
        self.named: dict[int, str] = {}
        self.reopen()
        self.datasets.commit(self.datasets.register(TRIPS))

    def reopen(self, named: Named | None = None) -> None:
        folder = self.folder
        self.columns = FolderColumns(folder / "columns", durable=False, faults=self.faults)
        self.views = Views(self.ledger, DatasetsView)
        self.secret = Secret(folder / "digest.key")
        self.datasets = self.another()
        self.versions = Versions(
            self.datasets, self.views, self.ledger, self.clock, named or (lambda _: self.named)
        )

    def another(self) -> Datasets:
        """Return the datasets as another process would have them."""
        return Datasets(self.ledger, self.columns, self.clock, self.views, self.secret)

    def append(self, part: str, frame: pl.DataFrame, segment: str):
        return self.datasets.append(TRIPS, part, frame, segment=segment)

    def compact(self) -> None:
        self.datasets.commit(self.datasets.compact(TRIPS))

    def meant(self, text: str) -> int:
        return self.versions.meant(parse_reference(text))

    def sizes(self, version: int | None = None) -> dict[str, int | None]:
        """Return the sizes of the base part by key."""
        rows = self.datasets.read_part(TRIPS, "at", version=version)
        return dict(zip(rows["id"].to_list(), rows["size"].to_list(), strict=True))

    def files(self) -> set[str]:
        """Return the names of all files of rows, without drafts, which nobody reads."""
        found = (path for path in (self.folder / "columns").rglob("*") if path.is_file())
        return {path.name for path in found if not path.name.startswith(".")}
