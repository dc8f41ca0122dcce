"""Verification: whether a ledger still says what was written, and if not, which entry was touched and how.

Three things are compared: each entry with the hash that chains it, the last entry with the head row, and the
whole with the signed checkpoints. Nothing is repaired. What cannot be shown without a copy of a checkpoint
kept elsewhere is said in `kernel.merkle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from varv.kernel.ledger import GENESIS, Entry, Head, Ledger, entry_hash
from varv.kernel.merkle import Checkpoint, Tree, signed_by

Kind = Literal["edited", "removed", "swapped", "truncated", "rewritten", "head", "signature"]

MOST_FINDINGS = 100
_BATCH = 1000


class Finding(msgspec.Struct, frozen=True):
    """One place where the ledger is not what was written: the first seq it concerns, and what was expected
    there.
    """

    seq: int
    kind: Kind
    expected: str
    found: str

    def __str__(self) -> str:
        return f"entry {self.seq} {_SAID[self.kind]}: expected {self.expected}, found {self.found}"


_SAID: dict[Kind, str] = {
    "edited": "was edited",
    "removed": "was removed",
    "swapped": "was swapped with another",
    "truncated": "and all after it were cut off",
    "rewritten": "or one of those up to its checkpoint was rewritten",
    "head": "is not what the head row says",
    "signature": "is covered by a checkpoint that was not signed with this key",
}


class Verification(msgspec.Struct, frozen=True):
    """What was checked and what was found, by seq; at most `MOST_FINDINGS` are listed."""

    n_entries: int
    n_checkpoints: int
    signed_up_to: int
    """Entries that the last valid checkpoint vouches for; later ones are vouched for by the chain alone."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify(ledger: Ledger, checkpoints: Sequence[Checkpoint], public: bytes) -> Verification:
    """Compare a ledger with its own hashes and with `checkpoints`, oldest first.

    Parameters
    ----------
    ledger
        Best opened for reading only, since an owner refuses to open one with a broken end.
    public
        The key that the checkpoints must be signed with, 32 bytes.
    """
    chain = _Chain(ledger, {checkpoint.size for checkpoint in checkpoints})
    head = chain.walk()
    chain.explain()
    findings = chain.findings
    if chain.last < head.version:
        expected = f"entries up to {head.version}, as the head row says"
        findings.append(Finding(chain.last + 1, "truncated", expected, f"{chain.last} entries"))
    elif head != Head(chain.last, chain.hash):
        found = f"entry {head.version} with hash {_short(head.hash)}"
        findings.append(
            Finding(chain.last, "head", f"entry {chain.last} with hash {_short(chain.hash)}", found)
        )
    signed = chain.compare(checkpoints, public)
    found = sorted(findings, key=lambda finding: finding.seq)[:MOST_FINDINGS]
    return Verification(chain.tree.size, len(checkpoints), signed, tuple(found))


class _Chain:
    """Walks the entries once, noting what does not follow, and the tree's root at each wanted size."""

    def __init__(self, ledger: Ledger, sizes: set[int]) -> None:
        self._ledger, self._sizes = ledger, sizes
        self.findings: list[Finding] = []
        self.tree = Tree()
        self.roots: dict[int, bytes] = {0: self.tree.root()}
        self.last, self.hash = 0, GENESIS
        self._broken: list[tuple[bytes, Entry]] = []

    def walk(self) -> Head:
        """Walk to the end and return the head row as it is there, also while another process appends."""
        while True:
            entries = self._ledger.read(self.last, limit=_BATCH)
            head = self._ledger.head()
            for entry in entries:
                self._check(entry)
                self._take(entry)
            if not entries and (head.version <= self.last or not self._ledger.read(self.last, limit=1)):
                return head

    def _take(self, entry: Entry) -> None:
        self.last, self.hash = entry.seq, entry.hash
        self.tree.add(entry.hash)
        if self.tree.size in self._sizes:
            self.roots[self.tree.size] = self.tree.root()

    def _check(self, entry: Entry) -> None:
        if entry.seq != self.last + 1:
            expected, found = f"entry {self.last + 1}", f"entry {entry.seq}"
            self.findings.append(Finding(self.last + 1, "removed", expected, found))
            return  # what it was chained to is gone, so its own hash can only be taken as it is
        if entry_hash(self.hash, entry) != entry.hash and len(self._broken) < MOST_FINDINGS:
            self._broken.append((self.hash, entry))

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
                    self.findings.append(Finding(entry.seq, "swapped", expected, found))
                    break
            else:
                expected = f"hash {_short(entry_hash(previous, entry))} for what it says now"
                self.findings.append(Finding(entry.seq, "edited", expected, f"hash {_short(entry.hash)}"))

    def compare(self, checkpoints: Sequence[Checkpoint], public: bytes) -> int:
        """Note where the tree is not what was signed; return the size of the last checkpoint that holds."""
        holds = 0
        for checkpoint in checkpoints:
            if not signed_by(checkpoint, public):
                expected, found = "a signature of this ledger's key", "another"
                self.findings.append(Finding(holds + 1, "signature", expected, found))
            elif self.roots.get(checkpoint.size) == checkpoint.root:
                holds = max(holds, checkpoint.size)
            elif not self.findings:  # otherwise the chain has said more exactly what is wrong
                self._note_rewriting(checkpoint, holds)
        return holds

    def _note_rewriting(self, checkpoint: Checkpoint, holds: int) -> None:
        if checkpoint.size > self.tree.size:
            expected = f"{checkpoint.size} entries, as was signed"
            found = f"{self.tree.size} entries"
            self.findings.append(Finding(self.tree.size + 1, "truncated", expected, found))
        else:
            root = self.roots.get(checkpoint.size, b"")
            expected = f"root {_short(checkpoint.root)} at entry {checkpoint.size}, as was signed"
            self.findings.append(Finding(holds + 1, "rewritten", expected, f"root {_short(root)}"))


def _short(digest: bytes) -> str:
    return digest.hex()[:12] or "none"
