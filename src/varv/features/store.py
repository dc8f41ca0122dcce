"""What was observed of datasets, as the histories behind feature views: one state a view, whoever reads it.

`observe` takes in what became known, in any order. What a dataset says later of a row (an outcome) belongs to
the entity of that row's base part, so the two are joined here by key. Requests are looked up in
`features.engine`, which each model has one of.

The rules, the same offline and online: a row counts from its knowledge time on, inclusively. A key is stated
once; a row that states it again is ignored. A later part counts once its base row is observed too, and only
if it became known within `PATIENCE` of the event, so that forgetting old rows changes nothing. Windows are
``(t - span, t]``.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.intake import Batch
from varv.data.model import Dataset
from varv.features.history import STEPS, History, Ints, fixed_point
from varv.features.known_rows import KnownRows, first_of_each, hashes_of
from varv.features.model import FeatureView
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, InvalidInput

PATIENCE = Duration(92 * DAY)
"""How long after its event a row's later parts are waited for."""


class FeatureStore:
    """The state of all feature views of a home, in memory.

    One thread observes; others may look up at the same time. Views are added before the first row is
    observed.
    """

    def __init__(self) -> None:
        self._observed: dict[str, _Observed] = {}
        self._views: dict[str, ViewHistory] = {}
        self.oldest = Instant(0)
        """Requests before this instant cannot be looked up any more."""

    def history(self, view: FeatureView) -> ViewHistory:
        """Return the history behind a view; the same one for every model that reads the view.

        Raises
        ------
        InvalidDeclaration
            If another view has its name, or its dataset's name another dataset.
        """
        key = key_of(view)
        if (found := self._views.get(key)) is not None:
            return found
        # A view that is kept for a version may stand beside one that is declared under its name by now.
        if any(
            not (one.view.is_kept or view.is_kept)
            for one in self._views.values()
            if one.view.name == view.name
        ):
            hint = "rename one of them, or share one object"
            raise InvalidDeclaration("feature view", view.name, "is declared twice", hint=hint)
        observed = self._observed.setdefault(view.source.name, _Observed(view.source))
        if observed.dataset is not view.source:
            hint = "use one Dataset object in all views"
            raise InvalidDeclaration("dataset", view.source.name, "is declared twice", hint=hint)
        made = self._views[key] = observed.history(view)
        return made

    def observe(self, dataset: Dataset | str, part: str, frame: pl.DataFrame) -> None:
        """Take in rows of one part that became known; datasets and parts without a feature view are passed
        over.

        Rows need the columns of the part (`Dataset.columns`); more do no harm. Rows without a time never
        become known. The same rows once more change nothing.

        Raises
        ------
        InvalidInput
            If a column is missing or of another type, or the value of a window is 2^23 or more in size.
        """
        observed = self._observed.get(dataset if isinstance(dataset, str) else dataset.name)
        if observed is not None and not frame.is_empty():
            observed.observe(part, frame)

    def rows_known(self, batch: Batch) -> None:
        """Observe a batch; the store listens to ingestion."""
        self.observe(batch.dataset, batch.part, batch.rows)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files; it is read again when needed."""
        for observed in self._observed.values():
            observed.let_go()

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see; earlier requests are refused from now on."""
        if before <= self.oldest:
            return
        self.oldest = before
        for observed in self._observed.values():
            observed.trim(before)


class ViewHistory:
    """The history behind one feature view, of all entities."""

    def __init__(self, view: FeatureView, observed: _Observed) -> None:
        self.view = view
        self.key = key_of(view)
        self._of = observed
        numeric = {name for name, kind in view.kinds().items() if kind == "numeric"}
        self._categorical: set[str] = set()
        if view.windows is None:
            self._categorical = {column for column in view.columns if f"{view.name}.{column}" not in numeric}
            self.span, self.reach = view.ttl, 0
            self._history = History(
                {c: object if c in self._categorical else np.float64 for c in view.columns}
            )
        else:
            self.span = self.reach = Duration(max(view.windows.spans.values()))
            self._spans = np.array(list(view.windows.spans.values()), np.int64)
            self._history = History({"sum": np.int64, "count": np.int64})

    @property
    def entity(self) -> tuple[str, tuple[str, ...]]:
        """Whose features these are: the dataset, and the columns that name the entity."""
        return self._of.dataset.name, self.view.entity

    def codes(self, requests: pl.DataFrame) -> Ints:
        """Return the code of each request's entity, shape (n,); -1 where it has none or an unknown one."""
        return self._of.codes(self.view.entity, requests)

    def add(self, codes: Ints, times: Ints, ties: npt.NDArray[np.uint64], rows: pl.DataFrame) -> None:
        """Take in rows in any order; `ties` decide between rows of one entity and instant."""
        if self.view.windows is None:
            columns: dict[str, npt.NDArray[Any]] = {c: self._values(rows[c]) for c in self.view.columns}
        else:
            steps, present = fixed_point(_floats(rows[self.view.windows.column]), self.view.windows.column)
            columns = {"sum": steps, "count": present}
        self._history.add(codes, times, ties, columns)

    def lookup(self, codes: Ints, instants: Ints, numbers: npt.NDArray[np.float32]) -> dict[str, pl.Series]:
        """Write the numeric features into `numbers`, a row a feature, and return the categorical ones."""
        if self.view.windows is None:
            return self._latest(codes, instants, numbers)
        sums = self._history.sums(codes, instants, self._spans)
        total, count = sums[:, :, 0], sums[:, :, 1]
        statistics = self.view.windows.statistics
        for place, statistic in enumerate(statistics):
            means = statistic == "mean"
            numbers[place :: len(statistics)] = (
                np.where(count > 0, total / STEPS / np.maximum(count, 1), np.nan) if means else count
            )
        return {}

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see."""
        self._history.trim(before, self.span)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        self._history.let_go()

    def _latest(self, codes: Ints, instants: Ints, numbers: npt.NDArray[np.float32]) -> dict[str, pl.Series]:
        known, values = self._history.latest(codes, instants, self.view.ttl)
        found: dict[str, pl.Series] = {}
        row = 0
        for column, array in values.items():
            if column in self._categorical:
                name = f"{self.view.name}.{column}"
                texts = [text if has else None for text, has in zip(array, known.tolist(), strict=True)]
                found[name] = pl.Series(name, texts, dtype=pl.String)
            else:
                numbers[row] = np.where(known, array, np.nan)
                row += 1
        return found

    def _values(self, column: pl.Series) -> npt.NDArray[Any]:
        if column.name not in self._categorical:
            return _floats(column)
        values = np.empty(len(column), object)
        values[:] = column.to_list()
        return values


class _Observed:
    """What was observed of one dataset: its tables, the codes of its entities, and the entities of its
    rows.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._types = dataset.types()
        self._tables: dict[str, list[ViewHistory]] = {part: [] for part in dataset.parts}
        self._entities: dict[tuple[str, ...], dict[Hashable, int]] = {}
        self._known: KnownRows | None = None
        """Of each base row by key: its event time, and its code for each kind of entity."""
        self._numbers = {part: number for number, part in enumerate(dataset.parts)}
        self._waiting: dict[str, pl.DataFrame] = {}
        self._forgotten = 0
        self._coded = _Coded(None, {})

    def history(self, view: FeatureView) -> ViewHistory:
        if view.entity not in self._entities and self._known is not None:
            hint = "declare all views before rows come"
            raise InvalidDeclaration("feature view", view.name, "comes after its rows", hint=hint)
        made = ViewHistory(view, self)
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
        index, values = self._entities[entity], _rows_of(frame, entity)
        if new:
            for value in values:
                index.setdefault(value, len(index))
        codes = np.fromiter(map(index.get, values, repeat(-1)), np.int64, len(values))
        if _has_nulls(frame, entity):
            absent = frame.select(pl.any_horizontal(pl.col(entity).is_null())).to_series()
            codes[absent.to_numpy()] = -1
        return codes

    def observe(self, part: str, frame: pl.DataFrame) -> None:
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

    def let_go(self) -> None:
        for table in chain(*self._tables.values()):
            table.let_go()
        if self._known is not None:
            self._known.let_go()

    def trim(self, before: Instant) -> None:
        for tables in self._tables.values():
            for table in tables:
                table.trim(before)
        # A key is remembered until no window can see what its row says again, however late that was.
        horizon = before - PATIENCE - max((table.reach for table in chain(*self._tables.values())), default=0)
        if horizon < self._forgotten + PATIENCE // 8:
            return
        self._forgotten = horizon
        self._rows.trim(Instant(horizon))
        for part, frame in self._waiting.items():
            self._waiting[part] = frame.filter(pl.col(part).dt.timestamp("us") >= horizon)

    def _observe_base(self, frame: pl.DataFrame) -> None:
        times = _times(frame.get_column(self.dataset.event_time))
        keys = hashes_of(_rows_of(frame, self.dataset.key))
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
        keys = hashes_of(_rows_of(frame, self.dataset.key))
        known = self._rows.has(keys)
        if not known.all():
            self._wait(part, frame.filter(pl.Series(~known)))
            frame, keys = frame.filter(pl.Series(known)), keys[known]
        if not len(keys):
            return
        asked, codes = self._rows.rows(keys)
        times = _times(frame.get_column(part))
        # What is said of a row before it exists is not used; nor is what comes too late for every window.
        in_time = (times >= asked) & (times - asked <= PATIENCE)
        fresh = self._rows.state(self._numbers[part], keys) & in_time
        if not fresh.all():
            frame, times, codes = frame.filter(pl.Series(fresh)), times[fresh], codes[fresh]
        by_entity = {entity: codes[:, i] for i, entity in enumerate(self._entities)}
        self._fill(part, frame, times, by_entity)

    def _wait(self, part: str, frame: pl.DataFrame) -> None:
        """Keep rows whose base row is not observed yet, until it is or nobody waits any more."""
        frame = frame.select(self.dataset.columns(part))
        before = self._waiting.get(part)
        self._waiting[part] = frame if before is None else pl.concat([before, frame])

    def _fill(
        self, part: str, frame: pl.DataFrame, times: Ints, by_entity: dict[tuple[str, ...], Ints]
    ) -> None:
        if not self._tables[part] or frame.is_empty():
            return
        if all(table.view.windows for table in self._tables[part]):
            ties = np.zeros(len(times), np.uint64)
        else:
            ties = frame.select(self.dataset.key).hash_rows(seed=0).to_numpy()
        for table in self._tables[part]:
            codes = by_entity[table.view.entity]
            has = codes >= 0
            if has.all():
                table.add(codes, times, ties, frame)
            else:
                table.add(codes[has], times[has], ties[has], frame.filter(pl.Series(has)))


def key_of(view: FeatureView) -> str:
    """Return what tells a view from every other: views of one key have one history."""
    return "\x1f".join(view.definition())


class _Coded(NamedTuple):
    """The rows that were observed last, and their codes: in a replay they are the requests to look up."""

    frame: pl.DataFrame | None
    by_entity: dict[tuple[str, ...], Ints]


def _rows_of(frame: pl.DataFrame, columns: tuple[str, ...]) -> list[Hashable]:
    lists = [_hashables(frame.get_column(column)) for column in columns]
    return lists[0] if len(lists) == 1 else list(zip(*lists, strict=True))


def _hashables(column: pl.Series) -> list[Hashable]:
    return (column.cast(pl.Int64) if column.dtype == TIME else column).to_list()


def _times(column: pl.Series) -> Ints:
    return column.cast(pl.Int64).to_numpy()


def _has_nulls(frame: pl.DataFrame, columns: tuple[str, ...]) -> bool:
    return any(frame[column].null_count() for column in columns)


def _floats(column: pl.Series) -> npt.NDArray[np.float64]:
    """Return the values as floats, NaN where null."""
    return column.cast(pl.Float64).to_numpy()


def _require(frame: pl.DataFrame, column: str, dtype: pl.DataType) -> None:
    values = frame.get_column(column, default=None)
    if values is None:
        raise InvalidInput("column", column, "is missing", hint=f"bring it as {dtype}")
    found = values.dtype
    if found != dtype and not (found.is_numeric() and dtype.is_numeric()) and found != pl.Null:
        raise InvalidInput("column", column, f"has the type {found}", hint=f"bring it as {dtype}")
