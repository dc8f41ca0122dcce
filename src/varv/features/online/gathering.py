"""The rows that a view takes in between two versions of its dataset, a step at a time.

A step is some files of one part, so it can be done again by itself. What a dataset says later of a row (an
outcome) belongs to the entity of the base row, which came before it or after it: both ways are looked for.
The rules are those of `features.store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from varv.data.service import Datasets
from varv.features.feature_view import FeatureView
from varv.features.observed import PATIENCE
from varv.features.view_history import rows_of
from varv.kernel.catalogue import Extent
from varv.kernel.clock import HOUR, Instant
from varv.kernel.codec import Digest, digest_of

ROWS_A_STEP = 1 << 17
"""About so many rows are in memory at a time, more where one file has more."""


class Step(NamedTuple):
    """Files that are taken in together."""

    part: str
    extents: list[Extent]


class Gathering:
    """What a view takes in of its dataset after one version and up to another.

    Parameters
    ----------
    after
        Everything up to this version is in already; 0 for nothing.
    goal
        The last version that counts.
    since
        Rows from before this instant are not wanted; by default all are that a request of the present could
        see, and what is archived is left out beyond that.
    """

    def __init__(
        self, datasets: Datasets, view: FeatureView, after: int, goal: int, since: Instant | None = None
    ) -> None:
        self._datasets, self._view, self._after, self._goal = datasets, view, after, goal
        self._dataset, self._base = view.source, view.source.event_time
        self._since = since
        parts = [view.part] if view.part == self._base or not after else [view.part, self._base]
        self.steps = [step for part in parts for step in self._steps(part)]

    def digest(self) -> Digest:
        """Return what identifies the steps."""
        named = [[step.part, *(one.name for one in step.extents)] for step in self.steps]
        return digest_of([self._after, self._goal, named])

    @property
    def newest(self) -> Instant | None:
        """The latest instant of any row of the view's part, as far as the ledger knows."""
        extents = self._datasets.extents(self._dataset, self._view.part, upto=self._goal)
        return max((one.last for one in extents if one.last is not None), default=None)

    def rows(self, step: Step) -> Iterator[pl.DataFrame]:
        """Yield the rows of a step, with the columns of the entity, the key, the part's time and the
        columns that the view reads.
        """
        for frame in self._read(step):
            for rows in frame.iter_slices(ROWS_A_STEP):
                if self._view.part == self._base:
                    yield self._chosen(rows)
                elif step.part == self._base:
                    yield from self._of_base(rows)
                else:
                    yield from self._of_later(rows)

    def _steps(self, part: str) -> list[Step]:
        found: list[Step] = []
        n_rows = ROWS_A_STEP
        for one in self._datasets.extents(self._dataset, part, upto=self._goal):
            if one.last_number <= self._after or self._is_beyond(part, one):
                continue
            if n_rows >= ROWS_A_STEP:
                found.append(Step(part, []))
                n_rows = 0
            found[-1].extents.append(one)
            n_rows += one.n_rows
        return found

    def _read(self, step: Step) -> Iterator[pl.DataFrame]:
        yield pl.concat([self._rows_of(step.part, one) for one in step.extents])

    def _rows_of(self, part: str, extent: Extent) -> pl.DataFrame:
        n_rows = self._datasets.n_rows_upto(self._dataset, part, extent, self._goal)
        return self._datasets.rows_in(self._dataset, part, extent).head(n_rows)

    def _is_beyond(self, part: str, extent: Extent) -> bool:
        """Return whether an extent is archived, and no request of the present can see its rows."""
        span, newest = rows_of(self._view).span, self.newest
        if extent.cold is None or extent.last is None or span is None or newest is None:
            return False
        first = newest - span - HOUR if self._since is None else self._since
        return extent.last < first - (PATIENCE if part != self._view.part else 0)

    @property
    def _needed(self) -> list[str]:
        view = self._view
        return list(dict.fromkeys((*self._dataset.key, *view.entity, view.part, *view.columns)))

    def _chosen(self, rows: pl.DataFrame) -> pl.DataFrame:
        needed = [*self._view.entity, self._view.part]
        return rows.select(self._needed).filter(pl.all_horizontal(pl.col(needed).is_not_null()))

    def _of_later(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Find the base rows of rows that were said later."""
        part = self._view.part
        rows = rows.filter(pl.col(part).is_not_null())
        if rows.is_empty():
            return
        first, last = _span(rows[part])
        for base in self._others(self._base, first - PATIENCE, last + 1, rows):
            yield self._joined(base, rows)

    def _of_base(self, base: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Find what was said of base rows before they came."""
        base = base.filter(pl.col(self._base).is_not_null())
        if base.is_empty():
            return
        first, last = _span(base[self._base])
        for rows in self._others(self._view.part, first, last + PATIENCE + 1, base, upto=self._after):
            yield self._joined(base, rows)

    def _others(
        self, part: str, since: int, until: int, about: pl.DataFrame, upto: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of another part that are about rows, a file at a time; of those that begin after a
        version none.
        """
        keys = about.select(self._dataset.key)
        for one in self._datasets.extents(self._dataset, part, upto=self._goal):
            is_about = one.reaches(Instant(since), Instant(until)) and not self._is_beyond(part, one)
            if is_about and (upto is None or one.number <= upto):
                found = self._rows_of(part, one).join(keys, on=self._dataset.key, how="semi")
                if found.height:
                    yield found

    def _joined(self, base: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        key, part = list(self._dataset.key), self._view.part
        asked = "asked of the base row"
        whose = [pl.col(name) for name in self._view.entity if name not in key]
        bases = base.select(*key, *whose, pl.col(self._base).alias(asked))
        said = [name for name in rows.columns if name not in bases.columns or name in key]
        joined = rows.select(said).join(bases, on=key, how="inner")
        age = (pl.col(part) - pl.col(asked)).dt.total_microseconds()
        # What is said of a row before it exists is not used; nor is what comes too late for every window.
        return self._chosen(joined.filter((age >= 0) & (age <= PATIENCE)))


def _span(times: pl.Series) -> tuple[int, int]:
    plain: Sequence[int] = times.cast(pl.Int64).sort().to_list()
    return plain[0], plain[-1]
