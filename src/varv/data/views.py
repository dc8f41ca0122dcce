"""The state of datasets, folded from the ledger: versions, contracts, quarantine, and what was left out and
why.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from varv.data.expectations import Contract
from varv.data.model import (
    BatchDropped,
    BatchQuarantined,
    BatchReleased,
    BatchReplaced,
    ContractInferred,
    DatasetRegistered,
    DatasetVersionAppended,
    DatasetWidened,
    RepeatsDropped,
    RowsJoined,
)
from varv.data.rules import WHOLE, Report
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event
from varv.kernel.ids import DatasetName, Seq, Version
from varv.kernel.ledger import Entry


class DatasetVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a dataset: all batches up to this one; and the batch that made it."""

    version: Version
    part: str
    segment: str
    n_rows: int
    digest: Digest
    rows: Digest
    first: Instant | None
    last: Instant | None
    at: Instant

    def reaches(self, since: Instant | None, until: Instant | None, known_at: Instant | None) -> bool:
        """Return whether its batch may hold rows of [since, until) that were known at an instant; None bounds
        nothing.
        """
        if self.first is None or self.last is None:
            return since is None and until is None and known_at is None
        upto = until is None or self.first < until
        return upto and (since is None or self.last >= since) and (known_at is None or self.first <= known_at)


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a batch that are in quarantine: `n_rows` of them now, `n_put_aside` of `n_batch` at first."""

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    n_put_aside: int
    n_batch: int
    whole: bool
    report: Report
    digest: Digest
    kept: Digest
    """Keyed digest of the rows as they are stored; empty if an earlier version put them aside."""
    at: Instant
    seq: Seq
    gone: frozenset[int] = frozenset()
    """The numbers of the rows that were released, replaced or dropped."""
    n_acts: int = 0

    @property
    def by_reason(self) -> dict[str, int]:
        """How many rows were put aside for each reason; those of a whole batch have its first one."""
        violations = self.report.violations
        if self.whole and violations:
            return {f"{WHOLE}: {violations[0].reason}": self.n_put_aside}
        return {broken.reason: broken.n_rows for broken in violations}

    @property
    def rows(self) -> list[int]:
        """The numbers of the rows that are in quarantine."""
        return [number for number in range(self.n_put_aside) if number not in self.gone]


class PartCounts(msgspec.Struct):
    """What became of the rows that arrived for one part of a dataset."""

    n_arrived: int = 0
    """Came from a source or a sender; what a person let out of quarantine, or gave for it, is not counted
    again.
    """
    n_batches: int = 0
    n_rows: int = 0
    """Of all versions."""
    n_equal: int = 0
    """Repeated a key with the same values."""
    n_different: int = 0
    """Repeated a key with other values."""
    n_waiting: int = 0
    """Are about a row that is not there (yet); they count among `n_rows`."""
    n_early: int = 0
    """Say something from before their row existed, and are not used; they count among `n_rows`."""
    n_quarantined: int = 0
    """Are in quarantine now."""
    n_released: int = 0
    n_replaced: int = 0
    n_given: int = 0
    """Corrected rows that a person gave; they count among `n_rows`."""
    n_discarded: int = 0
    """Were given up by a person."""
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows that were ever put aside, by the first reason."""
    n_batch_quarantined: int = 0

    @property
    def n_lost(self) -> int:
        """Rows that arrived and are not used, though they say something that no other row says."""
        return self.n_different + self.n_quarantined + self.n_discarded + self.n_waiting + self.n_early


Place = tuple[str, str, str]
"""Dataset, part and segment."""


class DatasetsView:
    """The datasets that the ledger knows."""

    def __init__(self) -> None:
        self._registered: dict[str, DatasetRegistered] = {}
        self._widened: set[str] = set()
        self._contracts: dict[tuple[str, str], Contract] = {}
        self._versions: dict[str, list[DatasetVersion]] = {}
        self._segments: dict[Place, DatasetVersion] = {}
        self._batches: dict[Place, Digest] = {}
        """Of batches that are not a version as they came."""
        self._quarantine: dict[Place, Quarantined] = {}
        self._counts: dict[tuple[str, str], PartCounts] = {}
        self._from_quarantine: set[Place] = set()
        self._given: set[Place] = set()

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold the next entry."""
        match event:
            case DatasetRegistered():
                self._registered[event.dataset] = event
            case DatasetWidened():
                before = self._registered[event.dataset]
                self._widened.add(event.dataset)
                self._registered[event.dataset] = msgspec.structs.replace(
                    before, known_at=event.known_at, types=event.types
                )
            case ContractInferred():
                self._contracts[event.dataset, event.part] = event.contract
            case DatasetVersionAppended():
                self._append(entry, event)
            case RepeatsDropped():
                place = (event.dataset, event.part, event.segment)
                self._batches[place] = event.batch
                counts = self._arrived(place, event.n_equal + event.n_different)
                if place not in self._given:
                    counts.n_equal += event.n_equal
                    counts.n_different += event.n_different
            case RowsJoined():
                counts = self.counts(event.dataset, event.part)
                # Ledgers of before did not count what waited.
                counts.n_waiting = max(0, counts.n_waiting - event.n_rows)
                counts.n_early += event.n_early
            case BatchQuarantined():
                self._put_aside(entry, event)
            case BatchReleased() | BatchReplaced() | BatchDropped():
                self._take_out(event)
            case _:
                pass

    def datasets(self) -> list[DatasetRegistered]:
        """Return the registered datasets, by name."""
        return [self._registered[name] for name in sorted(self._registered)]

    def registered(self, dataset: str) -> DatasetRegistered | None:
        """Return how a dataset was registered, or None if it was not."""
        return self._registered.get(dataset)

    def was_widened(self, dataset: str) -> bool:
        """Return whether a dataset has gained columns that rows of before lack."""
        return dataset in self._widened

    def versions(self, dataset: str) -> Sequence[DatasetVersion]:
        """Return the versions of a dataset, version 1 first; none if nothing was ingested."""
        return tuple(self._versions.get(dataset, ()))

    def contract(self, dataset: str, part: str) -> Contract | None:
        """Return the contract inferred last for a part, if any."""
        return self._contracts.get((dataset, part))

    def segment(self, dataset: str, part: str, segment: str) -> DatasetVersion | None:
        """Return the version that a segment made, if it made one."""
        return self._segments.get((dataset, part, segment))

    def batch(self, dataset: str, part: str, segment: str) -> Digest | None:
        """Return the digest of a batch that came, whatever became of it; a keyed one if rows were left
        out.
        """
        place = (dataset, part, segment)
        version = self._segments.get(place)
        return self._batches.get(place, None if version is None else version.digest)

    def quarantined(self, dataset: str, part: str, segment: str) -> Quarantined | None:
        """Return the rows of a batch that are in quarantine, if any are."""
        return self._quarantine.get((dataset, part, segment))

    def quarantine(self, dataset: str | None = None, part: str | None = None) -> list[Quarantined]:
        """Return what is in quarantine, of one dataset or part or of all, in the order in which it came."""
        return [
            held
            for held in self._quarantine.values()
            if dataset in (None, held.dataset) and part in (None, held.part)
        ]

    def counts(self, dataset: str, part: str) -> PartCounts:
        """Return what became of the rows of one part."""
        return self._counts.setdefault((dataset, part), PartCounts())

    def _arrived(self, place: Place, n_rows: int) -> PartCounts:
        counts = self.counts(place[0], place[1])
        if place not in self._from_quarantine:
            counts.n_arrived += n_rows
        return counts

    def _append(self, entry: Entry, event: DatasetVersionAppended) -> None:
        versions = self._versions.setdefault(event.dataset, [])
        kept = DatasetVersion(
            version=Version(len(versions) + 1),
            part=event.part,
            segment=event.segment,
            n_rows=event.n_rows,
            digest=event.digest,
            rows=event.rows,
            first=event.first,
            last=event.last,
            at=entry.at,
        )
        versions.append(kept)
        place = (event.dataset, event.part, event.segment)
        self._segments[place] = kept
        if event.batch is not None:
            self._batches[place] = event.batch
        counts = self._arrived(place, event.n_rows)
        counts.n_batches += 1
        counts.n_rows += event.n_rows
        counts.n_given += event.n_rows if place in self._given else 0
        counts.n_waiting += event.n_ahead

    def _put_aside(self, entry: Entry, event: BatchQuarantined) -> None:
        place = (event.dataset, event.part, event.segment)
        self._quarantine[place] = Quarantined(
            dataset=event.dataset,
            part=event.part,
            segment=event.segment,
            n_rows=event.n_rows,
            n_put_aside=event.n_rows,
            n_batch=event.n_batch or event.n_rows,
            whole=event.whole,
            report=event.report,
            digest=event.digest,
            kept=event.rows,
            at=entry.at,
            seq=Seq(entry.seq),
        )
        self._batches[place] = event.batch or event.digest
        counts = self._arrived(place, event.n_rows)
        counts.n_quarantined += event.n_rows
        counts.n_batch_quarantined += event.whole
        for reason, n in self._quarantine[place].by_reason.items():
            counts.reasons[reason] = counts.reasons.get(reason, 0) + n

    def _take_out(self, event: BatchReleased | BatchReplaced | BatchDropped) -> None:
        place = (event.dataset, event.part, event.segment)
        held = self._quarantine.pop(place, None)
        if held is None:
            return
        taken = set(event.rows or held.rows)
        counts = self.counts(event.dataset, event.part)
        counts.n_quarantined -= len(taken)
        match event:
            case BatchReleased():
                counts.n_released += len(taken)
                self._from_quarantine.add((event.dataset, event.part, event.into or event.segment))
            case BatchReplaced():
                counts.n_replaced += len(taken)
                self._from_quarantine.add((event.dataset, event.part, event.into))
                self._given.add((event.dataset, event.part, event.into))
            case BatchDropped():
                counts.n_discarded += len(taken)
        gone = held.gone | taken
        left = held.n_put_aside - len(gone)
        if left:
            self._quarantine[place] = msgspec.structs.replace(
                held, n_rows=left, gone=gone, n_acts=held.n_acts + 1
            )
