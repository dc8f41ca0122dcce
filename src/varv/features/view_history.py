"""The history behind one feature view: what it takes of each row, and what requests find in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from varv.data.model import Dataset
from varv.features.history import STEPS, History, HistoryState, Ints, fixed_point
from varv.features.model import FeatureView
from varv.kernel.clock import Duration, Instant
from varv.kernel.mapped import MappedFile


class Entities(Protocol):
    """Whoever gives the entities of a dataset their codes."""

    dataset: Dataset

    def codes(self, entity: tuple[str, ...], frame: pl.DataFrame) -> Ints:
        """Return the code of each row's entity, -1 if it has none or an unknown one."""
        ...

    def code(self, entity: tuple[str, ...], values: Sequence[Any]) -> int:
        """Return the code of one entity, from the values of its columns."""
        ...


class ViewHistory:
    """The history behind one feature view, of all entities."""

    def __init__(self, view: FeatureView, of: Entities) -> None:
        self.view = view
        self.key = key_of(view)
        self._of = of
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
            self._plain_spans = tuple(view.windows.spans.values())
            self._spans = np.array(self._plain_spans, np.int64)
            self._history = History({"sum": np.int64, "count": np.int64})

    @property
    def entity(self) -> tuple[str, tuple[str, ...]]:
        """Whose features these are: the dataset, and the columns that name the entity."""
        return self._of.dataset.name, self.view.entity

    @property
    def n_numbers(self) -> int:
        """How many numeric features it has."""
        return len(self.view.feature_names()) - len(self._categorical)

    def code(self, entity: Sequence[Any]) -> int:
        """Return the code of one entity from the values that name it, -1 if there is none."""
        return self._of.code(self.view.entity, entity)

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

    def lookup_one(self, entity: Sequence[Any], instant: Instant, numbers: list[float]) -> list[str | None]:
        """Append the numeric features of one entity to `numbers`, NaN where there is none, and return the
        categorical ones: what `lookup` finds, to the last bit.

        Parameters
        ----------
        entity
            The value of each of the columns that name it.
        """
        code = self.code(entity)
        if self.view.windows is None:
            return self._latest_one(code, instant, numbers)
        means = [one == "mean" for one in self.view.windows.statistics]
        for total, count in self._history.sums_at(code, instant, self._plain_spans):
            mean = total / STEPS / count if count > 0 else math.nan
            numbers += [mean if one else count for one in means]
        return []

    def become(self, other: ViewHistory) -> None:
        """Hold what the history of the same view in another state of its dataset holds."""
        self._of, self._history = other._of, other._history

    def trim(self, before: Instant) -> None:
        """Forget what no request at or after `before` can see."""
        self._history.trim(before, self.span)

    def let_go(self) -> None:
        """Let the system have the memory of what was looked into in files."""
        self._history.let_go()

    def as_state(self) -> HistoryState:
        """Return what it holds."""
        return self._history.as_state()

    def restore(self, state: HistoryState, lies_in: MappedFile) -> None:
        """Hold what another one held."""
        self._history.restore(state, lies_in)

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

    def _latest_one(self, code: int, instant: Instant, numbers: list[float]) -> list[str | None]:
        row = self._history.latest_at(code, instant, self.view.ttl)
        texts: list[str | None] = []
        for place, column in enumerate(self.view.columns):
            if column in self._categorical:
                texts.append(None if row is None else row[place])
            else:
                numbers.append(math.nan if row is None else row[place])
        return texts

    def _values(self, column: pl.Series) -> npt.NDArray[Any]:
        if column.name not in self._categorical:
            return _floats(column)
        values = np.empty(len(column), object)
        values[:] = column.to_list()
        return values


def key_of(view: FeatureView) -> str:
    """Return what tells a view from every other: views of one key have one history."""
    return "\x1f".join(view.definition())


def _floats(column: pl.Series) -> npt.NDArray[np.float64]:
    """Return the values as floats, NaN where null."""
    return column.cast(pl.Float64).to_numpy()
