"""Places that an archive can be in: the home, another folder, or an object store, by obstore.

An archive is a store of blobs, so a file that is put there twice lies there once, and what is read is checked
against its name. An object store is reached as its own tools do, by AWS_... and the like in the environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

from varv.kernel.blobs import CHUNK_BYTES, Draft, FolderBlobs
from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt, InvalidInput, NotFound, Unavailable
from varv.kernel.faults import Faults
from varv.kernel.object_stores import reaching
from varv.kernel.plugins import required
from varv.kernel.scratch import Scratch
from varv.kernel.storage import storing

FOLDER = "archive"
"""Of a home, where its archive is unless another place is set."""
_REPAIR = "run varv verify, and restore this file from a copy of the archive"


class Archive(Protocol):
    """A store of blobs, as far as an archive is one; `kernel.blobs.Blobs` says what each does."""

    def draft(self) -> Draft:
        """Return a blob that is still being written."""
        ...

    def chunks(self, name: Digest) -> Iterator[bytes]:
        """Yield the bytes of a digest, the last of them once all are checked."""
        ...

    def has(self, name: Digest) -> bool:
        """Return whether the bytes of a digest are stored."""
        ...

    def delete(self, name: Digest) -> None:
        """Forget the bytes of a digest; forgetting them again is harmless."""
        ...


def require_place(place: str) -> str:
    """Return a place as the ledger keeps it: empty for the home, a whole path, or an address.

    Raises
    ------
    InvalidInput
        If it is neither a folder nor the address of an object store.

    Examples
    --------
    >>> require_place("s3://cold/varv/"), require_place("/mnt/cold")
    ('s3://cold/varv', '/mnt/cold')
    """
    scheme, separator, rest = place.partition("://")
    if not separator:
        return str(Path(place).absolute()) if place else ""
    if not scheme.isalnum() or not rest.strip("/") or "@" in rest or "?" in rest:
        hint = "write s3://bucket/path, gs://bucket/path, az://container/path, or a folder"
        raise InvalidInput("archive", scheme, "is no place for an archive", hint=hint)
    return place.rstrip("/")


def archive_at(home: Path, place: str, faults: Faults | None = None) -> Archive:
    """Return the archive at a place, as `require_place` gave it."""
    if "://" in place:
        return ObjectArchive(place)
    return FolderBlobs(Path(place) if place else home / FOLDER, faults=faults)


class ObjectArchive:
    """An archive in an object store, as objects ``ab/cdef…`` below a path.

    Parameters
    ----------
    place
        Such as ``s3://bucket/path``.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._library = required("obstore", kind="archive", name=place, extra="objects")
        scheme, _, rest = place.partition("://")
        bucket, _, self._below = rest.partition("/")
        with self._reaching():
            self._store = self._library.store.from_url(f"{scheme}://{bucket}")

    def draft(self) -> ObjectDraft:
        """Return a blob that is still being written."""
        return ObjectDraft(self._put)

    def chunks(self, name: Digest) -> Iterator[bytes]:
        """Yield the bytes of a digest, the last of them once all are checked."""
        found, held = hashlib.sha256(), b""
        for part in self._stream(name):
            if held:
                yield held
            found.update(part)
            held = part
        if found.hexdigest() != name:
            problem, of = "does not hold what it is named after", found.hexdigest()[:12]
            raise Corrupt("file", self._shown(name), problem, found=of, hint=_REPAIR)
        yield held

    def has(self, name: Digest) -> bool:
        """Return whether the bytes of a digest are stored."""
        with self._reaching():
            try:
                self._library.head(self._store, self._path(name))
            except FileNotFoundError:
                return False
        return True

    def delete(self, name: Digest) -> None:
        """Forget the bytes of a digest; forgetting them again is harmless."""
        with self._reaching(), suppress(FileNotFoundError):
            self._library.delete(self._store, self._path(name))

    def _put(self, name: Digest, file: Path) -> None:
        with self._reaching():
            self._library.put(self._store, self._path(name), file)

    def _stream(self, name: Digest) -> Iterator[bytes]:
        with self._reaching():
            try:
                parts = self._library.get(self._store, self._path(name)).stream(min_chunk_size=CHUNK_BYTES)
            except FileNotFoundError:
                raise NotFound("blob", self._shown(name), hint=_REPAIR) from None
        # Whoever takes the parts fails by itself, so only what the store does is within.
        while True:
            with self._reaching():
                part = next(parts, None)
            if part is None:
                return
            yield bytes(part)

    def _path(self, name: Digest) -> str:
        inside = f"{name[:2]}/{name[2:]}"
        return f"{self._below}/{inside}" if self._below else inside

    def _shown(self, name: Digest) -> str:
        return f"{self._place}/{name[:2]}/{name[2:]}"

    def _reaching(self) -> AbstractContextManager[None]:
        return reaching(self._library, self._refused)

    def _refused(self, why: str) -> Unavailable:
        hint = "it is reached as its own tools do, by AWS_... and the like in the environment"
        return Unavailable("archive", self._place, "cannot be reached", why=why, hint=hint)


class ObjectDraft:
    """A blob that is still being written, on this machine until it is kept.

    Parameters
    ----------
    put
        Puts a file into the archive under its digest.
    """

    def __init__(self, put: Any) -> None:
        self._put = put
        self._scratch = Scratch("archive")
        self._path = self._scratch.path / "draft"
        self._file = self._path.open("xb")
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with storing("file", self._path, draft=self._path):
            self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def keep(self) -> tuple[Digest, int]:
        """Make what was written a blob, durably, and return its digest and its size."""
        with storing("file", self._path, draft=self._path):
            self._file.close()
        name = Digest(self._hash.hexdigest())
        self._put(name, self._path)
        self._path.unlink()
        return name, self._size

    def drop(self) -> None:
        """Throw away what was written; after `keep` that changes nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)
