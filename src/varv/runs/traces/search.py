"""Searches of traces: which match a filter, in an order, a page at a time.

The index by time is followed from the youngest trace until the page is full, unless a clause names a tag, a
piece of metadata or a run that few traces have: then these are looked at. Spans are unpacked where their
texts are compared. A search that takes too long is given up, and says how it would be quicker.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from varv.kernel.errors import InvalidInput
from varv.runs.filters import (
    ATTRIBUTE,
    LISTS,
    ORDERED,
    PATTERNS,
    PRESENCE,
    Clause,
    Grammar,
    Named,
    Order,
    parsed_filter,
    parsed_orders,
)
from varv.runs.grammars import TAG, named, spelled
from varv.runs.ordering import MISSING, VALUE, Place, place_of, token_of
from varv.runs.patience import bounded
from varv.runs.probing import AFTER_ALL, Condition, compared
from varv.runs.traces.model import NAME, RUN, STATES, STATUS_NAMES
from varv.runs.traces.spans import attribute_text, whole_text
from varv.runs.traces.tables import prompt_target, run_target

METADATA, SPAN, FEEDBACK, EXPECTATION = "metadata", "span", "feedback", "expectation"
MOST_RESULTS = 500
DEFAULT_RESULTS = 100
MOST_EXPERIMENTS = 100
FEW = 5000
"""Traces that a clause may name for these alone to be looked at."""
_TEXTS = PATTERNS | PRESENCE
_ATTRIBUTES = "attributes."
_ID = "request_id"


def _choice(column: str, names: Sequence[str]) -> str:
    known = " ".join(f"WHEN {no} THEN '{name}'" for no, name in enumerate(names))
    return f"CASE {column} {known} END"


_COLUMNS = {
    _ID: "trace.id",
    "client_request_id": "trace.client_request",
    "timestamp_ms": "trace.at_ms",
    "execution_time_ms": "trace.took_ms",
    "end_time_ms": "trace.at_ms + ifnull(trace.took_ms, 0)",
    "status": _choice("trace.state", STATES),
    "experiment_id": "(SELECT id FROM experiment WHERE no = trace.experiment)",
    "name": f"(SELECT value FROM trace_tag WHERE trace_tag.trace = trace.id AND name = '{NAME}')",
    "run_id": f"(SELECT value FROM trace_metadata WHERE trace_metadata.trace = trace.no AND name = '{RUN}')",
}
_NEVER_NULL = frozenset({_ID, "timestamp_ms", "end_time_ms", "experiment_id"})
_ASSESSED = Named("", "any", ORDERED | _TEXTS)
_ATTRIBUTE_NAMES = {
    **named("text", PATTERNS | LISTS, _ID),
    **named("text", PATTERNS | LISTS, "client_request_id"),
    **named("text", PATTERNS | LISTS, "status"),
    **named("text", PATTERNS | LISTS, "run_id"),
    **named("text", frozenset({"="}), "prompt"),
    **named("number", ORDERED, "timestamp_ms", "timestamp"),
    **named("number", ORDERED, "execution_time_ms", "execution_time"),
    **named("number", ORDERED, "end_time_ms", "end_time"),
}
_SPELLED = spelled(
    {
        TAG: ("tags",),
        METADATA: ("request_metadata",),
        ATTRIBUTE: ("attributes", "trace"),
        SPAN: (),
        FEEDBACK: (),
        EXPECTATION: (),
    }
)
TRACES = Grammar(
    keyed={
        TAG: Named("", "text", _TEXTS),
        METADATA: Named("", "text", _TEXTS),
        SPAN: Named("", "text", PATTERNS | LISTS),
        FEEDBACK: _ASSESSED,
        EXPECTATION: _ASSESSED,
    },
    fixed={
        ATTRIBUTE: {
            **_ATTRIBUTE_NAMES,
            **named("text", PATTERNS | LISTS, "name", means=(TAG, NAME)),
            **named("text", frozenset({"LIKE", "ILIKE"}), "text", means=(SPAN, "content")),
        }
    },
    spelled=_SPELLED,
    orders=frozenset(),
)
_BY = Grammar(
    keyed={},
    fixed={
        ATTRIBUTE: {
            **{name: one for name, one in _ATTRIBUTE_NAMES.items() if one.name in _COLUMNS},
            **named("text", PATTERNS, "name"),
            **named("text", PATTERNS, "experiment_id"),
        }
    },
    spelled={name: entity for name, entity in _SPELLED.items() if entity == ATTRIBUTE},
    orders=frozenset({ATTRIBUTE}),
)


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """What is asked for. Experiments that do not exist have no traces."""

    experiments: tuple[str, ...]
    filter: str = ""
    orders: tuple[str, ...] = ()
    most: int = DEFAULT_RESULTS
    token: str = ""


class TracePage(NamedTuple):
    """The traces of a page, by their numbers in the file."""

    traces: list[int]
    token: str
    """Asks for the next page; nothing if this is the last."""


def trace_page(db: sqlite3.Connection, asked: TraceQuery) -> TracePage:
    """Return the traces that a query asks for, the youngest first unless it says otherwise.

    Raises
    ------
    InvalidInput
        If the query is not valid, its token is of another query, or it takes too long.
    """
    _require_bounds(asked)
    clauses = [part for part in parsed_filter(asked.filter, TRACES).parts if isinstance(part, Clause)]
    orders = parsed_orders(asked.orders, _BY)
    query = ["traces", sorted(set(asked.experiments)), asked.filter, list(asked.orders)]
    conditions = [_of(clause) for clause in clauses if clause.field.entity != SPAN]
    if of_spans := [clause for clause in clauses if clause.field.entity == SPAN]:
        conditions.append(_of_spans(of_spans))
    if asked.token:
        conditions.append(_after(place_of(asked.token, query, orders), orders))
    with bounded(db):
        db.create_function(_WHOLE, 1, whole_text, deterministic=True)
        db.create_function(_ATTRIBUTE_OF, 2, attribute_text, deterministic=True)
        few = next((some for clause in clauses if (some := _few(db, clause)) is not None), None)
        rows = _rows(db, asked, conditions, orders, few)
    page = rows[: asked.most]
    token = token_of(_place(page[-1]), query) if len(rows) > asked.most else ""
    return TracePage([row[0] for row in page], token)


_WHOLE, _ATTRIBUTE_OF = "span_text", "span_attribute"


def _require_bounds(asked: TraceQuery) -> None:
    if not 0 < asked.most <= MOST_RESULTS:
        raise InvalidInput("max_results", asked.most, f"is not between 1 and {MOST_RESULTS}")
    if len(asked.experiments) > MOST_EXPERIMENTS:
        n = len(asked.experiments)
        raise InvalidInput("experiments", "", "are too many", most=MOST_EXPERIMENTS, found=n)


def _rows(
    db: sqlite3.Connection,
    asked: TraceQuery,
    conditions: Sequence[Condition],
    orders: Sequence[Order],
    few: list[int] | None,
) -> list[tuple[Any, ...]]:
    """Return number, id, time and what else is ordered by of one trace more than fit on a page."""
    listed = msgspec.json.encode(sorted(set(asked.experiments))).decode()
    known = "SELECT no FROM experiment WHERE id IN (SELECT value FROM json_each(?))"
    experiments = [no for (no,) in db.execute(known, (listed,))]
    if not experiments:
        return []
    values = [value for condition in conditions for value in condition.values]
    where = "".join(f" AND {condition.text}" for condition in conditions)
    source = "trace INDEXED BY trace_by_time WHERE trace.experiment = ?"
    if few is not None:
        source = "trace WHERE trace.no IN (SELECT value FROM json_each(?)) AND +trace.experiment = ?"
        values = [msgspec.json.encode(few).decode(), *values]
    marks = "".join(f", {_COLUMNS[order.field.key]} AS m{place}" for place, order in enumerate(orders))
    ways = ", ".join([*(_way(place, order) for place, order in enumerate(orders)), "at_ms DESC", "id"])
    columns = f"trace.no AS no, trace.id AS id, trace.at_ms AS at_ms{marks}"
    arm = f"SELECT * FROM (SELECT {columns} FROM {source}{where} ORDER BY {ways} LIMIT ?)"
    bound: list[Any] = []
    for no in experiments:
        at = 0 if few is None else 1
        bound += [*values[:at], no, *values[at:], asked.most + 1]
    whole = f"SELECT * FROM ({' UNION ALL '.join([arm] * len(experiments))}) ORDER BY {ways} LIMIT ?"
    return db.execute(whole, (*bound, asked.most + 1)).fetchall()


def _way(place: int, order: Order) -> str:
    nulls = "" if order.field.key in _NEVER_NULL else f"m{place} IS NULL, "
    return f"{nulls}m{place} {'ASC' if order.ascending else 'DESC'}"


def _place(row: tuple[Any, ...]) -> Place:
    _, id, at_ms, *marks = row
    return Place(tuple((MISSING, None) if mark is None else (VALUE, mark) for mark in marks), at_ms, id)


def _after(place: Place, orders: Sequence[Order]) -> Condition:
    """Return what a trace must meet to come after a place."""
    text = "(trace.at_ms < ? OR (trace.at_ms = ? AND trace.id > ?))"
    values: tuple[float | str, ...] = (place.started_ms, place.started_ms, place.id)
    if not orders:
        # So that the index is entered where the page before has ended.
        return Condition(f"trace.at_ms <= ? AND {text}", (place.started_ms, *values))
    for order, (_, value) in reversed(list(zip(orders, place.marks, strict=True))):
        column = _COLUMNS[order.field.key]
        if value is None:
            text = f"({column} IS NULL AND {text})"
            continue
        way = ">" if order.ascending else "<"
        text = f"({column} IS NULL OR {column} {way} ? OR ({column} = ? AND {text}))"
        values = (value, value, *values)
    return Condition(text, values)


# Clauses


def _of(clause: Clause) -> Condition:
    """Return what a trace must meet to match a clause that is about no span."""
    field = clause.field
    if field.entity == TAG:
        return _of_word("trace_tag", "id", clause)
    if field.entity == METADATA:
        return _of_word("trace_metadata", "no", clause)
    if field.entity in (FEEDBACK, EXPECTATION):
        return _of_assessments(clause)
    if field.key == "prompt":
        return Condition(_LINKED, (prompt_target(str(clause.value)),))
    condition = compared(clause)
    mine = Condition(condition.of(_COLUMNS[field.key]), condition.values)
    if field.key == "run_id" and clause.operator == "=":
        return Condition(f"({mine.text} OR {_LINKED})", (*mine.values, run_target(str(clause.value))))
    return mine


_LINKED = "EXISTS (SELECT 1 FROM trace_link WHERE trace_link.target = ? AND trace_link.trace = trace.id)"


def _of_word(table: str, column: str, clause: Clause) -> Condition:
    condition = compared(clause)
    # The plus keeps the index by value out: these words are found by their trace.
    met = f" AND {condition.of('+word.value')}" if condition.text else ""
    where = f"word.trace = trace.{column} AND word.name = ?{met}"
    absent = "NOT " if clause.operator == "IS NULL" else ""
    text = f"{absent}EXISTS (SELECT 1 FROM {table} AS word WHERE {where})"
    return Condition(text, (clause.field.key, *condition.values))


def _of_assessments(clause: Clause) -> Condition:
    condition = compared(clause)
    column = "number" if isinstance(clause.value, float) else "value"
    met = f" AND {condition.of(column)}" if condition.text else ""
    where = f"assessment.trace = trace.id AND kind = ? AND name = ? AND valid{met}"
    absent = "NOT " if clause.operator == "IS NULL" else ""
    text = f"{absent}EXISTS (SELECT 1 FROM assessment WHERE {where})"
    return Condition(text, (clause.field.entity, clause.field.key, *condition.values))


def _of_spans(clauses: Sequence[Clause]) -> Condition:
    """Return what a trace must meet to have one span that matches all clauses."""
    parts = [_of_span(clause) for clause in clauses]
    where = "".join(f" AND {part.text}" for part in parts)
    text = f"EXISTS (SELECT 1 FROM span WHERE span.trace = trace.no{where})"
    return Condition(text, tuple(value for part in parts for value in part.values))


def _of_span(clause: Clause) -> Condition:
    key, condition = clause.field.key, compared(clause)
    match key:
        case "name" | "type":
            return Condition(condition.of(f"span.{key}"), condition.values)
        case "status":
            return Condition(condition.of(_choice("span.status", STATUS_NAMES)), condition.values)
        case "content":
            return Condition(condition.of(f"{_WHOLE}(span.body)"), condition.values)
    if not key.startswith(_ATTRIBUTES) or key == _ATTRIBUTES:
        hint = "use name, type, status, content or attributes.<name>"
        raise InvalidInput("span", key[:80], "has no such field", hint=hint)
    name = key.removeprefix(_ATTRIBUTES).strip("`")
    return Condition(condition.of(f"{_ATTRIBUTE_OF}(span.body, ?)"), (name, *condition.values))


def _few(db: sqlite3.Connection, clause: Clause) -> list[int] | None:
    """Return traces by their numbers, which are all that may match a clause, as far as an index knows them;
    None if it does not, or they are many.
    """
    if (asked := _indexed(clause)) is None:
        return None
    query, values = asked
    found = [no for (no,) in db.execute(f"{query} LIMIT ?", (*values, FEW + 1))]
    return found if len(found) <= FEW else None


def _indexed(clause: Clause) -> tuple[str, tuple[float | str, ...]] | None:
    """Return the query that an index answers, and what is bound to it; None if there is none."""
    field, value = clause.field, str(clause.value)
    if field.entity == ATTRIBUTE and clause.operator == "=" and field.key in _TARGETS:
        linked = (_TARGETS[field.key](value),)
        if field.key == "prompt":
            return _LINKED_TO, linked
        return f"{_LINKED_TO} UNION {_WITH_METADATA} AND value = ?", (*linked, RUN, value)
    if field.entity not in (TAG, METADATA) or (met := _range(clause)) is None:
        return None
    words = _WITH_METADATA if field.entity == METADATA else _WITH_TAG
    return f"{words} AND {met.of('value')}", (field.key, *met.values)


_TARGETS = {"run_id": run_target, "prompt": prompt_target}
_BY_ID = "JOIN trace ON trace.id = "
_LINKED_TO = f"SELECT trace.no FROM trace_link {_BY_ID}trace_link.trace WHERE target = ?"
_WITH_TAG = f"SELECT trace.no FROM trace_tag {_BY_ID}trace_tag.trace WHERE name = ?"
_WITH_METADATA = "SELECT trace FROM trace_metadata WHERE name = ?"


def _range(clause: Clause) -> Condition | None:
    """Return a range that all values that match lie in; None if that is not known."""
    value = str(clause.value)
    if clause.operator == "=":
        return Condition("{} = ?", (value,))
    prefix = value.replace("_", "%").partition("%")[0]
    if clause.operator == "LIKE" and prefix:
        return Condition("{} >= ? AND {} < ?", (prefix, prefix + AFTER_ALL))
    return None
