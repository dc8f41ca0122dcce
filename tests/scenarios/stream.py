"""Rows that arrive a few at a time, each few counted at once; `tests.faults.test_kill_stream` kills it.

``python -m tests.scenarios.stream HOME N`` goes on from whatever the home holds. It sends the last batches
once more, as a client does that got no answer, then new ones up to number N, and says each one's number once
it counts. At last it says what windows find.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from varv.app.server.memory import Memory
from varv.data import Dataset, Datasets, DatasetsView, Frame
from varv.data.intake import Batch, Intake
from varv.features import FeatureEngine, FeatureView, windows
from varv.kernel.clock import MINUTE, VirtualClock, instant
from varv.kernel.columns import TIME
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Append, Change
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.sagas import Fact
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.views import Views

START = instant("2024-05-01")
TYPES = {"id": pl.String, "at": TIME, "who": pl.String, "size": pl.Float64}
STATISTICS = ["count", "sum", "std", "max", "p50", "distinct"]
PAYMENTS = Dataset("payments", source=Frame(pl.DataFrame(schema=TYPES)), key="id", event_time="at")
VIEW = FeatureView(
    "lately",
    source=PAYMENTS,
    entity="who",
    features=windows("size", STATISTICS, over="1d"),
    lateness="10m",
)


def batch(number: int) -> pl.DataFrame:
    """Return the rows of one batch; one of them comes half an hour late."""
    rows = [
        (f"{number}-{i}", START + (number - 30 * (i == 2)) * MINUTE, "xy"[i % 2], (number * 7 + i) % 11 / 4)
        for i in range(3)
    ]
    return pl.DataFrame(rows, schema={**TYPES, "at": pl.Int64}, orient="row").cast({"at": TIME})


def commit(ledger: SqliteLedger, facts: Sequence[Fact]) -> None:
    """Commit facts, if there are any."""
    if facts:
        appends = tuple(Append(fact.stream, fact.event) for fact in facts)
        ledger.commit(Change(at=START, facts=appends))


def main(home: Path, until: int) -> None:
    """Send batches; see the module."""
    ledger = SqliteLedger(home / "ledger.db", durability="full")
    views, secret = Views(ledger, DatasetsView), Secret(home / "digest.key")
    clock = VirtualClock(instant("2024-06-01"))
    datasets = Datasets(ledger, FolderColumns(home / "columns"), clock, views, secret)
    commit(ledger, datasets.register(PAYMENTS))
    memory = Memory(secret, Snapshots(home / "snapshots", secret, "1", durable=False))
    engine = FeatureEngine([VIEW], PAYMENTS, memory.features)
    memory.restore(datasets, [PAYMENTS], ledger)
    intake = Intake(datasets, [memory])
    begun = datasets.read_part(PAYMENTS, "at").height // 3
    for number in range(max(begun - 3, 0), until):
        stored = intake.store([Batch(PAYMENTS, "at", batch(number))], f"b{number}")
        commit(ledger, stored.facts)
        intake.tell(stored.batches)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        if number % 4 == 0:
            head = ledger.head()
            memory.keep(
                [PAYMENTS], Position(head.version, head.hash), {PAYMENTS.name: datasets.version(PAYMENTS)}
            )
    memory.close()
    asked = pl.DataFrame({"who": ["x", "y"], "at": [START + until * MINUTE] * 2}).cast({"at": TIME})
    found = engine.lookup(asked, "at").rows()
    [(_, progress)] = memory.features.progress()
    sys.stdout.write(
        json.dumps({"found": found, "n_rows": progress.n_rows, "n_late": progress.n_late}) + "\n"
    )
    ledger.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
