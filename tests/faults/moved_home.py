"""A home of people on which everything can be done that moves rows, by whoever does it, and which can be
opened again at any time.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from tests.home.erasure.people import People, people

from varv.app.compose import VIEWS, open_ledger
from varv.data import Datasets, DatasetsView
from varv.data.cold import ColdFiles
from varv.data.contracts import expect
from varv.data.delta.publishing import Publications
from varv.data.privacy.encrypting import Encryptor
from varv.data.quarantine import Quarantine
from varv.data.tiers import Tiers
from varv.data.versioning.keeping import Versions
from varv.data.versions import table_of
from varv.home.erasure.carrying import Erasures
from varv.kernel.faults import Faults
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import SNAPSHOTS, Position, Snapshots
from varv.kernel.views import Views

DOUBTED = expect.not_matches("id", "^doubted-")
PARTS = ("at", "done_at")


class MovedHome(People):
    """The home, open.

    Parameters
    ----------
    is_sealed
        Whether ages are encrypted for those whose they are.
    """

    ledger: SqliteLedger

    def __init__(self, folder: Path, faults: Faults, *, is_sealed: bool) -> None:
        more = {"pii": {"age": "encrypt:email"}} if is_sealed else {}
        super().__init__(folder, faults, people(expect=[DOUBTED], **more))
        self.faults, self.is_sealed = faults, is_sealed
        self.datasets.commit(self.datasets.register(self.dataset))
        self._join()

    def reopen(self) -> None:
        """Close the home and open it as the next process does, from its snapshots if there are any."""
        self.ledger.close()
        folder, faults = self.folder, self.faults
        self.ledger = open_ledger(folder, durability="process", faults=faults)
        self.views = Views(self.ledger, *VIEWS, snapshots=self.snapshots)
        self.columns = FolderColumns(folder / "columns", durable=False, faults=faults)
        self.secret = Secret(folder / "digest.key")
        self.datasets = Datasets(
            self.ledger, self.columns, self.clock, self.views, self.secret, self.snapshots
        )
        self.dataset.bind(self.secret.purposes)
        self._join()

    def _join(self) -> None:
        columns, views, ledger, clock = self.columns, self.views, self.ledger, self.clock
        self.datasets.cold = ColdFiles(self.folder, self.faults)
        self.versions = Versions(self.datasets, views, ledger, clock)
        self.publications = Publications(self.datasets, columns, views, ledger, clock, self.faults)
        commit = self.datasets.commit
        self.tiers = Tiers(columns, self.datasets.cold, views, clock, commit, faults=self.faults)
        self.quarantine = Quarantine(self.datasets, views, clock)
        self.erasures = Erasures(self.folder, ledger, views, clock, self.faults)

    @property
    def snapshots(self) -> Snapshots:
        """What the next start goes on from."""
        return Snapshots(self.folder / SNAPSHOTS, self.secret, "here", durable=False)

    def keep(self) -> None:
        """Write snapshots of the views and of the keys."""
        self.views.save(self.snapshots)
        head = self.ledger.head()
        write = self.datasets.keep_keys(self.dataset, Position(head.version, head.hash))
        if write is not None:
            write()

    def lose_snapshots(self) -> None:
        """Remove what the next start would go on from."""
        shutil.rmtree(self.folder / SNAPSHOTS, ignore_errors=True)

    def compact(self) -> None:
        """Store small batches together."""
        self.datasets.commit(self.datasets.compact(self.dataset))

    def table(self, part: str) -> Path:
        """Return the folder of a part's rows."""
        return self.columns.folder(table_of(self.dataset.name, part))

    def values(self, part: str, rows: pl.DataFrame) -> dict[str, tuple]:
        """Return the values of rows by key, ages as whoever may read them does."""
        if part == "at" and self.is_sealed:
            opened = Encryptor("people", ("id",), self.secret.purposes.subjects).opened(rows, "age", "email")
            assert opened.n_foreign == 0
            ages = [None if one is None else int(one) for one in opened.values]
            rows = rows.with_columns(pl.Series("age", ages, pl.Int64))
        names = [name for name in self.dataset.columns(part) if name != "id"]
        return dict(zip(rows["id"], rows.select(sorted(names)).rows(), strict=True))

    def present(self, part: str, **more) -> dict[str, tuple]:
        """Return the values of the last version by key."""
        return self.values(part, self.datasets.read_part(self.dataset, part, **more))

    def cold(self) -> set[str]:
        """Return the names of the files that are archived."""
        held = self.tiers.cold(self.dataset)
        return {f"{part}/{one.name}" for part, several in held.items() for one in several}

    def named_files(self, part: str) -> set[str]:
        """Return the names of what the catalogue has a file of in the folder of a part."""
        with self.views.reading(DatasetsView) as view:
            stored = view.catalogue(self.dataset.name, part).stored()
        return {one.name for one in stored if not one.removed_by and not one.cold}

    def files(self, part: str) -> set[str]:
        """Return the names of the files that lie in the folder of a part."""
        return set(self.columns.files(table_of(self.dataset.name, part)))

    def told(self) -> Mapping[str, object]:
        """Return what the views say of the dataset."""
        with self.views.reading(DatasetsView) as view:
            return {
                "catalogues": {part: view.catalogue("people", part).stored() for part in PARTS},
                "history": view.history("people"),
                "version": view.version("people"),
                "digest": view.digest("people"),
                "held": view.arrivals.quarantine("people"),
                "counts": {part: view.arrivals.counts("people", part) for part in PARTS},
            }
