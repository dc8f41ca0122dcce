"""Files as sources: Parquet, CSV and JSON lines, found by a pattern; others also read Avro by this module.

A source is cheap to make and to ask for its schema; rows are read only when they are asked for. A pull reads
text formats without guessing: what a text means is for the dataset's types to say (`sources.kept.fitted`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from varv.data.sources.pointers import files_of, resolved
from varv.data.sources.steps import BATCH_ROWS, Asked, Step, file_steps
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

Format = Literal["parquet", "csv", "jsonl", "avro"]
_SUFFIXES: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".avro": "avro",
}
_PACKED = (".csv.gz", ".jsonl.gz", ".ndjson.gz")
_MOST_AVRO_BYTES = 1 << 30
"""Such files are read whole."""
_FIRST_ROWS = 10_000
"""Rows that suggest types."""
NO_TYPES: Mapping[str, pl.DataType] = {}


class Scanned(ABC):
    """What sources have in common that polars scans."""

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return True

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types, as the first file or the first 10,000 rows have them."""
        return self._scan().collect_schema()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return self._scan().collect()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, some hundred thousand at a time."""
        yield from in_batches(self._scan(), columns)

    @abstractmethod
    def _scan(self) -> pl.LazyFrame:
        """Return all rows, which nobody has read yet."""


@dataclass(frozen=True)
class Parquet(Scanned):
    """The Parquet files that match a pattern such as ``"flights/*.parquet"``, in the order of their names."""

    pattern: str

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"parquet {self.pattern}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return False

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of files that are new or have changed."""
        yield from _steps(self.pattern, "parquet", asked, self.batches)

    def _scan(self) -> pl.LazyFrame:
        return _found("parquet", self.pattern, pl.scan_parquet)


@dataclass(frozen=True)
class Csv(Scanned):
    """The CSV files, with a header, that match a pattern; ISO 8601 dates and times are recognised.

    Parameters
    ----------
    null
        The text that stands for no value, beside the empty one.
    types_of
        The types of columns that their first values do not tell.
    """

    pattern: str
    null: str = ""
    types_of: Mapping[str, pl.DataType] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"csv {self.pattern}"

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of files that are new or have changed, all values as texts."""
        yield from _steps(self.pattern, "csv", asked, self.batches, null=self.null)

    def _scan(self) -> pl.LazyFrame:
        def scan(files: str | list[Path]) -> pl.LazyFrame:
            return pl.scan_csv(
                files,
                null_values=[self.null, ""],
                try_parse_dates=True,
                infer_schema_length=_FIRST_ROWS,
                schema_overrides=dict(self.types_of) or None,
            )

        return _found("csv", self.pattern, scan)


@dataclass(frozen=True)
class JsonLines(Scanned):
    """The files of JSON objects, one a line, that match a pattern; texts that are all times are times.

    Parameters
    ----------
    types_of
        The types of columns that their first values do not tell.
    """

    pattern: str
    types_of: Mapping[str, pl.DataType] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"jsonl {self.pattern}"

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield the rows of files that are new or have changed, all values as texts."""
        yield from _steps(self.pattern, "jsonl", asked, self.batches)

    def _scan(self) -> pl.LazyFrame:
        return _found("jsonl", self.pattern, partial(scan_json, types_of=self.types_of))


def format_of(name: str, given: str = "") -> Format:
    """Return the format of a file.

    Raises
    ------
    InvalidDeclaration
        If neither it is given nor the name ends in one that is read.
    """
    if given in _SUFFIXES.values():
        return given  # type: ignore[return-value]
    found = _format_in(name.partition("?")[0])
    if given or found is None:
        hint = f"name a file of {', '.join(_SUFFIXES)}, or say format= {', '.join(get_args(Format))}"
        raise InvalidDeclaration("file", given or name[-80:], "has no format that is read", hint=hint)
    return found


def is_read(name: str) -> bool:
    """Return whether a file's name ends in a format that is read."""
    return _format_in(name) is not None


def _format_in(name: str) -> Format | None:
    lower = name.lower()
    plain = lower.removesuffix(".gz") if lower.endswith(_PACKED) else lower
    return _SUFFIXES.get(Path(plain).suffix)


def guessed(file: Path, kind: Format, *, null: str = "") -> pl.LazyFrame:
    """Return the rows of one file in the types that its format or its first rows suggest."""
    if kind == "parquet":
        return Parquet(str(file))._scan()
    if kind == "avro":
        return _found(kind, str(file), _scan_avro)
    return Csv(str(file), null)._scan() if kind == "csv" else JsonLines(str(file))._scan()


def unguessed(
    file: Path, kind: Format, columns: Mapping[str, pl.DataType], skip: int = 0, *, null: str = ""
) -> Iterator[pl.DataFrame]:
    """Yield the rows of one file but for some at its beginning: those of text formats as texts.

    Parameters
    ----------
    columns
        Those that are wanted of JSON lines, which have no header.
    """

    def scan(files: str | list[Path]) -> pl.LazyFrame:
        if kind == "parquet":
            return pl.scan_parquet(files)
        if kind == "avro":
            return _scan_avro(files)
        if kind == "csv":
            return pl.scan_csv(files, infer_schema=False, null_values=[null, ""])
        return pl.scan_ndjson(files, schema=dict.fromkeys(columns, pl.String()))

    yield from in_batches(_found(kind, str(file), scan).slice(skip))


def scan_json(files: str | list[Path], types_of: Mapping[str, pl.DataType] = NO_TYPES) -> pl.LazyFrame:
    """Return the rows of JSON lines; columns of texts whose first values are all times are times."""
    lazy = pl.scan_ndjson(files, infer_schema_length=_FIRST_ROWS, schema_overrides=dict(types_of) or None)
    texts = [
        name for name, dtype in lazy.collect_schema().items() if dtype == pl.String and name not in types_of
    ]
    first = lazy.select(texts).head(_FIRST_ROWS).collect()
    return lazy.with_columns(_time(name) for name in texts if _holds_times(first[name]))


def _scan_avro(files: str | list[Path]) -> pl.LazyFrame:
    several = [Path(files)] if isinstance(files, str) else files
    if (largest := max(one.stat().st_size for one in several)) > _MOST_AVRO_BYTES:
        hint = "have it written in smaller files, or as Parquet"
        raise InvalidInput("avro source", several[0].name, "is too large", size_bytes=largest, hint=hint)
    return pl.concat([_avro(one) for one in several], how="diagonal_relaxed").lazy()


def _avro(file: Path) -> pl.DataFrame:
    try:
        return pl.read_avro(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        why = " ".join(str(error).split())[:200]
        hint = "it may be cut off, or hold unions of several types, maps or enumerations; Parquet may not"
        raise InvalidInput("avro source", file.name, "cannot be read", why=why, hint=hint) from None


def _time(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC")


def _holds_times(texts: pl.Series) -> bool:
    read = texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return read.count() > 0 and read.count() == texts.count()


def in_batches(lazy: pl.LazyFrame, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield all rows in their order, some hundred thousand at a time."""
    wanted = lazy if columns is None else lazy.select(columns)
    yield from wanted.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)


def _steps(
    pattern: str,
    kind: Format,
    asked: Asked,
    batches: Callable[[], Iterator[pl.DataFrame]],
    *,
    null: str = "",
) -> Iterator[Step]:
    if "://" in pattern:
        # Nobody lists what polars finds there; rows that came before are known by their keys.
        yield from (Step(rows, {}) for rows in batches())
        return
    files = {path.as_posix(): path for path in files_of(pattern)}
    marks = {name: mark_of(path) for name, path in files.items()}
    yield from file_steps(
        marks, asked, lambda name, skip: unguessed(files[name], kind, asked.types, skip, null=null)
    )


def mark_of(file: Path) -> str:
    """Return what changes when somebody writes to a file."""
    state = file.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"


def _found(kind: str, pattern: str, scan: Callable[[str | list[Path]], pl.LazyFrame]) -> pl.LazyFrame:
    # A pointer's text must never be taken for rows; a file of CSV would let it.
    files = resolved(pattern)
    try:
        lazy = scan(pattern if files is None else files)
        lazy.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        hint = "check the path; it is relative to the folder in which varv runs"
        raise NotFound(f"{kind} source", pattern, "cannot be read", why=str(error)[:200], hint=hint) from None
    return lazy
