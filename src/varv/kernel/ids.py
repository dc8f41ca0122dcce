"""Names of things and the only source of chance.

Ids are derived from content or from a seed, never from the machine, so that the same replay gives the same
ids. Keys are one exception: a signing key must not be guessable. Traces of live requests are the other: two
processes must not give theirs the same id, and no decision depends on one.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
from typing import NewType

from varv.kernel.errors import InvalidInput

ModelName = NewType("ModelName", str)
DatasetName = NewType("DatasetName", str)
Version = NewType("Version", int)
Seq = NewType("Seq", int)

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


def checked_name(kind: str, name: object) -> str:
    """Return `name` if it can name a thing of this kind in files, URLs and events.

    Raises
    ------
    InvalidInput
        If it is not a text of 1 to 63 lower-case letters, digits, single hyphens or underscores.
    """
    if not isinstance(name, str) or len(name) > 63 or not _NAME.fullmatch(name):
        shown = name[:80] if isinstance(name, str) else repr(name)[:80]
        hint = "use lower-case letters, digits, - and _, starting with a letter, 63 at most"
        raise InvalidInput(kind, shown, "is not a valid name", hint=hint)
    return name


def coin(salt: str, key: str) -> float:
    """Return a number in [0, 1) that depends on `salt` and `key` only.

    Notes
    -----
    The first 53 bits of a BLAKE2b digest, so every double below 1 of that precision is equally likely.
    Ranges that start at 0 make a share that grows keep every key it had.

    Examples
    --------
    >>> coin("rollout-7", "AA-1141") == coin("rollout-7", "AA-1141")
    True
    """
    raw = hashlib.blake2b(f"{salt}\x00{key}".encode(), digest_size=8).digest()
    return (int.from_bytes(raw) >> 11) / (1 << 53)


def derived_seed(*parts: object) -> int:
    """Return a seed of 32 bits that depends on `parts` only."""
    raw = hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(raw)


def new_secret(n_bytes: int = 32) -> bytes:
    """Return unguessable bytes for a key or a token."""
    return secrets.token_bytes(n_bytes)


_random = random.Random(secrets.randbits(128))
# A process that is forked would go on with the numbers of its parent.
os.register_at_fork(after_in_child=lambda: _random.seed(secrets.randbits(128)))
random_bits = _random.getrandbits
"""Returns a number of so many random bits, in a tenth of what unguessable ones take; for ids of traces."""
