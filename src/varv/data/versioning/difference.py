"""How two versions of a dataset differ: columns, and rows by key. Profiles are in `data.difference_verbs`.

Files that both versions have are passed over, so to compare neighbours costs what changed between them. The
rest is compared by buckets of keys, each of so many rows that what is held does not grow with the versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

from varv.data.dataset import Dataset
from varv.data.service import Datasets
from varv.data.values import in_json
from varv.kernel.catalogue import Extent
from varv.kernel.clock import iso
from varv.kernel.columns import TIME
from varv.profiles.difference import ProfileDifference

ROWS_AT_ONCE = 500_000
"""Of each of the two versions."""
_AFTER = "\x1fafter"


class RowDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that differs: its key, and the columns in which it does, each before and after."""

    part: str
    kind: str
    """``added``, ``removed`` or ``changed``."""
    key: dict[str, Any]
    columns: dict[str, tuple[Any, Any]]


class PartDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of one part differ."""

    part: str
    n_before: int
    n_after: int
    n_added: int
    n_removed: int
    n_changed: int
    columns: dict[str, int]
    """By column, in how many of the changed rows it is another."""
    profile: ProfileDifference | None = None
    """What moved from the profile of one to that of the other, if that was asked for."""

    @property
    def n_equal(self) -> int:
        """Rows that are the same in both."""
        return self.n_before - self.n_removed - self.n_changed


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How one version of a dataset differs from another."""

    dataset: str
    before: int
    after: int
    columns_added: dict[str, str]
    """By name, the types of columns that only the second one has."""
    columns_removed: dict[str, str]
    parts: tuple[PartDifference, ...]
    rows: tuple[RowDifference, ...]
    """The first ones, as many as were asked for."""

    @property
    def is_empty(self) -> bool:
        """Whether both say the same."""
        rows = any(one.n_added or one.n_removed or one.n_changed for one in self.parts)
        return not (rows or self.columns_added or self.columns_removed)


class _Stretch(NamedTuple):
    """Rows of a file that count in a version."""

    extent: Extent
    first: int
    n_rows: int


def difference(
    datasets: Datasets, dataset: Dataset, before: int, after: int, *, most_rows: int = 0
) -> Difference:
    """Return how version `after` of a dataset differs from version `before`.

    Parameters
    ----------
    most_rows
        How many rows that differ are shown.

    Raises
    ------
    NotFound
        If there is no such version.
    Expired
        If the files of one were removed.
    """
    columns = [datasets.columns_at(dataset, version) for version in (before, after)]
    types = dataset.types()
    parts: list[PartDifference] = []
    rows: list[RowDifference] = []
    for part in dataset.parts:
        found = _Compared(datasets, dataset, part, before, after)
        parts.append(found.counted(rows, most_rows))
    return Difference(
        dataset=dataset.name,
        before=before,
        after=after,
        columns_added={name: str(types[name]) for name in columns[1] if name not in columns[0]},
        columns_removed={name: str(types[name]) for name in columns[0] if name not in columns[1]},
        parts=tuple(parts),
        rows=tuple(rows),
    )


class _Compared:
    """One part of two versions."""

    def __init__(self, datasets: Datasets, dataset: Dataset, part: str, before: int, after: int) -> None:
        self._datasets, self._dataset, self._part = datasets, dataset, part
        self._key = list(dataset.key)
        self._values = [name for name in dataset.columns(part) if name not in dataset.key]
        self._n = [self._n_rows(version) for version in (before, after)]
        self._only = self._stretches(before, after), self._stretches(after, before)

    def counted(self, examples: list[RowDifference], most: int) -> PartDifference:
        """Return how many rows differ, and append the first ones to `examples` until there are `most`."""
        n_added = n_removed = n_changed = 0
        columns = dict.fromkeys(self._values, 0)
        for before, after in self._buckets():
            added = after.join(before, on=self._key, how="anti", maintain_order="left")
            removed = before.join(after, on=self._key, how="anti", maintain_order="left")
            both = before.join(after, on=self._key, suffix=_AFTER, maintain_order="left")
            differs = both.select(pl.col(name).ne_missing(pl.col(name + _AFTER)) for name in self._values)
            changed = both.filter(differs.select(pl.any_horizontal(pl.all())).to_series())
            n_added, n_removed = n_added + added.height, n_removed + removed.height
            n_changed += changed.height
            columns = {name: n + int(differs[name].sum()) for name, n in columns.items()}
            for kind, frame in (("changed", changed), ("removed", removed), ("added", added)):
                examples += self._examples(kind, frame.head(max(0, most - len(examples))))
        return PartDifference(
            part=self._part,
            n_before=self._n[0],
            n_after=self._n[1],
            n_added=n_added,
            n_removed=n_removed,
            n_changed=n_changed,
            columns={name: n for name, n in columns.items() if n},
        )

    def _n_rows(self, version: int) -> int:
        return sum(one.n_rows for one in self._stretches(version, None))

    def _stretches(self, version: int, other: int | None) -> list[_Stretch]:
        """Return where the rows of a version are, without those that lie in the same place in another."""
        found = []
        for one in self._datasets.extents(self._dataset, self._part, upto=version):
            end = self._datasets.n_rows_upto(self._dataset, self._part, one, version)
            counts = other is not None and one.counts_at(other)
            start = self._datasets.n_rows_upto(self._dataset, self._part, one, other or 0) if counts else 0
            if end > start:
                found.append(_Stretch(one, start, end - start))
        return found

    def _buckets(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield the rows of both that lie in different places, by keys."""
        most = max(sum(one.n_rows for one in several) for several in self._only)
        n_buckets = 1 + most // ROWS_AT_ONCE
        for number in range(n_buckets if most else 0):
            yield (
                self._bucket(self._only[0], number, n_buckets),
                self._bucket(self._only[1], number, n_buckets),
            )

    def _bucket(self, stretches: Sequence[_Stretch], number: int, n_buckets: int) -> pl.DataFrame:
        types = self._dataset.part_types(self._part)
        found = [pl.DataFrame(schema=types)]
        for extent, first, n_rows in stretches:
            rows = self._datasets.rows_in(self._dataset, self._part, extent).slice(first, n_rows)
            if n_buckets > 1:
                place = rows.select(self._key).hash_rows(seed=1) % n_buckets
                rows = rows.filter(place == number)
            found.append(rows)
        return pl.concat(found)

    def _examples(self, kind: str, rows: pl.DataFrame) -> Iterator[RowDifference]:
        times = [name for name, dtype in rows.schema.items() if dtype == TIME]
        for row in in_json(rows):
            shown = {name: iso(v) if name in times and v is not None else v for name, v in row.items()}
            key = {name: shown[name] for name in self._key}
            pairs = {name: self._pair(kind, shown, name) for name in self._values}
            differing = {
                name: pair for name, pair in pairs.items() if kind != "changed" or pair[0] != pair[1]
            }
            yield RowDifference(part=self._part, kind=kind, key=key, columns=differing)

    def _pair(self, kind: str, row: dict[str, Any], name: str) -> tuple[Any, Any]:
        if kind == "changed":
            return row[name], row[name + _AFTER]
        return (None, row[name]) if kind == "added" else (row[name], None)
