"""What is in files that somebody sent: whether a byte stream would run code when a library loads it.

Streams are told by what they hold and not by their names, also inside zip, gzip, bzip2, xz, zlib and tar, one
in the other. Nothing is unpickled, imported, run or written to the disk: a pickle is recognised by the
instructions that it is made of, and archives are read as streams within bounds. What cannot be looked into is
reported like code, since nobody knows what it does.

Source: the documentation of Python's `pickletools`, of `joblib.dump`, `torch.save` and `numpy.save` for what
their files look like.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import IO, BinaryIO, NamedTuple, Protocol

HEAD_BYTES = 64 * 1024
"""How much of a stream is looked at for what it is."""
INFLATED_BYTES = 32 * 1024 * 1024
"""Largest archive within an archive that is looked into."""
MOST_BYTES = 512 * 1024 * 1024
"""All that is read out of the archives of one file."""
MOST_ENTRIES = 10_000
DEEPEST = 4
MOST_FOUND = 100

_NAMED = re.compile(r"[^\s:]+ [^\s:]+")
_MOST_INSTRUCTIONS = 50_000
_LONGEST_SKIPPED = 256 * 1024 * 1024
_LONGEST_LINE = 64 * 1024 * 1024
_TEXTS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"})
_CALLS = frozenset({"REDUCE", "BUILD", "OBJ", "NEWOBJ", "NEWOBJ_EX", "STOP"})
_PROTOCOLS = range(2, 6)
_LONGEST_NAME = 100
_SOURCES = (".py", ".pyc", ".pyx", ".sh", ".bat", ".r", ".jl", ".js", ".whl", ".egg")
_NATIVE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa", b"\xca\xfe\xba\xbe")
_UNREADABLE = {b"\x04\x22\x4d\x18": "LZ4", b"\x28\xb5\x2f\xfd": "Zstandard", b"7z\xbc\xaf\x27\x1c": "7-Zip"}
_NUMPY = b"\x93NUMPY"
_XZ, _LZMA = b"\xfd7zXZ\x00", b"\x5d\x00\x00"
_LZMA_MEMORY = 128 * 1024 * 1024
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", _XZ)
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
# What else zipfile raises for what it does not read: methods of compression, encryption.
_UNREAD = (NotImplementedError, RuntimeError)


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Found(NamedTuple):
    """A file, within archives after an exclamation mark, and what it would do."""

    file: str
    what: str

    def __str__(self) -> str:
        """Return both, as people read them."""
        return f"{self.file}: {self.what}"


def code_in(name: str, file: BinaryIO) -> list[Found]:
    r"""Return what in a file would run code when it is loaded, or cannot be looked into; at most 100 things.

    Parameters
    ----------
    file
        Its bytes, which can be read from any place.

    Examples
    --------
    >>> code_in("model.onnx", io.BytesIO(b"tree\nversion=v4\n"))
    []
    >>> code_in("model.onnx", io.BytesIO(b"cos\nsystem\n(S'true'\ntR."))
    [Found(file='model.onnx', what='is a pickle that names os.system')]
    """
    looking = _Looking()
    looking.at(name, file, 0)
    return looking.found


def pickled_names(file: IO[bytes], *, is_whole: bool = True) -> tuple[str, ...] | None:
    r"""Return the names that a pickle asks for, as far as one looks; None if a stream is no pickle.

    Parameters
    ----------
    is_whole
        Whether the stream is there up to its end; else what goes on beyond it may be a pickle.

    Notes
    -----
    A loader runs one instruction after the other, up to the first that is none. So a stream is a pickle if
    what comes before that calls something, or ends as a pickle does; texts begin with instructions by chance,
    but nothing is there for them to call.

    Examples
    --------
    >>> pickled_names(io.BytesIO(b"\x80\x04K\x01."))
    ()
    >>> pickled_names(io.BytesIO(b"carrier\ndistance\n")) is None
    True
    """
    file.seek(0)
    begin = file.read(2)
    has_protocol = begin[:1] == b"\x80" and len(begin) > 1 and begin[1] in _PROTOCOLS
    skimmed = _Skimmed(file)
    names, texts, n, is_pickle = list[str](), list[str](), 0, False
    try:
        for code, value, _ in pickletools.genops(skimmed):  # type: ignore[arg-type]
            n += 1
            if code.name in _TEXTS:
                texts.append(str(value)[:_LONGEST_NAME])
            elif code.name in ("GLOBAL", "INST") and _NAMED.fullmatch(str(value)):
                names.append(str(value).replace(" ", "."))
                # One of the old form needs a mark before it, or what it calls after it: else it is a text.
                is_pickle |= code.name == "INST" and n > 1
            elif code.name == "STACK_GLOBAL" and n > 2:
                names.append(".".join(texts[-2:]))
                is_pickle = True
            elif code.name in _CALLS and (names or has_protocol):
                if n == 2 and names and code.name != "STOP":
                    break  # there is nothing that it could be called with, so it is a text
                is_pickle = True
            if n == _MOST_INSTRUCTIONS:
                return tuple(dict.fromkeys(names))
    except (ValueError, OverflowError, struct.error):
        # It is something else from here on, or ends.
        is_pickle |= skimmed.gave_up or (skimmed.has_ended and not is_whole and (n > 0 or has_protocol))
    return tuple(dict.fromkeys(names)) if is_pickle or (has_protocol and n > 2) else None


class _Skimmed:
    """A stream as `pickletools` reads it, which skips long values: only names are looked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self.has_ended = False
        self.gave_up = False
        """Whether a value is there and is too long to be skipped."""
        file.seek(0)

    def read(self, size: int) -> bytes:
        if size <= HEAD_BYTES:
            data = self._file.read(size)
            self.has_ended |= len(data) < size
            return data
        here = self._file.tell()
        if here + size > self._size or size > _LONGEST_SKIPPED:
            self.gave_up |= here + size <= self._size
            # Four letters of a text, read as a length, are longer than any value that is meant to be one.
            self.has_ended |= size <= _LONGEST_SKIPPED
            return b""
        self._file.seek(size, io.SEEK_CUR)
        return bytes(size)

    def readline(self) -> bytes:
        line = self._file.readline(_LONGEST_LINE)
        self.has_ended |= not line.endswith(b"\n")
        self.gave_up |= len(line) == _LONGEST_LINE
        return line

    def tell(self) -> int:
        return self._file.tell()


class _Looking:
    """One file that is looked at, with what is left to be read of it."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._bytes_left, self._entries_left = MOST_BYTES, MOST_ENTRIES

    def at(self, name: str, file: IO[bytes], depth: int, *, is_whole: bool = True) -> None:
        """Look at one stream."""
        head = file.read(HEAD_BYTES)
        if what := _code(name, head, pickled_names(file, is_whole=is_whole)):
            self._note(name, what)
        look = self._archive(head, file)
        if look is None:
            return
        if depth >= DEEPEST or not is_whole:
            self._note(name, "is packed too deep, or too large to be looked into")
            return
        file.seek(0)
        try:
            look(name, file, depth + 1)
        except _BROKEN as error:
            self._note(name, f"does not unpack: {' '.join(str(error).split())[:_LONGEST_NAME]}")
        except _UNREAD:
            self._note(name, "is packed in a way that is not read")

    def _note(self, name: str, what: str) -> None:
        if len(self.found) < MOST_FOUND:
            self.found.append(Found(name[-2 * _LONGEST_NAME :], what))

    def _archive(self, head: bytes, file: IO[bytes]) -> Callable[[str, IO[bytes], int], None] | None:
        """Return what looks into a stream, if it is one that others are packed in."""
        if head.startswith(b"PK\x03\x04") or zipfile.is_zipfile(file):
            return self._zip
        if head.startswith(b"\x1f\x8b"):
            return lambda name, file, depth: self._inflated(name, gzip.GzipFile(fileobj=file), depth)
        if head.startswith(b"BZh"):
            return lambda name, file, depth: self._inflated(name, bz2.BZ2File(file), depth)
        if head.startswith(_XZ) or _is_lzma(head):
            return lambda name, file, depth: self._inflated(name, _unpacked(file), depth)
        if _is_zlib(head):
            return self._zlib
        return self._tar if _is_tar(head) else None

    def _inflated(self, name: str, stream: _Stream, depth: int) -> None:
        self._within(f"{name}!", stream, depth)

    def _zlib(self, name: str, file: IO[bytes], depth: int) -> None:
        inflating = zlib.decompressobj()
        data = inflating.decompress(file.read(INFLATED_BYTES), INFLATED_BYTES)
        self._within(f"{name}!", io.BytesIO(data), depth)

    def _zip(self, name: str, file: IO[bytes], depth: int) -> None:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and self._is_left(name):
                    self._entry(name, archive, entry, depth)

    def _entry(self, name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, depth: int) -> None:
        inside = f"{name}!{entry.filename}"
        try:
            with archive.open(entry) as stream:
                self._within(inside, stream, depth)
        except (*_BROKEN, *_UNREAD):
            self._note(inside, "is damaged, encrypted, or packed in a way that is not read")

    def _tar(self, name: str, file: IO[bytes], depth: int) -> None:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if not self._is_left(name):
                    return
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    self._within(f"{name}!{member.name}", stream, depth)

    def _within(self, name: str, stream: _Stream, depth: int) -> None:
        """Look at what is packed: at its beginning, and at all of it if it is packed once more."""
        data = stream.read(HEAD_BYTES)
        if _is_packed(data):
            data += stream.read(min(INFLATED_BYTES, max(self._bytes_left, 0)))
        self._bytes_left -= len(data)
        is_whole = not stream.read(1)
        self.at(name, io.BytesIO(data), depth, is_whole=is_whole)

    def _is_left(self, name: str) -> bool:
        self._entries_left -= 1
        if self._bytes_left > 0 and self._entries_left >= 0:
            return True
        if not self.found or self.found[-1].file != name:
            self._note(name, "holds more than is looked into")
        return False


def _code(name: str, head: bytes, names: tuple[str, ...] | None) -> str:
    """Return what is said of a stream that would run code; nothing of one that would not.

    Parameters
    ----------
    names
        What a pickle asks for; None if it is no pickle.
    """
    if names is not None:
        asked = f" that names {', '.join(names[:3])}"[:_LONGEST_NAME] if names else ""
        return f"is a pickle{asked}"
    for begin, library in _UNREADABLE.items():
        if head.startswith(begin):
            return f"is packed by {library}, which is not looked into"
    if head.startswith(_NATIVE) or (head.startswith(b"MZ") and b"PE\0\0" in head):
        return "is compiled code"
    if head.startswith(_NUMPY) and b"O'" in head[:256]:
        return "is an array of Python objects, which are pickles"
    if b'"class_name"' in head and b'"Lambda"' in head:
        return "has a Keras layer that holds code"
    if head.startswith(b"#!/") or name.lower().endswith(_SOURCES):
        return "is code"
    return ""


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """Return the beginning of what is packed by LZMA, which may ask for memory without bounds."""
    inflating = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    return io.BytesIO(inflating.decompress(file.read(INFLATED_BYTES), INFLATED_BYTES))


def _is_packed(head: bytes) -> bool:
    return head.startswith(_PACKED) or _is_zlib(head) or _is_lzma(head) or _is_tar(head)


def _is_zlib(head: bytes) -> bool:
    # Two bytes are too few to tell: a file may begin with the length of something.
    with suppress(zlib.error):
        return head.startswith(_ZLIB) and bool(zlib.decompressobj().decompress(head, 1))
    return False


def _is_lzma(head: bytes) -> bool:
    with suppress(lzma.LZMAError):
        inflating = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
        return head.startswith(_LZMA) and bool(inflating.decompress(head, 1))
    return False


def _is_tar(head: bytes) -> bool:
    if len(head) < tarfile.BLOCKSIZE:
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "replace")
    except (tarfile.TarError, ValueError):
        return False
    return True
