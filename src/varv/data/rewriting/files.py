"""Rewriting: which files of a part given rows touch, and what takes their place in the next version.

Copy on write: a file in which one row changes is left as it is and written once more without the old row.
Plain functions of rows and extents; `data.rewriting.preparing` stores what they return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.contracts.rules import Screen
from varv.data.dataset import Dataset
from varv.data.keys import Stated, stated
from varv.data.shape import conformed, in_shape
from varv.data.sources import in_kept_types
from varv.kernel.catalogue import Extent
from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidInput

SEGMENTS = "rewritten"
"""What the names of segments that a rewrite puts in begin with."""


class Rewriting(NamedTuple):
    """What a rewrite takes out of a part and puts in."""

    removed: Sequence[Extent]
    added: Sequence[pl.DataFrame]
    said: pl.DataFrame
    """The rows that say something new."""
    n_new: int
    n_changed: int
    n_lost: int

    @property
    def is_nothing(self) -> bool:
        """Whether the part is as it was."""
        return not self.removed and not self.added


class Rewritten(NamedTuple):
    """What became of a rewrite: the version that it made, or the one that is like it already; and how many
    keys are new, say something else, are gone, or stayed as they were.
    """

    version: int
    n_new: int
    n_changed: int
    n_lost: int
    n_unchanged: int


def segment_of(version: int, number: int, content: str) -> str:
    """Return the name of a segment that a rewrite puts in; tried again after a crash it has the same."""
    return f"{SEGMENTS}-{version:09d}.{number:04d}.{content[:16]}"


def sound_rows(
    frame: pl.DataFrame, dataset: Dataset, part: str, screen: Screen, *, now: Instant, acknowledged: bool
) -> pl.DataFrame:
    """Return rows as they are stored, in the order of time and key; equal ones once.

    Parameters
    ----------
    acknowledged
        Whether each row is looked at by itself, and not for the company that it comes in.

    Raises
    ------
    InvalidInput
        If a row breaks the contract, or two have one key and say different things. Nothing is put aside: what
        the rows take the place of would be gone.
    """
    kept, where = in_kept_types(frame), f"{dataset.name}/{part}"
    found = screen.look(kept, now=now, acknowledged=acknowledged)
    if found.whole or found.reasons.count():
        row = next((i for i, reason in enumerate(found.reasons) if reason is not None), 0)
        broken = found.report.violations[0]
        problem = f"break the contract: {broken.reason}, expected {broken.expected}"
        hint = "correct them: a rewrite takes all of its rows or none"
        raise InvalidInput("rows", where, problem, row=row, n_rows=found.reasons.count(), hint=hint)
    try:
        rows = conformed(in_shape(kept, dataset.part_types(part)), dataset, part)
    except pl.exceptions.PolarsError as error:
        why = str(error).split("\n")[0][:200]
        raise InvalidInput("rows", where, "do not have the dataset's types", why=why) from None
    rows = rows.unique(maintain_order=True)
    repeated = rows.select(dataset.key).is_duplicated()
    if n_rows := int(repeated.sum()):
        key = rows.row(int(repeated.arg_max() or 0), named=True)[dataset.key[0]]
        hint = "give each key once; equal rows are taken for one"
        raise InvalidInput(
            "rows", where, "state a key twice and differ", n_rows=n_rows, key=str(key)[:40], hint=hint
        )
    return rows.sort(part, *dataset.key)


def overwriting(rows: pl.DataFrame, extents: Sequence[Extent], *, n_known: int, n_same: int) -> Rewriting:
    """Return what puts rows in the place of all that a part holds.

    Parameters
    ----------
    n_known, n_same
        How many of the keys are there already, and how many of those say what they say now.
    """
    n_before = sum(one.n_rows for one in extents)
    added = [rows] if not rows.is_empty() else []
    return Rewriting(extents, added, rows, rows.height - n_known, n_known - n_same, n_before - n_known)


def merging(
    rows: pl.DataFrame,
    extents: Iterable[Extent],
    read: Callable[[Extent], pl.DataFrame],
    key: Sequence[str],
    time: str,
) -> Rewriting:
    """Return what puts rows in the place of those of the same keys, and adds those of new ones.

    Parameters
    ----------
    extents
        Where rows of the same keys may be.
    read
        Returns the rows of an extent, with the columns of `rows`.
    """
    removed: list[Extent] = []
    added: list[pl.DataFrame] = []
    changes: list[pl.DataFrame] = []
    new = rows
    for one in extents:
        there = read(one)
        known = new.join(there.select(key), on=key, how="semi", maintain_order="left")
        if known.is_empty():
            continue
        new = new.join(there.select(key), on=key, how="anti", maintain_order="left")
        changed = known.join(there, on=known.columns, how="anti", nulls_equal=True, maintain_order="left")
        if not changed.is_empty():
            left = there.join(changed.select(key), on=key, how="anti", maintain_order="left")
            removed.append(one)
            added.append(pl.concat([left, changed]).sort(time, *key))
            changes.append(changed)
    said = pl.concat([*changes, new])
    added += [new] if not new.is_empty() else []
    return Rewriting(removed, added, said, new.height, said.height - new.height, 0)


def removing(
    keys: pl.DataFrame, extents: Iterable[Extent], read: Callable[[Extent], pl.DataFrame]
) -> Rewriting:
    """Return what takes the rows of some keys out.

    Parameters
    ----------
    keys
        The columns of the key.
    extents, read
        As `merging` takes them.
    """
    removed: list[Extent] = []
    added: list[pl.DataFrame] = []
    n_lost = 0
    for one in extents:
        there = read(one)
        left = there.join(keys, on=keys.columns, how="anti", maintain_order="left")
        if left.height < there.height:
            removed.append(one)
            n_lost += there.height - left.height
            added += [left] if not left.is_empty() else []
    return Rewriting(removed, added, keys.clear(), 0, 0, n_lost)


def reached(extents: Iterable[Extent], times: npt.NDArray[np.int64]) -> list[Extent]:
    """Return those extents that may hold a row of one of these times."""
    times = np.sort(times)
    found = []
    for one in extents:
        if one.first is None or one.last is None:
            found.append(one)
            continue
        place = int(np.searchsorted(times, one.first))
        if place < len(times) and times[place] <= one.last:
            found.append(one)
    return found


def stated_rows(rows: pl.DataFrame, dataset: Dataset, part: str) -> Stated:
    """Return the rows of a part, as they are stored, as keys remember them."""
    return stated(rows, dataset.key, part, is_base=part == dataset.event_time)
