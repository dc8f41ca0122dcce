"""Keys of purposes: pseudonyms that only their holder can make again.

A plain digest of an e-mail address is found by trying addresses; one under a key is not. The keys lie beside
a home, not in it, so a copy or a backup of the home does not bring them: ``HOME.keys``, a file a purpose,
readable by its owner only. Whoever deletes one makes every pseudonym of that purpose final.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import unicodedata
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from varv.kernel.errors import Corrupt, InvalidInput, NotFound
from varv.kernel.ids import new_secret
from varv.kernel.storage import storing
from varv.kernel.subject_keys import FILE, SubjectKeys

SUFFIX = ".key"
SUBJECTS = "subjects"
"""The purpose of the key by which keys of subjects are looked up."""
_KEY_BYTES, _BYTES, _MARK_BYTES = 32, 16, 4
_PREFIX = "pn-"
_PURPOSE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PSEUDONYM = re.compile(rf"{_PREFIX}[a-z2-7]{{32}}")


class PurposeKeys:
    """The keys of one home's purposes.

    Parameters
    ----------
    folder
        Where they are, a file a purpose: a key a line in hexadecimal, of which the last makes new pseudonyms.
        Made, with a key of chance, when a pseudonym is first asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, list[bytes]] = {}

    def pseudonym(self, purpose: str, value: object) -> str:
        """Return the pseudonym of a value, which for a pseudonym of this purpose is itself.

        Raises
        ------
        InvalidInput
            If the purpose could not be called so.
        Corrupt
            If the file of the purpose holds no key.

        Notes
        -----
        HMAC-SHA-256 of the normalised value, cut to 16 bytes, and 4 bytes by which the holder of the key
        tells a pseudonym from what somebody made up to look like one.
        """
        keys, text = self._keys(purpose), normalised(value)
        if _PSEUDONYM.fullmatch(text) and any(_is_of(key, text) for key in keys):
            return text
        return _made(keys[-1], text)

    def pseudonyms(self, purpose: str, value: object) -> tuple[str, ...]:
        """Return all pseudonyms that a value ever had, under the keys of before too."""
        text = normalised(value)
        return tuple(_made(key, text) for key in self._keys(purpose))

    @cached_property
    def subjects(self) -> SubjectKeys:
        """The keys of subjects, under which values are encrypted that can be read again."""
        # The first key for ever: by another one nobody would be found again.
        return SubjectKeys(self.folder / FILE, lambda: self._keys(SUBJECTS)[0])

    def rotate(self, purpose: str) -> int:
        """Let another key make pseudonyms from now on; return how many keys the purpose has. What is stored
        keeps the pseudonyms that it has, so one value has two from then on.

        Raises
        ------
        NotFound
            If the purpose has made no pseudonym yet.
        """
        _require_name(purpose)
        if not (self.folder / f"{purpose}{SUFFIX}").exists():
            names = ", ".join(sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))) or "none"
            raise NotFound("purpose", purpose, "has no key", hint=f"the purposes with keys are {names}")
        keys = [*self._keys(purpose), new_secret(_KEY_BYTES)]
        self._write(purpose, keys)
        self._read[purpose] = keys
        return len(keys)

    def _keys(self, purpose: str) -> list[bytes]:
        if purpose not in self._read:
            _require_name(purpose)
            path = self.folder / f"{purpose}{SUFFIX}"
            if not path.exists():
                self._write(purpose, [new_secret(_KEY_BYTES)], first=True)
            self._read[purpose] = _keys_in(path)
        return self._read[purpose]

    def _write(self, purpose: str, keys: list[bytes], *, first: bool = False) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = "".join(f"{key.hex()}\n" for key in keys)
        write_private(self.folder / f"{purpose}{SUFFIX}", text.encode(), replace=not first)


def _require_name(purpose: str) -> None:
    if not _PURPOSE.fullmatch(purpose):
        hint = "begin with a letter; use lower-case letters, digits, _ and -"
        raise InvalidInput("purpose", purpose[:80], "is not a valid name", hint=hint)


def write_private(place: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file that its owner alone may read, durably and whole.

    Parameters
    ----------
    replace
        Whether it takes the place of one that is there; if not, that one stays.
    """
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    with storing("key", place, draft=draft):
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(place)
            return
        try:
            # A link, unlike a rename, replaces nothing: of two that find no key, one makes it.
            place.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)


def normalised(value: object) -> str:
    """Return a value as the text by which a pseudonym is made of it: without spaces around it, in Unicode's
    composed form, and in small letters if it is an e-mail address.

    Examples
    --------
    >>> normalised(" Ana@Example.org"), normalised("AB-1"), normalised(17)
    ('ana@example.org', 'AB-1', '17')
    """
    text = unicodedata.normalize("NFC", str(value)).strip()
    return text.casefold() if "@" in text else text


def _made(key: bytes, text: str) -> str:
    own = hmac.new(key, b"value\0" + text.encode(), hashlib.sha256).digest()[:_BYTES]
    return _PREFIX + base64.b32encode(own + _mark(key, own)).decode().lower()


def _mark(key: bytes, own: bytes) -> bytes:
    return hmac.new(key, b"pseudonym\0" + own, hashlib.sha256).digest()[:_MARK_BYTES]


def _is_of(key: bytes, text: str) -> bool:
    raw = base64.b32decode(text.removeprefix(_PREFIX).upper())
    return hmac.compare_digest(_mark(key, raw[:_BYTES]), raw[_BYTES:])


def _keys_in(path: Path) -> list[bytes]:
    keys = list[bytes]()
    with suppress(ValueError):
        keys = [bytes.fromhex(line) for line in path.read_text().split()]
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        hint = "restore it: another key would give everybody another pseudonym"
        raise Corrupt("key", path.name, f"does not hold keys of {_KEY_BYTES} bytes", hint=hint)
    return keys
