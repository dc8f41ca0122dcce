"""A database that is only read: SQLite's file, or PostgreSQL where its driver is installed."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from varv.kernel.errors import InvalidInput, NotFound, Unavailable
from varv.kernel.plugins import required

AT_ONCE = 500
"""Values of one list in a query."""
_FETCHED_AT_ONCE = 5000
Rows = dict[str, list[tuple[Any, ...]]]
"""Rows by the column that they are asked for by."""


class Database(Protocol):
    """Tables, to be read by one thread."""

    @property
    def name(self) -> str:
        """The address without a password."""
        ...

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, whose values stand as ``?``."""
        ...

    def columns(self, table: str) -> frozenset[str]:
        """Return the names of a table's columns; none if there is no such table."""
        ...

    def close(self) -> None:
        """Close it; closing twice is harmless."""
        ...


def open_database(uri: str) -> Database:
    """Return the database of an address as SQLAlchemy has them.

    Raises
    ------
    InvalidInput
        If it is of another kind.
    NotFound
        If there is no such file.
    Unavailable
        If the server does not answer.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        return _Sqlite(uri)
    if scheme in ("postgresql", "postgres"):
        return _Postgres(uri)
    hint = "import from the server in front of it, by its http address"
    raise InvalidInput("database", scheme, "cannot be read directly", hint=hint)


def by_first(database: Database, query: str, ids: Sequence[str]) -> Rows:
    """Return the rows of some ids, which the query ends with, by their first column, without it."""
    found: Rows = defaultdict(list)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        for first, *rest in database.rows(f"{query} {marks(len(some))}", some):
            found[first].append(tuple(rest))
    return found


def marks(n: int) -> str:
    """Return a list of so many values in a query."""
    return f"({','.join('?' * n)})"


class _Sqlite:
    def __init__(self, uri: str) -> None:
        path = Path(unquote(uri.partition(":")[2].removeprefix("///"))).absolute()
        self.name = f"sqlite:///{path}"
        if not path.is_file():
            raise NotFound("file", str(path), hint="write sqlite:///FILE")
        self._db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise _unread(self.name, error) from None

    def columns(self, table: str) -> frozenset[str]:
        return frozenset(row[0] for row in self.rows("SELECT name FROM pragma_table_info(?)", (table,)))

    def close(self) -> None:
        self._db.close()


class _Postgres:
    def __init__(self, uri: str) -> None:
        psycopg: Any = required("psycopg", kind="database", name="postgresql", extra="postgres")
        parts = urlsplit(uri)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        self.name = f"postgresql://{host}{port}{parts.path}"
        plain = f"postgresql:{uri.partition(':')[2]}"
        self._error = psycopg.Error
        try:
            self._db = psycopg.connect(plain, autocommit=True, options="-c default_transaction_read_only=on")
        except psycopg.Error as error:
            raise Unavailable("database", self.name, why=str(error)[:200]) from None

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            with self._db.cursor() as cursor:
                cursor.execute(query.replace("%", "%%").replace("?", "%s"), list(values))
                while some := cursor.fetchmany(_FETCHED_AT_ONCE):
                    yield from some
        except self._error as error:
            raise _unread(self.name, error) from None

    def columns(self, table: str) -> frozenset[str]:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
        return frozenset(row[0] for row in self.rows(query, (table,)))

    def close(self) -> None:
        self._db.close()


def _unread(name: str, error: Exception) -> InvalidInput:
    hint = "is it a database of MLflow, 2.0 or later, or a registry of Feast?"
    return InvalidInput("database", name, "cannot be read", why=str(error)[:200], hint=hint)
