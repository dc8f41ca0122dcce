"""Sizes in bytes, read as people write them; `kernel.job_ends.spoken_bytes` writes them."""

from __future__ import annotations

import re

from varv.kernel.errors import InvalidInput

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def size_bytes(text: str) -> int:
    """Return how many bytes `text` names; KB, MB, GB and TB are powers of 1000, KiB and its like of 1024.

    Raises
    ------
    InvalidInput
        If it is no size, or is nothing.

    Examples
    --------
    >>> size_bytes("4GB"), size_bytes("1.5 GiB"), size_bytes("512kB")
    (4000000000, 1610612736, 512000)
    """
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise InvalidInput("size", repr(text)[:60], "is not a size", hint='write "4GB" or "512MiB"')
    unit = (found[2] or "").lower()
    n_bytes = round(float(found[1]) * (1024 if unit.endswith("i") else 1000) ** _POWERS[unit.rstrip("i")])
    if n_bytes <= 0:
        raise InvalidInput("size", text, "is nothing", hint='write "4GB" or "512MiB"')
    return n_bytes
