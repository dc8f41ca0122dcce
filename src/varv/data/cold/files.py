"""Files of rows on their way into an archive, in it, and back.

Whoever reads rows is told that they are archived, and how to have them back: an archive may be slow, far away
and paid for by the byte. Only what has to be known to go on at all is read where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec
import polars as pl

from varv.data.cold.places import Archive, archive_at
from varv.kernel.blobs import CHUNK_BYTES, write_atomically
from varv.kernel.catalogue import Cold, Extent
from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.faults import Faults
from varv.kernel.scratch import Scratch
from varv.kernel.segment_files import COMPACTED, Listed, listing_digest, read_file
from varv.kernel.storage import storing

PENDING = "archive.pending"
"""In a home, what is being copied into an archive."""


class ColdFiles:
    """The archives of a home.

    Parameters
    ----------
    home
        The folder.
    """

    def __init__(self, home: Path, faults: Faults | None = None) -> None:
        self._home, self._faults = home, faults
        self._archives: dict[str, Archive] = {}

    def archive(self, place: str) -> Archive:
        """Return the archive at a place."""
        if place not in self._archives:
            self._archives[place] = archive_at(self._home, place, self._faults)
        return self._archives[place]

    def intend(self, files: Sequence[Path], place: str) -> None:
        """Note that files are about to be copied into an archive, so that none is forgotten there after a
        crash: whoever has to be erased may be in it.
        """
        noted = [(place, _digest_of_bytes(file)) for file in files]
        write_atomically(self._home / PENDING, msgspec.json.encode(noted), Faults())

    def settle(self, on_record: Collection[tuple[str, Digest]]) -> None:
        """Remove what was copied and is not on record, once whatever was is.

        Parameters
        ----------
        on_record
            The places and digests of all files that are in an archive.
        """
        note = self._home / PENDING
        if not note.exists():
            return
        for place, digest in msgspec.json.decode(note.read_bytes(), type=list[tuple[str, Digest]]):
            if (place, digest) not in on_record:
                self.drop(place, digest)
        note.unlink()

    def keep(self, file: Path, place: str) -> tuple[Digest, int]:
        """Copy a file into an archive, durably, and return the digest and the number of its bytes."""
        draft = self.archive(place).draft()
        try:
            with file.open("rb") as source:
                while data := source.read(CHUNK_BYTES):
                    draft.write(data)
            return draft.keep()
        finally:
            draft.drop()

    def parts(self, cold: Cold) -> Iterator[bytes]:
        """Yield the bytes of an archived file, the last of them once all are checked.

        Raises
        ------
        NotFound
            If it is not in its archive.
        Corrupt
            If it is not what was archived.
        Unavailable
            If the archive cannot be reached.
        """
        return self.archive(cold.place).chunks(cold.digest)

    def rows(self, extent: Extent) -> pl.DataFrame:
        """Return the rows of an archived extent, from its archive; errors are those of `parts`."""
        assert extent.cold is not None, "who asks has looked"
        scratch = Scratch("archived")
        path = scratch.path / extent.cold.file
        with storing("file", path), path.open("wb") as file:
            for part in self.parts(extent.cold):
                file.write(part)
        return checked_rows(path, extent)

    def drop(self, place: str, digest: Digest) -> None:
        """Remove a file from an archive."""
        self.archive(place).delete(digest)


def checked_rows(path: Path, extent: Extent) -> pl.DataFrame:
    """Return the rows of a file, compared with what the ledger says of its extent.

    Raises
    ------
    Corrupt
        If they are others.
    """
    rows, listed = read_file(path, path.name)
    found = _digest_of(path, listed)
    if extent.digest and found != extent.digest:
        problem = "does not hold the rows that the ledger names"
        facts = {"segment": extent.name, "expected": extent.digest[:12], "found": found[:12]}
        raise Corrupt("file", path.name, problem, **facts, hint="run varv verify")
    return rows


def _digest_of_bytes(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def _digest_of(path: Path, listed: Sequence[Listed]) -> Digest:
    return listing_digest(listed) if path.name.startswith(COMPACTED) else listed[0].digest


def require_warm(dataset: str, extents: Sequence[Extent]) -> None:
    """Raise `FailedPrecondition` if the file of an extent is in an archive: it says which rows are, and what
    brings them back.
    """
    cold = [one for one in extents if one.cold is not None and not one.removed_by]
    if not cold:
        return
    first = min((one.first for one in cold if one.first is not None), default=Instant(0))
    last = max((one.last for one in cold if one.last is not None), default=Instant(0))
    span = f"--since {iso(first)} --until {iso(Instant(last + 1))}" if last else ""
    problem = f"has rows of {iso(first)[:10]} to {iso(last)[:10]} in the archive"
    hint = f"varv data restore {dataset} {span}".rstrip()
    raise FailedPrecondition("dataset", dataset, problem, n_files=len(cold), hint=hint)
