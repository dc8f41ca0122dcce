"""Uploads in parts: a file that comes in pieces, in any order and over any connections, until it is whole.

An upload is a folder of its own with a record and, for each part, a store of one blob. Nothing of it is an
artifact: whoever completes it gets a blob, and puts that into the index as any other. What is neither
completed nor aborted is swept after `KEPT_FOR`. Requests and addresses are in `fronts.mlflow.uploads`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from varv.kernel.blobs import Blobs, Draft, FolderBlobs, write_atomically
from varv.kernel.clock import DAY, MINUTE, Clock, Duration, Instant
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound, RateLimited, Unauthenticated
from varv.kernel.faults import Faults
from varv.kernel.ids import new_secret

MOST_PARTS = 10_000
MOST_PART_BYTES = 5 << 30
MOST_UPLOADS = 1000
"""Uploads that are under way at a time."""
KEPT_FOR = DAY
"""From its beginning, an upload that is not completed."""
REMEMBERED_FOR = Duration(10 * MINUTE)
"""That an upload was completed: a client that got no answer asks again."""
_RECORD = "upload.json"
_ID = re.compile(r"[0-9a-f]{32}")


class UploadRecord(msgspec.Struct, frozen=True):
    """What is on the disk of an upload."""

    owner: str
    path: str
    n_parts: int
    token: Digest
    """The digest of the token that whoever sends a part has to know."""
    begun: Instant
    digest: Digest | None = None
    """Of the whole file, once it is complete."""
    size: int = 0
    settled: Instant | None = None

    def is_over(self, now: Instant) -> bool:
        """Return whether it may be forgotten."""
        return now - self.begun >= KEPT_FOR if self.settled is None else now - self.settled >= REMEMBERED_FOR


class Completed(NamedTuple):
    """What an upload has become."""

    digest: Digest
    size: int
    is_settled: bool
    """Whether it was completed before, and the file put where it belongs."""


class Begun(NamedTuple):
    """An upload that has begun: its id, and the token that parts are sent with."""

    id: str
    token: str


class Uploads:
    """The uploads in parts of a home.

    Parameters
    ----------
    folder
        Holds them; made when the first begins.
    blobs
        Get the files that are complete.
    """

    def __init__(self, folder: Path, blobs: Blobs, clock: Clock) -> None:
        self._folder = folder
        self._blobs = blobs
        self._clock = clock
        # Of two that send the same part, neither may delete the other's, and nothing is swept before it has a
        # record.
        self._lock = threading.Lock()

    def begin(self, owner: str, path: str, n_parts: int) -> Begun:
        """Begin an upload to a path of an owner.

        Raises
        ------
        InvalidInput
            If it has no part, or more than `MOST_PARTS`.
        RateLimited
            If `MOST_UPLOADS` are under way.
        """
        if not 1 <= n_parts <= MOST_PARTS:
            hint = "send larger parts"
            raise InvalidInput("num_parts", str(n_parts), "is not allowed", most=MOST_PARTS, hint=hint)
        begun = Begun(new_secret(16).hex(), new_secret().hex())
        with self._lock:
            records = [self._record(place.name) for place in self._folders()]
            if sum(one is not None and one.settled is None for one in records) >= MOST_UPLOADS:
                hint = "complete or abort others, or try again later"
                raise RateLimited("upload", path[:200], "comes while too many are under way", hint=hint)
            now = self._clock.now()
            self._write(begun.id, UploadRecord(owner, path, n_parts, _digest_of(begun.token), now))
        return begun

    def part(self, id: str, number: int, token: str) -> Draft:
        """Return the draft of a part, which takes the place of what was sent as this part before.

        Raises
        ------
        Unauthenticated
            If nobody who knows this token began an upload of this id, or it is over.
        InvalidInput
            If it has no such part.
        FailedPrecondition
            If it is complete.
        """
        record = self._record(id)
        # Who does not know the token is not told whether there is an upload.
        if record is None or not hmac.compare_digest(record.token, _digest_of(token)):
            hint = "send the headers that mpu/create answered, within a day"
            raise Unauthenticated("upload", id[:80], "needs the token of an upload under way", hint=hint)
        if record.digest is not None:
            raise FailedPrecondition("upload", id, "is complete", hint="begin another")
        if not 1 <= number <= record.n_parts:
            raise InvalidInput("part", str(number), "is not one of this upload", n_parts=record.n_parts)
        return _PartDraft(self._part(id, number), self._lock)

    def complete(self, id: str, owner: str, path: str, parts: Mapping[int, Digest]) -> Completed:
        """Make one blob of all parts, a piece at a time; the parts stay until `settle`.

        Parameters
        ----------
        parts
            The digest of each part by its number, from 1.

        Raises
        ------
        NotFound
            If there is no such upload.
        InvalidInput
            If parts are missing, or are not what was sent.
        """
        record = self._own(id, owner, path)
        if record is None:
            raise NotFound(
                "upload", id[:80], hint="begin another: one that is not completed is kept for a day"
            )
        if record.digest is not None:
            return Completed(record.digest, record.size, is_settled=True)
        if sorted(parts) != list(range(1, record.n_parts + 1)):
            problem, hint = "does not name all parts once", "name each with its number and its ETag"
            raise InvalidInput("upload", id, problem, named=len(parts), n_parts=record.n_parts, hint=hint)
        draft = self._blobs.draft()
        try:
            for number in range(1, record.n_parts + 1):
                for chunk in self._chunks(id, number, parts[number]):
                    draft.write(chunk)
            return Completed(*draft.keep(), is_settled=False)
        finally:
            draft.drop()

    def settle(self, id: str, digest: Digest, size: int) -> None:
        """Note that the file of an upload is where it belongs, and delete its parts."""
        record = self._record(id)
        if record is None or record.digest is not None:
            return
        self._write(id, msgspec.structs.replace(record, digest=digest, size=size, settled=self._clock.now()))
        for place in (self._folder / id).iterdir():
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)

    def abort(self, id: str, owner: str, path: str) -> None:
        """Delete an upload; that there is none is no failure.

        Raises
        ------
        InvalidInput
            If it is of another file.
        """
        if self._own(id, owner, path) is not None:
            shutil.rmtree(self._folder / id, ignore_errors=True)

    def sweep(self) -> int:
        """Delete uploads that are over; return how many they were."""
        with self._lock:
            over = [place for place in self._folders() if self._record(place.name) is None]
            for place in over:
                shutil.rmtree(place, ignore_errors=True)
        return len(over)

    def _folders(self) -> Iterator[Path]:
        if self._folder.is_dir():
            yield from self._folder.iterdir()

    def _own(self, id: str, owner: str, path: str) -> UploadRecord | None:
        record = self._record(id)
        if record is not None and (record.owner, record.path) != (owner, path):
            raise InvalidInput("upload", id, "is of another file", hint="name the file that it began with")
        return record

    def _record(self, id: str) -> UploadRecord | None:
        """Return what is on record of an upload; None if there is none, or it is over."""
        if not _ID.fullmatch(id):
            return None
        with suppress(FileNotFoundError, msgspec.MsgspecError):
            record = msgspec.json.decode((self._folder / id / _RECORD).read_bytes(), type=UploadRecord)
            return None if record.is_over(self._clock.now()) else record
        return None

    def _write(self, id: str, record: UploadRecord) -> None:
        write_atomically(self._folder / id / _RECORD, msgspec.json.encode(record), Faults())

    def _part(self, id: str, number: int) -> FolderBlobs:
        return FolderBlobs(self._folder / id / str(number))

    def _chunks(self, id: str, number: int, digest: Digest) -> Iterator[bytes]:
        try:
            return self._part(id, number).chunks(digest)
        except (NotFound, InvalidInput):
            hint = "send it again, and name the ETag that answers it"
            raise InvalidInput(
                "part", str(number), "is not what was sent", etag=digest[:64], hint=hint
            ) from None


class _PartDraft:
    """The draft of a part: once it is kept, nothing else is that part."""

    def __init__(self, place: FolderBlobs, lock: threading.Lock) -> None:
        self._place, self._lock = place, lock
        self._draft = place.draft()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add bytes; refuse them if the part is larger than allowed then."""
        self._size += len(data)
        if self._size > MOST_PART_BYTES:
            hint = "send more parts"
            raise InvalidInput(
                "part", f"of {self._size} bytes", "is too large", most=MOST_PART_BYTES, hint=hint
            )
        self._draft.write(data)

    def keep(self) -> tuple[Digest, int]:
        """Make it the part, and return its digest and its size."""
        with self._lock:
            digest, size = self._draft.keep()
            for other in self._place.digests():
                if other != digest:
                    self._place.delete(other)
        return digest, size

    def drop(self) -> None:
        """Throw away what was written; after `keep` that changes nothing."""
        self._draft.drop()


def too_large(size: int) -> InvalidInput:
    """Return the refusal of a part of so many bytes."""
    return InvalidInput(
        "part", f"of {size} bytes", "is too large", most=MOST_PART_BYTES, hint="send more parts"
    )


def _digest_of(token: str) -> Digest:
    return Digest(hashlib.sha256(token.encode()).hexdigest())
