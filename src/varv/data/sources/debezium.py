"""Debezium as a source: change events that somebody put into files, and the table that they make.

What an event says is for `sources.change_events`, what files say together for `sources.change_log`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import polars as pl

from varv.data.sources.change_events import CHANGED_AT, Changes
from varv.data.sources.change_log import Opened, Pull, Table
from varv.data.sources.changes_read import ChangesRead
from varv.data.sources.connect_values import encoded_as
from varv.data.sources.files import format_of, guessed, is_read
from varv.data.sources.folders import Folder, Landed, is_hidden
from varv.data.sources.kept import fitted
from varv.data.sources.places import SETTLE, folder_at, require_place
from varv.data.sources.steps import Asked, Step
from varv.kernel.clock import Instant, duration
from varv.kernel.errors import InvalidDeclaration, NotFound
from varv.kernel.scratch import Scratch

_READ_AT_ONCE = 16
"""Files whose keys are held in memory, to be looked up again."""


@dataclass(frozen=True)
class Debezium:
    """The table that change events make: of JSON lines, also with gzip, Parquet or Avro in a folder.

    Parameters
    ----------
    path
        The folder of one table's topic, and those below it, also in an object store.
    key
        The columns of the table's primary key.
    encodings
        What numbers and texts of columns stand for where records come without their schema:
        ``{"ordered_at": "MicroTimestamp", "price": "Decimal(2)"}``.
    settle
        How long a file must have been left alone, five seconds by default.
    options
        Of an object store, as `Objects` takes them.

    Raises
    ------
    InvalidDeclaration
        If there is no key, an encoding does not exist, the time is none, or an option holds a secret.

    Notes
    -----
    The last change of a key in the log of the database counts, whichever file it came in; deletions remove
    rows, and a truncation removes all. A change that is older than what files said that are gone is put in
    quarantine, since nobody can tell whether it was superseded; so is one of which PostgreSQL says only
    that a large value did not change. Say ``updates="merge"`` of the dataset, so that later changes take the
    place of earlier ones. When a change was made is the column ``__source_ts_ms``.
    """

    path: str
    key: str | Sequence[str]
    encodings: Mapping[str, str] = field(default_factory=dict)
    settle: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_place("Debezium", self.path, self.settle, self.options)
        for text in self.encodings.values():
            encoded_as(text)
        if not self._key or not all(self._key):
            hint = 'name the columns of the primary key: key="id"'
            raise InvalidDeclaration("source", "Debezium", "has no key", hint=hint)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"debezium {self.path}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return True

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return (CHANGED_AT,)

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and types of the last file whose rows tell them all, by its schema where it has
        one; of what it does not tell, those of files before.
        """
        found: dict[str, pl.DataType] = {}
        for file in reversed(self._required()):
            read = self._read(file.name)
            if read.index.height:
                said = {**guessed(read.rows_file, "jsonl").collect_schema(), **read.types}
                found = {name: found.get(name, pl.Null()) for name in {**found, **said}}
                found |= {name: dtype for name, dtype in said.items() if found[name] == pl.Null}
                if pl.Null not in found.values():
                    break
        if not found:
            raise NotFound("source", self.identity, "holds no row", hint="wait for the snapshot of the table")
        return found

    def load(self) -> pl.DataFrame:
        """Return the rows that the table has."""
        return pl.concat([pl.DataFrame(schema=dict(self.types())), *self.batches()])

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the rows that the table has, in the order in which files hold them."""
        types = {name: dtype for name, dtype in self.types().items() if columns is None or name in columns}
        table = Table([one.name for one in self._required()], self._opened())
        for rows in table.rows(types):
            yield fitted(rows, types)[0].cast(pl.Schema(types))

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the last change of each key in files that are new or have changed, unless a file that was
        read says something later.
        """
        marks = {one.name: one.mark for one in self._files(asked.now)}
        types = {**dict.fromkeys(self._key, pl.String()), **asked.types}
        yield from Pull(marks, asked._replace(types=types), self._opened()).steps()

    def _opened(self) -> Opened:
        return lru_cache(_READ_AT_ONCE)(self._read)

    @property
    def _key(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    def _read(self, name: str) -> ChangesRead:
        scratch = Scratch("landed")
        changes = Changes(self._folder.here(name, scratch), format_of(name), self.encodings, name)
        return ChangesRead(changes, self._key, name)

    def _required(self) -> list[Landed]:
        files = self._files(None)
        if not files:
            hint = "check the path; the folder must hold one whole file when it is first read"
            raise NotFound("source", self.identity, "holds no file that is read", hint=hint)
        return files

    def _files(self, now: Instant | None) -> list[Landed]:
        return [one for one in self._folder.files(now) if is_read(one.name) and not is_hidden(one.name)]

    @cached_property
    def _folder(self) -> Folder:
        settle = duration(self.settle) if self.settle else SETTLE
        return folder_at(self.path, settle, self.options, self.identity)
