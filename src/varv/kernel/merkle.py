"""Checkpoints: a signed Merkle tree over the ledger, so that one line, kept elsewhere, vouches for all before it.

The tree is that of RFC 6962 section 2.1 with entry hashes as leaves. A checkpoint is a C2SP signed note
(tlog-checkpoint, signed-note): origin, size, root, and an Ed25519 signature. They are appended to a file beside the
ledger. `kernel.verify` reads them back.

What this cannot show: whoever can write the whole home folder holds the signing key too, and can rewrite the ledger and
its checkpoints together; and entries cut off after the last checkpoint leave no trace if the head row is cut back as
well. A copy of a checkpoint kept on another machine shows both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from varv.kernel.codec import canonical
from varv.kernel.errors import Corrupt
from varv.kernel.ids import new_secret

ORIGIN = "varv/ledger"
EVERY = 256
"""Entries from one checkpoint to the next."""

_ED25519 = b"\x01"  # signature type of C2SP signed-note


class Tree:
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

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # left to right, one for each bit set in size

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        size = self.size
        while size & 1:
            node = _node(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the Merkle tree hash of the leaves so far."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = _node(peak, root)
        return root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


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
        File of the private key as hexadecimal; created readable by its owner only if it is absent.

    Raises
    ------
    Corrupt
        If the file does not hold a key.
    """

    def __init__(self, path: Path) -> None:
        try:
            # O_EXCL: two processes that both find no key must not both write one.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w") as file:
                file.write(new_secret(32).hex() + "\n")
        try:
            self._seed = bytes.fromhex(path.read_text().strip())
        except ValueError:
            self._seed = b""
        if len(self._seed) != 32:
            raise Corrupt("key", path.name, "does not hold an Ed25519 key", hint="restore it, or remove the file")

    def public(self) -> bytes:
        """Return the public key, 32 bytes; not secret."""
        return self._private().public_key().public_bytes_raw()

    def sign(self, size: int, root: bytes) -> Checkpoint:
        """Return a signed checkpoint of a tree."""
        text = _text(size, root)
        signature = base64.b64encode(_key_id(self.public()) + self._private().sign(text.encode())).decode()
        return Checkpoint(size, root, f"{text}\n— {ORIGIN} {signature}\n")

    def _private(self):  # noqa: ANN202
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._seed)
