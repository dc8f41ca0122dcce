"""Clauses as questions to the file: which of these runs match, how many may match at most, and which do.

A clause is about one table. Asked of some runs, it is looked up run by run; asked of all, it is a range of an
index. Which of the two is done is decided in `runs.search`; SQLite's planner, which knows nothing of how
values are spread, is never left the choice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from varv.kernel.patterns import MATCHES, MOST_NATIVE
from varv.runs.filters import ATTRIBUTE, Clause, Field
from varv.runs.grammars import DATASET, PARAMETER
from varv.runs.grammars import METRIC as METRICS
from varv.runs.model import STATUSES
from varv.runs.tables import METRIC, PARAM, TAG

COLUMN = {"last": "value", "min": "low", "max": "high"}
"""Of the table of what is known of series."""
ASKED = "(SELECT value AS asked FROM json_each(?))"
"""Runs by their numbers, bound as a JSON list."""
FOLDED = "folded"
"""Lowers letters of all scripts; whoever searches gives it to the connection."""
AFTER_ALL = "\U0010ffff"
"""Comes after whatever a text may go on with."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The active or the deleted runs of an experiment, which are searched one after the other."""

    experiment: int
    deleted: bool
    artifacts: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A part of WHERE, in which ``{}`` stands for the value, and what is bound to it."""

    text: str = ""
    values: tuple[float | str, ...] = ()

    def of(self, expression: str) -> str:
        """Return the condition of what an expression is worth."""
        return self.text.replace("{}", expression)


@dataclass(frozen=True, slots=True)
class Question:
    """A clause, of one shard.

    Attributes
    ----------
    table, run
        Where the value is, and the column that has the run's number.
    value
        The expression that is compared.
    fixed
        What says which rows are meant, such as those of one key.
    bounds
        The range of `index` that all matches lie in.
    condition
        What the value must meet.
    index
        By value; nothing if there is none.
    absent
        Whether those match that have no such row.
    """

    table: str
    run: str
    value: str
    condition: Condition
    fixed: Condition = Condition()
    bounds: Condition = Condition()
    index: str = ""
    absent: bool = False

    def among(self, db: sqlite3.Connection, runs: Sequence[int]) -> set[int]:
        """Return those of `runs` that match."""
        # The plus keeps the index by value out: these rows are found by their run.
        condition = self.condition.of(f"+{self.value}")
        where = " AND ".join(filter(None, (self.fixed.text, condition))) or "1"
        query = f"SELECT {self.run} FROM {ASKED} CROSS JOIN {self.table} ON {self.run} = asked WHERE {where}"
        listed = msgspec.json.encode(runs).decode()
        found = {row[0] for row in db.execute(query, (listed, *self.fixed.values, *self.condition.values))}
        return set(runs) - found if self.absent else found

    def at_most(self, db: sqlite3.Connection, limit: int) -> int:
        """Return how many rows may match, counted up to `limit`; `limit` where no index says it."""
        if not self.index or self.absent:
            return limit
        query = f"SELECT count(*) FROM (SELECT 1 FROM {self._range()} LIMIT ?)"
        values = (*self.fixed.values, *self.bounds.values)
        return db.execute(query, (*values, limit)).fetchone()[0]

    def all(self, db: sqlite3.Connection) -> Iterable[int]:
        """Return the runs that match, or those that do not where `absent`; some of other shards with them."""
        condition = self.condition.of(self.value)
        values = (*self.fixed.values, *self.bounds.values, *self.condition.values)
        query = f"SELECT {self.run} FROM {self._range()}" + (f" AND {condition}" if condition else "")
        return (row[0] for row in db.execute(query, values))

    def _range(self) -> str:
        where = " AND ".join(filter(None, (self.fixed.text, self.bounds.of(self.value)))) or "1"
        by = f"INDEXED BY {self.index}" if self.index else ""
        return f"{self.table} {by} WHERE {where}"


def key_no(db: sqlite3.Connection, shard: Shard, field: Field) -> int:
    """Return the number of a metric, a parameter or a tag in an experiment; 0 if no run has it."""
    kind = METRIC if field.entity == METRICS else PARAM if field.entity == PARAMETER else TAG
    query = "SELECT no FROM key WHERE experiment = ? AND kind = ? AND name = ?"
    row = db.execute(query, (shard.experiment, kind, field.key)).fetchone()
    return 0 if row is None else row[0]


def question(db: sqlite3.Connection, shard: Shard, clause: Clause) -> Question:
    """Return what a clause asks of a shard."""
    field = clause.field
    if field.entity == ATTRIBUTE:
        return _of_attribute(db, shard, clause)
    if field.entity == DATASET:
        index = f"input_by_{field.key}" if field.key != "context" else ""
        return Question(
            "input",
            "run",
            field.key,
            compared(clause),
            bounds=_bounds(clause) if index else Condition(),
            index=index,
        )
    fixed = Condition("key = ?", (key_no(db, shard, field),))
    absent = clause.operator == "IS NULL"
    if field.entity == METRICS:
        index = "latest_by_value" if field.part == "last" else ""
        value = COLUMN[field.part]
        return Question("latest", "run", value, compared(clause), fixed, _bounds(clause), index, absent)
    return Question("word", "run", "value", compared(clause), fixed, _bounds(clause), "word_by_value", absent)


def _of_attribute(db: sqlite3.Connection, shard: Shard, clause: Clause) -> Question:
    fixed = Condition("experiment = ? AND deleted = ?", (shard.experiment, shard.deleted))
    match clause.field.key:
        case "start_time":
            return Question(
                "run", "no", "started_ms", compared(clause), fixed, _bounds(clause), "run_by_start"
            )
        case "end_time":
            return Question("run", "no", "ended_ms", compared(clause), fixed)
        case "status":
            return Question("run", "no", "status", _of_status(db, clause), fixed)
        case "artifact_uri":
            before, after = f"{shard.artifacts}/", "/artifacts"
            condition = compared(clause)
            text = condition.text.replace("{}", "(? || {} || ?)")
            n = condition.text.count("{}")
            return Question(
                "run", "no", "id", Condition(text, (*(before, after) * n, *condition.values)), fixed
            )
        case "run_id":
            index = "sqlite_autoindex_run_1" if clause.operator in ("=", "IN") else ""
            return Question("run", "no", "id", compared(clause), fixed, _bounds(clause), index)
        case _:
            return Question("run", "no", "user", compared(clause), fixed)


def _of_status(db: sqlite3.Connection, clause: Clause) -> Condition:
    # It is stored as a number.
    matching = matching_words(db, STATUSES, clause)
    return Condition(f"{{}} IN ({','.join(map(str, sorted(matching)))})")


def matching_words(db: sqlite3.Connection, words: Sequence[str], clause: Clause) -> list[int]:
    """Return the places of the words that match a clause."""
    condition = compared(clause)
    where = condition.of("value") or "1"
    query = f"SELECT key FROM json_each(?) WHERE {where}"
    return [row[0] for row in db.execute(query, (msgspec.json.encode(words).decode(), *condition.values))]


def compared(clause: Clause) -> Condition:
    """Return what a value must meet to match a clause."""
    operator, value = clause.operator, clause.value
    if value is None:
        return Condition()
    if isinstance(value, tuple):
        return Condition(f"{{}} {operator} ({','.join('?' * len(value))})", value)
    if operator == "!=" and clause.field.entity == METRICS:
        # A value that is no number is another than any.
        return Condition("ifnull({} != ?, 1)", (value,))
    if operator in ("LIKE", "ILIKE") and str(value).count("%") > MOST_NATIVE:
        text = "{}" if operator == "LIKE" else f"{FOLDED}({{}})"
        return Condition(f"{MATCHES}({text}, ?)", (value if operator == "LIKE" else str(value).lower(),))
    if operator == "ILIKE":
        # SQLite's own function, which is quicker, knows the letters of ASCII only.
        function = "lower" if str(value).isascii() else FOLDED
        return Condition(f"{function}({{}}) LIKE ?", (str(value).lower(),))
    return Condition(f"{{}} {operator} ?", (value,))


def _bounds(clause: Clause) -> Condition:
    """Return a range that all that match lie in."""
    operator, value = clause.operator, clause.value
    if isinstance(value, tuple):
        return compared(clause) if operator == "IN" else Condition()
    if value is None or operator in ("!=", "ILIKE"):
        return Condition()
    if operator != "LIKE":
        return compared(clause)
    prefix = str(value).replace("_", "%").partition("%")[0]
    return Condition("{} >= ? AND {} < ?", (prefix, prefix + AFTER_ALL)) if prefix else Condition()


def lowered(text: str | None) -> str | None:
    """Return a text as it is compared where cases do not matter; `FOLDED` in SQL."""
    return None if text is None else text.lower()
