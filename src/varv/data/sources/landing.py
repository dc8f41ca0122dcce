"""Landing folders as sources: files that another tool puts down, read once they are whole.

A file counts when nobody has written to it for a while, which its time of change says whatever is done to its
other times, and when its name is not one that tools give to what they still write. Tools that rename a
finished file are known, so nothing is waited for there.

Sources: Airbyte's documentation of its S3 and file destinations (names, ``_airbyte_*`` columns); NiFi's
PutFile, which writes ``.name`` and renames it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from varv.data.sources.files import format_of, guessed, in_batches, mark_of, unguessed
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.clock import Instant, duration
from varv.kernel.columns import TIME
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

Tool = Literal["airbyte", "nifi"]
_SETTLE = "5s"
_READ = (".parquet", ".csv", ".jsonl", ".ndjson")
_AIRBYTE = re.compile(r"\d{4}_\d{2}_\d{2}_(\d+)_(\d+)\.")
_DATA, _META, _CHANGES = "_airbyte_data", "_airbyte_meta", "changes"
_GENERATION = "_airbyte_generation_id"
_BEFORE_1 = {"_airbyte_ab_id": "_airbyte_raw_id", "_airbyte_emitted_at": "_airbyte_extracted_at"}
_EXTRACTED = "_airbyte_extracted_at"
_TECHNICAL = ("_airbyte_raw_id", _EXTRACTED, _GENERATION)


@dataclass(frozen=True)
class Landing:
    """Files of Parquet, CSV or JSON lines that appear in a folder and those below it.

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

    Notes ----- Of Airbyte, rows have ``_airbyte_extracted_at`` as a time, which is when they were known;
    records that are kept as one JSON object become columns; of a generation that is older than one that was
    read nothing is taken any more; and rows of which Airbyte says that it changed a value are put in
    quarantine.
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
        return _TECHNICAL if self.of == "airbyte" else ()

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
        wanted = {**asked.types, **dict.fromkeys((_DATA, _META, _GENERATION, *_BEFORE_1), pl.String())}
        columns = wanted if self.of == "airbyte" else asked.types

        def read(name: str, skip: int) -> Iterator[pl.DataFrame]:
            yield from unguessed(files[name], format_of(name), columns, skip)

        latest = asked.cursor.get(_GENERATION, "")
        known = {name: mark for name, mark in asked.cursor.items() if name != _GENERATION}
        for step in file_steps(marks, asked._replace(cursor=known), read):
            rows, broken = self._shaped(step.rows)
            moved = dict(step.moved)
            if _GENERATION in rows.columns and rows.height:
                numbers = rows[_GENERATION].cast(pl.Int64, strict=False)
                latest = str(max(int(latest or 0), int(numbers.max() or 0)))  # type: ignore[arg-type]
                is_of = (numbers == int(latest)).fill_null(True)
                rows, broken = rows.filter(is_of), None if broken is None else broken.filter(is_of)
                moved[_GENERATION] = latest
            yield Step(rows, moved, broken)

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
            if hidden or file.suffix.lower() not in _READ or not file.is_file():
                continue
            if self.of == "airbyte" and not _AIRBYTE.match(file.name):
                continue
            # Seconds since 1970; a file that somebody copied keeps its other times.
            if now is None or now - file.stat().st_ctime_ns // 1000 >= settle:
                found.append(file)
        return sorted(found, key=_written) if self.of == "airbyte" else found

    def _shaped(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
        """Return rows as they are meant, and which of them are not what they were."""
        return airbyte_rows(rows) if self.of == "airbyte" else (rows, None)


def airbyte_rows(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
    """Return records of Airbyte with their own columns, and which of them it says it has changed."""
    rows = rows.rename(
        {old: new for old, new in _BEFORE_1.items() if old in rows.columns and new not in rows.columns}
    )
    if _DATA in rows.columns and rows[_DATA].count():
        rows = _opened(rows)
    rows = rows.drop(_DATA, strict=False)
    if _EXTRACTED in rows.columns and rows.schema[_EXTRACTED] != TIME:
        rows = rows.with_columns(_extracted_at(rows.schema[_EXTRACTED]))
    broken = None
    if _META in rows.columns:
        meta = rows[_META]
        texts = (
            meta
            if meta.dtype == pl.String
            else meta.struct.json_encode()
            if meta.dtype == pl.Struct
            else None
        )
        if texts is not None:
            broken = texts.str.json_path_match(f"$.{_CHANGES}[0]").is_not_null()
        rows = rows.drop(_META)
    return rows, broken


def _opened(rows: pl.DataFrame) -> pl.DataFrame:
    data = rows[_DATA]
    if data.dtype == pl.String:
        data = data.str.json_decode(infer_schema_length=None) if data.count() else data
    own = data.struct.unnest()
    nested = [name for name, dtype in own.schema.items() if isinstance(dtype, pl.Struct | pl.List)]
    own = own.drop(nested)
    return rows.drop(_DATA, *(name for name in own.columns if name in rows.columns)).hstack(own)


def _extracted_at(dtype: pl.DataType) -> pl.Expr:
    at = pl.col(_EXTRACTED)
    if isinstance(dtype, pl.Datetime):
        return (at if dtype.time_zone else at.dt.replace_time_zone("UTC")).cast(TIME)
    # Milliseconds since 1970, as a number or as its text.
    epoch = (
        pl.from_epoch(at.cast(pl.Int64, strict=False), time_unit="ms").dt.replace_time_zone("UTC").cast(TIME)
    )
    if dtype != pl.String:
        return epoch.alias(_EXTRACTED)
    return pl.coalesce(epoch, at.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False))


def _written(file: Path) -> tuple[Any, ...]:
    found = _AIRBYTE.match(file.name)
    assert found is not None, "others are left out"
    return int(found[1]), int(found[2]), file.name
