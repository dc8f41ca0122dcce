"""What the online store answers of entities, as of an instant: values, and how fresh they are.

What a value holds are rows, and what is computed of them is what memory computes of the same rows: last rows
here, plainly, since that is what most reads are; windows by the code of `features.windowed`. Whoever is as
old as the ttl still counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from varv.features.definitions import digest_of_view
from varv.features.feature_view import FeatureView
from varv.features.history import History
from varv.features.last_row import LastRow
from varv.features.online.entity_keys import entity_key
from varv.features.online.materialising import kept_layout
from varv.features.online.model import Note, note_of, table_name
from varv.features.online.ports import Found, KeyValue, Pointer
from varv.features.reads import ReadCounts
from varv.features.run import Run
from varv.features.view_history import rows_of
from varv.kernel.clock import Instant, iso
from varv.kernel.errors import InvalidInput, NotFound


class Status(IntEnum):
    """What a value is, by the numbers that Feast gives these words."""

    INVALID = 0
    PRESENT = 1
    NULL_VALUE = 2
    NOT_FOUND = 3
    OUTSIDE_MAX_AGE = 4


class Read(NamedTuple):
    """The features of one entity: in the declared order, None where there is none."""

    values: list[float | str | None]
    at: int | None
    """When the last row became known that was looked at; None if there is none."""
    missing: Status
    """Why a value is None."""


class ViewRead(NamedTuple):
    """The features of entities of one view."""

    view: FeatureView
    entities: list[Read]
    note: Note


class ViewReader:
    """Finds the features of a view in packed values.

    Parameters
    ----------
    view
        The view; a value of another definition is refused.
    """

    def __init__(self, view: FeatureView) -> None:
        self.view = view
        self.table = table_name(view.of, digest_of_view(view.of))
        self.rows = rows_of(view)
        self.layout = kept_layout(view)
        self.names = view.feature_names()
        self._is_last = isinstance(self.rows, LastRow)
        self._single, self._number = self.layout.single, self.layout.number
        self._is_text = [kind == "categorical" for kind in view.kinds().values()]
        self._empty = History(self.rows.columns)
        self._noted: tuple[Pointer, Note] | None = None

    @property
    def newest(self) -> int | None:
        """When the newest row became known that is in what was read last; None if nothing is."""
        return None if self._noted is None else self._noted[1].newest

    def note(self, found: Found) -> Note:
        """Return what was noted when the generation became current.

        Raises
        ------
        NotFound
            If none is current.
        """
        pointer = found.pointer
        if pointer is None:
            hint = f"bring it there first: varv features materialise {self.view.name}"
            raise NotFound("feature view", self.view.name, "is not online", hint=hint)
        noted = self._noted
        if noted is None or noted[0] is not pointer:
            noted = self._noted = (pointer, note_of(pointer.note))
        return noted[1]

    def require_kept(self, note: Note, instant: int) -> None:
        """Refuse an instant before the oldest that is answered.

        Raises
        ------
        InvalidInput
            If it lies there.
        """
        if instant < note.oldest:
            problem = "reaches back before what the online store keeps"
            raise InvalidInput("time", iso(instant), problem, view=self.view.name, kept_from=iso(note.oldest))

    def find(self, value: bytes | None, instant: int, *, strictly: bool = False) -> Read:
        """Return the features in the value of one entity, None if it has none; `strictly` as in
        `ViewHistory.lookup`.
        """
        upto = instant - 1 if strictly else instant
        if not self._is_last:
            return self._windows(value, instant, upto)
        if value is None:
            return Read([None] * len(self.names), None, Status.NOT_FOUND)
        single = self._single
        if single is None or len(value) != single.size:
            return self._last_of_many(value, instant, upto)
        number, _, time, _, *found = single.unpack(value)
        if number != self._number:
            self.layout.n_rows(value)
        return self._known(found, time, instant, upto)

    def _known(self, found: list[Any], time: int, instant: int, upto: int) -> Read:
        ttl = self.view.ttl
        if time > upto:
            return Read([None] * len(found), None, Status.NOT_FOUND)
        if ttl is not None and instant - time > ttl:
            return Read([None] * len(found), time, Status.OUTSIDE_MAX_AGE)
        # Only what is no number differs from itself; a call for each would take as long as all else.
        values = [None if one is None or one != one else one for one in found]
        return Read(values, time, Status.NULL_VALUE)

    def _last_of_many(self, value: bytes, instant: int, upto: int) -> Read:
        rows = self.layout.unpacked(value)
        place = int(np.searchsorted(rows.times, upto, side="right")) - 1
        if place < 0:
            return Read([None] * len(self.names), None, Status.NOT_FOUND)
        found = [column[place] for column in rows.columns.values()]
        return self._known(
            [one if one is None or isinstance(one, str) else float(one) for one in found],
            int(rows.times[place]),
            instant,
            upto,
        )

    def _windows(self, value: bytes | None, instant: int, upto: int) -> Read:
        numbers: list[float] = []
        history, at = self.history(value), None
        texts = iter(self.rows.lookup_one(history, 0, Instant(instant), numbers, strictly=upto < instant))
        singles = iter(np.array(numbers, np.float32).tolist())
        values = [
            next(texts) if is_text else None if math.isnan(one := next(singles)) else one
            for is_text in self._is_text
        ]
        if value is not None:
            times = history.runs[0].rows.times
            place = int(np.searchsorted(times, upto, side="right")) - 1
            at = int(times[place]) if place >= 0 else None
        return Read(values, at, Status.NOT_FOUND if value is None else Status.NULL_VALUE)

    def history(self, value: bytes | None) -> History:
        """Return the rows of a value as the history of one entity, whose code is 0."""
        if value is None:
            return self._empty
        return History.of(Run(*self.layout.unpacked(value)))


class OnlineReader:
    """Reads features of views that are online.

    Parameters
    ----------
    store
        Where they are.
    views
        Those that can be asked for.
    reads
        Counts reads.
    """

    def __init__(
        self, store: KeyValue, views: Sequence[FeatureView], reads: ReadCounts | None = None
    ) -> None:
        self.store = store
        self.readers = {view.name: ViewReader(view) for view in views}
        self.reads = reads or ReadCounts()
        self._reads = {view.name: self.reads.of(view) for view in views}

    def reader(self, view: str) -> ViewReader:
        """Return what reads a view.

        Raises
        ------
        NotFound
            If there is no such view.
        """
        found = self.readers.get(view)
        if found is None:
            hint = f"there are {', '.join(self.readers) or 'none'}"
            raise NotFound("feature view", view[:80], hint=hint)
        return found

    def read(
        self, views: Sequence[str], entities: Mapping[str, Sequence[Any]], instant: int
    ) -> list[ViewRead]:
        """Return the features of entities, an entry a view.

        Parameters
        ----------
        entities
            Columns of one length, with the values that name the entities of all views; times are
            microseconds.
        instant
            Rows that became known up to then count.

        Raises
        ------
        NotFound
            If there is no such view, or it is not online.
        InvalidInput
            If a column is missing, a value is null, or the instant lies before what is kept.
        """
        readers = [self.reader(view) for view in views]
        keys: dict[tuple[str, ...], list[bytes]] = {}
        for one in readers:
            if one.view.asked not in keys:
                keys[one.view.asked] = _keys(one.view, entities)
        asked: dict[str, list[bytes]] = {}
        for one in readers:
            # Uses of one view share a table.
            asked[one.table] = asked.get(one.table, []) + keys[one.view.asked]
        found = self.store.get_many(asked)
        values = {table: iter(held.values) for table, held in found.items()}
        answered = []
        for one in readers:
            note = one.note(found[one.table])
            one.require_kept(note, instant)
            n = len(keys[one.view.asked])
            if (reads := self._reads[one.view.name]) is not None:
                reads.count(n, instant, note.newest)
            own = islice(values[one.table], n)
            answered.append(ViewRead(one.view, [one.find(value, instant) for value in own], note))
        return answered


def _keys(view: FeatureView, entities: Mapping[str, Sequence[Any]]) -> list[bytes]:
    missing = [name for name in view.asked if name not in entities]
    if missing:
        hint = f"features of {view.name} are by {', '.join(view.asked)}"
        raise InvalidInput("entity", missing[0], "is missing", hint=hint)
    if not view.entity:
        n = max((len(values) for values in entities.values()), default=1)
        return [entity_key(())] * n
    return [entity_key(values) for values in zip(*(entities[name] for name in view.asked), strict=True)]
