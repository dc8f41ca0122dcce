"""Searches of experiments, by name, times and tags. There are few, so SQLite may do it as it likes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from varv.kernel.errors import InvalidInput
from varv.runs.filters import ATTRIBUTE, Clause, Order, parsed_filter, parsed_orders
from varv.runs.grammars import EXPERIMENTS
from varv.runs.ordering import VALUE, Place, place_of, token_of
from varv.runs.patience import bounded
from varv.runs.probing import Condition, compared
from varv.runs.rules import require_experiment_id
from varv.runs.search import DEFAULT_RESULTS, DELETED, Page, View, require_most

_COLUMNS = {
    "name": "name",
    # Ids are numbers where they were given by a server of this protocol.
    "experiment_id": "CAST(id AS INTEGER)",
    "creation_time": "created_ms",
    "last_update_time": "updated_ms",
}


@dataclass(frozen=True, slots=True)
class ExperimentQuery:
    """What is asked for."""

    filter: str = ""
    orders: tuple[str, ...] = ()
    view: View = "ACTIVE_ONLY"
    most: int = DEFAULT_RESULTS
    token: str = ""


def experiment_page(db: sqlite3.Connection, asked: ExperimentQuery) -> Page:
    """Return the experiments that a query asks for, the latest made first unless it says otherwise.

    Raises
    ------
    InvalidInput
        If the query is not valid, or its token is of another query.
    """
    require_most(asked.most)
    orders = _orders(asked)
    named = [asked.filter, list(asked.orders), asked.view]
    deleted = ",".join(str(int(one)) for one in DELETED[asked.view])
    conditions = [Condition(f"deleted IN ({deleted})")]
    conditions += [
        _of(part) for part in parsed_filter(asked.filter, EXPERIMENTS).parts if isinstance(part, Clause)
    ]
    if asked.token:
        conditions.append(_after(place_of(asked.token, named, orders), orders))
    columns = ", ".join(_COLUMNS[order.field.key] for order in orders)
    ways = ", ".join(f"{_COLUMNS[one.field.key]} {'ASC' if one.ascending else 'DESC'}" for one in orders)
    where = " AND ".join(condition.text for condition in conditions)
    values = [value for condition in conditions for value in condition.values]
    query = f"SELECT no, {columns} FROM experiment WHERE {where} ORDER BY {ways} LIMIT ?"
    with bounded(db):
        found = db.execute(query, (*values, asked.most + 1)).fetchall()
    token = ""
    if len(found) > asked.most:
        last = found[asked.most - 1][1:]
        # An id is a text wherever it is shown.
        kinds = (str if order.field.kind == "text" else int for order in orders)
        marks = tuple((VALUE, kind(value)) for kind, value in zip(kinds, last, strict=True))
        token = token_of(Place(marks, 0, ""), named)
    return Page([row[0] for row in found[: asked.most]], token)


def _orders(asked: ExperimentQuery) -> tuple[Order, ...]:
    orders = parsed_orders(asked.orders or ("creation_time DESC", "experiment_id"), EXPERIMENTS)
    if any(order.field.key == "experiment_id" for order in orders):
        return orders
    return (*orders, *parsed_orders(["experiment_id DESC"], EXPERIMENTS))


def _of(clause: Clause) -> Condition:
    """Return what an experiment must meet to match a clause."""
    condition = compared(clause)
    if clause.field.entity == ATTRIBUTE:
        is_id = clause.field.key == "experiment_id"
        if is_id:
            for value in condition.values:
                require_experiment_id(str(value))
        column = "id" if is_id else _COLUMNS[clause.field.key]
        return Condition(condition.of(column), condition.values)
    absent = "NOT " if clause.operator == "IS NULL" else ""
    where = " AND ".join(filter(None, ("experiment = experiment.no AND name = ?", condition.of("value"))))
    tags = f"{absent}EXISTS (SELECT 1 FROM experiment_tag AS tag WHERE tag.{where})"
    return Condition(tags, (clause.field.key, *condition.values))


def _after(place: Place, orders: Sequence[Order]) -> Condition:
    """Return what an experiment must meet to come after a place."""
    text = "0"
    values: tuple[float | str, ...] = ()
    for order, (_, value) in reversed(list(zip(orders, place.marks, strict=True))):
        if value is None:
            # An experiment has everything that it can be ordered by.
            raise InvalidInput("page token", "", "is not valid", hint="send that of the page before, or none")
        column = _COLUMNS[order.field.key]
        bound = column.replace("id", "?") if order.field.key == "experiment_id" else "?"
        text = f"({column} {'>' if order.ascending else '<'} {bound} OR ({column} = {bound} AND {text}))"
        values = (value, value, *values)
    return Condition(text, values)
