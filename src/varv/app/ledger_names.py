"""What the ledger of a home says that there must be: segments and blobs with their digests, results of steps,
texts, publications.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from varv.data.kept_contracts import texts_table
from varv.data.model import (
    BatchesCompacted,
    BatchQuarantined,
    ContractInferred,
    DatasetVersionAppended,
    FilesMerged,
)
from varv.data.privacy.model import QuarantineErased
from varv.data.tiers.checking import Moves
from varv.data.versions import table_of
from varv.data.versions.model import (
    DatasetPublished,
    DatasetRewritten,
    DatasetVacuumed,
    SegmentsArchived,
    SegmentsRestored,
)
from varv.home.erasure.checking import ENTRIES, ErasureCheck
from varv.home.model import Comparison, PoliciesCompared
from varv.kernel.audit import Named
from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Entry, Ledger
from varv.kernel.segment_files import STREAM, SUFFIX
from varv.loop.model import ModelOffered, OutputKept
from varv.registry.model import VersionRegistered, VersionScanned
from varv.runs.model import ExperimentPurged, RunEvent, RunPurged, long_texts
from varv.runs.verifying import Seals
from varv.serving.model import RequestsBackfilled, RequestsErased, RequestsForgotten, RequestsServed
from varv.serving.stored import predictions_of

_BATCH = 1000


class LedgerNames:
    """What the ledger names: segments by table, blobs and results of training steps by digest."""

    def __init__(self, columns: FolderColumns) -> None:
        self._columns = columns
        self.tables: dict[str, dict[str, Named]] = {}
        self.blobs: dict[Digest, str] = {}
        self.steps: dict[Digest, Digest] = {}
        """By the key of a training, the package that was registered."""
        self.comparisons: list[Comparison] = []
        self.contracts: list[ContractInferred] = []
        self.texts: set[str] = set()
        """Files of texts that columns may hold, which are compared by themselves."""
        self.published: dict[str, list[DatasetPublished]] = {}
        """By table, its publications."""
        self.vacuumed: dict[str, set[str]] = {}
        """By table, the files of rows that were removed."""
        self.is_keyed = False
        self.erased = ErasureCheck()
        self.seals = Seals()
        self._texts: dict[str, dict[Digest, str]] = {}
        """By the stream that speaks of them, since a run may be purged with its texts."""
        self._n_versions: dict[str, int] = {}
        self._compacted: dict[str, dict[str, tuple[str, ...]]] = {}
        """By table and compacted file, the segments in it."""
        self.moves = Moves(self.tables, self._compacted)

    def fold(self, ledger: Ledger) -> None:
        """Take in a ledger, a batch of entries at a time."""
        position = 0
        while entries := ledger.read(position, limit=_BATCH):
            for entry in entries:
                if entry.name in _NAMING:
                    # What does not decode was edited, and the chain says so.
                    with suppress(Corrupt):
                        self._take(entry)
                        self.erased.take(entry.event)
            position = entries[-1].seq
        for texts in self._texts.values():
            self.blobs.update(texts)

    def _take(self, entry: Entry) -> None:
        match event := entry.event:
            case (
                DatasetVersionAppended()
                | DatasetRewritten()
                | BatchesCompacted()
                | FilesMerged()
                | DatasetVacuumed()
            ):
                self._rows(entry.seq, event)
            case DatasetPublished():
                self.published.setdefault(table_of(event.dataset, event.part), []).append(event)
            case BatchQuarantined() | QuarantineErased():
                self._held(entry.seq, event)
            case ContractInferred():
                self.contracts.append(event)
                table = texts_table(event.dataset, event.part)
                named = [rule.domain_digest for rule in event.contract.columns if rule.domain_digest]
                self.texts.update(
                    f"columns/{table}/{digest}{kind}" for digest in named for kind in (STREAM, SUFFIX)
                )
                self.is_keyed |= bool(named)
            case RequestsServed() | RequestsForgotten() | RequestsBackfilled() | RequestsErased():
                self._requests(entry.seq, event)
            case VersionRegistered():
                version = f"{event.model} v{event.version} (entry {entry.seq})"
                self.blobs[event.package] = f"the package of {version}"
                self.blobs[event.reference] = f"the reference of {version}"
                self.steps[event.pipeline_key] = event.package
            case ModelOffered():
                source = event.offer.source
                self.blobs[source.content] = f"the model that {source.file} holds (entry {entry.seq})"
            case VersionScanned():
                scanned = f"{event.model} v{event.version} (entry {entry.seq})"
                self.blobs[event.report] = f"what was found in the files of {scanned}"
            case OutputKept():
                self.blobs[event.digest] = f"the output of {event.model} v{event.version} (entry {entry.seq})"
            case PoliciesCompared():
                self.comparisons.append(event.comparison)
            case RunEvent():
                self.seals.take(entry)
                self._note_texts(entry, event)
            case _:
                self.moves.take(event)

    def _held(self, seq: int, event: BatchQuarantined | QuarantineErased) -> None:
        """Take in where rows in quarantine are."""
        by = f"rows of {event.dataset} in quarantine (entry {seq})"
        held = self.tables.setdefault(f"quarantine/{event.dataset}/{event.part}", {})
        if isinstance(event, QuarantineErased):
            held.pop(event.before, None)
            held[event.into] = Named(by, event.n_rows, event.digest, keyed=True)
        else:
            held[event.segment] = Named(by, event.n_rows, event.rows, keyed=True)
            self.is_keyed |= bool(event.rows)

    def _note_texts(self, entry: Entry, event: RunEvent) -> None:
        """Note the texts of an entry, and forget those of what was purged."""
        if isinstance(event, RunPurged | ExperimentPurged):
            self._texts.pop(entry.stream, None)
        for digest in long_texts(event):
            self._texts.setdefault(entry.stream, {})[digest] = f"a text of entry {entry.seq}"

    def _together(self, event: BatchesCompacted | FilesMerged) -> None:
        """Take in which segments lie in one file."""
        files = self._compacted.setdefault(table_of(event.dataset, event.part), {})
        if isinstance(event, BatchesCompacted):
            files[event.file] = event.segments
            return
        files[event.file] = tuple(one for name in event.files for one in files.get(name, (name,)))
        # Nothing is lost with them from now on.
        files |= dict.fromkeys(event.files, ())

    def _rows(
        self,
        seq: int,
        event: DatasetVersionAppended | DatasetRewritten | BatchesCompacted | FilesMerged | DatasetVacuumed,
    ) -> None:
        """Take in what became of rows of a dataset."""
        match event:
            case DatasetVersionAppended():
                by = self._version(seq, event.dataset)
                self._name(table_of(event.dataset, event.part), event.segment, by, event.n_rows, event.rows)
            case DatasetRewritten():
                by = self._version(seq, event.dataset)
                for one in event.added:
                    self._name(table_of(event.dataset, event.part), one.name, by, one.n_rows, one.digest)
            case DatasetVacuumed():
                self._vacuumed(seq, event)
            case _:
                self._together(event)

    def _vacuumed(self, seq: int, event: DatasetVacuumed) -> None:
        """Take in which files of a dataset were removed."""
        for part, names in event.files.items():
            table = table_of(event.dataset, part)
            self.vacuumed.setdefault(table, set()).update(f"{name}{SUFFIX}" for name in names)
            files, held = self._compacted.get(table, {}), self.tables.get(table, {})
            self.moves.forget(table, names)
            for segment in (one for name in names for one in files.pop(name, (name,))):
                held.pop(segment, None)
            for one in (one for place, one in event.left.items() if place.startswith(f"{part}/")):
                by = f"what is left of a version of {event.dataset} (entry {seq})"
                self._name(table, one.name, by, one.n_rows, one.digest)

    def _version(self, seq: int, dataset: str) -> str:
        """Count a version of a dataset, and return what it is called."""
        number = self._n_versions[dataset] = self._n_versions.get(dataset, 0) + 1
        return f"version {number} of dataset {dataset} (entry {seq})"

    def _requests(
        self, seq: int, event: RequestsServed | RequestsForgotten | RequestsBackfilled | RequestsErased
    ) -> None:
        """Take in what became of stored predictions."""
        table = predictions_of(event.model, self._columns)
        match event:
            case RequestsServed():
                by = f"predictions of {event.model} (entry {seq})"
                self._name(table, event.segment, by, event.n_requests, event.digest)
            case RequestsBackfilled():
                by = f"backfilled features of {event.model} (entry {seq})"
                heights = self.tables.get(table, {})
                for segment, digest in event.segments.items():
                    n_rows = heights[segment].n_rows if segment in heights else -1
                    self._name(event.table, segment, by, n_rows, digest)
            case RequestsForgotten():
                self._forget(event.model, table, event.segments)
            case RequestsErased():
                self._forget(event.model, table, event.segments)
                by = f"predictions of {event.model} (entry {seq})"
                for one in filter(None, event.remains.values()):
                    self._name(table, one.name, by, one.n_rows, one.digest)

    def _forget(self, model: str, table: str, segments: Sequence[str]) -> None:
        gone = set(segments)
        later = [name for name in self.tables if name.startswith(f"backfill/{model}/")]
        for name in (table, *later):
            held = self.tables.get(name, {})
            self.tables[name] = {one: named for one, named in held.items() if one not in gone}

    def _name(self, table: str, segment: str, by: str, n_rows: int, digest: Digest) -> None:
        self.tables.setdefault(table, {})[segment] = Named(by, n_rows, digest)


_NAMING = {
    event.event_name
    for event in (
        DatasetVersionAppended,
        DatasetRewritten,
        BatchesCompacted,
        FilesMerged,
        *ENTRIES,
        SegmentsArchived,
        SegmentsRestored,
        DatasetPublished,
        BatchQuarantined,
        ContractInferred,
        RequestsServed,
        RequestsErased,
        RequestsBackfilled,
        RequestsForgotten,
        VersionRegistered,
        VersionScanned,
        PoliciesCompared,
        ModelOffered,
        OutputKept,
    )
} | {event.event_name for event in RunEvent.__subclasses__()}
