"""The rows of one part of a dataset as requests look at them: those of asked entities, within reach, each key
once, with the time from which they count.

What a later part says belongs to the entity of its base row, so the two are joined by key first. Rules are in
`features.store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.dataset import Dataset
from varv.features.bulk.entities import EntityCodes
from varv.features.bulk.first_statements import Repeats, key_hashes, repeated_rows
from varv.features.bulk.latest import TimedRows
from varv.features.bulk.spill import HASH, Spill, stretches_of
from varv.features.bulk.tables import Reach, Tables
from varv.features.observed import PATIENCE, after
from varv.features.run import Ints
from varv.features.ties import ties_of
from varv.kernel.clock import Instant

Mode = Literal["known", "event"]
"""Whether a row counts from when it became known, or from when what it says happened."""
Ignored = Mapping[str, Ints]
"""By part, the numbers of rows that state a key again."""

_TIME, _CODE, _NUMBER, _TIE = "@time", "@code", "@number", "@tie"


class Stretch(NamedTuple):
    """Some rows, and of each row the values of some columns."""

    rows: TimedRows
    values: pl.DataFrame


class HistoryRows:
    """The rows of one part.

    Parameters
    ----------
    tables
        Where they are read.
    dataset, part
        Whose they are.
    entities
        The asked ones.
    columns
        Whose values are wanted.
    reach
        The times at which a row can count.
    mode
        From when a row counts.
    most_bytes
        What is kept while rows are joined and compared; more lies in files.
    own_outcomes
        Whether it is known later of the very rows that are the requests; see `FeatureSet.own_outcome_views`.
    """

    def __init__(
        self,
        tables: Tables,
        dataset: Dataset,
        part: str,
        entities: EntityCodes,
        columns: Sequence[str],
        reach: Reach,
        mode: Mode,
        most_bytes: int,
        *,
        own_outcomes: bool = False,
    ) -> None:
        self._own_outcomes = own_outcomes
        self._tables = tables
        self._dataset = dataset
        self._part = part
        self._entities = entities
        self._entity = entities.names
        self._columns = tuple(dict.fromkeys(columns))
        self._reach = reach
        self._is_later = part != dataset.event_time
        self._by_event = mode == "event" and self._is_later
        self._most_bytes = most_bytes
        self._repeats: dict[str, Repeats] = {}

    @property
    def has_seconds(self) -> bool:
        """Whether rows of one time have other times that decide between them first."""
        return self._by_event

    @property
    def reach(self) -> Reach:
        """The times of the part within which all rows lie."""
        first, last = self._reach
        return Reach(first, Instant(last + PATIENCE) if self._by_event else last)

    def stretches(self, ignored: Ignored) -> Iterator[Stretch]:
        """Yield all rows but `ignored` ones, in any order."""
        base = self._dataset.event_time
        is_whole = self._is_later and self._tables.has_whole_rows and not ignored
        # Rows that are ignored are known to be all, and a row that says everything says its key once.
        parts = () if ignored else (self._part,) if is_whole else dict.fromkeys((base, self._part))
        self._repeats = {part: Repeats(self._most_bytes // 4) for part in parts}
        if not self._is_later:
            return self._base_stretches(ignored.get(base))
        return self._whole_stretches() if is_whole else self._joined_stretches(ignored)

    def repeated(self) -> Ignored:
        """Return the rows that `stretches` has yielded though they state a key again, by part."""
        found = {part: repeats.found() for part, repeats in self._repeats.items()}
        if not any(len(hashes) for hashes in found.values()):
            return {}
        base = self._dataset.event_time
        reaches = {base: self._reach_of_base(), self._part: self.reach}
        return {
            part: repeated_rows(self._tables, self._dataset, part, reach, found.get(part, found[self._part]))
            for part, reach in reaches.items()
        }

    def _base_stretches(self, ignored: Ints | None) -> Iterator[Stretch]:
        base = self._dataset.event_time
        for first, rows in self._read(base, (*self._entity, *self._columns), self._reach, ignored):
            times = _times(rows[base])
            codes = self._entities.of(rows)
            yield self._stretch(rows, first, codes, times, times)

    def _whole_stretches(self) -> Iterator[Stretch]:
        """Yield rows that bring the columns of their base rows."""
        base = self._dataset.event_time
        columns = (base, *self._entity, *self._columns)
        for numbers, rows in self._read(self._part, columns, self.reach, None, or_known=base):
            both = rows[self._part].is_not_null() & rows[base].is_not_null()
            rows, numbers = rows.filter(both), numbers[both.to_numpy()]
            asked, known = _times(rows[base]), _times(rows[self._part])
            yield self._stretch(rows, numbers, self._entities.of(rows), asked, known)

    def _stretch(self, rows: pl.DataFrame, numbers: Ints, codes: Ints, asked: Ints, known: Ints) -> Stretch:
        """Return rows as they count.

        Parameters
        ----------
        asked, known
            The times of their base rows, and from when on they are known.
        """
        chosen = np.flatnonzero((codes >= 0) & self._counts(asked, known))
        if len(chosen) < rows.height:
            rows, numbers, codes, asked, known = (
                rows[chosen],
                numbers[chosen],
                codes[chosen],
                asked[chosen],
                known[chosen],
            )
        ties, seconds = ties_of(rows, self._dataset.key), known if self._by_event else None
        timed = TimedRows(codes, self._since(asked, known), seconds, ties, numbers)
        return Stretch(timed, rows.select(self._columns))

    def _since(self, asked: Ints, known: Ints) -> Ints:
        """Return from when on rows count."""
        if self._by_event:
            return asked
        return after(asked, known) if self._own_outcomes else known

    def _counts(self, asked: Ints, known: Ints) -> npt.NDArray[np.bool_]:
        """Return which rows count at some time within reach."""
        times = self._since(asked, known)
        counts: npt.NDArray[np.bool_] = times <= self._reach.last
        if self._reach.first is not None:
            counts &= times >= self._reach.first
        if self._is_later:
            # What is said of a row before it exists is not used; nor is what comes too late for every window.
            counts &= (known >= asked) & (known - asked <= PATIENCE)
        return counts

    def _joined_stretches(self, ignored: Ignored) -> Iterator[Stretch]:
        """Yield rows with what their base rows say, which are joined by the hashes of their keys."""
        base, part = self._dataset.event_time, self._part
        bases, laters = Spill(self._most_bytes // 4), Spill(self._most_bytes // 4)
        for _, rows in self._read(base, self._entity, self._reach_of_base(), ignored.get(base)):
            codes = self._entities.of(rows)
            asked = rows.filter(pl.Series(codes >= 0))
            fields = {HASH: key_hashes(asked, self._dataset), _TIME: asked[base], _CODE: codes[codes >= 0]}
            bases.add(pl.DataFrame(fields))
        for numbers, rows in self._read(part, self._columns, self.reach, ignored.get(part)):
            fields = {HASH: key_hashes(rows, self._dataset), _TIME: rows[part], _NUMBER: numbers}
            fields[_TIE] = ties_of(rows, self._dataset.key)
            laters.add(pl.DataFrame({**{name: rows[name] for name in self._columns}, **fields}))
        for both in stretches_of(bases, laters):
            if both[0].height and both[1].height:
                yield self._joined(*both)

    def _joined(self, bases: pl.DataFrame, laters: pl.DataFrame) -> Stretch:
        hashes, theirs = bases[HASH].to_numpy(), laters[HASH].to_numpy()
        order, later_order = np.argsort(hashes), np.argsort(theirs)
        hashes, theirs = hashes[order], theirs[later_order]
        places = np.searchsorted(hashes, theirs)
        there = places < len(hashes)
        there[there] = hashes[places[there]] == theirs[there]
        bases, laters = bases[order[places[there]]], laters[later_order[there]]
        asked, known = _times(bases[_TIME]), _times(laters[_TIME])
        counts = np.flatnonzero(self._counts(asked, known))
        times = self._since(asked, known)[counts]
        seconds = known[counts] if self._by_event else None
        bases, laters = bases[counts], laters[counts]
        codes, ties, numbers = (one.to_numpy() for one in (bases[_CODE], laters[_TIE], laters[_NUMBER]))
        return Stretch(TimedRows(codes, times, seconds, ties, numbers), laters.select(self._columns))

    def _read(
        self, part: str, columns: Sequence[str], reach: Reach, ignored: Ints | None, *, or_known: str = ""
    ) -> Iterator[tuple[Ints, pl.DataFrame]]:
        """Yield rows of a part that ever become known, with their numbers, but ignored ones.

        Parameters
        ----------
        or_known
            Rows that become known at this time are yielded too.
        """
        wanted = (*self._dataset.key, part, *columns)
        for first, rows in self._tables.batches(self._dataset, part, wanted, reach):
            numbers = np.arange(first, first + rows.height)
            known = rows[part].is_not_null()
            if or_known:
                known |= rows[or_known].is_not_null()
            if not known.all():
                rows, numbers = rows.filter(known), numbers[known.to_numpy()]
            if ignored is not None and len(ignored):
                kept = ~np.isin(numbers, ignored)
                rows, numbers = rows.filter(pl.Series(kept)), numbers[kept]
            if part in self._repeats:
                self._repeats[part].add(key_hashes(rows, self._dataset))
            yield numbers, rows

    def _reach_of_base(self) -> Reach:
        if not self._is_later or self._reach.first is None or self._by_event:
            return self._reach
        return Reach(Instant(self._reach.first - PATIENCE), self._reach.last)


def _times(column: pl.Series) -> Ints:
    return column.cast(pl.Int64).to_numpy()
