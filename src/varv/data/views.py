"""The state of datasets, folded from the ledger: versions, contracts, quarantine, and what was left out and
why.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from varv.data.contracts.model import Contract, Expectation
from varv.data.contracts.report import WHOLE, Report
from varv.data.dataset import Dataset, dataset_of
from varv.data.model import (
    BatchDropped,
    BatchesCompacted,
    BatchQuarantined,
    BatchReleased,
    BatchReplaced,
    BatchWarned,
    ContractInferred,
    DatasetRegistered,
    DatasetVersionAppended,
    DatasetWidened,
    ExpectationsDeclared,
    FilesMerged,
    RepeatsDropped,
    RowsJoined,
)
from varv.data.privacy.model import PiiDeclared, QuarantineErased
from varv.data.versions.history import Mark, VersionHistory
from varv.data.versions.model import (
    ArchivalDeclared,
    DatasetDerived,
    DatasetPublished,
    DatasetRewritten,
    DatasetTagged,
    DatasetUntagged,
    DatasetVacuumed,
    PublicationDeclared,
    RetentionDeclared,
    SegmentsArchived,
    SegmentsRestored,
)
from varv.kernel.catalogue import Catalogue, Cold, Compacted, Extent
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, digest_of
from varv.kernel.errors import NotFound
from varv.kernel.ids import DatasetName, Seq, Version
from varv.kernel.ledger import Entry
from varv.kernel.views import Views


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
    stored: str = ""
    """The segment that they lie in, if it is not that of the batch."""

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
    warnings: dict[str, int] = msgspec.field(default_factory=dict)
    """Rows that broke a declared rule that only warns, by the rule."""

    @property
    def n_lost(self) -> int:
        """Rows that arrived and are not used, though they say something that no other row says."""
        return self.n_different + self.n_quarantined + self.n_discarded + self.n_waiting + self.n_early


Place = tuple[str, str, str]
"""Dataset, part and segment."""


class DatasetsView(msgspec.Struct):
    """The datasets that the ledger knows."""

    known: dict[str, DatasetRegistered] = {}
    widened: set[str] = set()
    contracts: dict[tuple[str, str], Contract] = {}
    expected: dict[str, tuple[Expectation, ...]] = {}
    """By dataset, what its author expects beside its contracts."""
    inferred_in: dict[tuple[str, str], int] = {}
    """By dataset and part, the entry of its contract."""
    stored: dict[tuple[str, str], Catalogue] = {}
    """By dataset and part, where the rows of its versions are; a segment's number is its version."""
    n_versions: dict[str, int] = {}
    digests: dict[str, Digest] = {}
    """By dataset, what identifies all its batches and rewrites so far, in their order."""
    histories: dict[str, VersionHistory] = {}
    batches: dict[tuple[str, str], dict[str, Digest]] = {}
    """By dataset and part, the digests of the batches that came last, as they came."""
    held: dict[Place, Quarantined] = {}
    counted: dict[tuple[str, str], PartCounts] = {}
    from_quarantine: set[Place] = set()
    given: set[Place] = set()
    erased_from: dict[Place, str] = {}
    """By batch in quarantine of which rows were erased, the segment that it lies in since."""

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold the next entry."""
        match event:
            case DatasetRegistered():
                self.known[event.dataset] = event
            case DatasetWidened():
                before = self.known[event.dataset]
                self.widened.add(event.dataset)
                gained = self.history(event.dataset).gained
                gained |= dict.fromkeys(event.gained, self.version(event.dataset))
                self.known[event.dataset] = msgspec.structs.replace(
                    before, known_at=event.known_at, types=event.types
                )
            case PiiDeclared() | ContractInferred() | ExpectationsDeclared() | BatchWarned():
                self._expect(entry, event)
            case DatasetVersionAppended():
                self._append(entry, event)
            case RepeatsDropped():
                place = (event.dataset, event.part, event.segment)
                self._came(place, event.batch)
                counts = self._arrived(place, event.n_equal + event.n_different)
                if place not in self.given:
                    counts.n_equal += event.n_equal
                    counts.n_different += event.n_different
            case RowsJoined():
                counts = self.counts(event.dataset, event.part)
                # Ledgers of before did not count what waited.
                counts.n_waiting = max(0, counts.n_waiting - event.n_rows)
                counts.n_early += event.n_early
            case BatchesCompacted():
                self._compact(event)
            case FilesMerged():
                self._merge(entry, event)
            case BatchQuarantined():
                self._put_aside(entry, event)
            case BatchReleased() | BatchReplaced() | BatchDropped():
                self._take_out(event)
            case _:
                self._apply_to_versions(entry, event)

    def _apply_to_versions(self, entry: Entry, event: Event) -> None:
        match event:
            case DatasetRewritten():
                self._rewrite(entry, event)
            case DatasetTagged() | DatasetUntagged():
                self.history(event.dataset).named(event)
            case DatasetDerived():
                history = self.history(event.dataset)
                history.made_from[self.version(event.dataset)] = event.made_from
            case RetentionDeclared():
                self.history(event.dataset).retention = event.retention
            case DatasetVacuumed():
                self._vacuum(entry, event)
            case QuarantineErased():
                self._erase_held(event)
            case PublicationDeclared():
                self.history(event.dataset).publish_every = event.every
            case ArchivalDeclared():
                self.history(event.dataset).archive_after = event.after
            case SegmentsArchived() | SegmentsRestored():
                self._move(entry, event)
            case DatasetPublished():
                history = self.history(event.dataset)
                history.note_published(event, entry.at)
            case _:
                pass

    def datasets(self) -> list[DatasetRegistered]:
        """Return the registered datasets, by name."""
        return [self.known[name] for name in sorted(self.known)]

    def registered(self, dataset: str) -> DatasetRegistered | None:
        """Return how a dataset was registered, or None if it was not."""
        return self.known.get(dataset)

    def was_widened(self, dataset: str) -> bool:
        """Return whether a dataset has gained columns that rows of before lack."""
        return dataset in self.widened

    def version(self, dataset: str) -> Version:
        """Return the last version of a dataset; 0 if nothing was ingested."""
        return Version(self.n_versions.get(dataset, 0))

    def history(self, dataset: str) -> VersionHistory:
        """Return what is remembered of the versions of a dataset."""
        return self.histories.setdefault(dataset, VersionHistory())

    def digest(self, dataset: str) -> Digest:
        """Return what identifies the batches and rewrites that made all versions of a dataset, in their
        order.
        """
        return self.digests.get(dataset, Digest(""))

    def catalogue(self, dataset: str, part: str) -> Catalogue:
        """Return where the rows of a part are; an empty one if there are none."""
        return self.stored.get((dataset, part)) or Catalogue()

    def contract(self, dataset: str, part: str) -> Contract | None:
        """Return the contract inferred last for a part, if any."""
        return self.contracts.get((dataset, part))

    def expectations(self, dataset: str) -> tuple[Expectation, ...] | None:
        """Return what is expected of a dataset beside its contracts; None if nothing ever was declared."""
        return self.expected.get(dataset)

    def segment(self, dataset: str, part: str, segment: str) -> Extent | None:
        """Return where the rows of a batch are that came lately; None if it made no version, or its segment
        was compacted.
        """
        return self.catalogue(dataset, part).alone.get(segment)

    def batch(self, dataset: str, part: str, segment: str) -> Digest | None:
        """Return the digest of a batch that came lately, whatever became of it; a keyed one if rows were left
        out.
        """
        return self.batches.get((dataset, part), {}).get(segment)

    def may_have_come(self, dataset: str, part: str, segment: str) -> bool:
        """Return whether a batch that `batch` does not know may be one of before; False is certain."""
        return self.catalogue(dataset, part).may_lie_in_files(segment)

    def is_on_record(self, dataset: str, part: str, segment: str) -> bool:
        """Return whether a batch, one of the last of its writer, has come."""
        came = self.batch(dataset, part, segment) is not None
        return came or self.may_have_come(dataset, part, segment)

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

    def _arrived(self, place: Place, n_rows: int) -> PartCounts:
        counts = self.counts(place[0], place[1])
        if place not in self.from_quarantine:
            counts.n_arrived += n_rows
        return counts

    def _next_version(self, entry: Entry, name: str, digests: list[Digest]) -> Version:
        version = Version(self.version(name) + 1)
        self.n_versions[name] = version
        self.digests[name] = digest_of([self.digest(name), *digests])
        self.history(name).came(Mark(entry.at, version, entry.version))
        return version

    def _append(self, entry: Entry, event: DatasetVersionAppended) -> None:
        name, place = event.dataset, (event.dataset, event.part, event.segment)
        version = self._next_version(entry, name, [event.digest])
        self.stored.setdefault((name, event.part), Catalogue()).add(
            Extent(
                name=event.segment,
                digest=event.rows,
                n_rows=event.n_rows,
                first=event.first,
                last=event.last,
                number=version,
                at=entry.at,
            )
        )
        if event.batch is not None or self.batch(*place) is None:
            self._came(place, event.batch or event.digest)
        counts = self._arrived(place, event.n_rows)
        counts.n_batches += 1
        counts.n_rows += event.n_rows
        counts.n_given += event.n_rows if place in self.given else 0
        counts.n_waiting += event.n_ahead

    def _expect(
        self, entry: Entry, event: PiiDeclared | ContractInferred | ExpectationsDeclared | BatchWarned
    ) -> None:
        match event:
            case PiiDeclared():
                known = self.known[event.dataset]
                self.known[event.dataset] = msgspec.structs.replace(known, pii=event.treatments)
            case ContractInferred():
                self.contracts[event.dataset, event.part] = event.contract
                self.inferred_in[event.dataset, event.part] = entry.seq
            case ExpectationsDeclared():
                self.expected[event.dataset] = event.expectations
            case BatchWarned():
                warnings = self.counts(event.dataset, event.part).warnings
                for one in event.warnings:
                    warnings[one.reason] = warnings.get(one.reason, 0) + one.n_rows

    def _rewrite(self, entry: Entry, event: DatasetRewritten) -> None:
        digests = [digest_of(list(event.removed)), *(one.digest for one in event.added)]
        version = self._next_version(entry, event.dataset, digests)
        self.history(event.dataset).rewritten[event.part] = version
        added = [
            Extent(
                name=one.name,
                digest=one.digest,
                n_rows=one.n_rows,
                first=one.first,
                last=one.last,
                number=version,
                at=entry.at,
            )
            for one in event.added
        ]
        held = self.stored.setdefault((event.dataset, event.part), Catalogue())
        held.replace(event.removed, added, version, entry.at)
        put = {one.name: one for one in event.added}
        for name, segment in event.remains.items():
            held.note_remains(name, segment, put[segment].digest, put[segment].n_rows)
        for place, counts in event.counts.items():
            held.note_counts(place.rpartition("/")[2], counts)
        self.counts(event.dataset, event.part).n_rows += event.n_rows - event.n_removed
        for part, n_rows in event.n_waiting.items():
            self.counts(event.dataset, part).n_waiting = n_rows

    def _vacuum(self, entry: Entry, event: DatasetVacuumed) -> None:
        self.history(event.dataset).vacuumed = event
        for part, names in event.files.items():
            held = self.stored[event.dataset, part]
            held.note_removed(names, entry.seq, erased=bool(event.erasure))
            for place, counts in event.counts.items():
                of_part, _, name = place.rpartition("/")
                if of_part == part:
                    held.note_counts(name, counts)
            for place, one in event.left.items():
                of_part, _, name = place.rpartition("/")
                if of_part != part:
                    continue
                held.keep_left(
                    name,
                    Extent(
                        name=one.name,
                        digest=one.digest,
                        n_rows=one.n_rows,
                        first=one.first,
                        last=one.last,
                        number=0,
                    ),
                    entry.seq,
                )

    def _move(self, entry: Entry, event: SegmentsArchived | SegmentsRestored) -> None:
        history = self.history(event.dataset)
        if isinstance(event, SegmentsRestored):
            history.restored = event
            for part, files in event.files.items():
                names = {one.name for one in files}
                self.stored[event.dataset, part].note_restored(names, event.stays_until)
            return
        history.empty_in_archive |= set(event.empty)
        for part, files in event.files.items():
            cold = {
                one.name: Cold(
                    place=event.place, file=one.file, digest=one.digest, n_bytes=one.n_bytes, by=entry.seq
                )
                for one in files
            }
            self.stored[event.dataset, part].note_archived(cold)

    def in_archives(self) -> set[tuple[str, Digest]]:
        """Return the places and digests of all files in an archive."""
        return {
            (one.cold.place, one.cold.digest)
            for held in self.stored.values()
            for one in (*held.files, *held.alone.values(), *held.left.values())
            if one.cold is not None and not one.removed_by
        }

    def _erase_held(self, event: QuarantineErased) -> None:
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

    def _came(self, place: Place, batch: Digest) -> None:
        self.batches.setdefault(place[:2], {})[place[2]] = batch

    def _compact(self, event: BatchesCompacted) -> None:
        place = (event.dataset, event.part)
        held = self.stored[place]
        held.compacted(Compacted(file=event.file, segments=event.segments))
        self._forget_batches(place, held)

    def _merge(self, entry: Entry, event: FilesMerged) -> None:
        place = (event.dataset, event.part)
        held = self.stored[place]
        held.merged(event.file, event.digest, event.files, self.version(event.dataset), entry.at)
        self._forget_batches(place, held)

    def _forget_batches(self, place: tuple[str, str], held: Catalogue) -> None:
        # What is older is asked of the ledger.
        batches = self.batches.get(place, {})
        self.batches[place] = {name: batches[name] for name in batches if not held.may_lie_in_files(name)}

    def _put_aside(self, entry: Entry, event: BatchQuarantined) -> None:
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
        self._came(place, event.batch or event.digest)
        counts = self._arrived(place, event.n_rows)
        counts.n_quarantined += event.n_rows
        counts.n_batch_quarantined += event.whole
        for reason, n in self.held[place].by_reason.items():
            counts.reasons[reason] = counts.reasons.get(reason, 0) + n

    def _take_out(self, event: BatchReleased | BatchReplaced | BatchDropped) -> None:
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


def recall_types(views: Views, datasets: Iterable[Dataset]) -> None:
    """Let datasets know the types in which their rows are stored, so that nothing is guessed once there are
    any.
    """
    for dataset in datasets:
        with views.reading(DatasetsView) as view:
            registered = view.registered(dataset.name)
        if registered is not None:
            dataset.recall(dataset_of(registered).types())


def registered_dataset(views: Views, name: str) -> Dataset:
    """Return a dataset as it was registered.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    with views.reading(DatasetsView) as view:
        registered, known = view.registered(name), [str(one.dataset) for one in view.datasets()]
    if registered is None:
        hint = f"the datasets are {', '.join(known) or 'none'}"
        raise NotFound("dataset", name[:80], "is not registered", hint=hint)
    return dataset_of(registered)
