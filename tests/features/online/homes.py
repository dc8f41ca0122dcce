"""A home of one dataset of two parts with an online store, and views of every kind over it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from varv.adapters.keyvalue.sqlite import SqliteKeyValue
from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.features import FeatureEngine, FeatureStore, FeatureView, windows
from varv.features.online.materialising import Materialiser
from varv.features.online.model import OnlineView
from varv.features.online.ports import KeyValue
from varv.features.online.reading import OnlineReader
from varv.kernel.clock import VirtualClock, instant
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

UTC = pl.Datetime("us", "UTC")
BASE = {"id": pl.Int64, "at": UTC, "who": pl.String, "kind": pl.Int64, "size": pl.Float64, "color": pl.String}
LATER = {"id": pl.Int64, "done_at": UTC, "cost": pl.Float64}
ORDERS = Dataset(
    "orders",
    source=Frame(pl.DataFrame(schema={**BASE, **LATER})),
    key="id",
    event_time="at",
    known_at={"done_at": ["cost"]},
)
BEGIN = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)


def _windowed(name, column, statistics, entity, over=("2h", "1d")) -> FeatureView:
    return FeatureView(name, source=ORDERS, entity=entity, features=windows(column, statistics, over=over))


VIEWS = (
    FeatureView("last", source=ORDERS, entity="who", features=["size", "kind"], ttl="6h"),
    FeatureView("colors", source=ORDERS, entity=["who", "kind"], features=["color", "size"]),
    FeatureView("paid", source=ORDERS, entity="who", features=["cost"], ttl="1d"),
    _windowed("recent", "size", ["mean", "sum", "count", "min", "max", "std", "p50"], "who"),
    _windowed("costs", "cost", ["mean", "count", "last"], "kind"),
    _windowed("all", "color", ["distinct", "first"], None),
)


def base(rows) -> pl.DataFrame:
    """Return rows of the base part: id, minute, who, kind, size, color."""
    timed = [(key, _at(minute), *rest) for key, minute, *rest in rows]
    return pl.DataFrame(timed, schema=BASE, orient="row")


def later(rows) -> pl.DataFrame:
    """Return rows of the later part: id, minute, cost."""
    return pl.DataFrame([(key, _at(minute), cost) for key, minute, cost in rows], schema=LATER, orient="row")


def _at(minute: int) -> dt.datetime:
    return BEGIN + dt.timedelta(minutes=minute)


def moment(minute: int) -> int:
    return instant(_at(minute).isoformat())


class OnlineHome:
    """Everything of one home; `reopen` loses what is in memory."""

    def __init__(
        self,
        folder: Path,
        store: KeyValue | None = None,
        faults: Faults | None = None,
        ledger: SqliteLedger | None = None,
    ) -> None:
        self.folder = folder
        self.clock = VirtualClock(instant("2014-02-01"))
        self.ledger = ledger or SqliteLedger(":memory:")
        self.store = store or SqliteKeyValue(folder / "online", durable=False)
        self.n = 0
        self.reopen(faults)
        self.datasets.commit(self.datasets.register(ORDERS))

    def reopen(self, faults: Faults | None = None) -> None:
        columns = self.columns = FolderColumns(self.folder / "columns", durable=False)
        self.views = Views(self.ledger, DatasetsView, OnlineView)
        secret = Secret(self.folder / "digest.key")
        self.datasets = Datasets(self.ledger, columns, self.clock, self.views, secret)
        self.materialiser = Materialiser(
            self.datasets, self.views, self.store, self.clock, self.datasets.commit, faults
        )

    def append(self, part: str, rows: pl.DataFrame) -> None:
        self.n += 1
        self.datasets.append(ORDERS, part, rows, segment=f"segment-{self.n:04}")

    def reader(self, views=VIEWS) -> OnlineReader:
        return OnlineReader(self.store, views)

    def engine(self, features, requests: Dataset = ORDERS) -> FeatureEngine:
        """Return an engine over all that is stored, in memory."""
        store = FeatureStore()
        engine = FeatureEngine(features, requests, store)
        for part in ORDERS.parts:
            store.observe(ORDERS, part, self.datasets.read_part(ORDERS, part))
        return engine
