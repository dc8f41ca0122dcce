"""Capture: what was asked and answered, kept off the hot path.

Rows go to an append-only log file with one write, before the caller gets its answer: that survives the end of
the process at any moment. They are flushed to the disk by the next `flush`, so a power cut can cost what came
after the last one. `seal` turns the log into a columnar segment.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgspec

from varv.kernel.errors import Corrupt, InvalidInput

_LARGEST_ROW_BYTES = 1 << 20


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """One captured row: which table it belongs to and its values as JSON."""

    table: str
    row: dict[str, Any]


class CaptureLog:
    """An append-only file of captured rows, one JSON text a line.

    Parameters
    ----------
    folder
        Holds the numbered files of the log; made if it is not there. One process writes a folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._number = max((int(path.stem) for path in folder.glob("[0-9]*.jsonl")), default=0) + 1
        self._file = self._open()

    def write(self, *rows: Capture) -> None:
        """Append `rows`; when this returns they survive a kill of the process.

        Raises
        ------
        InvalidInput
            If a row is larger than 1 MiB.
        """
        lines = [msgspec.json.encode(row) for row in rows]
        for row, line in zip(rows, lines, strict=True):
            if len(line) > _LARGEST_ROW_BYTES:
                raise InvalidInput(
                    "row", row.table, "is too large", size_bytes=len(line), limit=_LARGEST_ROW_BYTES
                )
        data = b"".join(line + b"\n" for line in lines)
        with self._lock:
            size = os.fstat(self._file).st_size
            try:
                _write_all(self._file, data)
            except OSError:
                # The disk is full, say: half a row must not spoil the row that is written after it.
                os.ftruncate(self._file, size)
                raise

    def flush(self) -> None:
        """Force what was written to the disk."""
        with self._lock:
            os.fsync(self._file)

    def seal(self) -> list[Path]:
        """Start a new file, and return all earlier ones that still await `drop`, oldest first."""
        with self._lock:
            os.fsync(self._file)
            os.close(self._file)
            self._number += 1
            self._file = self._open()
            current = self._path()
        return [path for path in sorted(self._folder.glob("[0-9]*.jsonl")) if path != current]

    def close(self) -> None:
        """Flush and close; the files stay."""
        with self._lock:
            os.fsync(self._file)
            os.close(self._file)

    def _path(self) -> Path:
        return self._folder / f"{self._number:012d}.jsonl"

    def _open(self) -> int:
        return os.open(self._path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def read_captures(path: Path) -> list[Capture]:
    """Return the rows of one file of a log; a torn last line, cut by a crash, was never acknowledged and is
    left out.

    Raises
    ------
    Corrupt
        If an earlier line is not a row.
    """
    lines = path.read_bytes().split(b"\n")
    return [_decoded(path, number, line) for number, line in enumerate(lines[:-1], start=1)]


def _decoded(path: Path, number: int, line: bytes) -> Capture:
    try:
        return msgspec.json.decode(line, type=Capture)
    except msgspec.MsgspecError as error:
        hint = "take the file out of the folder, and look at that line"
        raise Corrupt(
            "capture file", path.name, "has a bad line", line=number, why=str(error), hint=hint
        ) from None


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
