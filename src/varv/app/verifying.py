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
from varv.app.ledger_names import LedgerNames
from varv.data.delta.checking import log_flaws
from varv.data.delta.log import LOG
from varv.data.kept_contracts import texts_digest, texts_of, texts_table
from varv.data.model import ContractInferred
from varv.home.comparison import COMPARISON_FILE, read_comparisons, without_cpu
from varv.home.records import Records
from varv.kernel.audit import Remark, Unchecked, audit_blobs, audit_columns
from varv.kernel.clock import Instant
from varv.kernel.errors import Corrupt, FailedPrecondition, NotFound
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ledger import Append, Change, Ledger
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
from varv.kernel.sqlite_file import connect, flaws
from varv.kernel.verbs import READ, verb
from varv.kernel.verify import Finding, Kind, Verification, verify
from varv.pipelines import cache_flaws
from varv.runs.verifying import blobs_of, run_flaws
from varv.serving.capture import read_captures

MOST_FINDINGS = 200
_CURE = "restore this file from a copy of the home folder"
_SIGNING: tuple[Kind, ...] = ("signature", "checkpoint", "key")
_PUBLISHED = "remove the folder of the log, and publish the dataset again: the ledger holds what was in it"
_ARCHIVED = "restore this file from a copy of the archive"
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
        self._named = LedgerNames(FolderColumns(home / "columns"))
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
        self._archived()
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

    def _archived(self) -> None:
        """Compare every archived file with its digest, where it is."""
        for flaw in self._named.moves.flaws(self._home):
            self._note(*flaw, cure=_ARCHIVED)

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


def _is_used(home: Path) -> bool:
    return any((home / name).exists() for name in ("checkpoints.jsonl", "signing.key", "columns", "blobs"))
