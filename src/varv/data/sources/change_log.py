"""What files of change events say together: the rows of the table, and what is new since a pull.

Events come late, twice and in the order of whatever carried them, so what counts of a key is its change that
is last in the log of the database. How far a file reaches in the log is kept with its mark; whether a change
was superseded is looked up in the files that reach as far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from varv.data.sources.changes_read import ABOUT, GONE, KEY, PARTLY, POSITION, ChangesRead
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.errors import InvalidInput

TRUNCATED, FORGOTTEN = "@truncated", "@forgotten"
"""The places of the cursor that hold where the table was emptied last, and how far files reached that
are gone.
"""
_NEWEST, _FILE = "@newest", "@file"
Opened = Callable[[str], ChangesRead]
"""Reads a file of a name, or remembers what it held."""


class Table:
    """The rows that files make.

    Parameters
    ----------
    names
        Of the files, in the order in which they are read.
    """

    def __init__(self, names: Sequence[str], opened: Opened) -> None:
        self._names, self._opened = names, opened

    def rows(self, columns: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
        """Yield the rows, in the order in which files hold them, values as texts."""
        there = self._there()
        for name in self._names:
            held = there.filter(pl.col(_FILE) == name)
            for rows in self._opened(name).rows(columns) if held.height else ():
                yield rows.join(held, on=KEY, how="semi", maintain_order="left").select(list(columns))

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        yield from self.rows(dict.fromkeys(columns, pl.String()))

    def _there(self) -> pl.DataFrame:
        """Return the keys of the rows, and the file that holds the last change of each."""
        found: list[pl.DataFrame] = []
        truncated = last = ""
        for name in self._names:
            read = self._opened(name)
            require_one_log(name, last, read.last)
            truncated, last = max(truncated, read.truncated), read.last or last
            found.append(read.index.select(KEY, POSITION, GONE, pl.lit(name).alias(_FILE)))
        changes = pl.concat(found).sort(POSITION, maintain_order=True)
        last_ones = changes.unique(KEY, keep="last", maintain_order=True).filter(~pl.col(GONE))
        return last_ones.filter(pl.col(POSITION) > truncated) if truncated else last_ones


class Pull:
    """One pull of the files that there are.

    Parameters
    ----------
    marks
        Of the files, by their names, in the order in which they are read.
    asked
        From where on; its types with the columns of the primary key.
    """

    def __init__(self, marks: Mapping[str, str], asked: Asked, opened: Opened) -> None:
        own = (TRUNCATED, FORGOTTEN)
        split = {name: text.partition("|") for name, text in asked.cursor.items() if name not in own}
        self._marks, self._opened = marks, opened
        self._reached = {name: reached for name, (reached, _, _) in split.items()}
        self._asked = asked._replace(cursor={name: mark for name, (_, _, mark) in split.items()})
        self._truncated = asked.cursor.get(TRUNCATED, "")
        gone = (self._reached[name] for name in self._reached.keys() - marks.keys())
        self._forgotten = max([asked.cursor.get(FORGOTTEN, ""), *gone])

    def steps(self) -> Iterator[Step]:
        """Yield the last change of each key in files that are new or have changed, unless a file that was
        read says something later.
        """

        def read(name: str, skip: int) -> Iterator[pl.DataFrame]:
            return self._opened(name).rows(self._asked.types, skip)

        for step in file_steps(self._marks, self._asked, read):
            name = next((name for name, mark in step.moved.items() if mark), "")
            moved = {**step.moved, FORGOTTEN: self._forgotten} if self._forgotten else dict(step.moved)
            if not name:
                yield step._replace(moved=moved)
                continue
            opened = self._opened(name)
            require_one_log(name, max(self._reached.values(), default=""), opened.last)
            if opened.truncated > self._truncated:
                self._truncated = opened.truncated
                table = Table([*self._marks], self._opened)
                yield Step(pl.DataFrame(), {TRUNCATED: self._truncated}, only=table)
            yield self._meant(name, step.rows, {**moved, name: f"{opened.last}|{moved[name]}"})
            self._reached[name] = opened.last

    def _meant(self, name: str, rows: pl.DataFrame, moved: Mapping[str, str]) -> Step:
        """Return the rows that no other file supersedes, and which of them are gone."""
        if rows.is_empty():
            return Step(rows, moved)
        rows = self._unless_superseded(name, rows)
        # Whether it was superseded, nobody can say any more.
        is_lost = pl.col(POSITION) <= self._forgotten if self._forgotten else pl.lit(value=False)
        rows = rows.with_columns(pl.col(PARTLY) | is_lost, pl.col(GONE) & ~is_lost)
        gone = rows[GONE] if rows[GONE].any() else None
        return Step(rows.drop(ABOUT), moved, rows[PARTLY] & ~rows[GONE], gone, entire=True)

    def _unless_superseded(self, name: str, rows: pl.DataFrame) -> pl.DataFrame:
        if self._truncated:
            rows = rows.filter(pl.col(POSITION) > self._truncated)
        first = rows[POSITION].min()
        if first is None:
            return rows
        others = [
            self._opened(other).index.select(KEY, POSITION)
            for other, reached in self._reached.items()
            if other != name and other in self._marks and reached >= str(first)
        ]
        if not others:
            return rows
        said = pl.concat([one.join(rows, on=KEY, how="semi") for one in others])
        newest = said.group_by(KEY).agg(pl.col(POSITION).max().alias(_NEWEST))
        found = rows.join(newest, on=KEY, how="left", maintain_order="left")
        is_older = (pl.col(POSITION) <= pl.col(_NEWEST)) & (pl.col(POSITION) != "")
        return found.filter(~is_older.fill_null(value=False)).drop(_NEWEST)


def require_one_log(name: str, one: str, other: str) -> None:
    """Refuse places that cannot be compared.

    Raises
    ------
    InvalidInput
        If two are of logs of several kinds.
    """
    first, second = one.partition(" ")[0], other.partition(" ")[0]
    if first and second and first != second:
        hint = "let a folder hold the changes of one table, all with the same fields of their source"
        problem = f"says where changes are by {second}, and others by {first}"
        raise InvalidInput("file", name, problem, hint=hint)
