"""What is the case with datasets: versions, contracts, and what is in quarantine; folded from the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.data.model import (
    BatchQuarantined,
    BatchReleased,
    ContractInferred,
    DatasetRegistered,
    DatasetVersionAppended,
)
from varv.data.rules import Contract
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event
from varv.kernel.ids import Version
from varv.kernel.ledger import Entry


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a dataset: all batches up to this one; and the batch that made it."""

    version: Version
    part: str
    segment: str
    n_rows: int
    digest: Digest
    first: Instant | None
    last: Instant | None
    at: Instant


Place = tuple[str, str, str]
"""Dataset, part and segment."""


class DatasetsView:
    """The datasets that the ledger knows."""

    def __init__(self) -> None:
        self._registered: dict[str, DatasetRegistered] = {}
        self._contracts: dict[tuple[str, str], Contract] = {}
        self._versions: dict[str, list[DatasetVersion]] = {}
        self._segments: dict[Place, DatasetVersion] = {}
        self._quarantine: dict[Place, BatchQuarantined] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry."""
        match event:
            case DatasetRegistered():
                self._registered[event.dataset] = event
            case ContractInferred():
                self._contracts[event.dataset, event.part] = event.contract
            case DatasetVersionAppended():
                self._take_in(entry, event)
            case BatchQuarantined():
                self._quarantine[event.dataset, event.part, event.segment] = event
            case BatchReleased():
                self._quarantine.pop((event.dataset, event.part, event.segment), None)
            case _:
                pass

    def datasets(self) -> list[DatasetRegistered]:
        """Return the registered datasets, by name."""
        return [self._registered[name] for name in sorted(self._registered)]

    def registered(self, dataset: str) -> DatasetRegistered | None:
        """Return how a dataset was registered, or None if it was not."""
        return self._registered.get(dataset)

    def versions(self, dataset: str) -> Sequence[DatasetVersion]:
        """Return the versions of a dataset, version 1 first; none if nothing was taken in."""
        return tuple(self._versions.get(dataset, ()))

    def contract(self, dataset: str, part: str) -> Contract | None:
        """Return the contract inferred last for a part, if any."""
        return self._contracts.get((dataset, part))

    def segment(self, dataset: str, part: str, segment: str) -> DatasetVersion | None:
        """Return the version that a segment made, if it was taken in."""
        return self._segments.get((dataset, part, segment))

    def quarantined(self, dataset: str, part: str, segment: str) -> BatchQuarantined | None:
        """Return a batch that is in quarantine, if it is."""
        return self._quarantine.get((dataset, part, segment))

    def quarantine(self, dataset: str | None = None) -> list[BatchQuarantined]:
        """Return the batches in quarantine, of one dataset or of all, in the order in which they came."""
        return [event for event in self._quarantine.values() if dataset in (None, event.dataset)]

    def _take_in(self, entry: Entry, event: DatasetVersionAppended) -> None:
        versions = self._versions.setdefault(event.dataset, [])
        kept = DatasetVersion(
            version=Version(len(versions) + 1),
            part=event.part,
            segment=event.segment,
            n_rows=event.n_rows,
            digest=event.digest,
            first=event.first,
            last=event.last,
            at=entry.at,
        )
        versions.append(kept)
        self._segments[event.dataset, event.part, event.segment] = kept
