"""What a pull costs: ``python benchmarks/bench_ingestion.py [ROWS]``.

A table of SQLite with ROWS of seven columns, a million by default, is pulled whole, once more when nothing is
new, and when one row in a hundred was changed, which is merged. Beside it the same rows are read by the
driver alone, and loaded into a table of DuckDB, if it is installed. Processor seconds of the process, and the
peak of its memory.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from varv.data import Dataset, Datasets, DatasetsView, Sql
from varv.data.ingestion.pulling import Puller
from varv.data.ingestion.verbs import OfflineActs
from varv.data.ingestion.views import PullsView
from varv.kernel.clock import VirtualClock, cpu_seconds, instant
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.views import Views

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
SCHEMA = "id TEXT, at TEXT, a REAL, b REAL, d INTEGER, e TEXT, changed INTEGER"


def fill(place: Path, n_rows: int) -> None:
    """Write the table, with an index of the watermark."""
    drawn = np.random.default_rng(5).random((n_rows, 2)).tolist()
    rows = (
        (f"k{i:09d}", f"2013-01-{1 + i % 28:02d}T00:00:00Z", a, b, i % 100, "xyz"[i % 3], i)
        for i, (a, b) in enumerate(drawn)
    )
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(f"CREATE TABLE t ({SCHEMA})")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("CREATE INDEX by_changed ON t (changed)")


def change(place: Path, n_rows: int) -> None:
    """Change one row in a hundred."""
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute(f"UPDATE t SET a = a + 1, changed = changed + {n_rows} WHERE d = 7")


def puller(folder: Path, source: Sql) -> tuple[Puller, Dataset]:
    """Return what pulls the table into a store of its own."""
    dataset = Dataset("t", source=source, key="id", event_time="at", updates="merge")
    clock, ledger = VirtualClock(instant("2014-02-01")), SqliteLedger(folder / "ledger.db")
    views = Views(ledger, DatasetsView, PullsView)
    datasets = Datasets(
        ledger, FolderColumns(folder / "columns"), clock, views, Secret(folder / "digest.key")
    )
    datasets.commit(datasets.register(dataset))
    return Puller(datasets, views, clock, OfflineActs(datasets)), dataset


def peak_mb() -> float:
    """Return the peak of memory since it was last forgotten."""
    line = next(one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(name: str, act: Callable[[], object]) -> None:
    CLEAR_REFS.write_text("5")
    before, cpu = peak_mb(), cpu_seconds()
    found = act()
    print(f"{name:28} {cpu_seconds() - cpu:7.2f} s {peak_mb() - before:7.0f} MB  {found}")


def read_alone(source: Sql) -> int:
    return sum(rows.height for rows in source.batches())


def into_duckdb(source: Sql) -> int:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        for number, rows in enumerate(source.batches()):
            table = rows.to_arrow()
            connection.register("piece", table)
            connection.execute("INSERT INTO t FROM piece" if number else "CREATE TABLE t AS FROM piece")
        [n_rows] = connection.execute("SELECT count(*) FROM t").fetchone() or (0,)
    return n_rows


def main(n_rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "t.db", n_rows)
        source = Sql("t", url=f"sqlite:///{folder}/t.db", watermark="changed", times=("at",))
        source.types()
        measured("read by the driver alone", lambda: read_alone(source))
        pulls, dataset = puller(folder, source)
        measured("pulled whole", lambda: pulls.pull(dataset).n_new)
        measured("nothing new", lambda: pulls.pull(dataset).n_new)
        change(folder / "t.db", n_rows)
        measured("1 % changed, merged", lambda: pulls.pull(dataset).n_changed)
        measured("loaded into DuckDB", lambda: into_duckdb(source))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
