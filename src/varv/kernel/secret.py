"""The secret of a home: digests of values that nobody can guess without it.

What a few possible values have in common, an age or a city, is found from a plain digest by trying them all.
The ledger never forgets, so of such values it holds keyed digests only; the key is a file beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import cached_property
from pathlib import Path

from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt
from varv.kernel.ids import new_secret
from varv.kernel.purpose_keys import PurposeKeys

SECRET_FILE = "digest.key"
KEYS = ".keys"
"""What the folder of a home's purposes is called after the home: it is beside it, not in it."""
_LENGTH = 32


class Secret:
    """The key of one home's digests.

    Parameters
    ----------
    path
        File of the key as hexadecimal; made, readable by its owner only, when a digest is first asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def digest(self, data: bytes) -> Digest:
        """Return the HMAC-SHA-256 of `data` under this key, in hexadecimal.

        Raises
        ------
        Corrupt
            If the file does not hold a key.
        """
        return Digest(hmac.new(self._key, data, hashlib.sha256).hexdigest())

    @cached_property
    def purposes(self) -> PurposeKeys:
        """The keys of the pseudonyms of this home."""
        home = self._path.parent.resolve()
        return PurposeKeys(home.with_name(f"{home.name}{KEYS}"))

    def settle(self, source: bytes) -> None:
        """Derive the key from `source`, if there is none yet: a replay must be repeatable, bit for bit."""
        if not self._path.exists():
            self._create(hashlib.sha256(source).digest())

    @cached_property
    def _key(self) -> bytes:
        if not self._path.exists():
            self._create(new_secret(_LENGTH))
        try:
            key = bytes.fromhex(self._path.read_text().strip())
        except ValueError:
            key = b""
        if len(key) != _LENGTH:
            hint = "restore it: without it, batches that came before are not recognised"
            raise Corrupt("key", self._path.name, f"does not hold a key of {_LENGTH} bytes", hint=hint)
        return key

    def _create(self, key: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, unlike a rename, replaces nothing: of two that find no key, one makes it.
            self._path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
