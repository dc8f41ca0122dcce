"""Landing folders as sources: files that another tool puts down, read once they are whole.

When a file is whole is for `sources.folders` to say. Tools that rename a finished file are known, so nothing
is waited for there, nor in object stores.

Source: NiFi's PutFile, which writes ``.name`` and renames it; for Airbyte see `sources.airbyte`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import polars as pl

from varv.data.sources import airbyte
from varv.data.sources.files import format_of, guessed, in_batches, is_read, unguessed
from varv.data.sources.folders import Folder, Landed, is_hidden
from varv.data.sources.places import SETTLE, folder_at, require_place
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.clock import Duration, Instant, duration
from varv.kernel.errors import InvalidDeclaration, NotFound
from varv.kernel.scratch import Scratch

Tool = Literal["airbyte", "nifi"]
_READ_UP_TO, _REFRESHED = airbyte.GENERATION, "refreshed"
"""The places of the cursor that hold the greatest generation of Airbyte that was read, and that whose rows
are all there is.
"""


@dataclass(frozen=True)
class Landing:
    """Files of Parquet, Avro, CSV or JSON lines, also with gzip, that appear in a folder and those below it.

    Parameters
    ----------
    path
        The folder, also in an object store, such as ``"s3://bucket/prefix"``; for Airbyte that of one
        stream, ``namespace/stream``.
    of
        ``"nifi"``, ``"airbyte"``, or None for anybody.
    settle
        How long a file must have been left alone: five seconds, or no time for NiFi, which renames what is
        whole. Objects appear whole.
    options
        Of an object store, as `Objects` takes them.

    Raises
    ------
    InvalidDeclaration
        If the tool is not known, the time is none, or an option holds a secret.

    Notes
    -----
    Of Airbyte, rows have ``_airbyte_extracted_at`` as a time, which is when they were known; records that are
    kept as one JSON object become columns; rows of which Airbyte says that it changed a value are put in
    quarantine; a record that says when its row was deleted removes it. Of a generation that is older than one
    that was read nothing is taken any more. Once no file of an older one is left, which Airbyte sees to when
    a refresh has succeeded that replaces what was there, rows that the new one does not hold are removed.
    """

    path: str
    of: Tool | None = None
    settle: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.of not in (None, "airbyte", "nifi"):
            hint = "write of='airbyte' or of='nifi', or leave it out; varv.Dbt reads what dbt builds"
            raise InvalidDeclaration("source", "Landing", f"is of {self.of!r}", hint=hint)
        require_place("Landing", self.path, self.settle, self.options)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"landing {self.path}" + (f" of {self.of}" if self.of else "")

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return True

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return airbyte.TECHNICAL if self.of == "airbyte" else ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and types of the last file."""
        last, scratch = self._required()[-1].name, Scratch("landed")
        return self._shaped(self._guessed(last, scratch).head(1000).collect())[0].schema

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(list(self.batches()), how="diagonal_relaxed")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, in the order in which the files were written."""
        for file in self._required():
            scratch = Scratch("landed")
            for rows in in_batches(self._guessed(file.name, scratch)):
                shaped = self._shaped(rows)[0]
                yield shaped if columns is None else shaped.select(columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of whole files that are new or have changed."""
        marks = {one.name: one.mark for one in self._files(asked.now)}
        wanted = {**asked.types, **dict.fromkeys(airbyte.SAID, pl.String())}
        columns = wanted if self.of == "airbyte" else asked.types

        def read(name: str, skip: int) -> Iterator[pl.DataFrame]:
            scratch = Scratch("landed")
            yield from unguessed(self._folder.here(name, scratch), format_of(name), columns, skip)

        own = (_READ_UP_TO, _REFRESHED)
        known = {name: mark for name, mark in asked.cursor.items() if name not in own}
        steps = file_steps(marks, asked._replace(cursor=known), read)
        yield from self._of_generations(steps, asked.cursor) if self.of == "airbyte" else steps

    def _of_generations(self, steps: Iterable[Step], cursor: Mapping[str, str]) -> Iterator[Step]:
        """Yield steps as they are meant, of the last generation only; at the end, that others are gone."""
        latest = int(cursor.get(_READ_UP_TO, 0))
        refreshed = cursor.get(_REFRESHED) or cursor.get(_READ_UP_TO)
        for step in steps:
            rows, broken = airbyte.airbyte_rows(step.rows)
            moved = dict(step.moved)
            if airbyte.GENERATION in rows.columns and rows.height:
                numbers = rows[airbyte.GENERATION].cast(pl.Int64, strict=False)
                refreshed = refreshed or str(numbers.min() or 0)
                latest = max(latest, int(numbers.max() or 0))  # type: ignore[arg-type]
                is_of = (numbers == latest).fill_null(True)
                rows, broken = rows.filter(is_of), None if broken is None else broken.filter(is_of)
                moved |= {_READ_UP_TO: str(latest), _REFRESHED: refreshed}
            yield Step(rows, moved, broken, airbyte.deletions(rows))
        if latest <= int(refreshed or latest):
            return
        # The oldest first: mostly it says at once that this is still to come.
        left = self._generations()
        if next(left, 0) == latest and all(one == latest for one in left):
            yield Step(pl.DataFrame(), {_REFRESHED: str(latest)}, only=self)

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that lie in files; of Airbyte, of those of the last
        generation that were not deleted since.
        """
        if self.of != "airbyte":
            yield from self.batches(columns)
            return
        latest = max(self._generations(), default=0)
        texts = dict.fromkeys((*columns, *airbyte.SAID), pl.String())
        found: list[pl.DataFrame] = []
        for file in self._required():
            scratch = Scratch("landed")
            for came in unguessed(self._folder.here(file.name, scratch), format_of(file.name), texts):
                rows, _ = airbyte.airbyte_rows(came)
                if airbyte.GENERATION in rows.columns:
                    number = pl.col(airbyte.GENERATION).cast(pl.Int64, strict=False)
                    rows = rows.filter(number.fill_null(latest) == latest)
                gone = airbyte.deletions(rows)
                is_gone = pl.lit(value=False) if gone is None else pl.lit(gone)
                found.append(rows.select(*columns, is_gone.alias("@gone")))
        if found:
            last = pl.concat(found, how="vertical_relaxed").unique(columns, keep="last", maintain_order=True)
            yield last.filter(~pl.col("@gone")).select(columns)

    def _generations(self) -> Iterator[int]:
        """Yield the generation of each file, in the order in which they were written."""
        for file in self._files(None):
            scratch = Scratch("landed")
            yield airbyte.generation_of(self._guessed(file.name, scratch))

    def _required(self) -> list[Landed]:
        # What is declared is read as it lies there: a dataset may be declared a moment after its first file.
        files = self._files(None)
        if not files:
            hint = "check the path; the folder must hold one whole file when it is first read"
            raise NotFound("source", self.identity, "holds no file that is read", hint=hint)
        return files

    def _files(self, now: Instant | None) -> list[Landed]:
        """Return the whole files in the order in which they are read."""
        found = [one for one in self._folder.files(now) if is_read(one.name) and not is_hidden(one.name)]
        if self.of != "airbyte":
            return found
        named = [one for one in found if airbyte.is_named(one.name)]
        return sorted(named, key=lambda one: airbyte.written(one.name))

    def _guessed(self, name: str, scratch: Scratch) -> pl.LazyFrame:
        return guessed(self._folder.here(name, scratch), format_of(name))

    @cached_property
    def _folder(self) -> Folder:
        usual = Duration(0) if self.of == "nifi" else SETTLE
        settle = duration(self.settle) if self.settle else usual
        return folder_at(self.path, settle, self.options, self.identity)

    def _shaped(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
        """Return rows as they are meant, and which of them are not what they were."""
        return airbyte.airbyte_rows(rows) if self.of == "airbyte" else (rows, None)
