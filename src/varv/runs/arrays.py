"""A search over the arrays of a shard: which runs match, and which of them come first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from varv.runs.columns import Base, Column, word_rows
from varv.runs.filters import ATTRIBUTE, AnyOf, Clause, Field, Node, Order
from varv.runs.grammars import METRIC, PARAMETER, TAG
from varv.runs.ordering import NOT_A_NUMBER, VALUE, Place
from varv.runs.probing import Shard, matching_words, question

_OF_NUMBERS = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True)
class Arrays:
    """The arrays of one shard, as one search looks at them; what has changed since a base was read is asked
    of the file instead.
    """

    db: sqlite3.Connection
    shard: Shard
    base: Base
    column: Callable[[Base, Field], Column]

    def first(
        self, wanted: Node, orders: Sequence[Order], after: Place | None, most: int, changed: np.ndarray
    ) -> list[int]:
        """Return the first `most` runs that match, after a place, without those that changed; in no order."""
        chosen = self._matching(wanted) & ~changed
        keys = [self._keys(order) for order in orders]
        if after is not None:
            chosen &= self._after(keys, orders, after, changed)
        places = np.flatnonzero(chosen)
        if not orders:
            return self.base.runs[places[:most]].tolist()
        if len(places) > most:
            places = _foremost(places, keys[0][places], most, rest=len(orders) > 1)
        # The base has the latest start first, then the id, and ties keep its order.
        in_order = np.lexsort([key[places] for key in reversed(keys)])
        return self.base.runs[places[in_order[:most]]].tolist()

    # What matches

    def _matching(self, node: Node) -> np.ndarray:
        if isinstance(node, Clause):
            return self._clause(node)
        found = np.full(len(self.base.runs), not isinstance(node, AnyOf))
        for part in node.parts:
            found = found | self._matching(part) if isinstance(node, AnyOf) else found & self._matching(part)
        return found

    def _clause(self, clause: Clause) -> np.ndarray:
        field = clause.field
        if isinstance(clause.value, float):
            column = self._column(clause)
            found = _OF_NUMBERS[clause.operator](column.values, clause.value) & (column.ranks == VALUE)
            differs = clause.operator == "!=" and field.entity == METRIC
            return found | (column.ranks == NOT_A_NUMBER) if differs else found
        if field.entity in (PARAMETER, TAG) or (field.entity == ATTRIBUTE and field.key == "status"):
            column = self._column(clause)
            if clause.value is None:
                return (column.ranks == VALUE) != (clause.operator == "IS NULL")
            if column.words is not None:
                matching = np.zeros(len(column.words) + 1, bool)  # the last for what is missing
                matching[matching_words(self.db, column.words, clause)] = True
                return matching[column.values]
        return self.base.mask(question(self.db, self.shard, clause).all(self.db))

    def _column(self, clause: Clause) -> Column:
        return self.column(self.base, clause.field)

    # The order

    def _keys(self, order: Order) -> np.ndarray:
        """Return a number for each run that is less the earlier it comes: values, then what is no number,
        then what is missing.
        """
        column = self.column(self.base, order.field)
        values = column.values.astype(np.float64)
        # No value is infinite: the bounds are the largest doubles.
        keys = values if order.ascending else -values
        keys[column.ranks == NOT_A_NUMBER] = np.inf
        keys[column.ranks > NOT_A_NUMBER] = np.nan
        return keys

    def _after(
        self, keys: Sequence[np.ndarray], orders: Sequence[Order], after: Place, changed: np.ndarray
    ) -> np.ndarray:
        later = np.zeros(len(self.base.runs), bool)
        level = np.ones(len(self.base.runs), bool)
        for key, order, (rank, value) in zip(keys, orders, after.marks, strict=True):
            if rank == VALUE:
                at = self._place_of(order, value, changed)
                at = at if order.ascending else -at
                later |= level & ~(key <= at)
                level &= key == at
            elif rank == NOT_A_NUMBER:
                later |= level & np.isnan(key)
                level &= key == np.inf
            else:
                level &= np.isnan(key)
        level[: self._first_after(after, changed)] = False
        return later | level

    def _place_of(self, order: Order, value: object, changed: np.ndarray) -> float:
        """Return the number that stands for a value in a column; between two where no run has it."""
        if order.field.kind == "number":
            return float(value)  # type: ignore[arg-type]
        rows, bound = word_rows(self.db, self.shard, order.field)
        query = f"SELECT run, value FROM ({rows}) WHERE value >= ? ORDER BY value"
        column = self.column(self.base, order.field)
        for run, found in self.db.execute(query, (*bound, value)):
            if (at := self._unchanged(run, changed)) is not None:
                return float(column.values[at]) - (0.0 if found == value else 0.5)
        return np.inf

    def _first_after(self, after: Place, changed: np.ndarray) -> int:
        """Return where the runs begin that start before a place, or have a later id."""
        where = "experiment = ? AND deleted = ? AND started_ms <= ? AND NOT (started_ms = ? AND id <= ?)"
        query = f"SELECT no FROM run INDEXED BY run_by_start WHERE {where} ORDER BY started_ms DESC, id"
        values = (self.shard.experiment, self.shard.deleted, after.started_ms, after.started_ms, after.id)
        for (run,) in self.db.execute(query, values):
            if (at := self._unchanged(run, changed)) is not None:
                return at
        return len(self.base.runs)

    def _unchanged(self, run: int, changed: np.ndarray) -> int | None:
        at = int(self.base.places(np.array([run], np.int32))[0])
        return None if at < 0 or changed[at] else at


def _foremost(places: np.ndarray, keys: np.ndarray, most: int, *, rest: bool) -> np.ndarray:
    """Return the places that the first `most` by their keys are among, so that few have to be sorted; with
    `rest`, all whose key is that of the last, since there is more to sort them by.
    """
    bound = np.partition(keys, most - 1)[most - 1]
    # NaN, which stands for what is missing, is sorted last and is not equal to itself.
    level = np.isnan(keys) if np.isnan(bound) else keys == bound
    before = ~np.isnan(keys) if np.isnan(bound) else keys < bound
    ties = np.flatnonzero(level)
    return places[np.sort(np.concatenate([np.flatnonzero(before), ties if rest else ties[:most]]))]
