"""One file of segments: what it lists, what its rows are, and whether they are those that were stored in it.

A segment of a few rows is an Arrow stream, which takes a twentieth of the time to write that Parquet does; a
large one, and many small ones together, are Parquet. A stream has no room for the digest of its rows, so that
follows it. `kernel.folder_columns` decides which file is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from varv.kernel.codec import Digest, digest
from varv.kernel.content import Content
from varv.kernel.errors import Corrupt

SUFFIX = ".parquet"
STREAM = ".arrows"
"""Of a small segment with a file of its own."""
SMALL_BYTES = 1 << 20
"""A larger frame is written as Parquet at once."""
COMPACTED = "~"
"""No segment's name begins like this."""
COMPACTED_FILES = f"{COMPACTED}{'[0-9]' * 9}{SUFFIX}"
COMPACTED_FILE = re.compile(rf"{COMPACTED}\d{{9}}")
LISTED = "varv.segments"
DIGEST = "varv.digest"
RESTORE = "run varv verify, and restore this file from a copy of the home folder"
UNKNOWN = Digest("")
_TAIL = b"varv.digest"
_DIGEST_BYTES = 64


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A segment in a compacted file; without a digest if an earlier version of varv made the file."""

    segment: str
    n_rows: int
    digest: Digest = UNKNOWN


class FileRead(NamedTuple):
    """A file that was read whole: its rows, and its segments with the digests of their rows as they are."""

    rows: pl.DataFrame
    segments: list[Listed]


def listing_digest(listed: Sequence[Listed]) -> Digest:
    """Return the digest by which the ledger vouches for a compacted file, and so for the rows of each of its
    segments.
    """
    return digest(msgspec.json.encode(listed))


Looks = tuple[int, int, int]
"""Of a file: its number on the disk, its size, and when it was changed."""


def is_small(frame: pl.DataFrame) -> bool:
    """Return whether a frame alone is not worth a Parquet file."""
    return frame.estimated_size() <= SMALL_BYTES


def encoded_stream(frame: pl.DataFrame, digest: Digest) -> memoryview:
    """Return what the file of a small segment holds."""
    encoded = BytesIO()
    # Texts are copied: views bring whole buffers, with texts of rows that are not in the frame.
    frame.write_ipc_stream(encoded, compat_level=pl.CompatLevel.oldest())
    encoded.write(digest.encode() + _TAIL)
    return encoded.getbuffer()


def encoded_parquet(frame: pl.DataFrame, metadata: dict[str, str]) -> memoryview:
    """Return what a Parquet file of segments holds."""
    # In memory: the writer of the library tells a full disk from a bad frame by its text only.
    encoded = BytesIO()
    frame.write_parquet(encoded, compression="zstd", compression_level=3, metadata=metadata)
    return encoded.getbuffer()


def looks_of(path: Path) -> Looks:
    """Return what a file looks like, which changes when it is written."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def listed_in(path: Path, shown: str) -> list[Listed]:
    """Return the segments of a compacted file.

    Raises
    ------
    Corrupt
        If it does not list them.
    """
    try:
        return msgspec.json.decode(_metadata(path, shown)[LISTED], type=list[Listed])
    except (KeyError, msgspec.MsgspecError) as error:
        problem = "does not list its segments"
        raise Corrupt("compacted file", shown, problem, why=str(error), hint=RESTORE) from None


def read_file(path: Path, shown: str) -> FileRead:
    """Read a file whole, and compare its rows with the digests in it.

    Raises
    ------
    Corrupt
        If it cannot be read, or other rows were stored.
    """
    if path.suffix == STREAM:
        rows, kept = _stream(path, shown)
        stored = [Listed(path.name.removesuffix(STREAM), rows.height, kept)]
    elif path.name.startswith(COMPACTED):
        rows, stored = frame_of(path, shown), listed_in(path, shown)
    else:
        rows, kept = frame_of(path, shown), Digest(_metadata(path, shown).get(DIGEST, UNKNOWN))
        stored = [Listed(path.name.removesuffix(SUFFIX), rows.height, kept)]
    if sum(one.n_rows for one in stored) != rows.height or any(one.n_rows < 0 for one in stored):
        raise Corrupt("file", shown, "does not hold the rows that it lists", found=rows.height, hint=RESTORE)
    content, first = Content(rows), 0
    segments: list[Listed] = []
    for one in stored:
        found = content.digest(first, one.n_rows)
        first += one.n_rows
        segments.append(Listed(one.segment, one.n_rows, found))
        if one.digest and found != one.digest:
            problem = "does not hold the rows that were stored"
            facts = {"segment": one.segment, "expected": one.digest[:12], "found": found[:12]}
            raise Corrupt("file", shown, problem, **facts, hint=RESTORE)
    return FileRead(rows, segments)


def frame_of(path: Path, shown: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows of a file as they are, of Parquet only those of `columns` that are there.

    Raises
    ------
    Corrupt
        If it cannot be read.
    """
    if path.suffix == STREAM:
        return _stream(path, shown)[0]
    try:
        names = None if columns is None else pl.read_parquet_schema(path).keys() & set(columns)
        return pl.read_parquet(path, glob=False, columns=None if names is None else sorted(names))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(shown, error) from None


def _stream(path: Path, shown: str) -> tuple[pl.DataFrame, Digest]:
    """Return the rows of a small segment, and the digest that follows them.

    Raises
    ------
    Corrupt
        If it cannot be read, or ends otherwise than it was written.
    """
    try:
        data = path.read_bytes()
        end = len(data) - len(_TAIL) - _DIGEST_BYTES
        if end <= 0 or not data.endswith(_TAIL):
            raise _unreadable(shown, "it does not end as it was written", "an Arrow stream")
        rows = pl.read_ipc_stream(BytesIO(data[:end]))
        return rows, Digest(data[end : end + _DIGEST_BYTES].decode("ascii", "replace"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(shown, error, "an Arrow stream") from None


def _metadata(path: Path, shown: str) -> dict[str, str]:
    try:
        return pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(shown, error) from None


def _unreadable(shown: str, error: BaseException | str, kind: str = "Parquet") -> Corrupt:
    why = str(error).split("\n")[0][:200]
    return Corrupt("file", shown, f"cannot be read as {kind}", why=why, hint=RESTORE)
