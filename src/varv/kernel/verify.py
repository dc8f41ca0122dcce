"""Verification of a ledger: whether it still says what was written, and if not, what was touched and how.

Five things are compared: each entry with the hash that chains it, the last entry with the head row, the rows
of sagas, timers and commands with what the entries decided, the whole with the signed checkpoints, and these
with the key and the size that the ledger has noted. Nothing is repaired. What cannot be shown without a copy
of a checkpoint kept elsewhere is said in `kernel.merkle`. Files beside the ledger are checked in
`kernel.audit`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from varv.kernel.decided import Rows, Unrecorded
from varv.kernel.errors import Corrupt
from varv.kernel.ledger import GENESIS, Entry, Head, Ledger, Signer, Stored, entry_hash
from varv.kernel.merkle import EVERY, Checkpoint, SigningKey, Tree, read_checkpoints, signed_by

EntryKind = Literal["edited", "removed", "swapped", "truncated", "rewritten", "inserted", "head"]
Kind = EntryKind | Literal["row", "signature", "checkpoint", "key", "file"]

MOST_FINDINGS = 100
OVERDUE = 2 * EVERY
"""Entries without a checkpoint that no crash explains, since one is signed as soon as `EVERY` are new."""
_BATCH = 1000
_RESTORE = "restore the home folder from a copy"
_RESTORE_FILE = "restore this file from a copy of the home folder"
_SIGN_ANEW = f"{_RESTORE_FILE}; if there is none, run varv verify --sign-anew"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One place that is not what was written: which, what is wrong with it, and what to do about it."""

    place: str
    """The file, and within it the table and row, the version, or the segment."""
    kind: Kind
    problem: str
    expected: str
    found: str
    cure: str
    seq: int | None = None
    """The first entry that it concerns, where it is about entries."""

    def __str__(self) -> str:
        return f"{self.place} {self.problem}: expected {self.expected}, found {self.found}"


def _about_entry(seq: int, kind: EntryKind, expected: str, found: str) -> Finding:
    place = "ledger.db, table head" if kind == "head" else f"ledger.db, table entries, entry {seq}"
    problem = _SAID[kind]
    return Finding(
        place=place, kind=kind, problem=problem, expected=expected, found=found, cure=_RESTORE, seq=seq
    )


_SAID: dict[EntryKind, str] = {
    "edited": "was edited",
    "removed": "was removed",
    "inserted": "was inserted",
    "swapped": "was swapped with another",
    "truncated": "and all after it were cut off",
    "rewritten": "or one of those up to its checkpoint was rewritten",
    "head": "is not the last entry",
}


class Verification(msgspec.Struct, frozen=True):
    """What was checked and what was found, by seq; at most `MOST_FINDINGS` are listed."""

    n_entries: int
    n_checkpoints: int
    signed_up_to: int
    """Entries that the last valid checkpoint vouches for; later ones are vouched for by the chain alone."""
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()
    """What could not be checked, since an earlier version of varv wrote it without a record."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class Checked(msgspec.Struct):
    """What a walk over the entries has found up to one of them, for the next walk to go on from."""

    last: int = 0
    hash: bytes = GENESIS
    tree: Tree = msgspec.field(default_factory=Tree)
    rows: Rows = msgspec.field(default_factory=Rows)
    roots: dict[int, bytes] = {}
    """Of the tree, at the sizes that checkpoints were asked about."""

    def take(self, entry: Entry, *, wanted: Collection[int]) -> None:
        """Take in the next entry, and keep the tree's root if its size is wanted."""
        self.last, self.hash = entry.seq, entry.hash
        self.tree.add(entry.hash)
        if self.tree.size in wanted:
            self.roots[self.tree.size] = self.tree.root()
        with suppress(Corrupt):  # a record that cannot be read was edited, which the entry's hash has shown
            self.rows.apply(entry)

    def knows(self, checkpoints: Sequence[Checkpoint]) -> bool:
        """Return whether checkpoints of before can be compared without the entries of before."""
        return all(one.size > self.tree.size or one.size in self.roots for one in checkpoints)


def verify(
    ledger: Ledger,
    checkpoints: Sequence[Checkpoint],
    public: bytes | None,
    *,
    against: Sequence[Checkpoint] = (),
    checked: Checked | None = None,
) -> Verification:
    """Compare a ledger with its own hashes and records, and with `checkpoints`, oldest first.

    Parameters
    ----------
    ledger
        Best opened for reading only, since an owner refuses to open one with a broken end.
    public
        That of the key which is there now, 32 bytes; None if there is none.
    against
        Checkpoints that were kept elsewhere.
    checked
        What was found before, which is moved on to the end; all entries are walked over by default.
    """
    sizes = {checkpoint.size for checkpoint in (*checkpoints, *against)}
    chain = _Chain(ledger, sizes, Checked() if checked is None else checked)
    stored = chain.walk()
    chain.explain()
    chain.compare_head(stored)
    signers = stored.signers or ((Signer(0, public, 0),) if public is not None else ())
    signed = chain.compare(checkpoints, signers, "checkpoints.jsonl")
    chain.compare(against, signers, "the checkpoint to compare with")
    findings = sorted(chain.findings, key=lambda finding: finding.seq or 0)
    differing, unchecked = _rows(ledger, chain, stored)
    signing = _signing(stored, checkpoints, public) if checkpoints or stored.signers else []
    found = [*findings, *differing, *signing][:MOST_FINDINGS]
    return Verification(chain.done.tree.size, len(checkpoints), signed, tuple(found), tuple(unchecked))


def require_sound(
    ledger: Ledger,
    folder: str,
    checkpoints: Sequence[Checkpoint],
    public: bytes | None,
    *,
    checked: Checked | None = None,
) -> Checked:
    """Raise for the first thing that is not as it was written.

    Parameters
    ----------
    checked
        What was found before, for entries that need not be walked over again.

    Returns
    -------
    Checked
        What was found now.

    Raises
    ------
    Corrupt
        If something is; the file, table and row are named.
    """
    checked = checked if checked is not None and checked.knows(checkpoints) else Checked()
    found = verify(ledger, checkpoints, public, checked=checked).findings
    if found:
        first, more = found[0], f", and {len(found) - 1} more" if len(found) > 1 else ""
        problem = f"is not as it was written: {first.place} {first.problem}{more}"
        hint = f"run varv verify; {first.cure}"
        raise Corrupt("home", folder, problem, expected=first.expected, found=first.found, hint=hint)
    return checked


def require_sound_folder(folder: Path, ledger: Ledger, checked: Checked | None = None) -> Checked:
    """Compare the ledger of a folder with its chain, its records and its last checkpoint, before anything is
    decided on it; see `require_sound`.
    """
    # The last checkpoint vouches for all before it; varv verify looks at every one.
    checkpoints = read_checkpoints(folder / "checkpoints.jsonl")[-1:]
    public = SigningKey(folder / "signing.key", create=False).public()
    return require_sound(ledger, folder.name, checkpoints, public, checked=checked)


def _rows(ledger: Ledger, chain: _Chain, stored: Stored) -> tuple[list[Finding], list[str]]:
    """Return what is wrong with the rows beside the entries, and what no record speaks of."""
    findings: list[Finding] = []
    unchecked: list[str] = []
    since = stored.recorded_since
    if since is not None and chain.done.rows.first is not None and chain.done.rows.first <= since:
        expected, found = f"below {chain.done.rows.first}, the first entry with a record", str(since)
        findings.append(_row("recorded", "its row", "says too much", expected, found))
    for said in chain.done.rows.compare(stored):
        if not isinstance(said, Unrecorded):
            findings.append(_row(said.table, said.row, said.problem, said.expected, said.found))
        elif _is_older(ledger, said, since):
            unchecked.append(
                f"ledger.db, table {said.table}, {said.row}: an earlier version of varv wrote it"
            )
        else:
            expected, found = "no row, since no entry decided it", "a row"
            findings.append(_row(said.table, said.row, "was inserted", expected, found))
    return findings, unchecked


def _row(table: str, row: str, problem: str, expected: str, found: str) -> Finding:
    place = f"ledger.db, table {table}, {row}"
    return Finding(place=place, kind="row", problem=problem, expected=expected, found=found, cure=_RESTORE)


def _is_older(ledger: Ledger, row: Unrecorded, since: int | None) -> bool:
    """Return whether a row may stem from an entry of the time before there were records."""
    if row.cause is None:
        entries = ledger.read(stream=row.saga, limit=1)
    else:
        entries = [
            e for e in ledger.read(row.cause - 1, limit=1) if (e.seq, e.stream) == (row.cause, row.saga)
        ]
    return bool(entries) and (since is None or entries[0].seq <= since)


def _signing(stored: Stored, checkpoints: Sequence[Checkpoint], public: bytes | None) -> list[Finding]:
    """Return what is wrong with the key, and with how far the checkpoints reach."""
    findings: list[Finding] = []
    signer = stored.signers[-1] if stored.signers else None
    sizes = [checkpoint.size for checkpoint in checkpoints]
    last = max(sizes, default=0)
    if signer is not None and signer.public != public:
        found = "no key" if public is None else f"key {_short(public)}"
        findings.append(
            _file("signing.key", "key", "is not the key that signs here", _short(signer.public), found)
        )
    if signer is not None and signer.signed > last:
        expected, found = f"a checkpoint of {signer.signed} entries", f"checkpoints up to {last}"
        findings.append(_file("checkpoints.jsonl", "checkpoint", "was cut, or is gone", expected, found))
    elif stored.head.version - last >= OVERDUE:
        expected, found = f"a checkpoint every {EVERY} entries", f"none after entry {last}"
        findings.append(_file("checkpoints.jsonl", "checkpoint", "was cut, or is gone", expected, found))
    if sizes != sorted(sizes):
        expected = "checkpoints of growing size"
        findings.append(
            _file("checkpoints.jsonl", "checkpoint", "has lines out of order", expected, "others")
        )
    return findings


def _file(place: str, kind: Kind, problem: str, expected: str, found: str) -> Finding:
    return Finding(place=place, kind=kind, problem=problem, expected=expected, found=found, cure=_SIGN_ANEW)


class _Chain:
    """Walks the entries once, noting what does not follow, and the tree's root at each wanted size."""

    def __init__(self, ledger: Ledger, sizes: set[int], done: Checked) -> None:
        self._ledger, self._sizes, self.done = ledger, sizes, done
        self.findings: list[Finding] = []
        self.done.roots[0] = Tree().root()
        self._broken: list[tuple[bytes, Entry]] = []

    def walk(self) -> Stored:
        """Walk to the end and return what else is stored then, also while another process appends."""
        while entries := self._ledger.read(self.done.last, limit=_BATCH):
            for entry in entries:
                self._take(entry)
        stored = self._ledger.stored(self.done.last)
        for entry in stored.entries:
            self._take(entry)
        return stored

    def compare_head(self, stored: Stored) -> None:
        """Note if the head row is not the last entry, or entries hide where no reading begins."""
        head, last = stored.head, self.done.last
        if stored.first < 1:
            self._note(stored.first, "inserted", "entries from 1 on", f"entry {stored.first}")
        if last < head.version:
            expected = f"entries up to {head.version}, as the head row says"
            self._note(last + 1, "truncated", expected, f"{last} entries")
        elif head != Head(last, self.done.hash):
            expected = f"entry {last} with hash {_short(self.done.hash)}"
            self._note(last, "head", expected, f"entry {head.version} with hash {_short(head.hash)}")

    def _note(self, seq: int, kind: EntryKind, expected: str, found: str) -> None:
        self.findings.append(_about_entry(seq, kind, expected, found))

    def _take(self, entry: Entry) -> None:
        last, before = self.done.last, self.done.hash
        if entry.seq != last + 1:
            # What it was chained to is gone, so its own hash can only be taken as it is.
            self._note(last + 1, "removed", f"entry {last + 1}", f"entry {entry.seq}")
        elif entry_hash(before, entry) != entry.hash and len(self._broken) < MOST_FINDINGS:
            self._broken.append((before, entry))
        self.done.take(entry, wanted=self._sizes)

    def explain(self) -> None:
        """Note for each entry that does not follow whether it was edited or swapped with another such."""
        explained: set[int] = set()
        for number, (previous, entry) in enumerate(self._broken):
            if entry.seq in explained:
                continue
            for _, other in self._broken[number + 1 :]:
                moved = msgspec.structs.replace(other, seq=entry.seq)
                if entry_hash(previous, moved) in (entry.hash, other.hash):
                    # What is chained to either of the two does not follow now, but was not touched.
                    explained |= {entry.seq + 1, other.seq, other.seq + 1}
                    expected = f"{other.name} of stream {other.stream}"
                    found = f"{entry.name} of stream {entry.stream}, swapped with entry {other.seq}"
                    self._note(entry.seq, "swapped", expected, found)
                    break
            else:
                expected = f"hash {_short(entry_hash(previous, entry))} for what it says now"
                self._note(entry.seq, "edited", expected, f"hash {_short(entry.hash)}")

    def compare(self, checkpoints: Sequence[Checkpoint], signers: Sequence[Signer], place: str) -> int:
        """Note where the tree is not what was signed; return the size of the last checkpoint that holds."""
        holds = 0
        for number, checkpoint in enumerate(checkpoints, start=1):
            signer = next((s for s in reversed(signers) if s.since <= checkpoint.size), None)
            if signer is None or not signed_by(checkpoint, signer.public):
                self._note_signature(f"{place}, line {number}", holds + 1)
            elif self.done.roots.get(checkpoint.size) == checkpoint.root:
                holds = max(holds, checkpoint.size)
            elif not self.findings:  # otherwise the chain has said more exactly what is wrong
                self._note_rewriting(checkpoint, holds)
        return holds

    def _note_signature(self, place: str, seq: int) -> None:
        expected, found = "a signature by this ledger's key of what it says", "another"
        problem = "is not a checkpoint that was signed here"
        self.findings.append(
            Finding(
                place=place,
                kind="signature",
                problem=problem,
                expected=expected,
                found=found,
                cure=_SIGN_ANEW,
                seq=seq,
            )
        )

    def _note_rewriting(self, checkpoint: Checkpoint, holds: int) -> None:
        if checkpoint.size > self.done.tree.size:
            expected = f"{checkpoint.size} entries, as was signed"
            self._note(self.done.tree.size + 1, "truncated", expected, f"{self.done.tree.size} entries")
        else:
            root = self.done.roots.get(checkpoint.size, b"")
            expected = f"root {_short(checkpoint.root)} at entry {checkpoint.size}, as was signed"
            self._note(holds + 1, "rewritten", expected, f"root {_short(root)}")


def _short(digest: bytes) -> str:
    return digest.hex()[:12] or "none"
