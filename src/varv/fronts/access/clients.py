"""Clients of the data plane as they are declared: by the digest of a token, with what they may do.

The table is read from ``varv.toml`` by `app.clients`; what a worker does with it is in `access.door`.
"""

from __future__ import annotations

import base64
import hashlib
import re

import msgspec

from varv.fronts.access.limits import Rate
from varv.kernel.ids import ModelName, new_secret

ROLES = ("predict", "read")
"""To ask for predictions, and to read what the server says of its models and runs; who declares none has
both.
"""
KNOWN_ROLES = (*ROLES, "track")
"""With the one that may write runs."""
PRIORITIES = range(10)
USUAL_PRIORITY = 5
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A client that is declared."""

    name: str
    token: str = ""
    """The SHA-256 of its token in hexadecimal digits; nothing if it has none."""
    certificate: str = ""
    """A name in the certificate that it shows over TLS; nothing if it shows none."""
    models: tuple[ModelName, ...] | None = None
    """Those that it may ask; None for all."""
    roles: tuple[str, ...] = ROLES
    rate: Rate | None = None
    """How many rows it may ask for; None for any number."""
    quota: Rate | None = None
    """How many rows it may ask for besides, over a longer time."""
    priority: int = USUAL_PRIORITY


def new_token() -> str:
    """Return a token that nobody can guess."""
    return base64.urlsafe_b64encode(new_secret(32)).rstrip(b"=").decode()


def digest_of(token: bytes) -> str:
    """Return what is declared of a token.

    Notes
    -----
    A plain digest: tokens are 256 bits of chance, which no dictionary holds, so neither salt nor stretching
    would add anything.
    """
    return hashlib.sha256(token).hexdigest()


def is_digest(text: str) -> bool:
    """Return whether a text can be the digest of a token.

    Examples
    --------
    >>> is_digest(digest_of(b"a token")), is_digest("a token")
    (True, False)
    """
    return _DIGEST.fullmatch(text) is not None
