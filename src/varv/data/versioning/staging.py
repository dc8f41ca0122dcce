"""Rows on their way into a rewrite, as a file of the home that is named by what it holds.

A request over HTTP is small; a command on the same machine puts its rows here first and names them.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from varv.kernel.codec import Digest
from varv.kernel.content import rows_digest
from varv.kernel.errors import Corrupt, InvalidInput, NotFound
from varv.kernel.segment_files import encoded_parquet
from varv.kernel.storage import storing

_DIGEST = re.compile(r"[0-9a-f]{64}")


def stage(home: Path, rows: pl.DataFrame) -> Digest:
    """Put rows into a home, and return the name under which `staged_rows` finds them."""
    content = rows_digest(rows)
    place = _place(home, content)
    draft = place.with_suffix(".draft")
    with storing("rows", place, draft=draft):
        place.parent.mkdir(exist_ok=True)
        draft.write_bytes(encoded_parquet(rows, {}))
        draft.replace(place)
    return content


def staged_rows(home: Path, name: str) -> pl.DataFrame:
    """Return rows that were put into a home.

    Raises
    ------
    InvalidInput
        If they could not be called so.
    NotFound
        If there are none of that name.
    Corrupt
        If they are others.
    """
    if not _DIGEST.fullmatch(name):
        raise InvalidInput("rows", name[:80], "are not named by a digest", hint="send the rows themselves")
    place = _place(home, name)
    if not place.exists():
        raise NotFound("rows", name, "are not in the home", hint="send the rows themselves")
    rows = pl.read_parquet(place, glob=False)
    if rows_digest(rows) != name:
        raise Corrupt("file", f"staged/{name}", "does not hold the rows that were put there")
    return rows


def unstage(home: Path, name: str) -> None:
    """Forget rows that were put into a home."""
    if _DIGEST.fullmatch(name):
        _place(home, name).unlink(missing_ok=True)


def _place(home: Path, name: str) -> Path:
    return home / "staged" / f"{name}.parquet"
