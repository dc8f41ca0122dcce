"""Texts of any length that events speak of: short ones stand in the entry, long ones in a blob that it names.

What is short stays in the ledger for good; what is long can be deleted without breaking the chain.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest
from varv.kernel.errors import NotFound

LONGEST_SHORT = 256
"""Bytes of a value that an entry of the ledger holds itself."""


class LongText(msgspec.Struct, frozen=True, tag="blob"):
    """A text that is too long for an entry: the blob that holds it."""

    blob: Digest


Text = str | LongText
"""A value as an entry has it."""


def kept(blobs: Blobs, value: str) -> Text:
    """Return a text as an entry has it, which is put into `blobs` if it is long."""
    # Most are short, and a text of that many characters is at least that long in bytes.
    if len(value) <= LONGEST_SHORT // 4 or len(value.encode()) <= LONGEST_SHORT:
        return value
    return LongText(blobs.put(value.encode()))


def all_kept(blobs: Blobs, values: Mapping[str, str]) -> dict[str, Text]:
    """Return texts by name as an entry has them."""
    return {name: kept(blobs, value) for name, value in values.items()}


GONE = "(deleted)"
"""Stands for a text whose blob was deleted, where an entry from before is read again."""


def whole_or_gone(blobs: Blobs, value: Text) -> str:
    """Return the text that an entry speaks of, or `GONE`: what it was part of is purged further on."""
    try:
        return whole(blobs, value)
    except NotFound:
        return GONE


def whole(blobs: Blobs, value: Text) -> str:
    """Return the text that an entry speaks of.

    Raises
    ------
    NotFound
        If its blob was deleted.
    """
    return blobs.get(value.blob).decode() if isinstance(value, LongText) else value
