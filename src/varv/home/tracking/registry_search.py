"""Searches of registered models and of versions, in MLflow's grammar.

Prompts are registered models too, told apart by a tag; a search shows them only if its filter names that tag.

Source: MLflow's documentation of the searches of its registry, and the behaviour of its server 3.18.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from varv.home.tracking.paging import Condition, Page, Sorted, compared, page, page_size
from varv.registry.rules import PROMPT
from varv.runs.filters import (
    ATTRIBUTE,
    LISTS,
    ORDERED,
    PATTERNS,
    Clause,
    Grammar,
    Named,
    Order,
    parsed_filter,
    parsed_orders,
)

MODELS_A_PAGE, MOST_MODELS = 100, 1000
VERSIONS_A_PAGE, MOST_VERSIONS = 10_000, 200_000
TAG = "tag"
_SPELLED = {"tag": TAG, "tags": TAG, "attribute": ATTRIBUTE, "attributes": ATTRIBUTE}
_TAGS = {TAG: Named("", "text", PATTERNS)}
_NAME = Named("name", "text", PATTERNS | LISTS)


def _named(name: str, *more: str) -> dict[str, Named]:
    return dict.fromkeys((name, *more), Named(name, "number", ORDERED))


MODELS = Grammar(
    keyed=_TAGS,
    fixed={ATTRIBUTE: {"name": _NAME, **_named("last_updated_timestamp", "timestamp")}},
    spelled=_SPELLED,
    orders=frozenset({ATTRIBUTE}),
)
VERSIONS = Grammar(
    keyed=_TAGS,
    fixed={
        ATTRIBUTE: {
            "name": _NAME,
            "run_id": Named("run_id", "text", PATTERNS | LISTS),
            "source_path": Named("source_path", "text", PATTERNS),
            **_named("version_number"),
            **_named("creation_timestamp"),
            **_named("last_updated_timestamp"),
        }
    },
    spelled=_SPELLED,
    orders=frozenset({ATTRIBUTE}),
)
_MODEL_COLUMNS = {
    "name": "registered.name",
    "last_updated_timestamp": "registered.updated_ms",
}
_VERSION_COLUMNS = {
    "name": "registered.name",
    "run_id": "version.run",
    "source_path": "version.source",
    "version_number": "version.number",
    "creation_timestamp": "version.created_ms",
    "last_updated_timestamp": "version.updated_ms",
}


def models(
    db: sqlite3.Connection,
    filter: str = "",
    orders: Sequence[str] = (),
    *,
    most: int | None = None,
    token: str = "",
) -> Page:
    """Return a page of registered models by their numbers in the file, by name if no order is asked for.

    Raises
    ------
    InvalidInput
        If the filter, an order, the size or the token is not valid.
    """
    limit = page_size(most, default=MODELS_A_PAGE, most=MOST_MODELS)
    clauses = [part for part in parsed_filter(filter, MODELS).parts if isinstance(part, Clause)]
    conditions = _conditions(
        clauses, _MODEL_COLUMNS, "registered_tag WHERE registered_tag.model = registered.no"
    )
    sorts = _sorts(parsed_orders(orders, MODELS), _MODEL_COLUMNS)
    sorts.append(Sorted("registered.name"))
    return page(
        db,
        "registered",
        "registered.no",
        conditions,
        sorts,
        limit=limit,
        token=token,
        query=("models", filter, list(orders)),
    )


def versions(
    db: sqlite3.Connection,
    filter: str = "",
    orders: Sequence[str] = (),
    *,
    most: int | None = None,
    token: str = "",
) -> Page:
    """Return a page of versions by the numbers of their rows in the file, those that changed last first if no
    order is asked for.

    Raises
    ------
    InvalidInput
        If the filter, an order, the size or the token is not valid.
    """
    limit = page_size(most, default=VERSIONS_A_PAGE, most=MOST_VERSIONS)
    clauses = [part for part in parsed_filter(filter, VERSIONS).parts if isinstance(part, Clause)]
    conditions = _conditions(clauses, _VERSION_COLUMNS, "version_tag WHERE version_tag.version = version.no")
    sorts = _sorts(parsed_orders(orders, VERSIONS), _VERSION_COLUMNS)
    sorts += [
        Sorted("version.updated_ms", ascending=False),
        Sorted("registered.name"),
        Sorted("version.number", ascending=False),
    ]
    return page(
        db,
        "version JOIN registered ON registered.no = version.model",
        "version.no",
        conditions,
        sorts,
        limit=limit,
        token=token,
        query=("versions", filter, list(orders)),
    )


def _sorts(orders: Iterable[Order], columns: dict[str, str]) -> list[Sorted]:
    return [Sorted(columns[order.field.key], order.ascending) for order in orders]


def _conditions(clauses: Sequence[Clause], columns: dict[str, str], tags: str) -> list[Condition]:
    conditions = []
    for clause in clauses:
        if clause.field.entity == TAG:
            conditions.append(_tagged(clause, tags))
        else:
            conditions.append(compared(columns[clause.field.key], clause))
    if not any(_is_about_prompts(clause) for clause in clauses):
        conditions.append(
            Condition(f"NOT EXISTS (SELECT 1 FROM {tags} AND name = ? AND value = 'true')", (PROMPT,))
        )
    return conditions


def _tagged(clause: Clause, tags: str) -> Condition:
    value = compared("value", clause)
    bound = (clause.field.key, *value.values)
    found = f"EXISTS (SELECT 1 FROM {tags} AND name = ? AND {value.text})"
    if _is_about_prompts(clause) and (clause.operator, clause.value) in (("=", "false"), ("!=", "true")):
        # What has no such tag is no prompt.
        missing = f"NOT EXISTS (SELECT 1 FROM {tags} AND name = ?)"
        return Condition(f"{found} OR {missing}", (*bound, PROMPT))
    return Condition(found, bound)


def _is_about_prompts(clause: Clause) -> bool:
    return clause.field.entity == TAG and clause.field.key == PROMPT
