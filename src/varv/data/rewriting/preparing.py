"""Rewrites: rows that take the place of others, stored and prepared for the ledger.

`Datasets` hands over what there is of one part and commits what comes of it; which files are touched is
decided in `data.rewriting.files`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from varv.data.contracts.rules import Screen
from varv.data.dataset import Dataset
from varv.data.keys import DatasetKeys, Standing, Stated
from varv.data.rewriting.files import (
    Rewriting,
    Rewritten,
    merging,
    overwriting,
    reached,
    removing,
    segment_of,
    sound_rows,
    stated_rows,
)
from varv.data.shape import span_of
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import AddedSegment, Cause, DatasetRewritten
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Instant
from varv.kernel.columns import Columns
from varv.kernel.content import rows_digest
from varv.kernel.errors import InvalidInput
from varv.kernel.ids import Version
from varv.kernel.sagas import Fact


class PreparedRewrite(msgspec.Struct, frozen=True):
    """A rewrite whose rows are stored and count once the facts are in the ledger; none if it changes
    nothing.
    """

    facts: tuple[Fact, ...]
    result: Rewritten


class Author(NamedTuple):
    """Who rewrites, and why."""

    by: str
    why: str


class There(NamedTuple):
    """What there is of a part: the version of the dataset, where its rows are, its keys, and what reads an
    extent.
    """

    version: Version
    extents: Sequence[Extent]
    keys: DatasetKeys
    read: Callable[[Extent], pl.DataFrame]


class Rewrites:
    """Prepares a rewrite of one part. The keys that it is given are afterwards those of the version that it
    makes, so whoever does not commit it forgets them.

    Parameters
    ----------
    there
        What the part holds.
    screen
        Looks at rows by the contract of the part.
    columns
        Where rows are stored.
    """

    def __init__(
        self,
        dataset: Dataset,
        part: str,
        there: There,
        screen: Screen,
        columns: Columns,
        now: Instant,
        author: Author,
    ) -> None:
        self._dataset, self._part, self._there = dataset, part, there
        self._screen, self._columns, self._now = screen, columns, now
        self._author = author

    def overwrite(self, frame: pl.DataFrame) -> PreparedRewrite:
        """Put rows in the place of all; nothing comes of it if an overwrite with these rows was the last.

        Raises
        ------
        InvalidInput
            If a row cannot be taken; see `Datasets.overwrite`.
        """
        rows, given, standing = self._to_write(frame, acknowledged=False)
        extents = self._there.extents
        is_same = len(extents) == 1 and extents[0].name == segment_of(extents[0].number, 0, rows_digest(rows))
        if is_same or (rows.is_empty() and not extents):
            return self._nothing(rows)
        known, as_before = standing.own.known, standing.own.rows == given.rows
        plan = overwriting(rows, extents, n_known=int(known.sum()), n_same=int((known & as_before).sum()))
        self._there.keys.replace(self._part, given)
        return self._prepared(plan, "overwrite", rows.height)

    def merge(self, frame: pl.DataFrame) -> PreparedRewrite:
        """Put rows in the place of those of their keys, and add the others; nothing comes of it if all are
        there.

        Raises
        ------
        InvalidInput
            If a row cannot be taken; see `Datasets.merge`.
        """
        rows, _, standing = self._to_write(frame, acknowledged=True)
        extents = reached(self._there.extents, standing.own.times[standing.own.known])
        plan = merging(rows, extents, self._there.read, self._dataset.key, self._part)
        if plan.is_nothing:
            return self._nothing(rows)
        self._there.keys.correct(self._part, stated_rows(plan.said, self._dataset, self._part))
        return self._prepared(plan, "merge", rows.height)

    def remove(self, keys: pl.DataFrame) -> PreparedRewrite:
        """Take the rows of some keys out; nothing comes of it if there are none.

        Parameters
        ----------
        keys
            The columns of the key, in their types, each key once.
        """
        hashes = keys.hash_rows(seed=0).to_numpy()
        found = self._there.keys.find(self._part, hashes)
        extents = reached(self._there.extents, found.times[found.known])
        plan = removing(keys, extents, self._there.read)
        if plan.is_nothing:
            return self._nothing(keys.clear())
        self._there.keys.forget(self._part, Stated(hashes, found.rows, found.times).only(found.known))
        return self._prepared(plan, "removal", 0)

    def _nothing(self, rows: pl.DataFrame) -> PreparedRewrite:
        return PreparedRewrite((), Rewritten(self._there.version, 0, 0, 0, rows.height))

    def _to_write(self, frame: pl.DataFrame, *, acknowledged: bool) -> tuple[pl.DataFrame, Stated, Standing]:
        dataset, part = self._dataset, self._part
        rows = sound_rows(frame, dataset, part, self._screen, now=self._now, acknowledged=acknowledged)
        given = stated_rows(rows, dataset, part)
        standing = self._there.keys.standing(part, given)
        if n_early := int(standing.early(given).sum()):
            hint = f"give {part} a time not before {dataset.event_time}"
            problem = "are from before the row that they are about"
            raise InvalidInput("rows", f"{dataset.name}/{part}", problem, n_rows=n_early, hint=hint)
        return rows, given, standing

    def _prepared(self, plan: Rewriting, cause: Cause, n_given: int) -> PreparedRewrite:
        """Store the rows of a rewrite, and return it as prepared."""
        version = Version(self._there.version + 1)
        event = DatasetRewritten(
            dataset=self._dataset.name,
            part=self._part,
            cause=cause,
            removed=tuple(one.name for one in plan.removed),
            added=tuple(self._put_in(version, number, rows) for number, rows in enumerate(plan.added)),
            by=self._author.by,
            why=self._author.why,
            n_removed=sum(one.n_rows for one in plan.removed),
            n_new=plan.n_new,
            n_changed=plan.n_changed,
            n_lost=plan.n_lost,
            n_waiting=self._there.keys.n_waiting(),
        )
        n_unchanged = n_given - plan.n_new - plan.n_changed
        result = Rewritten(version, plan.n_new, plan.n_changed, plan.n_lost, n_unchanged)
        return PreparedRewrite((Fact(stream_of(self._dataset.name), event),), result)

    def _put_in(self, version: Version, number: int, rows: pl.DataFrame) -> AddedSegment:
        content = rows_digest(rows)
        name = segment_of(version, number, content)
        self._columns.append(table_of(self._dataset.name, self._part), name, rows, content=content)
        first, last = span_of(rows, self._part)
        return AddedSegment(name=name, n_rows=rows.height, digest=content, first=first, last=last)
