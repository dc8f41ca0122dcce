"""Verification of a home: the ledger, the rows beside it, the files that it names, and what vouches for it.

The ledger's entries say which segments and blobs there must be, and with which digests; `kernel.verify` and
`kernel.audit` compare. The reference policies of a replay are homes of their own, and are verified with it.
Nothing is repaired.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from varv.app.compose import TRACKING, open_ledger
from varv.data.delta.checking import log_flaws
from varv.data.delta.log import LOG
from varv.data.kept_contracts import texts_digest, texts_of, texts_table
from varv.data.model import BatchesCompacted, BatchQuarantined, ContractInferred, DatasetVersionAppended
from varv.data.privacy.model import QuarantineErased
from varv.data.versions import table_of
from varv.data.versions.model import DatasetPublished, DatasetRewritten, DatasetVacuumed
from varv.home.comparison import COMPARISON_FILE, read_comparisons, without_cpu
from varv.home.erasure.checking import ENTRIES, ErasureCheck
from varv.home.model import Comparison, PoliciesCompared
from varv.home.verbs import Records
from varv.kernel.audit import Named, Remark, Unchecked, audit_blobs, audit_columns
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest
from varv.kernel.columns import FolderColumns
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound
from varv.kernel.ledger import Append, Change, Entry, Ledger
from varv.kernel.ledger_sqlite import SqliteLedger
from varv.kernel.merkle import (
    Checkpoint,
    SignedAnew,
    SigningKey,
    checkpoints_in,
    is_torn_checkpoint,
    read_kept,
    torn_line,
)
from varv.kernel.secret import SECRET_FILE, Secret
from varv.kernel.segment_files import STREAM, SUFFIX
from varv.kernel.sqlite_file import connect, flaws
from varv.kernel.verbs import READ, verb
from varv.kernel.verify import Finding, Kind, Verification, verify
from varv.loop.model import ModelOffered, OutputKept
from varv.pipelines import cache_flaws
from varv.registry.model import VersionRegistered, VersionScanned
from varv.runs.model import ExperimentPurged, RunEvent, RunPurged, long_texts
from varv.runs.verifying import Seals, blobs_of, run_flaws
from varv.serving.capture import read_captures
from varv.serving.model import RequestsBackfilled, RequestsErased, RequestsForgotten, RequestsServed
from varv.serving.predictions import predictions_of

MOST_FINDINGS = 200
_BATCH = 1000
_CURE = "restore this file from a copy of the home folder"
_SIGNING: tuple[Kind, ...] = ("signature", "checkpoint", "key")
_PUBLISHED = "remove the folder of the log, and publish the dataset again: the ledger holds what was in it"
_ERASED = "delete it: it came back with a copy, and has to go from there too"
_CACHED = "delete the file: the step runs again when it is needed"


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked; each finding names a place, what was expected and found there, and the cure."""

    ok: bool
    n_entries: int
    n_checkpoints: int
    signed_up_to: int
    n_segments: int
    n_blobs: int
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...]
    """What an earlier version of varv wrote, without a digest that could be compared."""
    unread: tuple[str, ...]
    """Files that the ledger does not name: a crash can leave them, and nobody reads them."""


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to check the ledger alone, and no other file."""

    quick: bool = False


@verb("ledger.verify", needs=READ)
def verified(records: Records, asked: VerifyRequest) -> VerifyReport:
    """Compare what is stored with what was written."""
    return verify_report(records.home, quick=asked.quick)


def verify_report(
    home: Path, *, quick: bool = False, points: bool = False, against: Path | None = None
) -> VerifyReport:
    """Compare everything in a home that decisions are made from with what was written, also while its server
    appends.

    Parameters
    ----------
    quick
        Check the ledger's file, chain and rows alone, and no segment, blob or reference policy.
    points
        Check the points of metrics besides these, and nothing else.
    against
        A copy of the checkpoints that was kept elsewhere: a file of them, or one note.

    Raises
    ------
    NotFound
        If the home holds nothing, or there is no file `against`.
    Corrupt
        If the file `against` holds no checkpoint.
    """
    kept = read_kept(against) if against is not None else []
    check = _Home(home, kept)
    check.ledger()
    if points:
        check.runs()
    elif not quick:
        check.files()
        policies = sorted(path.parent for path in home.glob("policies/*/ledger.db"))
        for folder in policies:
            check.merge(folder.relative_to(home).as_posix(), verify_report(folder))
    return check.report()


def sign_anew(home: Path, now: Instant) -> VerifyReport:
    """Let checkpoints begin anew where they or the key that signs them were lost; return what is found then.

    What is there of them is put aside. The ledger keeps an entry that says so, and why.

    Raises
    ------
    FailedPrecondition
        If anything else is not as it was written: a new signature must not vouch for that. Or if another
        process owns the home.
    """
    found = verify_report(home)
    others = [finding for finding in found.findings if finding.kind not in _SIGNING]
    if others:
        problem = f"is not as it was written: {others[0]}"
        hint = "restore what varv verify names first; a signature must not vouch for it"
        raise FailedPrecondition("home", home.name, problem, findings=len(others), hint=hint)
    if found.ok:
        return found
    ledger = SqliteLedger(home / "ledger.db")
    try:
        event = SignedAnew(because=tuple(map(str, found.findings[:10])))
        seq = ledger.commit(Change(at=now, facts=(Append("checkpoints", event),)))[-1].seq
        lost_key = any(finding.kind == "key" for finding in found.findings)
        for name in ("checkpoints.jsonl", *(("signing.key",) if lost_key else ())):
            if (home / name).exists():
                (home / name).rename(home / f"{name}.before-{seq}")
        ledger.appoint(SigningKey(home / "signing.key").public())
    finally:
        ledger.close()
    open_ledger(home).close()  # which signs
    return verify_report(home)


class _Home:
    """One home while it is verified."""

    def __init__(self, home: Path, kept: Sequence[Checkpoint]) -> None:
        if not (home / "ledger.db").exists() and not _is_used(home):
            raise NotFound("ledger", "ledger.db", hint="look for the home folder with --home")
        self._home, self._kept = home, kept
        self._found = Verification(0, 0, 0, ())
        self._named = _Names(FolderColumns(home / "columns"))
        self._findings: list[Finding] = []
        self._unchecked: list[str] = []
        self._unread: list[str] = []

    def ledger(self) -> None:
        """Check the ledger's file, its entries and rows, its checkpoints and its key."""
        path = self._home / "ledger.db"
        if not path.exists():
            self._note("ledger.db", "is missing", "the ledger", "no file")
            return
        for problem, expected, found in flaws(path):
            self._note(path.name, problem, expected, found)
        try:
            ledger = open_ledger(self._home, read_only=True)
            try:
                self._chain(ledger)
                self._named.fold(ledger)
            finally:
                ledger.close()
        except Corrupt as error:
            self._note(path.name, error.problem, "a ledger", str(error.facts.get("why", error.facts)))

    def _chain(self, ledger: Ledger) -> None:
        path = self._home / "checkpoints.jsonl"
        checkpoints, bad = checkpoints_in(path)
        for number in bad:
            place = f"{path.name}, line {number}"
            self._note(place, "is no checkpoint", "a signed note", "something else", kind="checkpoint")
        tail = torn_line(path)
        if not is_torn_checkpoint(tail):
            problem = "has bytes behind its last line"
            self._note(path.name, problem, "none", f"{len(tail)} bytes", kind="checkpoint")
        public = None
        with suppress(Corrupt):  # which is found when it is compared with the key that the ledger has noted
            public = SigningKey(self._home / "signing.key", create=False).public()
        stored = ledger.stored(ledger.head().version)
        if not stored.signers and stored.n_entries > (stored.recorded_since or 0):
            place = "ledger.db, table signers"
            self._note(place, "has lost its rows", "the key that signs", "none", kind="key")
        self._found = verify(ledger, checkpoints, public, against=self._kept)
        self._unchecked += self._found.unchecked

    def files(self) -> None:
        """Check segments, blobs, the cache of training steps, and captures."""
        secret = Secret(self._home / SECRET_FILE)
        if self._named.is_keyed and not (self._home / SECRET_FILE).exists():
            # Nothing is made here: a new key would recognise nothing that came before.
            self._note(SECRET_FILE, "is missing", "the key of digests in the ledger", "no file")
        else:
            self._audit(secret)
        self._delta_logs()
        for flaw in self._named.erased.flaws(self._home):
            self._note(*flaw, cure=_ERASED)
        self.runs()
        self._remark(audit_blobs(self._home / "blobs", self._named.blobs))
        for place, problem, expected, found in cache_flaws(self._home / "cache", self._named.steps):
            self._note(place, problem, expected, found, cure=_CACHED)
        self._comparison(self._home / COMPARISON_FILE)
        for path in sorted(self._home.glob("capture/*/[0-9]*.jsonl")):
            # Another process may take a file in, and drop it, while we look.
            with suppress(FileNotFoundError):
                self._capture(path)

    def runs(self) -> None:
        """Check the points of metrics and the index of artifacts, and note the blobs of these."""
        path = self._home / TRACKING
        if not path.exists():
            if self._named.seals.points:
                self._note(TRACKING, "is missing", "the points of metrics", "no file")
            return
        try:
            with closing(connect(str(path), read_only=True)) as db:
                for flaw in run_flaws(db, self._named.seals):
                    self._note(*flaw)
                self._named.blobs.update(blobs_of(db))
        except (sqlite3.Error, ValueError, zlib.error) as error:
            self._note(TRACKING, "cannot be read", "what was written", str(error)[:80])

    def _audit(self, secret: Secret) -> None:
        root = self._home / "columns"
        try:
            remarks = audit_columns(
                root, self._named.tables, lambda rows: secret.digest(rows.encode()), besides=LOG
            )
            self._remark(one for one in remarks if one.place not in self._named.texts)
            for contract in self._named.contracts:
                self._texts(FolderColumns(root), secret, contract)
        except Corrupt as error:
            place = SECRET_FILE if error.kind == "key" else error.name
            self._note(place, error.problem, "what was stored", str(error.facts.get("why", "another")))

    def _delta_logs(self) -> None:
        """Compare the logs of Delta tables with what the ledger says was published."""
        for flaw in log_flaws(self._home / "columns", self._named.published, self._named.vacuumed):
            self._note(*flaw, cure=_PUBLISHED)

    def _texts(self, columns: FolderColumns, secret: Secret, inferred: ContractInferred) -> None:
        """Compare the texts that columns may hold, where they were not deleted."""
        dataset, part = inferred.dataset, inferred.part
        for rule in inferred.contract.columns:
            texts = texts_of(columns, dataset, part, rule.domain_digest)
            if texts is not None and rule.domain_digest != texts_digest(
                secret, dataset, part, rule.name, texts
            ):
                place = f"columns/{texts_table(dataset, part)}/{rule.domain_digest}"
                problem = f"has other texts than column {rule.name} may hold"
                self._note(place, problem, "the texts of the contract", f"{len(texts)} others")

    def _comparison(self, path: Path) -> None:
        if not path.exists():
            return
        try:
            found = [without_cpu(one) for one in read_comparisons(path.read_bytes()).models]
        except msgspec.MsgspecError as error:
            self._note(path.name, "cannot be read", "a comparison of policies", str(error))
            return
        # One that a crash kept from being written is older than the last that the ledger holds.
        if any(one not in self._named.comparisons for one in found):
            self._note(path.name, "is not what the ledger holds", "the same figures", "others")

    def _capture(self, path: Path) -> None:
        try:
            read_captures(path)
        except Corrupt as error:
            place = f"{path.relative_to(self._home).as_posix()}, line {error.facts.get('line', 0)}"
            self._note(
                place, error.problem, "the row that was written", str(error.facts.get("why", "another"))
            )

    def merge(self, name: str, report: VerifyReport) -> None:
        """Add what was found in a home within this one."""
        replace = msgspec.structs.replace
        self._findings += [replace(one, place=f"{name}/{one.place}") for one in report.findings]
        self._unchecked += [f"{name}/{place}" for place in report.unchecked]
        self._unread += [f"{name}/{place}" for place in report.unread]

    def report(self) -> VerifyReport:
        """Return what was found."""
        findings = (*self._found.findings, *self._findings)
        return VerifyReport(
            ok=not findings,
            n_entries=self._found.n_entries,
            n_checkpoints=self._found.n_checkpoints,
            signed_up_to=self._found.signed_up_to,
            n_segments=sum(map(len, self._named.tables.values())),
            n_blobs=len(self._named.blobs),
            findings=findings[:MOST_FINDINGS],
            unchecked=tuple(self._unchecked),
            unread=tuple(self._unread),
        )

    def _remark(self, remarks: Iterator[Remark]) -> None:
        for remark in remarks:
            if isinstance(remark, Finding):
                self._findings.append(remark)
            elif isinstance(remark, Unchecked):
                self._unchecked.append(remark.place)
            else:
                self._unread.append(remark.place)

    def _note(
        self, place: str, problem: str, expected: str, found: str, *, kind: Kind = "file", cure: str = _CURE
    ) -> None:
        self._findings.append(
            Finding(place=place, kind=kind, problem=problem, expected=expected, found=found, cure=cure)
        )


class _Names:
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
            case DatasetVersionAppended() | DatasetRewritten() | BatchesCompacted() | DatasetVacuumed():
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
                pass

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

    def _rows(
        self, seq: int, event: DatasetVersionAppended | DatasetRewritten | BatchesCompacted | DatasetVacuumed
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
            case BatchesCompacted():
                files = self._compacted.setdefault(table_of(event.dataset, event.part), {})
                files[event.file] = event.segments
            case DatasetVacuumed():
                for part, names in event.files.items():
                    table = table_of(event.dataset, part)
                    self.vacuumed.setdefault(table, set()).update(f"{name}{SUFFIX}" for name in names)
                    files, held = self._compacted.get(table, {}), self.tables.get(table, {})
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
        *ENTRIES,
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


def _is_used(home: Path) -> bool:
    return any((home / name).exists() for name in ("checkpoints.jsonl", "signing.key", "columns", "blobs"))
