"""The keys of all datasets: read from what is stored when they are first needed, and kept in snapshots."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import polars as pl

from varv.data.dataset import Dataset
from varv.data.keys import DatasetKeys, KeysState
from varv.data.rewriting.files import stated_rows
from varv.data.shape import in_shape
from varv.data.stored import StoredDatasets
from varv.kernel.clock import Instant
from varv.kernel.codec import canonical
from varv.kernel.ids import Version
from varv.kernel.ledger import Ledger
from varv.kernel.observe import log
from varv.kernel.snapshots import Position, Snapshots

_LOG = logging.getLogger(__name__)


class KnownKeys:
    """The keys of the datasets of one store.

    Parameters
    ----------
    stored, ledger
        The datasets, and where their rows and facts are.
    snapshots
        Where keys are kept, so that a restart reads only what came later; by default it reads everything.
    """

    def __init__(self, stored: StoredDatasets, ledger: Ledger, snapshots: Snapshots | None) -> None:
        self._stored = stored
        self._ledger = ledger
        self._snapshots = snapshots
        self._keys: dict[str, DatasetKeys] = {}
        self._kept: dict[str, Version] = {}
        self._at: dict[str, Version] = {}
        """By dataset, the version that its keys are those of, once what is prepared is committed."""
        self._reading = threading.Lock()

    def of(self, dataset: Dataset) -> DatasetKeys:
        """Return the keys of a dataset."""
        with self._reading:
            return self._keys.get(dataset.name) or self._read(dataset)

    def _read(self, dataset: Dataset) -> DatasetKeys:
        keys = DatasetKeys(dataset.event_time, tuple(dataset.known_at))
        kept = None
        if self._snapshots is not None:
            kept = self._snapshots.newest(_name_of(dataset), KeysState, self._ledger)
        since = Version(0)
        is_of = kept is not None and kept.state.identity == identity_of(dataset)
        if kept is not None and is_of:
            version = Version(kept.state.version)
            if not self._stored.was_rewritten(dataset, version):
                keys.take(kept.state, kept.lies_in)
                since = self._kept[dataset.name] = version
        upto = self._stored.version(dataset)
        for part in dataset.parts:
            # Which keys there are has to be known of archived rows too, or one would be taken again.
            batches = self._stored.ever_after(dataset, part, since, upto)
            names, types = dataset.columns(part), dataset.part_types(part)
            whole = (in_shape(rows, types).select(names) for rows in batches)
            keys.restore(part, (stated_rows(rows, dataset, part) for rows in whole))
        self._keys[dataset.name], self._at[dataset.name] = keys, upto
        return keys

    def at(self, dataset: Dataset) -> Version | None:
        """Return the version that the keys of a dataset are those of, once what is prepared is committed;
        None if they were not read.
        """
        return self._at.get(dataset.name)

    def mark(self, dataset: Dataset, version: Version | int) -> None:
        """Take it that the keys of a dataset are those of a version that is prepared."""
        self._at[dataset.name] = Version(version)

    def advance(self, dataset: Dataset) -> None:
        """Take it that the keys of a dataset are those of the next version, which is prepared."""
        self._at[dataset.name] = Version(self._at[dataset.name] + 1)

    def drop(self, dataset: Dataset) -> None:
        """Read the keys of a dataset anew when they are next needed."""
        self._keys.pop(dataset.name, None)

    def forget(self) -> None:
        """Read all keys anew when they are next needed."""
        self._keys.clear()
        self._at.clear()

    def look_after(self) -> bool:
        """Return whether the files are as they were that keys lie in."""
        if self._snapshots is None or self._snapshots.are_unchanged:
            return True
        log(_LOG, logging.ERROR, "snapshot.changed", hint="nobody may write to the snapshots of a home")
        return False

    def keep(self, dataset: Dataset, position: Position) -> Callable[[], bool] | None:
        """Return what writes a snapshot of a dataset's keys as they are now, in any thread, while nothing is
        prepared; None if they were never needed, or there are none after the last snapshot.

        Parameters
        ----------
        position
            The head of the ledger.
        """
        version = self._stored.version(dataset)
        keys, snapshots = self._keys.get(dataset.name), self._snapshots
        if keys is None or snapshots is None or version == self._kept.get(dataset.name):
            return None
        if self._at.get(dataset.name) != version:
            # Somebody else has made a version since: they are not its keys.
            return None
        self._kept[dataset.name] = version
        state = keys.as_state(identity_of(dataset), version)
        return lambda: snapshots.write(_name_of(dataset), position, state, let_go=keys.let_go)

    def event_times(self, dataset: Dataset, keys: pl.DataFrame) -> list[Instant | None]:
        """Return the event time of the row of each key, None where there is none: the key's columns, in kept
        types.
        """
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        found = self.of(dataset).find(dataset.event_time, hashes)
        pairs = zip(found.known.tolist(), found.times.tolist(), strict=True)
        return [Instant(at) if known else None for known, at in pairs]

    def holds(self, dataset: Dataset, part: str, keys: pl.DataFrame) -> pl.Series:
        """Return of which keys a part has a row: the key's columns, in kept types."""
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        return pl.Series(self.of(dataset).find(part, hashes).known)

    def n_waiting_for(self, dataset: Dataset, part: str, keys: pl.DataFrame) -> int:
        """Return how many rows of a later part wait for one of these keys: the key's columns, in kept
        types.
        """
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        return self.of(dataset).n_waiting_for(part, hashes)

    def said_before(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Return which rows of a part, in the types in which they are stored, have a key that stands, and
        which of those say what it says.
        """
        given = stated_rows(rows, dataset, part)
        found = self.of(dataset).find(part, given.keys)
        return pl.Series(found.known), pl.Series(found.known & (found.rows == given.rows))

    def before_its_row(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> pl.Series:
        """Return which rows of a later part, in the types in which they are stored, say something from before
        the row that they are about existed.
        """
        given = stated_rows(rows, dataset, part)
        return pl.Series(self.of(dataset).standing(part, given).early(given))


def identity_of(dataset: Dataset) -> str:
    """Return what two datasets have in common if what was kept of one is of the other."""
    # In no order: a record of a dataset keeps none.
    shape = [
        sorted([name, str(dtype)] for name, dtype in dataset.part_types(part).items())
        for part in dataset.parts
    ]
    return canonical([dataset.name, dataset.key, dataset.parts, shape]).decode()


def _name_of(dataset: Dataset) -> str:
    return f"keys.{dataset.name}"
