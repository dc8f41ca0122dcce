"""Checkpoints: a signed Merkle tree over the ledger, so that one line, kept elsewhere, vouches for all before
it.

The tree is that of RFC 6962 section 2.1 with entry hashes as leaves. A checkpoint is a C2SP signed note
(tlog-checkpoint, signed-note): origin, size, root, and an Ed25519 signature. They are appended to a file
beside the ledger. `kernel.verify` reads them back.

What this cannot show: whoever can write the whole home folder holds the signing key too, and can rewrite the
ledger and its checkpoints together; and entries cut off after the last checkpoint leave no trace if the head
row is cut back as well. A copy of a checkpoint kept on another machine shows both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from varv.kernel.clock import wall_seconds
from varv.kernel.codec import Event, canonical, event
from varv.kernel.errors import Corrupt, NotFound
from varv.kernel.ids import new_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN = "varv/ledger"
EVERY = 256
"""Entries from one checkpoint to the next."""
EVERY_S = 600.0
"""Seconds after which fewer are signed too, at the next commit or claim."""

_ED25519 = b"\x01"  # signature type of C2SP signed-note


class Tree(msgspec.Struct):
    """A growing RFC 6962 tree that keeps only the roots of its full subtrees.

    Examples
    --------
    >>> tree = Tree()
    >>> tree.root().hex()[:16]
    'e3b0c44298fc1c14'
    >>> tree.add(b"")
    >>> tree.size, tree.root().hex()[:16]
    (1, '6e340b9cffb37a98')
    """

    size: int = 0
    peaks: list[bytes] = []
    """Left to right, one for each bit set in `size`."""

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        size = self.size
        while size & 1:
            node = _node(self.peaks.pop(), node)
            size >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the Merkle tree hash of the leaves so far."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _node(peak, root)
        return root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@event("ledger.signed_anew")
class SignedAnew(Event, frozen=True, kw_only=True):
    """A person had checkpoints begin anew, since the earlier ones or their key were lost; `because` says
    what verification had found.
    """

    because: tuple[str, ...]


class Checkpoint(msgspec.Struct, frozen=True):
    """A note that states the size and the root of the ledger's tree, and its signature."""

    size: int
    root: bytes
    note: str


class SigningKey:
    """The Ed25519 key of one home folder.

    Parameters
    ----------
    path
        File of the private key as hexadecimal.
    create
        Whether to make a key, readable by its owner only, if there is no file.

    Raises
    ------
    Corrupt
        If the file does not hold a key, or is gone.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if create:
            _make_key(path)
        try:
            self._seed = bytes.fromhex(path.read_text().strip())
        except FileNotFoundError:
            raise Corrupt("key", path.name, "is gone", hint=_SIGN_ANEW) from None
        except ValueError:
            self._seed = b""
        if len(self._seed) != 32:
            raise Corrupt("key", path.name, "does not hold an Ed25519 key", hint=_SIGN_ANEW)

    def public(self) -> bytes:
        """Return the public key, 32 bytes; not secret."""
        return self._private().public_key().public_bytes_raw()

    def sign(self, size: int, root: bytes) -> Checkpoint:
        """Return a signed checkpoint of a tree."""
        text = _text(size, root)
        signature = base64.b64encode(_key_id(self.public()) + self._private().sign(text.encode())).decode()
        return Checkpoint(size, root, f"{text}\n— {ORIGIN} {signature}\n")

    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed)


_SIGN_ANEW = "restore it from a copy of the home folder; if there is none, run varv verify --sign-anew"


def _make_key(path: Path) -> None:
    try:
        # O_EXCL: two processes that both find no key must not both write one.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(new_secret(32).hex() + "\n")


class Notary:
    """Signs checkpoints of one ledger into a file, every `EVERY` entries and every `EVERY_S` seconds.

    Parameters
    ----------
    path
        File the checkpoints are appended to, one JSON object a line.
    key
        What signs them.
    """

    def __init__(self, path: Path, key: SigningKey) -> None:
        self._path, self._key = path, key
        self._tree = Tree()
        kept = _whole_lines(path)
        if path.exists() and path.stat().st_size > len(kept):
            os.truncate(path, len(kept))  # a line that a crash cut short
        self.size = max((checkpoint.size for checkpoint in read_checkpoints(path)), default=0)
        """Entries that the last checkpoint covers."""
        self.public = key.public()
        """What its signatures are checked with."""
        self._signed_at = wall_seconds()

    def cover(
        self, size: int, hashes_after: Callable[[int], Iterable[bytes]], *, final: bool = False
    ) -> bool:
        """Append a checkpoint if one is due, or with `final` if any entry is new; return whether it did.

        Parameters
        ----------
        size
            Entries in the ledger.
        hashes_after
            Gives the hashes of the entries with a seq above the one passed.
        """
        if size <= self.size:
            return False
        if not final and size - self.size < EVERY and wall_seconds() - self._signed_at < EVERY_S:
            return False
        # The tree starts empty, so the first call of a process reads every hash and later ones only the new.
        for leaf in hashes_after(self._tree.size):
            self._tree.add(leaf)
        line = canonical({"note": self._key.sign(self._tree.size, self._tree.root()).note}) + b"\n"
        with self._path.open("ab") as file:
            size_before = file.seek(0, os.SEEK_END)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # Half a line would spoil the checkpoint that is written after it.
                file.truncate(size_before)
                raise
        self.size, self._signed_at = self._tree.size, wall_seconds()
        return True


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """Return the checkpoints of a file in order, without checking signatures; none if there is no file.

    Raises
    ------
    Corrupt
        If a whole line is not a checkpoint. A last line without its end is what a crash leaves, and is left
        out.
    """
    found, bad = checkpoints_in(path)
    if bad:
        problem = "has a line that is no checkpoint"
        raise Corrupt("file", path.name, problem, line=bad[0], hint=_SIGN_ANEW)
    return found


def checkpoints_in(path: Path) -> tuple[list[Checkpoint], list[int]]:
    """Return the checkpoints of a file in order, and the numbers of the lines that are none, from 1."""
    found: list[Checkpoint] = []
    bad: list[int] = []
    for number, line in enumerate(_whole_lines(path).split(b"\n")[:-1], start=1):
        try:
            found.append(_parsed(line))
        except Corrupt:
            bad.append(number)
    return found, bad


def read_kept(path: Path) -> list[Checkpoint]:
    """Return the checkpoints of a copy that was kept elsewhere: such a file, or a part of it, or one note.

    Raises
    ------
    NotFound
        If there is no such file.
    Corrupt
        If it holds no checkpoint.
    """
    try:
        text = path.read_bytes().strip()
    except OSError as error:
        raise NotFound("file", str(path), "cannot be read", why=error.strerror) from None
    notes = [text + b"\n"] if text.startswith(ORIGIN.encode()) else text.splitlines()
    if not notes:
        raise Corrupt("file", path.name, "holds no checkpoint", hint="give a copy of checkpoints.jsonl")
    return [_parsed(note) for note in notes]


def torn_line(path: Path) -> bytes:
    """Return what stands behind the last whole line of a file of checkpoints: what a crash left of one."""
    data = path.read_bytes() if path.exists() else b""
    return data[data.rfind(b"\n") + 1 :]


def is_torn_checkpoint(tail: bytes) -> bool:
    """Return whether a crash can have left `tail` when a checkpoint was appended."""
    start = canonical({"note": ORIGIN})[:-2]
    return len(tail) < 1024 and tail[: len(start)] == start[: len(tail)]


def signed_by(checkpoint: Checkpoint, public: bytes) -> bool:
    """Return whether the note of `checkpoint` says what its fields say and is signed by `public`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    text, _, signature = checkpoint.note.partition(f"\n— {ORIGIN} ")
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
    except (InvalidSignature, binascii.Error):
        return False
    return raw[:4] == _key_id(public) and text == _text(checkpoint.size, checkpoint.root)


def _text(size: int, root: bytes) -> str:
    return f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"


def _key_id(public: bytes) -> bytes:
    return hashlib.sha256(ORIGIN.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def _parsed(line: bytes) -> Checkpoint:
    """Return the checkpoint of a line, or of a bare note as one may keep it elsewhere."""
    try:
        bare = line.startswith(ORIGIN.encode() + b"\n")
        note = line.decode() if bare else msgspec.json.decode(line, type=dict[str, str])["note"]
        _, size, root, *_ = note.split("\n")
        return Checkpoint(int(size), base64.b64decode(root, validate=True), note)
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise Corrupt(
            "checkpoint", line[:40].decode(errors="replace"), "is not one", why=str(error)
        ) from None
