"""One SQL view of a dataset whose parts are tables, as `Datasets.read` joins them, for engines of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from varv.data.dataset import Dataset
from varv.kernel.errors import InvalidInput

Dialect = Literal["duckdb", "spark"]
DIALECTS: tuple[str, ...] = get_args(Dialect)


def table_in(dialect: str, place: str, version: int | None = None) -> str:
    """Return how a dialect reads a Delta table, by default its last version.

    Raises
    ------
    InvalidInput
        If the dialect is none of `DIALECTS`.

    Examples
    --------
    >>> table_in("duckdb", "s3://b/flights/at", 3)
    "delta_scan('s3://b/flights/at', version => 3)"
    >>> table_in("spark", "/data/flights/at", 3)
    'delta.`/data/flights/at` VERSION AS OF 3'
    """
    if dialect == "duckdb":
        pinned = "" if version is None else f", version => {version}"
        return f"delta_scan('{place.replace(chr(39), chr(39) * 2)}'{pinned})"
    if dialect == "spark":
        return f"delta.{_quoted(dialect, place)}" + ("" if version is None else f" VERSION AS OF {version}")
    raise InvalidInput("dialect", dialect[:40], "does not exist", hint=f"choose {' or '.join(DIALECTS)}")


def joined_view(dataset: Dataset, tables: Mapping[str, str], dialect: str) -> str:
    """Return a statement that makes a view of a dataset: one row a key, with what is known of it by now.

    Parameters
    ----------
    tables
        By part, how the dialect reads its table.
    """
    base, later = dataset.event_time, list(dataset.known_at)
    of_part = {name: part for part in reversed(dataset.parts) for name in dataset.columns(part)}
    of_part |= dict.fromkeys(dataset.key, base)
    alias = {part: f"p{number}" for number, part in enumerate(dataset.parts)}

    def column(part: str, name: str) -> str:
        return f"{alias[part]}.{_quoted(dialect, name)}"

    def value(name: str) -> str:
        part = of_part[name]
        if part == base:
            return column(part, name)
        # What is said of a row before it exists is not used.
        holds = f"{column(part, part)} >= {column(base, base)}"
        return f"CASE WHEN {holds} THEN {column(part, name)} END AS {_quoted(dialect, name)}"

    lines = [f"CREATE OR REPLACE VIEW {_quoted(dialect, dataset.name)} AS", "SELECT"]
    lines.append(",\n".join(f"  {value(name)}" for name in dataset.types()))
    lines.append(f"FROM {tables[base]} AS {alias[base]}")
    for part in later:
        on = " AND ".join(f"{column(base, name)} = {column(part, name)}" for name in dataset.key)
        lines.append(f"LEFT JOIN {tables[part]} AS {alias[part]} ON {on}")
    return "\n".join(lines) + "\n"


def _quoted(dialect: str, name: str) -> str:
    mark = "`" if dialect == "spark" else '"'
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"
