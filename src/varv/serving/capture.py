"""Capture: what was asked and answered, kept off the hot path.

Rows, and blocks of many of them, go to an append-only log file with one write, before the caller gets its
answer: that survives the end of the process at any moment. They are flushed to the disk by the next `flush`
or `seal`, which `keep_flushed` calls within a declared window, so a power cut can cost what came after the
last one. `seal` starts a new file; `home.live`
ingests the earlier ones and removes them.

Each line is sealed with a digest of itself, of all lines before it and of the file's name, so that a line
that was edited or taken out is told from one that was written. Nothing vouches for the end of a file before
it is in the ledger: lines that are cut off there leave no trace.

A full disk costs the rows that it refuses, not the log: each row is tried anew, and a folder that could not
be made before is made then.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from varv.kernel.errors import Corrupt, InvalidInput, StorageFull
from varv.kernel.storage import storing
from varv.serving.blocks import Block, Layout

_LARGEST_ROW_BYTES = 1 << 20
_MOST_BYTES = 4 << 20
"""A longer file is followed by another: each is taken in as a whole, in memory."""
_LOCK = "lock"


class Capture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: which table it belongs to and one of the three: the values of a row as JSON, a block of
    predictions, or the layout of the blocks that follow.
    """

    table: str
    row: dict[str, Any] | None = None
    block: Block | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if (self.row, self.block, self.layout).count(None) != 2:
            raise ValueError("a line holds a row, a block or a layout")


class CaptureLog:
    """An append-only file of captured rows, one JSON text a line.

    Parameters
    ----------
    folder
        Holds the numbered files of the log. One process writes a folder, and holds its lock meanwhile.
    at_once
        Whether lines of predictions survive a power cut once they are written; else once the next `flush` has
        returned.
    """

    def __init__(self, folder: Path, *, at_once: bool = False) -> None:
        self._folder = folder
        self._at_once = at_once
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._behind: list[int] = []  # descriptors of files that are complete, and not on the disk yet
        self._path = folder / _file_name(0)
        self._owned = -1  # descriptor of the locked lock file
        self._file = -1
        self._number = 0
        self._size = 0
        self._is_behind = False  # whether something of it may not be on the disk yet
        self._heads: set[bytes] = set()  # lines that the file holds, for those that follow
        self._seal = b""

    def open(self) -> None:
        """Make the folder and lock it, so that nobody takes it for abandoned; `write` does so if this failed.

        Raises
        ------
        StorageFull
            If the disk takes nothing more.
        """
        with self._lock, storing("capture file", self._path):
            if self._file < 0:
                self._begin()

    def write(self, *rows: Capture) -> None:
        """Append `rows`; when this returns they survive a kill of the process.

        Raises
        ------
        InvalidInput
            If a row is larger than 1 MiB.
        StorageFull
            If the disk takes nothing more; none of the rows is kept then.
        """
        self._append([encoded_line(row) for row in rows], durable=False)

    def write_lines(self, head: bytes, lines: Sequence[bytes]) -> None:
        """Append lines as `encoded_line` makes them, after a `head` that their file has to hold once; it
        raises as `write` does.
        """
        self._append(lines, durable=self._at_once, head=head)

    def keep(self, *rows: Capture) -> None:
        """Append `rows`; when this returns they survive a power cut. It raises as `write` does."""
        self._append([encoded_line(row) for row in rows], durable=True)

    def keep_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows of one table; when this returns they survive a power cut. It raises as `write` does."""
        self.keep(*(Capture(table=table, row=dict(row)) for row in rows))

    def flush(self) -> None:
        """Force what was written to the disk.

        Raises
        ------
        StorageFull
            If the disk refuses; what was written stays in the file, and may or may not survive a power cut.
        """
        self._settle()
        with self._lock:
            # One of its own, since the file may be closed meanwhile; and whoever writes does not wait.
            file = os.dup(self._file) if self._file >= 0 and self._is_behind else -1
            self._is_behind = False
        if file < 0:
            return
        try:
            with storing("capture file", self._path):
                os.fsync(file)
        except StorageFull:
            self._is_behind = True
            raise
        finally:
            os.close(file)

    def seal(self) -> list[Path]:
        """Start a new file, and return all earlier ones that still await their removal, oldest first.

        Raises
        ------
        StorageFull
            If the disk takes nothing more; the log goes on with the file that it has.
        """
        with self._lock:
            if self._file >= 0 and self._size:
                self._go_on_in_another()
            current = self._path
        self._settle()
        return [path for path in sorted(self._folder.glob("[0-9]*.jsonl")) if path != current]

    def close(self) -> None:
        """Flush and close; the files stay."""
        try:
            self.flush()
        finally:
            with self._lock:
                for descriptor in (*self._behind, self._file, self._owned):
                    if descriptor >= 0:
                        os.close(descriptor)
                self._behind.clear()
                self._file = self._owned = -1

    def _settle(self) -> None:
        """Bring files that are complete to the disk; whoever writes meanwhile does not wait for it."""
        with self._settling, storing("capture file", self._path):
            while self._behind:
                os.fsync(self._behind[0])
                os.close(self._behind.pop(0))

    def _append(self, lines: Sequence[bytes], *, durable: bool, head: bytes = b"") -> None:
        with self._lock:
            with storing("capture file", self._path):
                if self._file < 0:
                    self._begin()
                is_new = bool(head) and head not in self._heads
                sealed, seal = _sealed([head, *lines] if is_new else lines, self._seal)
                try:
                    _write_all(self._file, sealed)
                    if durable:
                        os.fsync(self._file)
                except OSError:
                    # Half a row must not spoil the row that is written after it.
                    os.ftruncate(self._file, self._size)
                    raise
                self._seal = seal
                self._size += len(sealed)
                self._is_behind |= not durable
                if is_new:
                    self._heads.add(head)
            if self._size > _MOST_BYTES:
                # What is refused now is tried with the next row; this one is kept.
                with suppress(StorageFull):
                    self._go_on_in_another()

    def _go_on_in_another(self) -> None:
        with storing("capture file", self._path):
            following = self._open(self._number + 1)
        if self._is_behind:
            self._behind.append(self._file)
        else:
            os.close(self._file)
        self._begin_with(following, self._number + 1)

    def _begin(self) -> None:
        """Make the folder, lock it, and open its first file; what a failed try has left is used."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._owned < 0:
            lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._owned = lock
        number = max((int(path.stem) for path in self._folder.glob("[0-9]*.jsonl")), default=0) + 1
        self._begin_with(self._open(number), number)

    def _begin_with(self, file: int, number: int) -> None:
        self._file, self._number, self._size, self._is_behind = file, number, 0, False
        self._heads.clear()
        self._path = self._folder / _file_name(number)
        self._seal = _first_seal(self._path)

    def _open(self, number: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._folder / _file_name(number), flags, 0o600)


def keep_flushed(log: CaptureLog, window_s: float, stop: threading.Event) -> None:
    """Flush a log again and again, so that a power cut costs what was written within a window at most.

    It returns once `stop` is set.
    """
    while not stop.wait(window_s):
        # What the disk refuses now is tried again.
        with suppress(StorageFull):
            log.flush()


def encoded_line(capture: Capture) -> bytes:
    """Return one line, without its seal.

    Raises
    ------
    InvalidInput
        If it is longer than a line may be.
    """
    line = msgspec.json.encode(capture)
    is_short(capture.table, line, refuse=True)
    return line


def is_short(table: str, line: bytes, *, refuse: bool) -> bool:
    """Return whether a line is no longer than it may be, or raise `InvalidInput` if it is to be refused."""
    if len(line) <= _LARGEST_ROW_BYTES:
        return True
    if refuse:
        size = len(line)
        raise InvalidInput("row", table, "is too large", size_bytes=size, limit=_LARGEST_ROW_BYTES)
    return False


def is_abandoned(folder: Path) -> bool:
    """Return whether no process writes the log in `folder` any more."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def remove_log(folder: Path) -> None:
    """Remove the folder of an abandoned log, once its files are gone."""
    (folder / _LOCK).unlink(missing_ok=True)
    folder.rmdir()


def read_captures(path: Path) -> list[Capture]:
    """Return the rows of one file of a log; a torn last line, cut by a crash, was never acknowledged and is
    left out.

    Raises
    ------
    Corrupt
        If an earlier line is not a row, or not the one that was written there.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    if lines and _SEALED.search(lines[0]):  # an earlier version of varv wrote no seals
        _require_seals(path, lines)
    return [_decoded(path, number, line) for number, line in enumerate(lines, start=1)]


def _require_seals(path: Path, lines: Sequence[bytes]) -> None:
    seal = _first_seal(path)
    for number, line in enumerate(lines, start=1):
        plain = _SEALED.sub(b"}", line)
        expected, seal = _sealed([plain], seal)
        if expected != line + b"\n":
            why = "it is not the line that was written there"
            raise Corrupt("capture file", path.name, "has a bad line", line=number, why=why, hint=_LOOK)


def _first_seal(path: Path) -> bytes:
    return f"{path.parent.name}/{path.name}".encode()


def _sealed(lines: Sequence[bytes], seal: bytes) -> tuple[bytes, bytes]:
    """Return lines of JSON with their seals, which continue from `seal`, and the last of these."""
    sealed = bytearray()
    for line in lines:
        seal = hashlib.blake2b(seal + line, digest_size=8).hexdigest().encode()
        sealed += line[:-1] + b',"seal":"' + seal + b'"}\n'
    return bytes(sealed), seal


_SEALED = re.compile(rb',"seal":"[0-9a-f]{16}"}$')
_LOOK = "run varv verify; restore the file from a copy, or take it out of the folder and look at that line"


def _decoded(path: Path, number: int, line: bytes) -> Capture:
    try:
        return msgspec.json.decode(line, type=Capture)
    except msgspec.MsgspecError as error:
        facts = {"line": number, "why": str(error)}
        raise Corrupt("capture file", path.name, "has a bad line", **facts, hint=_LOOK) from None


def _write_all(file: int, data: bytes) -> None:
    n_written = os.write(file, data)
    while n_written < len(data):
        n_written += os.write(file, memoryview(data)[n_written:])


def _file_name(number: int) -> str:
    return f"{number:012d}.jsonl"
