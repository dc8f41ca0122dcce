"""Searches of runs: one query, the page of runs that answers it, and what it costs at most.

There are three ways to an answer. **From the rarest clause**, if one has few candidates: they are looked at
and sorted. **By the order**, run by run, until the page is full; most queries end here, and it is given up
after so many runs, since no estimate sees that two clauses never meet. **Over arrays** (`runs.columns`),
whose cost depends on how many runs there are and not on what is asked. All give the same runs in the same
order.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from varv.kernel.errors import InvalidInput
from varv.kernel.recorder import Recorder
from varv.kernel.table_reading import TableReader
from varv.runs.arrays import Arrays
from varv.runs.columns import Base, Column, Columns
from varv.runs.filters import (
    ATTRIBUTE,
    AllOf,
    AnyOf,
    Clause,
    Field,
    Grammar,
    Node,
    Order,
    parsed_filter,
    parsed_orders,
)
from varv.runs.grammars import METRIC, RUNS
from varv.runs.ordering import (
    MISSING,
    NOT_A_NUMBER,
    VALUE,
    Entry,
    Place,
    entries,
    natural,
    place_of,
    sort_key,
    token_of,
)
from varv.runs.patience import Patience, bounded
from varv.runs.probing import Shard, key_no, question
from varv.runs.series import Series

View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
MOST_RESULTS = 50_000
DEFAULT_RESULTS = 1000
FEW = 5000
"""Candidates of a clause that are all looked at."""
MOST_PROBED = 20_000
"""Runs that are looked at in the order of the answer before it is left to the arrays."""
MANY = 30_000
"""Candidates that are looked at rather than arrays."""
DELETED: Mapping[View, tuple[bool, ...]] = {
    "ACTIVE_ONLY": (False,),
    "DELETED_ONLY": (True,),
    "ALL": (False, True),
}
_LEAST_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. Experiments that do not exist have no runs."""

    experiments: tuple[str, ...]
    filter: str = ""
    orders: tuple[str, ...] = ()
    view: View = "ACTIVE_ONLY"
    most: int = DEFAULT_RESULTS
    token: str = ""
    grammar: Grammar = RUNS


@dataclass(frozen=True, slots=True)
class Page:
    """The runs of a page by their numbers in the file, and the token of the next; empty if it is the last."""

    runs: list[int]
    token: str


class RunSearch:
    """Finds runs in the file of a recorder.

    Parameters
    ----------
    recorder
        The file; one that is only read shows metrics as of the last folding, which is a minute ago at most
        where a server runs.
    series
        What is known of them is brought up to date before a search, so that it sees all that was logged.
    """

    def __init__(
        self, recorder: Recorder | TableReader, series: Series | None, columns: Columns | None = None
    ) -> None:
        self.recorder, self._series = recorder, series
        self._columns = columns or Columns()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Give a connection that shows all metrics as they are compared."""
        if isinstance(self.recorder, Recorder) and self._series is not None and not self._series.is_folded:
            self.recorder.do(self._series.folding())
        with self.recorder.reading() as db:
            yield db

    def page(self, db: sqlite3.Connection, asked: Query) -> Page:
        """Return the runs that a query asks for, as far as one page holds them.

        Raises
        ------
        InvalidInput
            If the query is not valid, its token is of another query, or it takes too long.
        """
        require_most(asked.most)
        wanted = parsed_filter(asked.filter, asked.grammar)
        orders = natural(parsed_orders(asked.orders, asked.grammar))
        named = [sorted(set(asked.experiments)), asked.filter, list(asked.orders), asked.view]
        after = place_of(asked.token, named, orders) if asked.token else None
        with bounded(db) as patience:
            found = [
                entry
                for shard in _shards(db, asked)
                for entry in _Searching(
                    db, shard, wanted, orders, after, asked.most + 1, self._columns, patience
                ).found()
            ]
        found.sort(key=lambda entry: entry.key)
        page = found[: asked.most]
        token = token_of(page[-1].place, named) if len(found) > asked.most else ""
        return Page([entry.no for entry in page], token)


def require_most(n: int) -> None:
    """Raise `InvalidInput` unless a page may have `n` results."""
    if not 0 < n <= MOST_RESULTS:
        raise InvalidInput("max_results", n, f"is not between 1 and {MOST_RESULTS}")


def _shards(db: sqlite3.Connection, asked: Query) -> list[Shard]:
    shards: list[Shard] = []
    for id in sorted(set(asked.experiments)):
        row = db.execute("SELECT no, artifacts FROM experiment WHERE id = ?", (id,)).fetchone()
        if row is not None:
            shards += [Shard(row[0], deleted, row[1]) for deleted in DELETED[asked.view]]
    return shards


class _TooMany(Exception):
    """More runs would have to be looked at one by one than is worth it."""


class _Few(NamedTuple):
    """Runs that are worth looking at one by one; all that match `of`, if that is said."""

    runs: Sequence[int]
    of: Clause | None = None


@dataclass(frozen=True)
class _Searching:
    """One query of one shard."""

    db: sqlite3.Connection
    shard: Shard
    wanted: AllOf
    orders: tuple[Order, ...]
    after: Place | None
    most: int
    columns: Columns
    patience: Patience

    def found(self) -> list[Entry]:
        """Return the first `most` runs after the place, in no order; perhaps a few more."""
        if (few := self._candidates(self.wanted, FEW)) is not None:
            return self._kept(few)
        try:
            return self._by_order()
        except _TooMany:
            if (many := self._candidates(self.wanted, MANY)) is not None:
                return self._kept(many)
            return self._over_arrays()

    # From the rarest clause

    def _candidates(self, node: Node, limit: int) -> _Few | None:
        """Return at most `limit` runs that all who match are among; None if there may be more."""
        if isinstance(node, Clause):
            asked = question(self.db, self.shard, node)
            few = asked.at_most(self.db, limit + 1) <= limit
            # A run may have read several datasets of one name.
            return _Few(list(set(asked.all(self.db))), node) if few else None
        if isinstance(node, AnyOf):
            found: set[int] = set()
            for part in node.parts:
                some = self._candidates(part, limit - len(found))
                if some is None:
                    return None
                found.update(some.runs)
            return _Few(list(found))
        best: _Few | None = None
        for part in self._rarest_first(node.parts, limit):
            some = self._candidates(part, limit if best is None else len(best.runs))
            best = best if some is None else some
        return best

    def _rarest_first(self, parts: Sequence[Node], limit: int) -> Sequence[Node]:
        """Return parts with the clause of the fewest candidates before the rest, which then are not read."""
        counts = {
            place: question(self.db, self.shard, part).at_most(self.db, limit + 1)
            for place, part in enumerate(parts)
            if isinstance(part, Clause)
        }
        if len(counts) < 2:
            return parts
        rarest = min(counts, key=lambda place: counts[place])
        return [parts[rarest], *parts[:rarest], *parts[rarest + 1 :]]

    def _kept(self, few: _Few) -> list[Entry]:
        """Return those of a few runs that match and come after the place, the first `most` of them."""
        matching = self._matching(few.runs, self.wanted, known=few.of)
        return entries(self.db, self.shard, matching, self.orders, self.most, self._after_key)

    def _matching(self, runs: Sequence[int], node: Node, known: Clause | None = None) -> list[int]:
        """Return those of `runs` that match, of which all do match the clause `known`."""
        if node is known:
            return list(runs)
        if isinstance(node, Clause):
            kept = question(self.db, self.shard, node).among(self.db, runs) if runs else set()
        elif isinstance(node, AnyOf):
            kept = {run for part in node.parts for run in self._matching(runs, part)}
        else:
            for part in node.parts:
                runs = self._matching(runs, part, known)
            return list(runs)
        return [run for run in runs if run in kept]

    @functools.cached_property
    def _after_key(self) -> tuple[object, ...] | None:
        return None if self.after is None else sort_key(self.after, self.orders)

    # By the order

    def _by_order(self) -> list[Entry]:
        """Return the first runs, looked at in the order of the answer.

        Raises
        ------
        _TooMany
            If they are too far apart.
        """
        found: list[Entry] = []
        n_looked_at, budget = 0, max(MOST_PROBED, 2 * self.most)
        for runs in self._in_order():
            n_looked_at += len(runs)
            if n_looked_at > budget:
                raise _TooMany
            found += self._kept(_Few(runs))
            if len(found) >= self.most:
                break
        return sorted(found, key=lambda entry: entry.key)[: self.most]

    def _in_order(self) -> Iterator[list[int]]:
        """Yield all runs in groups, each of which comes before the next whatever their order within."""
        if not self.orders:
            yield from self._by_start(self.after)
            return
        first = self.orders[0].field
        if first.part != "last" or (first.entity == ATTRIBUTE and first.key != "start_time"):
            raise _TooMany
        rank = VALUE if self.after is None else self.after.marks[0][0]
        if rank == VALUE:
            yield from self._by_value()
        if first.entity == ATTRIBUTE:
            return
        if first.entity == METRIC and rank <= NOT_A_NUMBER:
            yield self._not_numbers(key_no(self.db, self.shard, first))
        yield from self._missing(rank)

    def _by_start(self, after: Place | None) -> Iterator[list[int]]:
        where, values = "experiment = ? AND deleted = ?", [self.shard.experiment, self.shard.deleted]
        if after is not None:
            where += " AND started_ms <= ? AND NOT (started_ms = ? AND id <= ?)"
            values += [after.started_ms, after.started_ms, after.id]
        query = f"SELECT no FROM run INDEXED BY run_by_start WHERE {where} ORDER BY started_ms DESC, id"
        rows = self.db.execute(query, values)
        n = max(self.most, _LEAST_AT_ONCE) if self.wanted.parts else self.most
        while some := rows.fetchmany(n):
            yield [row[0] for row in some]
            n = min(2 * n, MOST_PROBED)

    def _by_value(self) -> Iterator[list[int]]:
        """Yield the runs that have a value of what is ordered by first, those of one value together."""
        rows = self.db.execute(*self._values())
        pending: list[int] = []
        last: object = None
        n = max(self.most, _LEAST_AT_ONCE)
        while some := rows.fetchmany(n):
            value = some[-1][1]
            cut = next((place for place in range(len(some), 0, -1) if some[place - 1][1] != value), 0)
            if cut or value != last:
                yield pending + [row[0] for row in some[:cut]]
                pending = []
            pending += [row[0] for row in some[cut:]]
            last = value
            if len(pending) > MOST_PROBED:
                raise _TooMany
        yield pending

    def _not_numbers(self, key: int) -> list[int]:
        query = "SELECT run FROM latest INDEXED BY latest_by_value WHERE key = ? AND value IS NULL LIMIT ?"
        rows = self.db.execute(query, (key, MOST_PROBED + 1)).fetchall()
        if len(rows) > MOST_PROBED:
            raise _TooMany
        return [row[0] for row in rows]

    def _values(self) -> tuple[str, list[object]]:
        """Return the query for (run, value) by value, from that of the place on."""
        field, way = self.orders[0].field, "" if self.orders[0].ascending else "DESC"
        if field.entity == ATTRIBUTE:
            run, value, where = "no", "started_ms", "experiment = ? AND deleted = ?"
            table = "run INDEXED BY run_by_start"
            values: list[object] = [self.shard.experiment, self.shard.deleted]
        else:
            run, value, where = "run", "value", "key = ? AND value IS NOT NULL"
            name = "latest" if field.entity == METRIC else "word"
            table = f"{name} INDEXED BY {name}_by_value"
            values = [key_no(self.db, self.shard, field)]
        if self.after is not None:
            where += f" AND {value} {'>=' if self.orders[0].ascending else '<='} ?"
            values.append(self.after.marks[0][1])
        return f"SELECT {run}, {value} FROM {table} WHERE {where} ORDER BY {value} {way}", values

    def _missing(self, rank: int) -> Iterator[list[int]]:
        """Yield the runs that have nothing of what is ordered by first."""
        asked = question(self.db, self.shard, Clause(self.orders[0].field, "IS NULL", None))
        rest = self.orders[1:]
        together: list[int] = []
        n_looked_at = 0
        for runs in self._by_start(self.after if rank == MISSING and not rest else None):
            n_looked_at += len(runs)
            if n_looked_at > max(MOST_PROBED, 2 * self.most):
                raise _TooMany
            without = asked.among(self.db, runs)
            kept = [run for run in runs if run in without]
            if rest:
                together += kept
            else:
                yield kept
        yield together

    # Over arrays

    def _over_arrays(self) -> list[Entry]:
        """Return the first runs by what arrays hold, and of those that changed since all that match."""
        with self.patience.reading():
            base, changed = self.columns.base(self.db, self.shard)
        arrays = Arrays(self.db, self.shard, base, self._column)
        runs = arrays.first(self.wanted, self.orders, self.after, self.most, base.mask(changed))
        return entries(self.db, self.shard, runs, self.orders) + self._kept(_Few(list(changed)))

    def _column(self, base: Base, field: Field) -> Column:
        with self.patience.reading():
            return self.columns.column(self.db, self.shard, base, field)
