"""What was observed of one dataset: the tables of its views, the codes of its entities, and the entities of
its rows.

What the dataset says later of a row (an outcome) belongs to the entity of that row's base part, so the two
are joined here by key. Rules are in `features.store`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from varv.data.dataset import Dataset
from varv.data.known_keys import identity_of
from varv.features.feature_view import FeatureView
from varv.features.known_rows import Hashes, KnownRows, KnownRowsState, first_of_each, hashes_of
from varv.features.run import Ints
from varv.features.ties import ties_of
from varv.features.view_history import ViewHistory, ViewState
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.codec import canonical
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.mapped import MappedFile

PATIENCE = Duration(92 * DAY)
"""How long after its event a row's later parts are waited for."""
_ENTITIES_AT_ONCE = 4096


def after(asked: Ints, known: Ints) -> Ints:
    """Return from when on requests of a dataset see what becomes known of its rows, shape (n,): what is
    known at the very instant of its row a microsecond later, since requests of that instant come before it.

    Parameters
    ----------
    asked, known
        The instant of each row, and when something became known of it.
    """
    return known + (known == asked)


class EntityState(msgspec.Struct, frozen=True):
    """The entities of one kind, in the order of their codes: as the dataset types the columns, times as
    integers.
    """

    columns: tuple[str, ...]
    values: pl.DataFrame


class ObservedState(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed of a dataset."""

    entities: list[EntityState]
    known: KnownRowsState | None
    waiting: dict[str, pl.DataFrame]
    """Rows of later parts whose base row is not observed yet."""
    forgotten: int
    tables: dict[str, ViewState]
    """By what tells views apart."""


class Observed:
    """What was observed of one dataset: its tables, the codes of its entities, and the entities of its
    rows.

    Parameters
    ----------
    salt
        Of the hashes of keys, 64 bits.
    """

    def __init__(self, dataset: Dataset, salt: int) -> None:
        self.dataset = dataset
        self._salt = salt
        self._types = dataset.types()
        self._tables: dict[str, list[ViewHistory]] = {part: [] for part in dataset.parts}
        self._entities: dict[tuple[str, ...], dict[Hashable, int]] = {}
        self._known: KnownRows | None = None
        """Of each base row by key: its event time, and its code for each kind of entity."""
        self._numbers = {part: number for number, part in enumerate(dataset.parts)}
        self._waiting: dict[str, pl.DataFrame] = {}
        self._forgotten = 0
        self._coded = _Coded(None, {})

    def history(self, view: FeatureView, *, own_outcomes: bool = False) -> ViewHistory:
        """Return a history for a view of this dataset, which has none yet; see `ViewHistory`."""
        if view.entity not in self._entities and self._known is not None:
            hint = "declare all views before rows come"
            raise InvalidDeclaration("feature view", view.name, "comes after its rows", hint=hint)
        made = ViewHistory(view, self, own_outcomes=own_outcomes)
        self._tables[view.part].append(made)
        self._entities.setdefault(view.entity, {})
        return made

    @property
    def _rows(self) -> KnownRows:
        # Made late: every view adds its kind of entity first.
        if self._known is None:
            self._known = KnownRows(len(self._entities))
        return self._known

    def codes(self, entity: tuple[str, ...], frame: pl.DataFrame, *, new: bool = False) -> Ints:
        """Return the code of each row's entity, -1 if it has none or an unknown one; `new` ones get a code
        first.
        """
        if not entity:
            return np.zeros(frame.height, np.int64)
        coded = self._coded
        if frame is coded.frame and entity in coded.by_entity:
            return coded.by_entity[entity]
        for column in entity:
            _require(frame, column, self._types[column])
        index, columns = self._entities[entity], [frame.get_column(name) for name in entity]
        if new:
            columns = [self._in_type(column) for column in columns]
        values = _values_of(columns)
        if new:
            for value in values:
                index.setdefault(value, len(index))
        codes = np.fromiter(map(index.get, values, repeat(-1)), np.int64, len(values))
        if _has_nulls(frame, entity):
            absent = frame.select(pl.any_horizontal(pl.col(entity).is_null())).to_series()
            codes[absent.to_numpy()] = -1
        return codes

    def code(self, entity: tuple[str, ...], values: Sequence[Any]) -> int:
        """Return the code of one entity, -1 if it has none or an unknown one.

        Parameters
        ----------
        values
            Of the columns of `entity`; times are microseconds.
        """
        if not entity:
            return 0
        if None in values:
            return -1
        return self._entities[entity].get(values[0] if len(entity) == 1 else tuple(values), -1)

    def observe(self, part: str, frame: pl.DataFrame) -> None:
        """Take in rows of one part; see `FeatureStore.observe`."""
        if part not in self._tables:
            hint = f"its parts are {', '.join(self.dataset.parts)}"
            raise InvalidInput("dataset", self.dataset.name, f"has no part {part!r}", hint=hint)
        needed = (*self.dataset.key, part, *(c for table in self._tables[part] for c in table.view.columns))
        for column in dict.fromkeys(needed):
            _require(frame, column, self._types[column])
        if frame[part].null_count():
            frame = frame.filter(pl.col(part).is_not_null())
        if part == self.dataset.event_time:
            self._observe_base(frame)
        elif self._tables[part]:
            self._observe_later(part, frame)

    def hand_to(self, histories: Iterable[ViewHistory]) -> None:
        """Let histories of the same views, of another state of the dataset, hold what this one has observed,
        and take in what comes from now on.
        """
        others = {one.key: one for one in histories}
        for tables in self._tables.values():
            for table in tables:
                others[table.key].become(table)
            tables[:] = [others[table.key] for table in tables]

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        for table in chain(*self._tables.values()):
            table.let_go()
        if self._known is not None:
            self._known.let_go()

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see."""
        for tables in self._tables.values():
            for table in tables:
                table.trim(before)
        # A key is remembered until no window can see what its row says again, however late that was.
        horizon = (
            before - PATIENCE - max((table.rows.reach for table in chain(*self._tables.values())), default=0)
        )
        if horizon < self._forgotten + PATIENCE // 8:
            return
        self._forgotten = horizon
        self._rows.trim(Instant(horizon))
        for part, frame in self._waiting.items():
            self._waiting[part] = frame.filter(pl.col(part).dt.timestamp("us") >= horizon)

    def _hashes(self, frame: pl.DataFrame) -> Hashes:
        return hashes_of([self._in_type(frame.get_column(name)) for name in self.dataset.key], self._salt)

    def _in_type(self, column: pl.Series) -> pl.Series:
        """Return a column in its declared type, in which equal values have equal hashes.

        Raises
        ------
        InvalidInput
            If a value would become another.
        """
        dtype = self._types[column.name]
        if column.dtype == dtype:
            return column
        cast = column.cast(dtype, strict=False)
        if not cast.cast(column.dtype, strict=False).equals(column):
            found = str(column.dtype)
            raise InvalidInput("column", column.name, f"does not fit {dtype}", found=found)
        return cast

    def _observe_base(self, frame: pl.DataFrame) -> None:
        times = _times(frame.get_column(self.dataset.event_time))
        keys = self._hashes(frame)
        fresh = first_of_each(keys) & ~self._rows.has(keys)
        if not fresh.all():
            frame, times, keys = frame.filter(pl.Series(fresh)), times[fresh], keys[fresh]
        by_entity = {entity: self.codes(entity, frame, new=True) for entity in self._entities}
        self._coded = _Coded(frame, by_entity)
        self._rows.add(keys, times, list(by_entity.values()))
        self._fill(self.dataset.event_time, frame, times, by_entity)
        for part in list(self._waiting):
            self._observe_later(part, self._waiting.pop(part))

    def _observe_later(self, part: str, frame: pl.DataFrame) -> None:
        keys = self._hashes(frame)
        known = self._rows.has(keys)
        if not known.all():
            self._wait(part, frame.filter(pl.Series(~known)))
            frame, keys = frame.filter(pl.Series(known)), keys[known]
        if not len(keys):
            return
        asked, codes = self._rows.rows(keys)
        times = _times(frame.get_column(part))
        # What is said of a row before it exists is not used; nor is what comes too late for every window.
        in_time = times - asked <= PATIENCE
        is_new = self._rows.state(self._numbers[part], keys)
        if n_beyond := int((is_new & ~in_time).sum()):
            for table in self._tables[part]:
                table.pass_over(n_beyond)
        fresh = is_new & in_time & (times >= asked)
        if not fresh.all():
            frame, times, codes = frame.filter(pl.Series(fresh)), times[fresh], codes[fresh]
            asked = asked[fresh]
        by_entity = {entity: codes[:, i] for i, entity in enumerate(self._entities)}
        self._fill(part, frame, times, by_entity, after(asked, times))

    def identity(self) -> str:
        """Return what another one must be of as well, to take in the state of this one."""
        views = sorted(table.key for table in chain(*self._tables.values()))
        return canonical([identity_of(self.dataset), views]).decode()

    def as_state(self) -> ObservedState:
        """Return what was observed; nothing changes it any more."""
        return ObservedState(
            entities=[self._entity_state(entity) for entity in self._entities],
            known=None if self._known is None else self._known.as_state(),
            waiting=dict(self._waiting),
            forgotten=self._forgotten,
            tables={table.key: table.as_state() for table in chain(*self._tables.values())},
        )

    def restore(self, state: ObservedState, lies_in: MappedFile) -> None:
        """Take in what another one of the same identity had observed, before any row is."""
        # Codes of rows are by column, in the order of the kinds of entity.
        self._entities = {one.columns: _numbered(one.values) for one in state.entities}
        if state.known is not None:
            self._rows.restore(state.known, lies_in)
        self._waiting = dict(state.waiting)
        self._forgotten = state.forgotten
        for table in chain(*self._tables.values()):
            table.restore(state.tables[table.key], lies_in)

    def _entity_state(self, entity: tuple[str, ...]) -> EntityState:
        types = {name: pl.Int64() if (dtype := self._types[name]) == TIME else dtype for name in entity}
        values = iter(self._entities[entity])
        frames = [pl.DataFrame(schema=types)]
        # A few at a time: the interpreter is others' between them.
        while some := list(islice(values, _ENTITIES_AT_ONCE)):
            rows = [(value,) for value in some] if len(entity) == 1 else some
            frames.append(pl.DataFrame(rows, schema=types, orient="row"))
        return EntityState(entity, pl.concat(frames, rechunk=False))

    def _wait(self, part: str, frame: pl.DataFrame) -> None:
        """Keep rows whose base row is not observed yet, until it is or nobody waits any more."""
        frame = frame.select(self.dataset.columns(part))
        before = self._waiting.get(part)
        self._waiting[part] = frame if before is None else pl.concat([before, frame])

    def _fill(
        self,
        part: str,
        frame: pl.DataFrame,
        times: Ints,
        by_entity: dict[tuple[str, ...], Ints],
        own_times: Ints | None = None,
    ) -> None:
        """Add rows to the tables of a part.

        Parameters
        ----------
        own_times
            From when on they count for requests of the dataset itself, if that is not the same.
        """
        if not self._tables[part] or frame.is_empty():
            return
        if not any(table.rows.needs_ties for table in self._tables[part]):
            ties = np.zeros(len(times), np.uint64)
        else:
            ties = ties_of(frame, self.dataset.key)
        for table in self._tables[part]:
            codes = by_entity[table.view.entity]
            since = own_times if table.own_outcomes and own_times is not None else times
            has = codes >= 0
            if has.all():
                table.add(codes, since, ties, frame)
            else:
                table.add(codes[has], since[has], ties[has], frame.filter(pl.Series(has)))


class _Coded(NamedTuple):
    """The rows that were observed last, and their codes: in a replay they are the requests to look up."""

    frame: pl.DataFrame | None
    by_entity: dict[tuple[str, ...], Ints]


def _values_of(columns: Sequence[pl.Series]) -> list[Hashable]:
    lists = [_hashables(column) for column in columns]
    return lists[0] if len(lists) == 1 else list(zip(*lists, strict=True))


def _numbered(values: pl.DataFrame) -> dict[Hashable, int]:
    if not values.width:
        return {}
    return {value: number for number, value in enumerate(_values_of(values.get_columns()))}


def _hashables(column: pl.Series) -> list[Hashable]:
    return (column.cast(pl.Int64) if column.dtype == TIME else column).to_list()


def _times(column: pl.Series) -> Ints:
    return column.cast(pl.Int64).to_numpy()


def _has_nulls(frame: pl.DataFrame, columns: tuple[str, ...]) -> bool:
    return any(frame[column].null_count() for column in columns)


def _require(frame: pl.DataFrame, column: str, dtype: pl.DataType) -> None:
    values = frame.get_column(column, default=None)
    if values is None:
        raise InvalidInput("column", column, "is missing", hint=f"bring it as {dtype}")
    found = values.dtype
    if found != dtype and not (found.is_numeric() and dtype.is_numeric()) and found != pl.Null:
        raise InvalidInput("column", column, f"has the type {found}", hint=f"bring it as {dtype}")
