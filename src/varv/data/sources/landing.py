"""Landing folders as sources: files that another tool puts down, read once they are whole.

A file counts when nobody has written to it for a while, which its time of change says whatever is done to its
other times, and when its name is not one that tools give to what they still write. Tools that rename a
finished file are known, so nothing is waited for there.

Source: NiFi's PutFile, which writes ``.name`` and renames it; for Airbyte see `sources.airbyte`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from varv.data.sources import airbyte
from varv.data.sources.files import format_of, guessed, in_batches, is_read, mark_of, unguessed
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.clock import Instant, duration
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

Tool = Literal["airbyte", "nifi"]
_SETTLE = "5s"
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
        The folder; for Airbyte that of one stream, ``namespace/stream``.
    of
        ``"nifi"``, ``"airbyte"``, or None for anybody.
    settle
        How long a file must have been left alone: five seconds, or no time for NiFi, which renames what is
        whole.

    Raises
    ------
    InvalidDeclaration
        If the tool is not known, or the time is none.

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

    def __post_init__(self) -> None:
        if self.of not in (None, "airbyte", "nifi"):
            hint = "write of='airbyte' or of='nifi', or leave it out; varv.Dbt reads what dbt builds"
            raise InvalidDeclaration("source", "Landing", f"is of {self.of!r}", hint=hint)
        try:
            if self.settle:
                duration(self.settle)
        except InvalidInput as error:
            raise InvalidDeclaration("source", "Landing", f"settles in {self.settle!r}: {error}") from None

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
        files = self._required()
        return self._shaped(guessed(files[-1], format_of(files[-1].name)).head(1000).collect())[0].schema

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(list(self.batches()), how="diagonal_relaxed")

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, in the order in which the files were written."""
        for file in self._required():
            for rows in in_batches(guessed(file, format_of(file.name))):
                shaped = self._shaped(rows)[0]
                yield shaped if columns is None else shaped.select(columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of whole files that are new or have changed."""
        files = {str(one.relative_to(self.path)): one for one in self._files(asked.now)}
        marks = {name: mark_of(file) for name, file in files.items()}
        wanted = {**asked.types, **dict.fromkeys(airbyte.SAID, pl.String())}
        columns = wanted if self.of == "airbyte" else asked.types

        def read(name: str, skip: int) -> Iterator[pl.DataFrame]:
            yield from unguessed(files[name], format_of(name), columns, skip)

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
            yield Step(pl.DataFrame(), {_REFRESHED: str(latest)}, whole=True)

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
            for came in unguessed(file, format_of(file.name), texts):
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
            yield airbyte.generation_of(guessed(file, format_of(file.name)))

    def _required(self) -> list[Path]:
        # What is declared is read as it lies there: a dataset may be declared a moment after its first file.
        files = self._files(None)
        if not files:
            hint = "check the path; the folder must hold one whole file when it is first read"
            raise NotFound("source", self.identity, "holds no file that is read", hint=hint)
        return files

    def _files(self, now: Instant | None) -> list[Path]:
        """Return the whole files in the order in which they are read."""
        settle = duration(self.settle or _SETTLE) if self.settle or self.of != "nifi" else 0
        found = []
        for file in sorted(Path(self.path).rglob("*")):
            hidden = any(part.startswith((".", "_temporary")) for part in file.relative_to(self.path).parts)
            if hidden or not is_read(file.name) or not file.is_file():
                continue
            if self.of == "airbyte" and not airbyte.FILE.match(file.name):
                continue
            # Seconds since 1970; a file that somebody copied keeps its other times.
            if now is None or now - file.stat().st_ctime_ns // 1000 >= settle:
                found.append(file)
        return sorted(found, key=airbyte.written) if self.of == "airbyte" else found

    def _shaped(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
        """Return rows as they are meant, and which of them are not what they were."""
        return airbyte.airbyte_rows(rows) if self.of == "airbyte" else (rows, None)
