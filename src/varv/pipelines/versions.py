"""Steps at the ends of a pipeline of data: rows of a dataset's version come in, and a version goes out.

    flights = varv.rows("flights@audited")
    daily = varv.sql("SELECT carrier, day, count(*) AS n FROM flights GROUP BY ALL", flights=flights)
    table = varv.Pipeline("table", varv.into("daily", daily, key=["carrier", "day"], event_time="day"))

Whoever runs the pipeline has the home: it says which version a reference means when the run begins, reads the
rows, and writes the version that comes out (`app.deriving`). Between the two ends are steps as all others.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, InvalidInput
from varv.pipelines.steps import Node, step

_OURS = "1"
"""Vouches for what these functions reach, which changes with varv alone."""


@step(version=_OURS)
def rows_of_version(reference: str, at: str = "") -> pl.DataFrame:
    """Return the rows of a version; run by whoever has the home."""
    hint = "run it with varv pipeline run"
    raise FailedPrecondition("step", reference, "is run by whoever has the home", hint=hint, at=at)


@step(version=_OURS)
def rows_for_version(
    rows: pl.DataFrame, dataset: str, key: list[str], event_time: str, known_at: dict[str, list[str]]
) -> pl.DataFrame:
    """Return the rows that become a version of a dataset, checked as far as they can be by themselves."""
    later = [name for time, names in known_at.items() for name in (time, *names)]
    missing = [name for name in (*key, event_time, *later) if name not in rows.columns]
    if missing:
        hint = f"the columns are {', '.join(rows.columns)}"
        raise InvalidInput("dataset", dataset, f"is given no column {missing[0]!r}", hint=hint)
    if n_twice := int(rows.select(key).is_duplicated().sum()):
        hint = "group by the key, or name more columns"
        raise InvalidInput("dataset", dataset, "is given a key twice", n_rows=n_twice, hint=hint)
    return rows


def rows(reference: str) -> Node:
    """Return the node of a dataset's rows: ``"flights"``, ``"flights@12"``, ``"flights@audited"`` or
    ``"flights@2013-05-01"``; without a version that which is the last when the pipeline runs.
    """
    return rows_of_version.bind(reference=reference).named(_plain(reference))


def sql(query: str, **tables: Node) -> Node:
    """Return the node of a query of DuckDB over the results of others, which are tables under their names.

    The query reads these tables and nothing else: no file and no address.

    Raises
    ------
    InvalidDeclaration
        If a table is not the result of a step that returns a dataframe.
    """

    def sql_rows(**given: Any) -> pl.DataFrame:
        return run_sql(given.pop("query"), given)

    kinds = {"query": str, **dict.fromkeys(tables, pl.DataFrame)}
    # A step says what it is given by the signature of its function.
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=of) for name, of in kinds.items()
    ]
    sql_rows.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    sql_rows.__annotations__ = {**kinds, "return": pl.DataFrame}
    if not all(isinstance(one, Node) for one in tables.values()):
        hint = 'give flights=varv.rows("flights")'
        raise InvalidDeclaration("step", "sql", "is given a table that is no result of a step", hint=hint)
    return step(version=_OURS)(sql_rows).bind(query=query, **tables)


def into(
    dataset: str,
    of: Node,
    *,
    key: str | Sequence[str],
    event_time: str,
    known_at: Mapping[str, Sequence[str]] | None = None,
) -> Node:
    """Return the node whose rows become the next version of a dataset, in the place of all that it holds.

    Rows like those of the last version make none. What versions they were made from is on record with the
    version.

    Parameters
    ----------
    key, event_time, known_at
        Of the dataset, as `varv.Dataset` takes them.
    """
    shape = {
        "key": [key] if isinstance(key, str) else list(key),
        "event_time": event_time,
        "known_at": {time: list(names) for time, names in (known_at or {}).items()},
    }
    return rows_for_version.bind(rows=of, dataset=dataset, **shape).named(f"{_plain(dataset)}_version")


def run_sql(query: str, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return what a query gives over tables.

    Raises
    ------
    FailedPrecondition
        If DuckDB is not installed.
    InvalidInput
        If it refuses the query.
    """
    try:
        import duckdb
    except ModuleNotFoundError:
        hint = "pip install 'varv[duckdb]'"
        raise FailedPrecondition("step", "sql", "needs the package duckdb", hint=hint) from None
    # What a query read beside its tables would be no part of the key of its result.
    with duckdb.connect(":memory:", config={"enable_external_access": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table.to_arrow())
        try:
            relation = connection.sql(query)
            found = None if relation is None else relation.pl()
        except duckdb.Error as error:
            why = str(error).strip().split("\n")[0][:300]
            hint = f"the tables are {', '.join(tables)}"
            raise InvalidInput(
                "query", " ".join(query.split())[:80], "is refused", why=why, hint=hint
            ) from None
    if found is None:
        raise InvalidInput(
            "query", " ".join(query.split())[:80], "gives no rows", hint="end it with a SELECT"
        )
    # A sum of whole numbers is one of 128 bits there, which comes as a decimal.
    decimals = {name: dtype for name, dtype in found.schema.items() if isinstance(dtype, pl.Decimal)}
    return found.with_columns(
        pl.col(name).cast(pl.Float64 if dtype.scale else pl.Int64) for name, dtype in decimals.items()
    )


def _plain(text: str) -> str:
    return (
        "".join(one if one.isalnum() and one.isascii() else "_" for one in text.lower()).strip("_") or "rows"
    )
