"""What is killed while it materialises."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl
from tests.app.serving import eventually
from tests.features.online.homes import VIEWS, OnlineHome, base

from varv.kernel.errors import FailedPrecondition
from varv.kernel.ledger_sqlite import SqliteLedger

N_ROWS = 30_000
LAST, RECENT = VIEWS[0], VIEWS[3]
WHO = [f"who-{number}" for number in range(3000)]


def opened(folder: Path) -> OnlineHome:
    """Return the home in a folder."""

    def ledger() -> SqliteLedger | None:
        # Of a process that was just killed, the lock may go a moment later than its other files.
        with suppress(FailedPrecondition):
            return SqliteLedger(folder / "ledger.db", durability="process")
        return None

    return OnlineHome(folder, ledger=eventually(ledger, deadline_s=30))


def rows_of(batch: int) -> pl.DataFrame:
    """Return one batch of rows."""
    keys = range(batch * N_ROWS, (batch + 1) * N_ROWS)
    return base([(key, key // 40, WHO[key % len(WHO)], key % 3, float(key % 7), "red") for key in keys])


def work(folder: str, act: str, said: Connection) -> None:
    """Bring the views up to date or fill them anew, in a process of its own."""
    home = opened(Path(folder))
    said.send("begun")
    done(home, act)
    said.send("done")


def done(home: OnlineHome, act: str) -> None:
    """Bring the views up to date or fill them anew."""
    for view in (LAST, RECENT):
        if act == "materialise":
            home.materialiser.materialise(view)
        else:
            home.materialiser.backfill(view)
    home.ledger.close()
