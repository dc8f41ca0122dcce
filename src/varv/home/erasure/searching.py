"""A search for texts through every file of a home, whatever is in it: tables by their cells, databases by
their rows and by their bytes, archives by what they hold, all else by its bytes.
"""

from __future__ import annotations

import io
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from varv.kernel.sqlite_file import connect

_CHUNK = 1 << 22
_MOST_UNPACKED = 1 << 28
"""Bytes of one member of an archive, or of one packed cell, that are looked at."""
_PARQUET, _ARROW_FILE, _ZIP, _SQLITE = b"PAR1", b"ARROW1", b"PK\x03\x04", b"SQLite format 3\x00"
_STREAMS = ".arrows"


class Search(NamedTuple):
    """What a search found: files and bytes that were looked at, and by place how often a text was there."""

    n_files: int
    n_bytes: int
    places: dict[str, int]


def search(home: Path, texts: Sequence[str]) -> Search:
    """Search all files of a home for texts, their names too.

    Parameters
    ----------
    texts
        Each so long that it is no other value by chance.
    """
    # In small letters, as addresses of mail are compared.
    needles, found = [text.lower().encode() for text in texts], dict[str, int]()
    n_files = n_bytes = 0
    for path in files_of(home):
        place = path.relative_to(home).as_posix()
        with suppress(FileNotFoundError):
            n_bytes += path.stat().st_size
            n_files += 1
            n = n_in(path, needles) + _count(place.encode(), needles)
            if n:
                found[place] = n
    return Search(n_files, n_bytes, found)


def files_of(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder that are files themselves."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def n_in(path: Path, needles: Sequence[bytes]) -> int:
    """Return how often texts are in one file."""
    if not needles:
        return 0
    with path.open("rb") as file:
        head = file.read(16)
    n = _in_bytes(path, needles)
    if path.suffix == _STREAMS or head.startswith((_PARQUET, _ARROW_FILE)):
        n += _in_table(path.read_bytes(), needles)
    elif head.startswith(_ZIP):
        n += _in_archive(path.read_bytes(), needles)
    elif head.startswith(_SQLITE):
        n += _in_database(path, needles)
    return n


def _in_bytes(path: Path, needles: Sequence[bytes]) -> int:
    n, kept = 0, max(map(len, needles)) - 1
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            data = before + chunk.lower()
            # What lies in the overlap alone was counted with the chunk before.
            n += sum(data.count(needle) - before.count(needle) for needle in needles)
            before = data[-kept:] if kept else b""
    return n


def _in_table(data: bytes, needles: Sequence[bytes]) -> int:
    """Return how many cells of a table hold a text; 0 of a file that is cut, whose bytes were looked at."""
    readers = (pl.read_parquet, pl.read_ipc_stream, pl.read_ipc)
    for read in readers:
        with suppress(pl.exceptions.PolarsError, OSError, ValueError):
            rows = read(io.BytesIO(data))
            patterns = [needle.decode() for needle in needles]
            texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
            return sum(_cells(rows[name], patterns) for name in texts)
    return 0


def _count(data: bytes, needles: Sequence[bytes]) -> int:
    lowered = data.lower()
    return sum(lowered.count(needle) for needle in needles)


def _cells(values: pl.Series, patterns: Sequence[str]) -> int:
    lowered = values.str.to_lowercase()
    return sum(int(lowered.str.contains(one, literal=True).sum() or 0) for one in patterns)


def _in_archive(data: bytes, needles: Sequence[bytes]) -> int:
    n = 0
    broken = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, OSError)
    with suppress(*broken), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if member.compress_type and member.file_size <= _MOST_UNPACKED:
                n += _in_data(archive.read(member), needles)
    return n


def _in_data(data: bytes, needles: Sequence[bytes]) -> int:
    n = _count(data, needles)
    if data.startswith((_PARQUET, _ARROW_FILE)):
        n += _in_table(data, needles)
    return n + (_in_archive(data, needles) if data.startswith(_ZIP) else 0)


def _in_database(path: Path, needles: Sequence[bytes]) -> int:
    """Return how often texts are in cells: a long one lies on several pages, and a packed one in none."""
    n = 0
    with suppress(sqlite3.Error), closing(connect(str(path), read_only=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            quoted = '"' + table.replace('"', '""') + '"'
            with suppress(sqlite3.Error):
                for row in db.execute(f"SELECT * FROM {quoted}"):
                    n += sum(_in_cell(cell, needles) for cell in row if isinstance(cell, str | bytes))
    return n


def _in_cell(cell: str | bytes, needles: Sequence[bytes]) -> int:
    data = cell.encode() if isinstance(cell, str) else cell
    n = _count(data, needles)
    if data[:1] == b"\x78":
        with suppress(zlib.error):
            n += _in_data(zlib.decompressobj().decompress(data, _MOST_UNPACKED), needles)
    return n
