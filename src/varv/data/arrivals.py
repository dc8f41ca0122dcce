"""What became of the rows that arrived, folded from the ledger: how many, and which are in quarantine."""

from __future__ import annotations

import msgspec

from varv.data.model import (
    BatchDropped,
    BatchQuarantined,
    BatchReleased,
    BatchReplaced,
    BatchWarned,
    DatasetVersionAppended,
    RepeatsDropped,
    RowsJoined,
)
from varv.data.privacy.model import QuarantineErased
from varv.data.quarantined import Quarantined
from varv.data.versions.model import DatasetRewritten
from varv.kernel.ids import Seq
from varv.kernel.ledger import Entry


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
    warnings: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows that broke a declared rule that only warns, by the rule."""

    @property
    def n_lost(self) -> int:
        """Rows that arrived and are not used, though they say something that no other row says."""
        return self.n_different + self.n_quarantined + self.n_discarded + self.n_waiting + self.n_early


Place = tuple[str, str, str]
"""Dataset, part and segment."""


class Arrivals(msgspec.Struct):
    """The batches of all datasets, and what became of their rows; a part of `DatasetsView`."""

    held: dict[Place, Quarantined] = {}
    counted: dict[tuple[str, str], PartCounts] = {}
    from_quarantine: set[Place] = set()
    given: set[Place] = set()
    erased_from: dict[Place, str] = {}
    """By batch in quarantine of which rows were erased, the segment that it lies in since."""

    def quarantined(self, dataset: str, part: str, segment: str) -> Quarantined | None:
        """Return the rows of a batch that are in quarantine, if any are."""
        return self.held.get((dataset, part, segment))

    def quarantine(self, dataset: str | None = None, part: str | None = None) -> list[Quarantined]:
        """Return what is in quarantine, of one dataset or part or of all, in the order in which it came."""
        return [
            held
            for held in self.held.values()
            if dataset in (None, held.dataset) and part in (None, held.part)
        ]

    def counts(self, dataset: str, part: str) -> PartCounts:
        """Return what became of the rows of one part."""
        return self.counted.setdefault((dataset, part), PartCounts())

    def appended(self, event: DatasetVersionAppended) -> None:
        """Fold that a batch made a version."""
        place = (event.dataset, event.part, event.segment)
        counts = self._arrived(place, event.n_rows)
        counts.n_batches += 1
        counts.n_rows += event.n_rows
        counts.n_given += event.n_rows if place in self.given else 0
        counts.n_waiting += event.n_ahead

    def repeated(self, event: RepeatsDropped) -> None:
        """Fold that rows repeated keys."""
        place = (event.dataset, event.part, event.segment)
        counts = self._arrived(place, event.n_equal + event.n_different)
        if place not in self.given:
            counts.n_equal += event.n_equal
            counts.n_different += event.n_different

    def joined(self, event: RowsJoined) -> None:
        """Fold that rows came that others had waited for."""
        counts = self.counts(event.dataset, event.part)
        # Ledgers of before did not count what waited.
        counts.n_waiting = max(0, counts.n_waiting - event.n_rows)
        counts.n_early += event.n_early

    def warned(self, event: BatchWarned) -> None:
        """Fold that rows broke rules that only warn."""
        warnings = self.counts(event.dataset, event.part).warnings
        for one in event.warnings:
            warnings[one.reason] = warnings.get(one.reason, 0) + one.n_rows

    def rewritten(self, event: DatasetRewritten) -> None:
        """Fold that rows were replaced."""
        self.counts(event.dataset, event.part).n_rows += event.n_rows - event.n_removed
        for part, n_rows in event.n_waiting.items():
            self.counts(event.dataset, part).n_waiting = n_rows

    def put_aside(self, entry: Entry, event: BatchQuarantined) -> None:
        """Fold that rows went into quarantine."""
        place = (event.dataset, event.part, event.segment)
        self.held[place] = Quarantined(
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
        counts = self._arrived(place, event.n_rows)
        counts.n_quarantined += event.n_rows
        counts.n_batch_quarantined += event.whole
        for reason, n in self.held[place].by_reason.items():
            counts.reasons[reason] = counts.reasons.get(reason, 0) + n

    def taken_out(self, event: BatchReleased | BatchReplaced | BatchDropped) -> None:
        """Fold that rows went out of quarantine."""
        place = (event.dataset, event.part, event.segment)
        held = self.held.pop(place, None)
        if held is None:
            return
        taken = set(event.rows or held.rows)
        counts = self.counts(event.dataset, event.part)
        counts.n_quarantined -= len(taken)
        match event:
            case BatchReleased():
                counts.n_released += len(taken)
                self.from_quarantine.add((event.dataset, event.part, event.into or event.segment))
            case BatchReplaced():
                counts.n_replaced += len(taken)
                self.from_quarantine.add((event.dataset, event.part, event.into))
                self.given.add((event.dataset, event.part, event.into))
            case BatchDropped():
                counts.n_discarded += len(taken)
        gone = held.gone | taken
        left = held.n_put_aside - len(gone)
        if left:
            self.held[place] = msgspec.structs.replace(held, n_rows=left, gone=gone, n_acts=held.n_acts + 1)

    def erased(self, event: QuarantineErased) -> None:
        """Fold that rows in quarantine were erased."""
        place = (event.dataset, event.part, event.segment)
        self.erased_from[place] = event.into
        held = self.held.get(place)
        if held is None:
            return
        gone = held.gone | set(event.rows)
        self.counts(event.dataset, event.part).n_quarantined -= len(gone) - len(held.gone)
        left = held.n_put_aside - len(gone)
        if left:
            self.held[place] = msgspec.structs.replace(
                held, n_rows=left, gone=gone, kept=event.digest, stored=event.into
            )
        else:
            del self.held[place]

    def _arrived(self, place: Place, n_rows: int) -> PartCounts:
        counts = self.counts(place[0], place[1])
        if place not in self.from_quarantine:
            counts.n_arrived += n_rows
        return counts
