"""Artifacts on their way in: listed at the source, streamed into blobs, and put under their paths.

Nothing in them is looked into. A path that would not be taken from a client is not taken from a source
either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from varv.home.moving.ports import Owner, Source, SourceFile
from varv.home.moving.report import MoveReport
from varv.home.moving.taking import BroughtFiles, Taker
from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.runs.artifacts import require_path
from varv.runs.imports import SourceModel
from varv.runs.imports.service import listing_of
from varv.runs.imports.tables import marks_of
from varv.runs.logged.model import MODELS_FOLDER

AT_A_TIME = 4
"""Owners whose artifacts are brought at the same time."""


class _Brought(NamedTuple):
    owner: str
    files: dict[str, tuple[Digest, int]]
    listing: Digest
    left_out: list[str]


class Files:
    """Brings the artifacts of runs and logged models.

    Parameters
    ----------
    source
        Has them.
    taker
        Puts them on record.
    report
        Counts them.
    """

    def __init__(self, source: Source, taker: Taker, report: MoveReport) -> None:
        self._source, self._taker, self._report = source, taker, report
        self._left_out: deque[str] = deque()
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="artifacts")

    def bring(self, owners: Iterable[Owner], changed: Container[str] = ()) -> None:
        """Bring the artifacts of owners that have not been brought yet, and what is new of those that have
        changed, which are named by their ids.
        """
        due = {place_of(owner): owner for owner in owners}
        with self._taker.reading() as db:
            marks = marks_of(db, (f"files/{place}" for place in due))
        known = {place: marks[f"files/{place}"].content for place in due if f"files/{place}" in marks}
        missing = [owner for place, owner in due.items() if place not in known or owner.id in changed]
        stated = [known.get(place_of(owner)) for owner in missing]
        for brought in self._pool.map(self._one, missing, stated):
            if brought is None:
                continue
            self._taker.bring(BroughtFiles(brought.owner, brought.files, brought.listing))
            self._report.n_files += len(brought.files)
            self._report.size_bytes += sum(size for _, size in brought.files.values())
            for one in brought.left_out:
                self._report.left_out.add(one)
        for one in self._left_out:
            self._report.left_out.add(one)
        self._left_out.clear()
        self._taker.land()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _one(self, owner: Owner, known: Digest | None) -> _Brought | None:
        place, left_out = place_of(owner), list[str]()
        try:
            listed = self._source.files(owner)
        except (Unavailable, NotFound) as error:
            # Not noted as brought: the next time it may be told where they are.
            self._left_out.append(f"all of {place}: {error.problem}")
            return None
        if listing_of([(one.path, one.size) for one in listed]) == known:
            return None
        files: dict[str, tuple[Digest, int]] = {}
        for file in _plain(place, listed, left_out):
            files[file.path] = self._stored(owner, file)
        return _Brought(place, files, listing_of([(one.path, one.size) for one in listed]), left_out)

    def _stored(self, owner: Owner, file: SourceFile) -> tuple[Digest, int]:
        return stored(self._taker.blobs, self._source.chunks(owner, file.path))


def stored(blobs: Blobs, chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Return the digest and the size of the blob that bytes have become, as they came."""
    draft = blobs.draft()
    try:
        for data in chunks:
            draft.write(data)
        return draft.keep()
    finally:
        draft.drop()


def place_of(owner: Owner) -> str:
    """Return what the artifacts of an owner are kept under."""
    return f"{MODELS_FOLDER if isinstance(owner, SourceModel) else 'runs'}/{owner.id}"


def _plain(place: str, listed: Sequence[SourceFile], left_out: list[str]) -> Iterable[SourceFile]:
    for file in listed:
        try:
            require_path(file.path)
        except InvalidInput:
            left_out.append(f"{ascii(file.path[:80])[1:-1]} of {place}: its path is not allowed")
            continue
        yield file
