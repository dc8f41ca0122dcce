"""What a dataset is.

Some columns of a row are known when the row arrives, others only later: whether a flight was late is known
when it has landed. A dataset therefore has parts, each an append-only log named by its time column: the base
part, known at the event time, and one part for each later knowledge time (the key, that time, and the columns
that it makes known). A row whose knowledge time is null never becomes known. A key is stated once: the first
row with a key stands, later ones are dropped and counted. What a row of a later part says before its row
exists is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import polars as pl

from varv.data.contracts.declaring import OF_PART
from varv.data.contracts.model import Expectation
from varv.data.contracts.row_rules import reads
from varv.data.contracts.trying import require_askable, require_expectations
from varv.data.contracts.words import rule_reason
from varv.data.declaring import kept_types, require_names, require_treatable
from varv.data.model import DatasetRegistered
from varv.data.privacy.minimising import Encrypt, Minimiser, Pseudonymise, Treatment, treatment_of
from varv.data.retention import retention_of
from varv.data.sources import KEPT, Frame, Keyed, Source, Types, fitted, in_kept_types
from varv.kernel.clock import Duration, duration
from varv.kernel.errors import (
    Corrupt,
    FailedPrecondition,
    InvalidDeclaration,
    InvalidInput,
    NotFound,
    Unavailable,
)
from varv.kernel.ids import DatasetName, checked_name
from varv.kernel.purpose_keys import PurposeKeys

Updates = Literal["report", "merge"]


class Dataset:
    """A declared table of events.

    Parameters
    ----------
    name
        Lower-case letters, digits, ``-`` and ``_``.
    source
        `Parquet`, `Csv`, `JsonLines`, `Frame`, `Sql`, `Http`, `Rest`, `Objects`,
        `Landing`, `Debezium` or `Dbt`.
    key
        The column or columns that identify a row.
    event_time
        The column that says when the row came to be known: the prediction request, the observation.
    known_at
        For each later time column, the columns that become known at that time. All others are known at the
        event time.
    expect
        What rows must be like beside what is learned of them, as ``varv.expect`` declares it. A rule is about
        columns that become known together.
    keep
        How long `varv data vacuum` keeps versions that nothing names: ``"90d"``, or so many versions; by
        default all are kept.
    every
        How often a running server pulls the source, such as ``"15m"``; never by itself unless it is said.
    updates
        What becomes of rows that the source says otherwise than before: ``"report"`` counts them and leaves
        what stands; ``"merge"`` puts them in its place, in a version of their own.
    deletes
        How often keys are compared, such as ``"1d"``, to remove rows that the source has no more.
    pii
        What is done to personal columns before a row is written anywhere: ``"pseudonymise"``, ``"drop"``,
        ``"generalise:3"``, ``"encrypt:email"``, or `varv.Pseudonymise`, `varv.Drop`, `varv.Generalise`,
        `varv.Encrypt`.
    publish
        How often a running server publishes the dataset as Delta tables: ``"15m"``; it does so before a
        version is tagged or trained on, too. By default only `varv data publish` does.
    archive
        How old rows are when a running server moves their files into the archive, such as ``"400d"``: as far
        as no served view looks back. Never by itself unless it is said; a dataset is published or archived.

    Raises
    ------
    InvalidDeclaration
        If a name is no valid name, is given twice, or is both a time and a value. Columns that do not exist
        are found by `types`, when the source is first read, and so are rules that cannot be.

    Examples
    --------
    >>> kinds = {"id": pl.String, "at": pl.Date, "landed_at": pl.Date, "late": pl.Boolean}
    >>> source, later = Frame(pl.DataFrame(schema=kinds)), {"landed_at": ["late"]}
    >>> trips = Dataset("trips", source=source, key="id", event_time="at", known_at=later)
    >>> trips.parts, trips.known_when("late"), trips.columns("landed_at")
    (('at', 'landed_at'), 'landed_at', ('id', 'landed_at', 'late'))
    """

    def __init__(
        self,
        name: str,
        *,
        source: Source,
        key: str | Sequence[str],
        event_time: str,
        known_at: Mapping[str, Sequence[str]] | None = None,
        expect: Sequence[Expectation] = (),
        keep: str | int | None = None,
        every: str | None = None,
        updates: Updates = "report",
        deletes: str | None = None,
        pii: Mapping[str, str | Treatment] | None = None,
        publish: str | None = None,
        archive: str | None = None,
    ) -> None:
        try:
            self.name = DatasetName(checked_name("dataset", name))
        except InvalidInput as error:
            raise InvalidDeclaration("dataset", error.name, error.problem, hint=error.hint) from None
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.event_time = event_time
        given = {time: (of,) if isinstance(of, str) else tuple(of) for time, of in (known_at or {}).items()}
        self.known_at: Mapping[str, tuple[str, ...]] = MappingProxyType(given)
        if not isinstance(source, Source):
            hint = "use varv.Parquet(...), varv.Csv(...), varv.Frame(...), varv.Sql(...) or another source"
            raise InvalidDeclaration("dataset", name, f"has the source {type(source).__name__}", hint=hint)
        self.source: Source = source
        self.expect = tuple(expect)
        try:
            self.retention = retention_of(keep)
        except InvalidInput as error:
            raise InvalidDeclaration("dataset", name, f"keeps {keep!r}: {error}") from None
        self._take_pulls(every, updates, deletes)
        self._recalled: Types = {}
        treated = {column: treatment_of(how) for column, how in (pii or {}).items()}
        self.pii: Mapping[str, Treatment] = MappingProxyType(treated)
        self._keys: PurposeKeys | None = None
        try:
            self.publish_every = None if publish is None else duration(publish)
        except InvalidInput as error:
            raise InvalidDeclaration("dataset", name, f"is published {publish!r}: {error}") from None
        self.archive_after = self._span("archive", archive)
        if archive is not None and publish is not None:
            hint = "leave one of them out: readers of its Delta tables have to find their files"
            raise InvalidDeclaration("dataset", name, "is both published and archived", hint=hint)
        require_names(self.name, self.key, self.event_time, self.known_at)
        require_treatable(self.name, self.key, self.known_at, (self.event_time, *self.known_at), self.pii)
        require_expectations(self.name, self.expect)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r})"

    def _take_pulls(self, every: str | None, updates: Updates, deletes: str | None) -> None:
        self.every, self.deletes = self._span("every", every), self._span("deletes", deletes)
        self.updates = updates
        if updates not in get_args(Updates):
            hint = "write updates='report' or updates='merge'"
            raise InvalidDeclaration("dataset", self.name, f"has updates={updates!r}", hint=hint)
        if deletes is not None and not isinstance(self.source, Keyed):
            hint = "leave deletes out; databases can be asked for keys alone"
            problem = f"compares keys with {type(self.source).__name__}, which has none to ask for"
            raise InvalidDeclaration("dataset", self.name, problem, hint=hint)

    def pull_as(self, other: Dataset) -> None:
        """Be pulled from now on as the same dataset is that was declared anew: from where, and how often."""
        self.source, self.every = other.source, other.every
        self.updates, self.deletes = other.updates, other.deletes

    def _span(self, what: str, text: str | None) -> Duration | None:
        if text is None:
            return None
        try:
            return duration(text)
        except InvalidInput as error:
            raise InvalidDeclaration("dataset", self.name, f"has {what}={text!r}: {error}") from None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts, the base part first: each is the name of its time column."""
        return (self.event_time, *self.known_at)

    @property
    def keyed(self) -> frozenset[str]:
        """The personal columns whose stored values depend on a key, besides what they were."""
        return frozenset(name for name, how in self.pii.items() if isinstance(how, Pseudonymise | Encrypt))

    def bind(self, keys: PurposeKeys) -> None:
        """Have personal columns of the source treated with the keys of a home; the first ones stay."""
        self._keys = self._keys or keys

    def minimiser(self, keys: PurposeKeys | None = None) -> Minimiser:
        """Return what treats the personal columns of rows, with keys that are used where none were bound.

        Raises
        ------
        FailedPrecondition
            If personal columns are declared, and there are no keys.
        """
        held = self._keys or keys
        if held is None and self.pii:
            hint = "open a home with it first"
            raise FailedPrecondition("dataset", self.name, "has personal columns, and no keys", hint=hint)
        return Minimiser(self.pii, held or PurposeKeys(Path()), self.name, self.key)

    def types(self) -> Types:
        """Return every column and the type in which it is kept; the first call asks the source.

        Raises
        ------
        InvalidDeclaration
            If a declared column does not exist, a time column holds no times, or a column has a type that is
            not kept.
        """
        return dict(self._types)

    def known_when(self, column: str) -> str:
        """Return the part, and so the time column, at which `column` becomes known.

        Raises
        ------
        InvalidDeclaration
            If there is no such column.
        """
        for time, columns in self.known_at.items():
            if column == time or column in columns:
                return time
        if column not in self._types:
            raise self._no_column(column)
        return self.event_time

    def columns(self, part: str) -> tuple[str, ...]:
        """Return the columns of a part: its key, its time, and what becomes known then."""
        if part in self.known_at:
            return tuple(dict.fromkeys((*self.key, part, *self.known_at[part])))
        if part != self.event_time:
            hint = f"its parts are {', '.join(self.parts)}"
            raise InvalidInput("dataset", self.name, f"has no part {part!r}", hint=hint)
        later = {name for time, names in self.known_at.items() for name in (time, *names)}
        rest = (name for name in self._types if name not in later)
        return tuple(dict.fromkeys((*self.key, self.event_time, *rest)))

    def part_types(self, part: str) -> Types:
        """Return the columns of a part and their types."""
        return {name: self._types[name] for name in self.columns(part)}

    def recall(self, types: Types) -> None:
        """Take the types in which rows are stored where the source only guesses, and where it cannot be
        asked.
        """
        self._recalled = types
        self.__dict__.pop("_types", None)

    def load(self) -> pl.DataFrame:
        """Return all rows of the source in kept types, in the order of event time and key, and of the source
        where those are equal. Rows without an event time come first.
        """
        frame = self._in_types(self.source.load())
        return frame.sort(self.event_time, *self.key, maintain_order=True)

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of `load` in batches, each in that order by itself."""
        for rows in self.source.batches():
            frame = self._in_types(rows)
            yield frame.sort(self.event_time, *self.key, maintain_order=True)

    def _in_types(self, rows: pl.DataFrame) -> pl.DataFrame:
        frame = self.minimiser().frame(in_kept_types(rows)).select(list(self._types))
        if not self._recalled or frame.schema == self._types:
            return frame
        # What was guessed otherwise this time is as it is stored, and what does not fit is nothing.
        return fitted(frame, self._types)[0].cast(pl.Schema(self._types), strict=False)

    def part(self, frame: pl.DataFrame, part: str) -> pl.DataFrame:
        """Return what `frame` says of one part: its columns, where its time is known, in the order of time
        and key.
        """
        rows = frame.select(self.columns(part)).filter(pl.col(part).is_not_null())
        return rows.sort(part, *self.key, maintain_order=True)

    def _found(self) -> Mapping[str, pl.DataType]:
        """Return the columns of the source and their types, as they are stored where it guesses."""
        try:
            found = self.source.types()
        except (NotFound, Unavailable):
            # A server starts without its sources, as it runs without them.
            if not self._recalled:
                raise
            found = self._recalled
        if not self.source.guesses:
            return found
        return {name: self._recalled.get(name, dtype) for name, dtype in found.items()}

    @cached_property
    def _types(self) -> Types:
        found = self._found()
        times = set(self.parts)
        for column in dict.fromkeys(
            (*self.key, *times, *(c for names in self.known_at.values() for c in names), *self.pii)
        ):
            # What is dropped is not among the types that are stored.
            if column not in found and not (self._recalled and column in self.pii):
                raise self._no_column(column, list(found))
        named = {*self.key, *times, *(one for names in self.known_at.values() for one in names)}
        asked = {
            column: dtype
            for column, dtype in found.items()
            # A technical column would make a row that was only written again look like another one.
            if column in named or column not in self.source.technical
        }
        return kept_types(self.name, asked, times, self.pii)

    def part_of(self, one: Expectation) -> str:
        """Return the part that brings all columns of a declared rule.

        Raises
        ------
        InvalidDeclaration
            If there is none, or the rule cannot be asked of columns of these types.
        """
        needed = set(reads(one))
        for name in sorted(needed):
            self.known_when(name)
        named = [part for part in self.parts if one.kind not in OF_PART or part in one.columns]
        for part in named:
            types = self.part_types(part)
            if needed <= set(types):
                require_askable(self.name, one, types)
                return part
        hint = (
            "name a time column" if one.kind in OF_PART else "one rule for each time at which they are known"
        )
        problem = f"expects {rule_reason(one)!r} of columns of no one part"
        raise InvalidDeclaration("dataset", self.name, problem, hint=hint)

    def _no_column(self, column: str, found: Sequence[str] | None = None) -> InvalidDeclaration:
        known = ", ".join(list(found if found is not None else self._types)[:30])
        return InvalidDeclaration(
            "dataset", self.name, f"has no column {column!r}", hint=f"its columns are {known}"
        )


def part_named(declared: Mapping[DatasetName, Dataset], name: str) -> tuple[Dataset, str]:
    """Return the dataset and part of a name such as ``"flights/arrived_at"``; the base part if it names none.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    of, _, part = name.partition("/")
    dataset = declared.get(DatasetName(of))
    if dataset is None:
        hint = f"the datasets are {', '.join(declared)}"
        raise NotFound("dataset", of[:80], "is not declared", hint=hint)
    part = part or dataset.event_time
    if part not in dataset.parts:
        hint = f"the parts of {of} are {', '.join(dataset.parts)}"
        raise NotFound("part", f"{of}/{part}"[:120], hint=hint)
    return dataset, part


def dataset_of(registered: DatasetRegistered) -> Dataset:
    """Return a dataset as the ledger knows it, without a source: what acts on stored rows needs no more.

    Raises
    ------
    Corrupt
        If a type is not one that is kept.
    """
    types = {name: _type_named(registered.dataset, text) for name, text in registered.types.items()}
    # A dropped column is not stored, but still comes, and is to be dropped again.
    types |= {name: pl.String() for name in registered.pii if name not in types}
    return Dataset(
        registered.dataset,
        source=Frame(pl.DataFrame(schema=types)),
        key=registered.key,
        event_time=registered.event_time,
        known_at=registered.known_at,
        pii=registered.pii,
    )


def _type_named(dataset: str, text: str) -> pl.DataType:
    named = {str(dtype): dtype for dtype in KEPT}
    if text not in named:
        raise Corrupt("dataset", dataset, f"is registered with the type {text[:80]}", hint="upgrade varv")
    return named[text]
