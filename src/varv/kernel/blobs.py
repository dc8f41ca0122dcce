"""Blobs: immutable bytes named by their digest, in a folder.

What is written is durable when `put` returns; what is read is checked against its name. Tables are in
`kernel.columns`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from varv.kernel.codec import Digest, digest
from varv.kernel.errors import Corrupt, InvalidInput, NotFound
from varv.kernel.faults import Faults
from varv.kernel.ids import random_bits
from varv.kernel.storage import storing

CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Draft(Protocol):
    """A blob that is still being written; what is not kept leaves nothing behind."""

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises
        ------
        StorageFull
            If the disk takes nothing more; the draft is dropped then.
        """
        ...

    def keep(self) -> tuple[Digest, int]:
        """Make what was written a blob, durably, and return its digest and its size."""
        ...

    def drop(self) -> None:
        """Throw away what was written; after `keep` that changes nothing."""
        ...


class Blobs(Protocol):
    """A content-addressed store."""

    def put(self, data: bytes) -> Digest:
        """Store `data` durably and return its digest; storing it again is harmless."""
        ...

    def draft(self) -> Draft:
        """Return a blob that is still being written, for bytes that memory should not hold."""
        ...

    def chunks(self, name: Digest) -> Iterator[bytes]:
        """Yield the bytes of a digest in parts of at most `CHUNK_BYTES`, the last of them once all are
        checked.

        Raises
        ------
        NotFound
            If there are none; at once.
        Corrupt
            If they are not what was stored; in place of the last part.
        """
        ...

    def get(self, name: Digest) -> bytes:
        """Return the bytes of a digest.

        Raises
        ------
        NotFound
            If there are none.
        Corrupt
            If they are not what was stored.
        """
        ...

    def path(self, name: Digest) -> Path:
        """Return a file that holds the bytes, checked as by `get`; it must not be written to."""
        ...

    def has(self, name: Digest) -> bool:
        """Return whether the bytes of a digest are stored."""
        ...

    def delete(self, name: Digest) -> None:
        """Forget the bytes of a digest; forgetting them again is harmless."""
        ...

    def digests(self) -> list[Digest]:
        """Return all digests, sorted."""
        ...


class FolderBlobs:
    """Blobs as files ``ab/cdef…`` below one folder, created if absent."""

    def __init__(self, root: Path, *, faults: Faults | None = None) -> None:
        self._root = root
        self._faults = faults or Faults()
        root.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> Digest:
        """Store `data` durably and return its digest; storing it again is harmless."""
        name = digest(data)
        place = self._place(name)
        # A file whose bytes went bad is replaced, so that a pipeline that runs again repairs it.
        if not place.exists() or _digest_of_file(place) != name:
            write_atomically(place, data, self._faults)
        return name

    def draft(self) -> FileDraft:
        """Return a blob that is still being written."""
        return FileDraft(self._root, self._faults)

    def chunks(self, name: Digest) -> Iterator[bytes]:
        """Yield the bytes of a digest, the last of them once all are checked."""
        try:
            file = self._place(name).open("rb")
        except FileNotFoundError:
            raise NotFound("blob", self._shown(name), hint=_REPAIR) from None
        return self._checked_chunks(name, file)

    def _checked_chunks(self, name: Digest, file: BinaryIO) -> Iterator[bytes]:
        found, held = hashlib.sha256(), b""
        with file:
            while data := file.read(CHUNK_BYTES):
                if held:
                    yield held
                found.update(data)
                held = data
        self._require(name, Digest(found.hexdigest()))
        yield held

    def get(self, name: Digest) -> bytes:
        """Return the bytes of a digest."""
        try:
            data = self._place(name).read_bytes()
        except FileNotFoundError:
            raise NotFound("blob", self._shown(name), hint=_REPAIR) from None
        self._require(name, digest(data))
        return data

    def path(self, name: Digest) -> Path:
        """Return a file that holds the bytes, checked as by `get`; it must not be written to."""
        place = self._place(name)
        if not place.exists():
            raise NotFound("blob", self._shown(name), hint=_REPAIR)
        self._require(name, Digest(_digest_of_file(place)))
        return place

    def has(self, name: Digest) -> bool:
        """Return whether the bytes of a digest are stored."""
        return self._place(name).exists()

    def delete(self, name: Digest) -> None:
        """Forget the bytes of a digest; forgetting them again is harmless."""
        self._place(name).unlink(missing_ok=True)

    def digests(self) -> list[Digest]:
        """Return all digests, sorted."""
        found = (place.parent.name + place.name for place in self._root.glob("??/*"))
        return sorted(Digest(name) for name in found if _DIGEST.fullmatch(name))

    def _require(self, name: Digest, found: Digest) -> None:
        if found != name:
            problem = "does not hold what it is named after"
            raise Corrupt("file", self._shown(name), problem, found=found[:12], hint=_REPAIR)

    def _shown(self, name: Digest) -> str:
        return f"{self._root.name}/{name[:2]}/{name[2:]}"

    def _place(self, name: Digest) -> Path:
        if not isinstance(name, str) or not _DIGEST.fullmatch(name):
            raise InvalidInput("digest", str(name)[:80], "is not a SHA-256 in lower-case hexadecimal")
        return self._root / name[:2] / name[2:]


class FileDraft:
    """A blob that is still being written, in a file of the store's folder that no reader looks at."""

    def __init__(self, root: Path, faults: Faults) -> None:
        self._root, self._faults = root, faults
        self._place = root / f".draft-{os.getpid()}-{random_bits(64):016x}"
        self._hash = hashlib.sha256()
        self._size = 0
        with storing("file", self._place):
            self._file = self._place.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with storing("file", self._place, draft=self._place):
            self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def keep(self) -> tuple[Digest, int]:
        """Make what was written a blob, durably, and return its digest and its size."""
        name = Digest(self._hash.hexdigest())
        place = self._root / name[:2] / name[2:]
        with storing("file", place, draft=self._place):
            os.fsync(self._file.fileno())
            place.parent.mkdir(exist_ok=True)
            self._faults.reach("blobs.before_rename")
            # Whatever was there has the same name, and may have gone bad.
            self._place.replace(place)
            sync_folder(place.parent)
            sync_folder(self._root)
        self._file.close()
        return name, self._size

    def drop(self) -> None:
        """Throw away what was written; after `keep` that changes nothing."""
        self._file.close()
        self._place.unlink(missing_ok=True)


_REPAIR = "run varv verify, and restore this file from a copy of the home folder"


def write_atomically(place: Path, data: bytes, faults: Faults) -> None:
    """Write a file so that after a crash it holds all of `data` or does not exist, durably.

    Raises
    ------
    StorageFull
        If the disk takes nothing more; the file is as it was then.
    """
    # Two threads may write the same at the same time.
    draft = place.with_name(f".{place.name}.{os.getpid()}-{random_bits(64):016x}")
    with storing("file", place, draft=draft):
        place.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        faults.reach("blobs.before_rename")
        draft.replace(place)
        sync_folder(place.parent)
        sync_folder(place.parent.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest_of_file(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
