"""A small world of deliveries: rows that a ledger gets, a store that serves from them, and what may go wrong
with either.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.data.intake import Batch, Intake
from varv.features import FeatureEngine, FeatureSet, FeatureStore, FeatureView, derived, windows
from varv.features.skew import Served
from varv.kernel.clock import HOUR, MINUTE, VirtualClock, instant
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

START = instant("2026-03-01")
ROWS = {
    "id": pl.Int64,
    "shop": pl.String,
    "at": TIME,
    "size": pl.Float64,
    "done_at": TIME,
    "late": pl.Float64,
}
ASKED = {"key": pl.String, "shop": pl.String, "asked_at": TIME, "weight": pl.Float64}
SHOPS = ("a", "b", "c")


def deliveries():
    return Dataset(
        "deliveries",
        source=Frame(pl.DataFrame(schema=ROWS)),
        key="id",
        event_time="at",
        known_at={"done_at": ["late"]},
    )


def features(data, over=("2h", "12h")):
    """Return the last size of a shop, how big and how late its deliveries were, and one computed of these."""
    requests = Dataset("orders", source=Frame(pl.DataFrame(schema=ASKED)), key="key", event_time="asked_at")
    last = FeatureView("last", source=data, entity="shop", features=["size"])
    sizes = windows("size", ["mean", "count"], over=list(over))
    recent = FeatureView("recent", source=data, entity="shop", features=sizes)
    delays = FeatureView("delays", source=data, entity="shop", features=windows("late", "mean", over=["12h"]))
    ratio = derived("ratio", pl.col("weight") / pl.col("last__size"))
    return FeatureSet([last, recent, delays, ratio], requests)


class World:
    """A ledger with deliveries, one every ten minutes of each shop, and a store that is told of each.

    Parameters
    ----------
    behind
        How many of the last batches the store is not told of, at each request.
    """

    def __init__(self, folder, behind=0):
        self.clock = VirtualClock(START)
        ledger = SqliteLedger(":memory:")
        views = Views(ledger, DatasetsView)
        columns = FolderColumns(folder / "columns", durable=False)
        self.datasets = Datasets(ledger, columns, self.clock, views, Secret(folder / "secret"))
        self.data = deliveries()
        self.datasets.commit(self.datasets.register(self.data))
        self.features = features(self.data)
        self.store = FeatureStore()
        self.engine = FeatureEngine(self.features, self.features.requests, self.store)
        self._intake = Intake(self.datasets)
        self._behind, self._waiting, self._n = behind, [], 0
        self.asked, self.served = [], []

    def came(self, when, *rows, part="at"):
        """Let the ledger get rows at a time, and the store after it."""
        self.clock.move_to(when)
        self._n += 1
        names = ("id", "shop", "at", "size") if part == "at" else ("id", "done_at", "late")
        frame = pl.DataFrame(rows, schema={name: ROWS[name] for name in names}, orient="row")
        frame = frame.select(self.data.columns(part))
        stored = self._intake.store([Batch(self.data, part, frame)], f"{self._n:06d}")
        self.datasets.commit(stored.facts)
        self._waiting += stored.batches
        while len(self._waiting) > self._behind:
            self.store.rows_known(self._waiting.pop(0))

    def ask(self, when, shop, weight=1.0, engine=None):
        """Serve a request."""
        key = f"r-{len(self.asked):05d}"
        row = pl.DataFrame([(key, shop, when, weight)], schema=ASKED, orient="row")
        self.asked.append(row)
        self.served.append((engine or self.engine).lookup(row, "asked_at"))

    def result(self):
        """Return all that was served."""
        return Served(pl.concat(self.asked), "asked_at", pl.concat(self.served))


def busy(world, *, hours=18, ask_after=13, rng=None):
    """Let deliveries come, each known an hour later to be late or not, and ask for every shop every half hour
    from some hour on.
    """
    rng = rng or np.random.default_rng(7)
    done, number = [], 0
    for minute in range(0, hours * 60, 10):
        now = START + minute * MINUTE
        rows = []
        for shop in SHOPS:
            rows.append((number, shop, now, float(rng.normal(10, 3))))
            done.append((number, now + HOUR, float(rng.random() < 0.4)))
            number += 1
        world.came(now, *[(id, shop, at, size) for id, shop, at, size in rows])
        due = [one for one in done if one[1] <= now]
        if due:
            world.came(now + 1, *due, part="done_at")
            done = [one for one in done if one[1] > now]
        if minute >= ask_after * 60 and minute % 30 == 0:
            for shop in SHOPS:
                world.ask(now + MINUTE, shop)
    return world
