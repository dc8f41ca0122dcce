"""Searches of logged models: in MLflow's grammar, with metrics asked for by the dataset that they are of.

A metric is compared by its latest value, of the datasets that are named, if any are.

Source: MLflow's documentation of the search of logged models, and the behaviour of its server 3.18.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from varv.home.tracking.paging import Bound, Condition, Page, Sorted, compared, page, page_size
from varv.kernel.errors import InvalidInput
from varv.runs.filters import (
    ATTRIBUTE,
    LISTS,
    MOST_CLAUSES,
    ORDERED,
    PATTERNS,
    Clause,
    Field,
    Grammar,
    Named,
    parsed_filter,
    parsed_orders,
)
from varv.runs.logged.model import LOGGED_STATUSES
from varv.runs.tables import PARAM
from varv.runs.tables import TAG as TAGS

MODELS_A_PAGE, MOST_MODELS = 100, 10_000
METRIC, PARAMETER, TAG = "metric", "parameter", "tag"
_TEXTS = PATTERNS | LISTS
_STATUS = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(LOGGED_STATUSES))
_COLUMNS = {
    "name": "logged.name",
    "model_id": "logged.id",
    "model_type": "logged.type",
    "source_run_id": "logged.run",
    "status": f"CASE logged.status {_STATUS} END",
    "creation_timestamp": "logged.created_ms",
    "last_updated_timestamp": "logged.updated_ms",
}
_TIMES = {
    "creation_timestamp": ("creation_timestamp", "creation_timestamp_ms", "creation_time"),
    "last_updated_timestamp": ("last_updated_timestamp", "last_updated_timestamp_ms"),
}
LOGGED_MODELS = Grammar(
    keyed={
        METRIC: Named("", "number", ORDERED),
        PARAMETER: Named("", "text", _TEXTS),
        TAG: Named("", "text", _TEXTS),
    },
    fixed={
        ATTRIBUTE: {
            **{name: Named(name, "text", _TEXTS) for name in _COLUMNS if name not in _TIMES},
            **{name: Named(meant, "number", ORDERED) for meant, names in _TIMES.items() for name in names},
        }
    },
    spelled={
        "metrics": METRIC,
        "params": PARAMETER,
        "tags": TAG,
        "attributes": ATTRIBUTE,
        "attribute": ATTRIBUTE,
    },
    orders=frozenset({METRIC, ATTRIBUTE}),
)
_VALUES = "link JOIN linked ON linked.link = link.no JOIN key ON key.no = linked.key"
_LATEST = "ORDER BY linked.step DESC, linked.at DESC, linked.value DESC LIMIT 1"


class Dataset(NamedTuple):
    """Says which dataset a metric is of; one of any name, or any digest, if that is empty."""

    name: str = ""
    digest: str = ""


class ModelOrder(NamedTuple):
    """What logged models are ordered by."""

    field: str
    ascending: bool = True
    dataset: Dataset | None = None


def logged_models(
    db: sqlite3.Connection,
    experiments: Sequence[str],
    filter: str = "",
    *,
    datasets: Sequence[Dataset] = (),
    orders: Sequence[ModelOrder] = (),
    most: int | None = None,
    token: str = "",
) -> Page:
    """Return a page of logged models that are not deleted by their numbers in the file, the newest first if
    no order is asked for.

    Raises
    ------
    InvalidInput
        If the filter, an order, the size or the token is not valid.
    """
    limit = page_size(most, default=MODELS_A_PAGE, most=MOST_MODELS)
    if len(experiments) > 1000 or len(datasets) > MOST_CLAUSES or len(orders) > MOST_CLAUSES:
        raise InvalidInput("search", "", "names too many things", hint="ask for fewer at a time")
    if any(not dataset.name for dataset in datasets):
        raise InvalidInput("dataset", "", "has no name", hint="give dataset_name")
    clauses = [part for part in parsed_filter(filter, LOGGED_MODELS).parts if isinstance(part, Clause)]
    marks = ",".join("?" * len(experiments))
    conditions = [
        Condition("logged.deleted = 0"),
        Condition(
            f"logged.experiment IN (SELECT no FROM experiment WHERE id IN ({marks}))", tuple(experiments)
        ),
        *(_condition(clause, datasets) for clause in clauses),
    ]
    if datasets and not any(clause.field.entity == METRIC for clause in clauses):
        of, bound = _of(datasets)
        conditions.append(
            Condition(f"EXISTS (SELECT 1 FROM {_VALUES} WHERE link.model = logged.id {of})", bound)
        )
    sorts = [_sorted(order) for order in orders]
    sorts += [Sorted("logged.created_ms", ascending=False), Sorted("logged.no", ascending=False)]
    asked = (list(experiments), filter, [list(one) for one in datasets], [list(one) for one in orders])
    return page(
        db, "logged", "logged.no", conditions, sorts, limit=limit, token=token, query=("logged", *asked)
    )


def _condition(clause: Clause, datasets: Sequence[Dataset]) -> Condition:
    field = clause.field
    if field.entity == ATTRIBUTE:
        if field.key == "status":
            _require_status(clause)
        return compared(_COLUMNS[field.key], clause)
    if field.entity == METRIC:
        text, bound = _latest(field.key, datasets)
        value = compared(text, clause)
        return Condition(value.text, (*bound, *value.values))
    value = compared("value", clause)
    kind = PARAM if field.entity == PARAMETER else TAGS
    found = "SELECT 1 FROM logged_word WHERE logged_word.logged = logged.no AND kind = ? AND name = ?"
    return Condition(f"EXISTS ({found} AND {value.text})", (kind, field.key, *value.values))


def _require_status(clause: Clause) -> None:
    values = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    if "LIKE" not in clause.operator and (unknown := set(values) - set(LOGGED_STATUSES)):
        hint = f"use some of {', '.join(LOGGED_STATUSES)}"
        raise InvalidInput("model status", str(min(map(str, unknown)))[:80], "does not exist", hint=hint)


def _sorted(order: ModelOrder) -> Sorted:
    field = _field(order.field)
    if field.entity == ATTRIBUTE:
        return Sorted(_COLUMNS[field.key], order.ascending)
    text, bound = _latest(field.key, () if order.dataset is None else (order.dataset,))
    return Sorted(text, order.ascending, bound, may_be_missing=True)


def _field(name: str) -> Field:
    if not name:
        raise InvalidInput("order", "", "names no field", hint="give field_name")
    return parsed_orders([name], LOGGED_MODELS)[0].field


def _latest(metric: str, datasets: Sequence[Dataset]) -> tuple[str, tuple[Bound, ...]]:
    """Return the expression of a metric's latest value, and what is bound to it."""
    of, bound = _of(datasets)
    where = f"link.model = logged.id AND key.name = ? {of}"
    return f"(SELECT linked.value FROM {_VALUES} WHERE {where} {_LATEST})", (metric, *bound)


def _of(datasets: Sequence[Dataset]) -> tuple[str, tuple[Bound, ...]]:
    if not datasets:
        return "", ()
    parts: list[str] = []
    bound: list[Bound] = []
    for dataset in datasets:
        said = [
            (column, value) for column, value in zip(("dataset", "digest"), dataset, strict=True) if value
        ]
        parts.append(" AND ".join(f"link.{column} = ?" for column, _ in said))
        bound += [value for _, value in said]
    return "AND ({})".format(" OR ".join(f"({part})" for part in parts)), tuple(bound)
