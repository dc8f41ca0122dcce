"""What can happen to versions of a dataset besides batches that come: rows are replaced, a version gets a
name, and files of versions that nothing needs are removed.

Nothing is changed in place. A rewrite takes files out of the next version and puts new ones in, so every
version before it reads as it did, until its files are removed. The events of batches are in `data.model`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.data.retention import Retention
from varv.kernel.clock import Duration, Instant, spoken
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName, Version
from varv.kernel.wording import count

Cause = Literal["overwrite", "merge", "removal", "erasure"]


class AddedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that a rewrite put in: its rows, their digest (`kernel.content`), and the times they span."""

    name: str
    n_rows: int
    digest: Digest
    first: Instant | None = None
    last: Instant | None = None


@event("data.dataset_rewritten")
class DatasetRewritten(Event, frozen=True, kw_only=True):
    """Rows of one part were replaced, and this made the next version of the dataset.

    From this version on what lies in `removed` does not count: segments that lie alone, or whole compacted
    files. What lies in `added` does. `n_removed` rows lay in the first; of the rows in the second most may be
    the same ones. `n_waiting` says of each later part how many of its rows have no base row from now on.
    """

    dataset: DatasetName
    part: str
    cause: Cause
    removed: tuple[str, ...]
    added: tuple[AddedSegment, ...]
    by: str = ""
    why: str = ""
    n_removed: int = 0
    n_new: int = 0
    """Keys that were not there before."""
    n_changed: int = 0
    """Keys whose row says something else from now on."""
    n_lost: int = 0
    """Keys that are not there any more."""
    n_waiting: dict[str, int] = msgspec.field(default_factory=dict)
    remains: dict[str, str] = msgspec.field(default_factory=dict)
    """Of an erasure: by what was removed, the segment that holds its other rows."""
    counts: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    """Of an erasure: by part and file of many segments, how many of its other rows came with each of them."""

    @property
    def n_rows(self) -> int:
        """How many rows lie in what was put in."""
        return sum(one.n_rows for one in self.added)

    def line(self) -> str:
        """Return one line on what this event states."""
        what = f"{count(self.n_changed)} changed, {count(self.n_new)} new, {count(self.n_lost)} gone"
        why = f": {self.why}" if self.why else ""
        return f"{self.dataset} {self.part} {_DONE[self.cause]} by {self.by or 'nobody'}, {what}{why}"


_DONE = {"overwrite": "overwritten", "merge": "merged", "erasure": "erased"}


@event("data.dataset_derived")
class DatasetDerived(Event, frozen=True, kw_only=True):
    """The version that a rewrite in the same change made of a part consists of rows that a step of a pipeline
    made from versions of other datasets, `made_from`, in `run`.
    """

    dataset: DatasetName
    part: str
    made_from: dict[str, int]
    run: str = ""
    step: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        versions = ", ".join(f"{name}@{version}" for name, version in sorted(self.made_from.items()))
        return f"{self.dataset} {self.part} made from {versions}"


@event("data.dataset_tagged")
class DatasetTagged(Event, frozen=True, kw_only=True):
    """A version of a dataset got a name; `before` is the version that had it until then."""

    dataset: DatasetName
    tag: str
    version: Version
    before: Version | None = None
    by: str = ""
    why: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        moved = "" if self.before is None else f", until then version {self.before}"
        return f"{self.dataset}@{self.tag} is version {self.version}{moved}"


@event("data.dataset_untagged")
class DatasetUntagged(Event, frozen=True, kw_only=True):
    """A name of a version was given up."""

    dataset: DatasetName
    tag: str
    version: Version
    by: str = ""
    why: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset}@{self.tag}, version {self.version}, has no name any more"


@event("data.retention_declared")
class RetentionDeclared(Event, frozen=True, kw_only=True):
    """How long versions of a dataset are kept from now on."""

    dataset: DatasetName
    retention: Retention

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"of the versions of {self.dataset}, kept: {self.retention}"


@event("data.dataset_vacuumed")
class DatasetVacuumed(Event, frozen=True, kw_only=True):
    """Files that only versions need which nothing names are removed, by part: segments and compacted files.

    It is on record before a file is gone, so a version that needs one of them says which entry it was.
    """

    dataset: DatasetName
    files: dict[str, tuple[str, ...]]
    because: str
    by: str = ""
    n_rows: int = 0
    erasure: str = ""
    """The erasure that they are removed for, if it is one."""
    left: dict[str, AddedSegment] = msgspec.field(default_factory=dict)
    """By part and file, ``at/name``, the segment with its other rows, where no later version holds these."""
    counts: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    """By part and file of many segments, how many of its other rows came with each of them."""

    def line(self) -> str:
        """Return one line on what this event states."""
        n_files = sum(map(len, self.files.values()))
        return f"{self.dataset}: {count(n_files)} files removed, {self.because}"


@event("data.publication_declared")
class PublicationDeclared(Event, frozen=True, kw_only=True):
    """How often a dataset is published from now on; not by itself if `every` is None."""

    dataset: DatasetName
    every: Duration | None = None

    def line(self) -> str:
        """Return one line on what this event states."""
        when = "by command only" if self.every is None else f"every {spoken(self.every)}"
        return f"{self.dataset} is published {when}"


@event("data.dataset_published")
class DatasetPublished(Event, frozen=True, kw_only=True):
    """A version of one part was committed to its Delta log, where it is version `delta_version`.

    `files` came with it and `removed` went, both since the publication before; `digest` is that of the files
    that the version is made of, in their order, by what vouches for each of them.
    """

    dataset: DatasetName
    part: str
    version: Version
    delta_version: int
    files: tuple[str, ...]
    removed: tuple[str, ...] = ()
    digest: Digest = Digest("")

    def line(self) -> str:
        """Return one line on what this event states."""
        gone = f", {count(len(self.removed))} gone" if self.removed else ""
        files = f"{count(len(self.files))} new files{gone}"
        return f"{self.dataset} {self.part}: version {self.version} is {self.delta_version} in Delta, {files}"


@event("data.archival_declared")
class ArchivalDeclared(Event, frozen=True, kw_only=True):
    """How old rows are from now on when their files go into the archive; only by command if `after` is
    None.
    """

    dataset: DatasetName
    after: Duration | None = None

    def line(self) -> str:
        """Return one line on what this event states."""
        when = "by command only" if self.after is None else f"once they are {spoken(self.after)} old"
        return f"rows of {self.dataset} are archived {when}"


class ArchivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of rows in an archive: the extent that it holds, what it is called in the folder of its table,
    and the digest and number of its bytes.
    """

    name: str
    file: str
    digest: Digest
    n_bytes: int


@event("data.segments_archived")
class SegmentsArchived(Event, frozen=True, kw_only=True):
    """Files of rows are in an archive, by part, and leave the columns; every version reads on once they are
    restored.

    It is on record once all of them are in the archive, and before the first leaves the columns. `place` is
    the archive, empty for the one of the home; `empty` names the columns of the base part that were empty in
    some of the rows.
    """

    dataset: DatasetName
    place: str
    files: dict[str, tuple[ArchivedFile, ...]]
    because: str
    by: str = ""
    n_rows: int = 0
    empty: tuple[str, ...] = ()

    def line(self) -> str:
        """Return one line on what this event states."""
        n_files = sum(map(len, self.files.values()))
        where = f" in {self.place}" if self.place else ""
        return f"{self.dataset}: {count(n_files)} files archived{where}, {self.because}"


@event("data.segments_restored")
class SegmentsRestored(Event, frozen=True, kw_only=True):
    """Files of rows are back in the columns, by part, and leave the archive. Up to `stays_until` they are not
    archived by themselves.
    """

    dataset: DatasetName
    place: str
    files: dict[str, tuple[ArchivedFile, ...]]
    stays_until: Instant
    by: str = ""
    why: str = ""
    n_rows: int = 0

    def line(self) -> str:
        """Return one line on what this event states."""
        n_files = sum(map(len, self.files.values()))
        why = f": {self.why}" if self.why else ""
        return f"{self.dataset}: {count(n_files)} files restored by {self.by or 'nobody'}{why}"
