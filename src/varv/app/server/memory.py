"""What a worker remembers of rows, and how it is kept for the next one: feature state, and which columns of
requests were ever empty.

A snapshot is taken of each dataset by itself, so that a change of one leaves those of others useful. It is
written by a thread of its own, since what it is taken from changes no more, and the worker goes on answering
and observing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import msgspec

from varv.data import Dataset, Datasets
from varv.data.intake import Batch, Intake
from varv.data.known_keys import identity_of
from varv.features import FeatureStore, FeatureView
from varv.features.observed import ObservedState
from varv.features.online.stored import StoredHistory
from varv.features.reads import ReadCounts
from varv.kernel.clock import Instant
from varv.kernel.ids import DatasetName, Version
from varv.kernel.ledger import Ledger
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots


class RememberedState(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a dataset up to one of its versions."""

    identity: str
    """Of the dataset, and of the views that read it."""
    version: int
    empty: tuple[str, ...]
    oldest: int
    features: ObservedState | None


class Memory:
    """What one worker remembers. One thread tells it of rows; others may look features up at the same time.

    Parameters
    ----------
    secret, snapshots
        Of the home.
    stored
        Returns what is behind a view that is read from the online store; None of one that is held here.
    reads
        Counts reads by models.
    """

    def __init__(
        self,
        secret: Secret,
        snapshots: Snapshots,
        stored: Callable[[FeatureView], StoredHistory | None] = lambda _: None,
        reads: ReadCounts | None = None,
    ) -> None:
        self.features = FeatureStore(secret, stored, reads)
        self._snapshots = snapshots
        self._empty: dict[DatasetName, frozenset[str]] = {}
        self._kept: dict[DatasetName, Version] = {}
        self._writing: threading.Thread | None = None

    def restore(self, datasets: Datasets, declared: Sequence[Dataset], ledger: Ledger) -> None:
        """Bring it up to what the ledger holds: from snapshots and what came after them, where there are any.
        Views were added before.
        """
        for dataset in declared:
            kept = self._snapshots.newest(_name(dataset), RememberedState, ledger)
            if kept is None or kept.state.identity != self._identity(dataset):
                continue
            state = kept.state
            if datasets.was_rewritten(dataset, state.version):
                continue
            self._empty[dataset.name] = frozenset(state.empty)
            if state.features is not None:
                self.features.restore(dataset, state.features, kept.lies_in, Instant(state.oldest))
            self._kept[dataset.name] = Version(state.version)
        Intake(datasets, [self]).restore(declared, self._kept)
        self.features.let_go()

    def rows_known(self, batch: Batch) -> None:
        """Take in a batch; the same one again changes nothing."""
        self.features.rows_known(batch)
        if batch.is_base:
            empty = frozenset(name for name in batch.rows.columns if batch.rows[name].null_count())
            self._empty[batch.dataset.name] = empty | self.ever_empty(batch.dataset)

    def ever_empty(self, dataset: Dataset) -> frozenset[str]:
        """Return the columns of the base part that were empty in some row."""
        return self._empty.get(dataset.name, frozenset())

    @property
    def is_sound(self) -> bool:
        """Whether the snapshots that it was restored from, as far as they are in use, are as they were."""
        return self._snapshots.are_unchanged

    def keep(
        self, declared: Sequence[Dataset], position: Position, versions: Mapping[DatasetName, Version]
    ) -> None:
        """Begin to write what is remembered of datasets of which more is than was kept before; nothing, as
        long as it is still being written.

        Parameters
        ----------
        position, versions
            Everything up to these was told.
        """
        if self._writing is not None and self._writing.is_alive():
            return
        states = {
            _name(dataset): self._state(dataset, versions[dataset.name])
            for dataset in declared
            if versions.get(dataset.name, 0) > self._kept.get(dataset.name, 0)
        }
        self._kept |= versions
        self._writing = threading.Thread(target=self._write, args=(states, position), name="snapshots")
        self._writing.start()

    def close(self) -> None:
        """Let what is being written be finished."""
        if self._writing is not None:
            self._writing.join()

    def _write(self, states: Mapping[str, RememberedState], position: Position) -> None:
        for name, state in states.items():
            self._snapshots.write(name, position, state, let_go=self.features.let_go)

    def _state(self, dataset: Dataset, version: Version) -> RememberedState:
        return RememberedState(
            identity=self._identity(dataset),
            version=version,
            empty=tuple(sorted(self.ever_empty(dataset))),
            oldest=self.features.oldest,
            features=self.features.as_state(dataset),
        )

    def _identity(self, dataset: Dataset) -> str:
        return f"{identity_of(dataset)} {self.features.identity(dataset)}"


def _name(dataset: Dataset) -> str:
    return f"features.{dataset.name}"
