"""What is remembered of a dataset's versions beside their rows: when they came, what they are called, and
which columns they had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from varv.data.retention import Retention
from varv.data.versions.model import (
    DatasetPublished,
    DatasetTagged,
    DatasetUntagged,
    DatasetVacuumed,
    SegmentsRestored,
)
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.ids import Version


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A version, when it came, and the place of its event in the stream of the dataset."""

    at: Instant
    version: Version
    place: int


class VersionHistory(msgspec.Struct):
    """The versions of one dataset, as a read model folds them from the ledger.

    One mark a day is kept, since live versions come every few seconds: what lies between two is asked of the
    ledger.
    """

    marks: list[Mark] = []
    """Of each day the first version."""
    last: Mark | None = None
    tags: dict[str, DatasetTagged] = {}
    """By name, what gave it."""
    retention: Retention = Retention()
    rewritten: dict[str, Version] = {}
    """By part, the version that its rows were last replaced by."""
    gained: dict[str, Version] = {}
    """By column that the dataset gained, the last version without it."""
    made_from: dict[int, dict[str, int]] = {}
    """By version that was made from versions of other datasets, these."""
    publish_every: Duration | None = None
    """How often a dataset is published by itself; not at all if None."""
    published: dict[str, DatasetPublished] = {}
    """By part, its publication that came last."""
    published_at: Instant = Instant(0)
    """When one came last."""
    vacuumed: DatasetVacuumed | None = None
    """The removal of files that came last; a crash may have left some of them."""
    archive_after: Duration | None = None
    """How old rows are when they are archived by themselves; never if None."""
    restored: SegmentsRestored | None = None
    """The move of files out of the archive that came last; a crash may have left some there."""
    empty_in_archive: set[str] = set()
    """Columns of the base part that were empty in some row that was ever archived."""

    def came(self, mark: Mark) -> None:
        """Take in the next version."""
        if not self.marks or self.marks[-1].at // DAY != mark.at // DAY:
            self.marks.append(mark)
        self.last = mark

    def named(self, event: DatasetTagged | DatasetUntagged) -> None:
        """Take in that a version got a name, or lost it."""
        if isinstance(event, DatasetTagged):
            self.tags[event.tag] = event
        else:
            self.tags.pop(event.tag, None)

    @property
    def last_rewrite(self) -> Version:
        """The version that rows were last replaced by; 0 if none were."""
        return max(self.rewritten.values(), default=Version(0))

    def mark_before(self, at: Instant) -> Mark | None:
        """Return a version that came by an instant, not long before it; None if none had come."""
        found = bisect_right(self.marks, at, key=lambda mark: mark.at)
        return self.marks[found - 1] if found else None

    def columns_at(self, columns: Sequence[str], version: int) -> list[str]:
        """Return those of a dataset's columns that it had at a version."""
        return [name for name in columns if name not in self.gained or self.gained[name] < version]
