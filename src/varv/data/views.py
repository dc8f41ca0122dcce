"""The state of datasets, folded from the ledger: versions, where their rows are, and what is expected.

What became of the rows that arrived is in `data.arrivals`.
"""

from __future__ import annotations

import msgspec

from varv.data.arrivals import Arrivals
from varv.data.contracts.model import Contract, Expectation
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
    AddedSegment,
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
from varv.kernel.ids import Version
from varv.kernel.ledger import Entry


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
    arrivals: Arrivals = msgspec.field(default_factory=Arrivals)
    """What became of the rows of all batches."""

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
                self._came((event.dataset, event.part, event.segment), event.batch)
                self.arrivals.repeated(event)
            case RowsJoined():
                self.arrivals.joined(event)
            case BatchesCompacted():
                self._compact(event)
            case FilesMerged():
                self._merge(entry, event)
            case BatchQuarantined():
                self._came((event.dataset, event.part, event.segment), event.batch or event.digest)
                self.arrivals.put_aside(entry, event)
            case BatchReleased() | BatchReplaced() | BatchDropped():
                self.arrivals.taken_out(event)
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
                self.arrivals.erased(event)
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
        self.arrivals.appended(event)

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
                self.arrivals.warned(event)

    def _rewrite(self, entry: Entry, event: DatasetRewritten) -> None:
        digests = [digest_of(list(event.removed)), *(one.digest for one in event.added)]
        version = self._next_version(entry, event.dataset, digests)
        self.history(event.dataset).rewritten[event.part] = version
        added = [_extent(one, version, entry.at) for one in event.added]
        held = self.stored.setdefault((event.dataset, event.part), Catalogue())
        held.replace(event.removed, added, version, entry.at)
        put = {one.name: one for one in event.added}
        for name, segment in event.remains.items():
            held.note_remains(name, segment, put[segment].digest, put[segment].n_rows)
        for place, counts in event.counts.items():
            held.note_counts(place.rpartition("/")[2], counts)
        self.arrivals.rewritten(event)

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
                if of_part == part:
                    held.keep_left(name, _extent(one, 0, Instant(0)), entry.seq)

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

    def _came(self, place: tuple[str, str, str], batch: Digest) -> None:
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


def _extent(added: AddedSegment, number: int, at: Instant) -> Extent:
    return Extent(
        name=added.name,
        digest=added.digest,
        n_rows=added.n_rows,
        first=added.first,
        last=added.last,
        number=number,
        at=at,
    )
