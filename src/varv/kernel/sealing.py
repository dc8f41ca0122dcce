"""Encrypting a text under the key of a subject, so that the same text of the same subject in the same place
gives the same bytes: a batch that comes once more is the same batch.

Notes
-----
AES-256-GCM (NIST SP 800-38D). The nonce is a synthetic one in the manner of Rogaway and Shrimpton (2006): the
first 96 bits of an HMAC-SHA-256 over place and text under a key of its own, so two texts share one with the
chance of a collision only. Equal texts of one subject in one column are equal, and nothing else is told. The
place (dataset, column, owner) is associated data: what is copied elsewhere does not open there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple

from varv.kernel.codec import canonical
from varv.kernel.subject_keys import ID_BYTES, SubjectKey, SubjectKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX = "en-"
_NONCE_BYTES, _TAG_BYTES, _MARK_BYTES = 12, 16, 4
_SEALED = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{54,}}")


class Place(NamedTuple):
    """Where an encrypted text lies."""

    dataset: str
    column: str


def sealed(text: str, place: Place, key: SubjectKey, keys: SubjectKeys) -> str:
    """Return a text encrypted under the key of a subject."""
    about = _about(place, key)
    nonce_key, data = _derived(key, b"nonce"), text.encode()
    nonce = hmac.new(nonce_key, canonical([about.hex(), text]), hashlib.sha256).digest()[:_NONCE_BYTES]
    body = key.id + nonce + _cipher(key).encrypt(nonce, data, about)
    return _PREFIX + base64.urlsafe_b64encode(body + keys.mark(body)[:_MARK_BYTES]).decode().rstrip("=")


def is_sealed(text: str, keys: SubjectKeys) -> bool:
    """Return whether a text was encrypted with the keys of this home, whoever may still read it."""
    body = _body(text)
    return body is not None and hmac.compare_digest(keys.mark(body[0])[:_MARK_BYTES], body[1])


def key_id(text: str) -> bytes | None:
    """Return the id of the key that a text is encrypted under, None if it is not encrypted."""
    body = _body(text)
    return None if body is None else body[0][:ID_BYTES]


def opened(text: str, place: Place, key: SubjectKey) -> str | None:
    """Return what was encrypted; None if it was in another place, under another key, or was changed."""
    # Where nothing is encrypted, nobody waits for the library.
    from cryptography.exceptions import InvalidTag

    body = _body(text)
    if body is None:
        return None
    nonce, data = body[0][ID_BYTES : ID_BYTES + _NONCE_BYTES], body[0][ID_BYTES + _NONCE_BYTES :]
    try:
        return _cipher(key).decrypt(nonce, data, _about(place, key)).decode()
    except InvalidTag:
        return None


def _body(text: str) -> tuple[bytes, bytes] | None:
    """Return what is encrypted and the mark of it; None if a text does not look like that."""
    if not _SEALED.fullmatch(text):
        return None
    plain = text.removeprefix(_PREFIX)
    try:
        data = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        return None
    is_long = len(data) >= ID_BYTES + _NONCE_BYTES + _TAG_BYTES + _MARK_BYTES
    return (data[:-_MARK_BYTES], data[-_MARK_BYTES:]) if is_long else None


def _about(place: Place, key: SubjectKey) -> bytes:
    return canonical([place.dataset, place.column, key.owner.hex()])


def _cipher(key: SubjectKey) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_derived(key, b"encrypt"))


def _derived(key: SubjectKey, use: bytes) -> bytes:
    return hmac.new(key.key, use, hashlib.sha256).digest()
