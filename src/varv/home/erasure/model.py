"""Events of erasures. None names the subject: it is known by a digest whose key is destroyed at the end."""

from __future__ import annotations

import msgspec

from varv.kernel.codec import Digest, Event, event
from varv.kernel.wording import count

STREAM = "erasure"


def stream_of(erasure: str) -> str:
    """Return the stream of an erasure."""
    return f"{STREAM}/{erasure}"


@event("erasure.requested")
class ErasureRequested(Event, frozen=True, kw_only=True):
    """All rows of a dataset are to go whose column holds a value, and what follows from them.

    `subject` is the digest of the value under a key of its own, which is kept beside the home until the
    erasure is proven. Whoever has no key learns nothing from it; after that nobody does.
    """

    erasure: str
    dataset: str
    column: str
    subject: Digest
    by: str
    why: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        why = f": {self.why}" if self.why else ""
        return f"{self.erasure}: rows of {self.dataset} by {self.column}, asked by {self.by}{why}"


@event("erasure.found")
class ErasureFound(Event, frozen=True, kw_only=True):
    """Where rows of the subject were: by table, how many, in versions of before too; and the models that were
    trained on a version that held some.
    """

    erasure: str
    n_rows: dict[str, int]
    models: tuple[str, ...]
    digests: dict[str, Digest]
    """By dataset, what identified all its batches until then: its own, and those made from it with some."""
    places: dict[str, int] = msgspec.field(default_factory=dict)
    """By folder of the home, how often the value stood in its files, if it was searched for."""

    def line(self) -> str:
        """Return one line on what this event states."""
        models = f", {len(self.models)} model versions trained on them" if self.models else ""
        return f"{self.erasure}: {count(sum(self.n_rows.values()))} rows in {len(self.n_rows)} tables{models}"


@event("erasure.searched")
class ErasureSearched(Event, frozen=True, kw_only=True):
    """Every file was searched after the rows had gone; `left` says where something is left."""

    erasure: str
    n_files: int
    n_bytes: int
    left: dict[str, int]
    by_value: bool
    """Whether the value itself was searched for in every file; one that is too short is in too many."""

    def line(self) -> str:
        """Return one line on what this event states."""
        found = f"{len(self.left)} places left" if self.left else "nothing left"
        return f"{self.erasure}: {count(self.n_files)} files searched, {found}"


@event("erasure.proven")
class ErasureProven(Event, frozen=True, kw_only=True):
    """Nothing of the subject is left in the home, and the key of its digest is destroyed.

    `places` says of every table, folder and store where something was what became of it.
    """

    erasure: str
    n_rows: dict[str, int]
    models: tuple[str, ...]
    before: dict[str, Digest]
    after: dict[str, Digest]
    n_files: int
    places: dict[str, str] = msgspec.field(default_factory=dict)

    def line(self) -> str:
        """Return one line on what this event states."""
        n = count(sum(self.n_rows.values()))
        return f"{self.erasure}: {n} rows erased; {count(self.n_files)} files were searched, nothing is left"
