"""Databases as sources: a table or a query, read by ADBC, which keeps types, or by SQLAlchemy.

A pull with a watermark reads what has the last seen value or a later one. Rows at that very value come again
and are known by their keys: one that was committed late must not be missed because another one was as late.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from varv.data.sources.kept import fitted
from varv.data.sources.steps import BATCH_ROWS, Asked, Step, pieces, with_last
from varv.data.sources.watermarks import as_text, before, from_text, later
from varv.kernel.clock import duration
from varv.kernel.codec import digest
from varv.kernel.columns import TIME
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, InvalidInput, Unavailable
from varv.kernel.plugins import required
from varv.kernel.variables import filled_in, names_in, scrubbed

AT = "at"
"""The place of the cursor that holds the greatest watermark."""
CONNECT_S = 10
_ADBC = {
    "sqlite": "adbc_driver_sqlite.dbapi",
    "postgresql": "adbc_driver_postgresql.dbapi",
    "postgres": "adbc_driver_postgresql.dbapi",
}
_TABLE = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)?")
_SHOWN = 60
_FIRST_ROWS = 10_000


@dataclass(frozen=True)
class Sql:
    """Rows of a database.

    Parameters
    ----------
    query
        A table, or a SELECT.
    url
        Such as ``"postgresql://reader:${SHOP_PASSWORD}@db/shop"`` or ``"sqlite:///shop.db"``; ``${NAME}`` is
        a variable of the environment. A password that stands there itself is refused.
    watermark
        A column that never falls as rows are written or changed, such as ``"updated_at"``: a pull reads what
        is new by it. Rows in which it is null are not read. It is no column of the dataset unless that names
        it. Without one, each pull reads everything.
    lag
        How long a row may be committed after its watermark says: ``"10m"`` of that are read again.
    times
        Columns that hold times as texts, which is all that SQLite has.

    Raises
    ------
    InvalidDeclaration
        If one of these is not valid, or the address holds a password.
    """

    query: str
    url: str
    watermark: str = ""
    lag: str = ""
    times: Sequence[str] = ()

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            if self.lag:
                duration(self.lag)
        except (ValueError, InvalidInput) as error:
            raise InvalidDeclaration("source", "Sql", f"is not valid: {error}") from None
        if not parts.scheme or not self.query.strip():
            hint = 'write varv.Sql("orders", url="postgresql://reader@db/shop")'
            raise InvalidDeclaration("source", "Sql", "names no database or no table", hint=hint)
        if parts.password and not names_in(parts.password):
            hint = "name a variable of the environment: ${SHOP_PASSWORD}"
            raise InvalidDeclaration("source", "Sql", "holds a password", hint=hint)
        if self.lag and not self.watermark:
            hint = "name the column: watermark="
            raise InvalidDeclaration("source", "Sql", "has a lag and no watermark", hint=hint)

    @property
    def identity(self) -> str:
        """What the source is: the place without who reads it, and the query."""
        parts = urlsplit(self.url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        query = " ".join(self.query.split())
        if len(query) > _SHOWN:
            query = f"{query[:_SHOWN]}... {digest(query.encode())[:8]}"
        return f"sql {place} {query}" + (f" by {self.watermark}" if self.watermark else "")

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return self._driver() is None or self._scheme == "sqlite"

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return (self.watermark,) if self.watermark else ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types, as the first 10,000 rows tell where the database does not."""
        # Not every database that SQLAlchemy knows has a LIMIT; it is asked for no more than is taken.
        query = self._select if self._driver() is None else f"{self._of()} LIMIT {_FIRST_ROWS}"
        asked = self._rows(query, n_rows=_FIRST_ROWS)
        return self._timed(next(asked)).schema

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(list(self.batches()), how="vertical_relaxed")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, some hundred thousand at a time."""
        query = self._select if columns is None else self._of(columns)
        yield from (self._timed(rows) for rows in pieces(self._rows(query)))

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield what is new by the watermark, in its order; all rows if there is none."""
        if not self.watermark:
            yield from (Step(rows, {}) for rows in self.batches())
            return
        name = self._quoted(self.watermark)
        query, since = f"{self._of()} WHERE {name} IS NOT NULL", None
        if AT in asked.cursor:
            since = before(from_text(asked.cursor[AT]), self.lag)
            query = f"{self._of()} WHERE {name} >= {self._place}"
        greatest = asked.cursor.get(AT, "")
        for rows in pieces(self._rows(f"{query} ORDER BY {name}", since)):
            if rows.height:
                greatest = later(greatest, as_text(rows[self.watermark][-1]))
                yield Step(self._timed(rows), {AT: greatest})

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        yield from self.batches(columns)

    @property
    def _select(self) -> str:
        query = self.query.strip().rstrip(";")
        return f"SELECT * FROM {query}" if _TABLE.fullmatch(query) else query

    def _of(self, columns: Sequence[str] | None = None) -> str:
        named = "*" if columns is None else ", ".join(map(self._quoted, columns))
        return f"SELECT {named} FROM ({self._select}) AS q"

    def _quoted(self, column: str) -> str:
        if self._driver() is not None:
            return '"' + column.replace('"', '""') + '"'
        sqlalchemy = self._sqlalchemy()
        quote: Callable[[str], str] = (
            sqlalchemy.engine.make_url(self.url).get_dialect()().identifier_preparer.quote
        )
        return quote(column)

    @property
    def _scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def _place(self) -> str:
        """Return what stands for a value in a query."""
        if self._driver() is None:
            return ":since"
        return "?" if self._scheme == "sqlite" else "$1"

    def _timed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return fitted(rows, dict.fromkeys(self.times, TIME))[0] if self.times else rows

    def _driver(self) -> Any | None:
        """Return the module of ADBC for this database; None if SQLAlchemy is to be asked."""
        if self._scheme not in _ADBC:
            return None
        try:
            return import_module(_ADBC[self._scheme])
        except ModuleNotFoundError:
            return None

    def _sqlalchemy(self) -> Any:
        return required("sqlalchemy", kind="source", name=self.identity, extra="sql")

    def _rows(self, query: str, since: Any = None, *, n_rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Yield what a query gives, an empty frame if that is nothing.

        Raises
        ------
        Unavailable
            If the database cannot be reached, or refuses.
        """
        url = filled_in(self.url, kind="source", name=self.identity, in_address=True)
        driver = self._driver()
        try:
            if driver is not None:
                yield from _by_adbc(driver, url, query, since)
            else:
                yield from _by_sqlalchemy(self._sqlalchemy(), url, query, since, n_rows)
        except FailedPrecondition:
            raise
        except Exception as error:  # noqa: BLE001 - drivers have each their own
            why = scrubbed(str(error).split("\n")[0][:300], [self.url])
            hint = "try the query with the database's own client"
            raise Unavailable("source", self.identity, "cannot be read", why=why, hint=hint) from None


def _by_adbc(driver: Any, url: str, query: str, since: Any) -> Iterator[pl.DataFrame]:
    parts = urlsplit(url)
    is_sqlite = parts.scheme == "sqlite"
    # SQLAlchemy's form of the address: one slash more than the path has.
    where = f"file:{unquote(parts.path[1:])}?mode=ro" if is_sqlite else _bounded(url)
    with closing(driver.connect(where)) as connection, closing(connection.cursor()) as cursor:
        if not is_sqlite:
            cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(query, None if since is None else (since,))
        yield from _fetched(cursor)


def _fetched(cursor: Any) -> Iterator[pl.DataFrame]:
    try:
        reader = cursor.fetch_record_batch()
    except ModuleNotFoundError:
        # Piece by piece is what pyarrow can and the driver's own interface cannot.
        yield cursor.fetch_polars()
        return
    held: list[Any] = []
    n_held = n_given = 0
    for batch in reader:
        held.append(batch)
        n_held += batch.num_rows
        if n_held >= BATCH_ROWS:
            yield _frame(held, reader.schema)
            held.clear()
            n_held, n_given = 0, n_given + 1
    if held or not n_given:
        yield _frame(held, reader.schema)


def _frame(batches: Sequence[Any], schema: Any) -> pl.DataFrame:
    from pyarrow import Table

    return pl.DataFrame(Table.from_batches(batches, schema=schema))


def _bounded(url: str) -> str:
    if "connect_timeout" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={CONNECT_S}"


def _by_sqlalchemy(sqlalchemy: Any, url: str, query: str, since: Any, n_rows: int) -> Iterator[pl.DataFrame]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with closing(engine.connect()) as connection:
        options = connection.execution_options(stream_results=True)
        found = options.execute(sqlalchemy.text(query), {} if since is None else {"since": since})
        names = list(found.keys())
        for rows, is_last in with_last(found.partitions(n_rows)):
            yield pl.DataFrame(
                [tuple(row) for row in rows], schema=names, orient="row", infer_schema_length=None
            )
            if is_last:
                return
        yield pl.DataFrame(schema=names)
