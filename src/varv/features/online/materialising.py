"""Brings the online store to what datasets say: anew into a generation of its own, or what came since.

The unit is an interval of a dataset's versions, not of event time, so late rows come online like all others.
What a step finds is merged by instant and tie with what is there, so a step that a crash interrupted is done
again and changes nothing twice. A generation is filled, stated in the ledger, and then pointed to; each of
these is found half done after a crash, and finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.service import Datasets
from varv.features.definitions import digest_of_view
from varv.features.feature_view import FeatureView
from varv.features.last_row import LastRow
from varv.features.online.entity_keys import entity_key
from varv.features.online.gathering import Gathering
from varv.features.online.model import (
    GenerationDropped,
    Materialised,
    Note,
    OnlineView,
    ViewMaterialised,
    note_of,
    stream_of,
    table_name,
)
from varv.features.online.packing import Layout, joined_rows
from varv.features.online.ports import KeyValue, Table
from varv.features.run import Ints, Rows
from varv.features.ties import ties_of
from varv.features.view_history import rows_of
from varv.kernel.clock import HOUR, Clock, Duration, Instant
from varv.kernel.codec import Digest
from varv.kernel.columns import TIME
from varv.kernel.faults import Faults
from varv.kernel.ids import DatasetName, Version
from varv.kernel.sagas import Fact
from varv.kernel.views import Views

READS_BACK = Duration(HOUR)
"""How long before the newest row requests may lie: rows of several processes come a little out of order."""


class Materialiser:
    """The only writer of an online store.

    Parameters
    ----------
    datasets, views
        Of the home.
    store
        Where values are put.
    commit
        Writes facts to the ledger as one change.
    """

    def __init__(
        self,
        datasets: Datasets,
        views: Views,
        store: KeyValue,
        clock: Clock,
        commit: Callable[[Sequence[Fact]], None],
        faults: Faults | None = None,
    ) -> None:
        self._datasets, self._views, self._store = datasets, views, store
        self._clock, self._commit = clock, commit
        self._faults = faults or Faults()

    def materialise(self, view: FeatureView, *, by: str = "") -> ViewMaterialised | None:
        """Take in what a view's dataset says and the store does not hold yet; return what was stated, None
        if the store holds everything.

        A view that is not online, or whose rows were replaced since, is filled anew.
        """
        digest = digest_of_view(view)
        held = self._held(view, digest)
        if held is None or self._datasets.was_rewritten(view.source, held.last.upto):
            return self.backfill(view, by=by)
        table = Table(table_name(view, digest), held.last.generation)
        note = self._store.note(table)
        if note is None:
            return self.backfill(view, since=held.last.since, until=held.last.until, by=by)
        self._point(table, note)
        goal = self._datasets.version(view.source)
        if goal == held.last.upto:
            return None
        return self._filled(view, digest, table, note_of(note), goal, by)

    def backfill(
        self, view: FeatureView, *, since: Instant | None = None, until: Instant | None = None, by: str = ""
    ) -> ViewMaterialised:
        """Fill a new generation from the rows of [since, until), all by default, and make it current."""
        digest = digest_of_view(view)
        held = self._held(view, digest)
        table = Table(table_name(view, digest), 1 if held is None else held.last.generation + 1)
        begun = self._store.note(table)
        note = Note(since=since, until=until) if begun is None else note_of(begun)
        if (note.since, note.until) != (since, until) or self._datasets.was_rewritten(view.source, note.goal):
            self._store.drop(table)
            note = Note(since=since, until=until)
        return self._filled(view, digest, table, note, self._datasets.version(view.source), by)

    def drop_unnamed(self, named: Sequence[FeatureView]) -> list[GenerationDropped]:
        """Remove definitions that none of these views has, and generations that are not current."""
        digests = {digest_of_view(view.of) for view in named}
        with self._views.reading(OnlineView) as online:
            of_each = [one.last for several in online.views.values() for one in several.values()]
        gone = [
            GenerationDropped(view=one.view, digest=one.digest, generation=one.generation)
            for one in of_each
            if one.digest not in digests
        ]
        self._commit([Fact(stream_of(one.view), one) for one in gone])
        for one in of_each:
            name = f"{one.view}-{one.digest[:12]}"
            for generation in self._store.generations(name):
                is_draft = generation > one.generation and one.digest in digests
                if not is_draft and (one.digest not in digests or generation != one.generation):
                    self._store.drop(Table(name, generation))
        return gone

    def _held(self, view: FeatureView, digest: Digest) -> Materialised | None:
        with self._views.reading(OnlineView) as online:
            return online.of(view.name, digest)

    def _point(self, table: Table, note: bytes) -> None:
        """Let the store point where the ledger does: a crash may have come between the two."""
        pointer = self._store.current(table.name)
        is_whole = note_of(note).is_whole
        if pointer is None or pointer.generation != table.generation or (is_whole and pointer.note != note):
            self._store.swap(table, note)

    def _filled(
        self, view: FeatureView, digest: Digest, table: Table, note: Note, goal: int, by: str
    ) -> ViewMaterialised:
        """Take in everything up to a version, state it, and point to it."""
        held = self._held(view, digest)
        on_record = held is not None and (held.last.generation, held.last.upto) == (
            table.generation,
            note.upto,
        )
        if note.is_whole and not on_record:
            # A crash came before the event. What readers go by has to follow before rows are given up that
            # only requests before its `oldest` can see.
            stated = self._stated(view, digest, table, note, by)
            if note.upto == goal:
                return stated
        filling = _Filling(self._datasets, view, table, self._store, self._clock, self._faults)
        return self._stated(view, digest, table, filling.fill(note, goal), by)

    def _stated(
        self, view: FeatureView, digest: Digest, table: Table, note: Note, by: str
    ) -> ViewMaterialised:
        """State what a generation holds, and point to it."""
        held = self._held(view, digest)
        goes_on = held is not None and held.last.generation == table.generation
        n_rows, n_late = (held.n_rows, held.n_late) if held is not None and goes_on else (0, 0)
        self._faults.reach("online.before_event")
        stated = ViewMaterialised(
            view=view.name,
            digest=digest,
            generation=table.generation,
            dataset=DatasetName(view.source.name),
            upto=note.upto,
            layout=kept_layout(view).columns,
            n_rows=note.n_rows - n_rows,
            n_late=note.n_late - n_late,
            newest=note.newest,
            oldest=note.oldest,
            since=note.since,
            until=note.until,
            by=by,
        )
        self._commit([Fact(stream_of(view.name), stated)])
        self._faults.reach("online.before_swap")
        self._store.swap(table, note.encoded())
        self._drop_former(table)
        return stated

    def _drop_former(self, table: Table) -> None:
        for generation in self._store.generations(table.name):
            if generation < table.generation:
                self._store.drop(Table(table.name, generation))


class _Filling:
    """Takes rows into one generation."""

    def __init__(
        self,
        datasets: Datasets,
        view: FeatureView,
        table: Table,
        store: KeyValue,
        clock: Clock,
        faults: Faults,
    ) -> None:
        self._datasets, self._view, self._table, self._store = datasets, view, table, store
        self._clock, self._faults = clock, faults
        self._rows, self._layout = rows_of(view), kept_layout(view)
        self._is_last = isinstance(self._rows, LastRow)

    def fill(self, note: Note, goal: int) -> Note:
        """Take in everything up to a version; return the note of it."""
        gathering = Gathering(self._datasets, self._view, note.upto, goal, note.since)
        steps = gathering.digest()
        n_done = note.n_done if note.steps == steps else 0
        n_rows, n_late = (note.n_rows_done, note.n_late_done) if n_done else (0, 0)
        newest, oldest = self._span(gathering, note)
        late_before = None if note.newest is None else note.newest - self._view.lateness
        for number, step in enumerate(gathering.steps):
            if number < n_done:
                continue
            rows = [self._taken(frame, note) for frame in gathering.rows(step)]
            n_rows += sum(len(one.times) for one, _ in rows)
            if late_before is not None:
                n_late += sum(int((one.times < late_before).sum()) for one, _ in rows)
            done = _after(note, goal, steps, number + 1, n_rows, n_late)
            is_empty = note.upto == 0 and number == 0
            # Readers go by the `oldest` of before until this is whole; a draft has none.
            values = self._values(rows, oldest if not note.upto else note.oldest, is_empty=is_empty)
            self._faults.reach("online.before_put")
            self._store.put_many(self._table, values, done.encoded())
        whole = Note(
            upto=Version(goal),
            newest=newest,
            oldest=oldest,
            since=note.since,
            until=note.until,
            n_rows=note.n_rows + n_rows,
            n_late=note.n_late + n_late,
            goal=Version(goal),
            at=self._clock.now(),
        )
        self._faults.reach("online.before_whole")
        self._store.put_many(self._table, [], whole.encoded())
        return whole

    def _span(self, gathering: Gathering, note: Note) -> tuple[Instant | None, Instant]:
        """Return the latest instant of any row, and that of the first request that will be answered."""
        newest = max((one for one in (gathering.newest, note.newest) if one is not None), default=None)
        if newest is None:
            return None, note.oldest
        if note.until is not None:
            newest = min(newest, Instant(note.until - 1))
        return newest, max(note.oldest, Instant(min(newest, self._clock.now()) - READS_BACK))

    def _taken(self, frame: pl.DataFrame, note: Note) -> tuple[Rows, list[bytes]]:
        """Return what the view keeps of rows, and the key of each code in them."""
        view = self._view
        if note.since is not None:
            frame = frame.filter(pl.col(view.part).cast(pl.Int64) >= note.since)
        if note.until is not None:
            frame = frame.filter(pl.col(view.part).cast(pl.Int64) < note.until)
        codes, keys = _coded(frame, view.entity)
        times = frame[view.part].cast(pl.Int64).to_numpy()
        ties = ties_of(frame, view.source.key)
        counts, columns = self._rows.taken(frame)
        if counts is not None:
            codes, times, ties = codes[counts], times[counts], ties[counts]
        typed = {name: _as_kept(columns[name], kind) for name, kind in self._layout.columns}
        return Rows(codes, times, ties, typed), keys

    def _values(
        self, several: Sequence[tuple[Rows, list[bytes]]], oldest: Instant, *, is_empty: bool
    ) -> list[tuple[bytes, bytes]]:
        """Return the values of entities by key, from new rows and those that are there."""
        rows, keys = _together(several, self._layout)
        if not is_empty and keys:
            held = self._store.get_from(self._table, keys)
            there = [(code, value) for code, value in enumerate(held) if value is not None]
            if there:
                codes, values = zip(*there, strict=True)
                rows = joined_rows([rows, self._layout.unpacked_many(values, codes)], self._layout)
        rows = self._trimmed(_each_once(rows.in_order()), oldest)
        starts = np.flatnonzero(np.diff(rows.codes, prepend=-1)).tolist()
        ends = [*starts[1:], len(rows.codes)] if starts else []
        packed = self._layout.packed(rows, starts, ends)
        return [(keys[code], value) for code, value in zip(rows.codes[starts].tolist(), packed, strict=True)]

    def _trimmed(self, rows: Rows, oldest: Instant) -> Rows:
        """Return the rows that a request at or after an instant can see; of last rows however old, so that it
        is told apart what is too old and what never was.
        """
        if not self._is_last:
            span = self._rows.span
            return rows if span is None else rows.only(rows.times > oldest - span)
        is_last_of_past = np.ones(len(rows.codes), np.bool_)
        # A request at `oldest` may see what lies strictly before it.
        is_last_of_past[:-1] = (rows.codes[1:] != rows.codes[:-1]) | (rows.times[1:] >= oldest)
        return rows.only((rows.times >= oldest) | is_last_of_past)


def kept_layout(view: FeatureView) -> Layout:
    """Return the layout of what is kept of a view's rows: features are of single precision, so values that
    become one as they are need no more.
    """
    rows = rows_of(view)
    if isinstance(rows, LastRow):
        return Layout.of(
            {name: np.float32 if kind == np.float64 else kind for name, kind in rows.columns.items()}
        )
    return Layout.of(rows.columns)


def _as_kept(values: npt.NDArray[np.generic], kind: str) -> npt.NDArray[np.generic]:
    with np.errstate(over="ignore"):
        return values if values.dtype == object else values.astype(kind, copy=False)


def _after(note: Note, goal: int, steps: Digest, n_done: int, n_rows: int, n_late: int) -> Note:
    return Note(
        upto=note.upto,
        newest=note.newest,
        oldest=note.oldest,
        since=note.since,
        until=note.until,
        n_rows=note.n_rows,
        n_late=note.n_late,
        goal=Version(goal),
        steps=steps,
        n_done=n_done,
        n_rows_done=n_rows,
        n_late_done=n_late,
    )


def _coded(frame: pl.DataFrame, entity: tuple[str, ...]) -> tuple[Ints, list[bytes]]:
    """Return the code of each row's entity, and the key of each code."""
    if not entity:
        return np.zeros(frame.height, np.int64), [entity_key(())]
    whose = frame.select(pl.col(one).cast(pl.Int64) if frame.schema[one] == TIME else one for one in entity)
    each = whose.unique(maintain_order=True)
    numbered = each.with_row_index("the code")
    found = whose.join(numbered, on=list(entity), how="left", maintain_order="left", nulls_equal=False)
    return found["the code"].cast(pl.Int64).to_numpy(), [entity_key(values) for values in each.iter_rows()]


def _together(several: Sequence[tuple[Rows, list[bytes]]], layout: Layout) -> tuple[Rows, list[bytes]]:
    """Return rows of several frames with codes that they share."""
    if len(several) == 1:
        return several[0]
    codes: dict[bytes, int] = {}
    shared = []
    for rows, keys in several:
        ours = np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64)
        shared.append(rows._replace(codes=ours[rows.codes]) if len(keys) else rows)
    return joined_rows(shared, layout), list(codes)


def _each_once(rows: Rows) -> Rows:
    """Return rows in order without those that are there twice, since a step was done again."""
    same = np.zeros(len(rows.codes), np.bool_)
    same[1:] = (
        (rows.codes[1:] == rows.codes[:-1])
        & (rows.times[1:] == rows.times[:-1])
        & (rows.ties[1:] == rows.ties[:-1])
    )
    return rows.only(~same)
