"""What a dataset is, and what can happen to it.

Some columns of a row are known when the row arrives, others only later: whether a flight was late is known
when it has landed. A dataset therefore has parts, each an append-only log named by its time column: the base
part, known at the event time, and one part for each later knowledge time (the key, that time, and the columns
that it makes known). A row whose knowledge time is null never becomes known. A key is stated once: the first
row with a key stands, later ones are dropped and counted. What a row of a later part says before its row
exists is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import msgspec
import polars as pl

from varv.data.contracts.declaring import OF_PART
from varv.data.contracts.model import Contract, Expectation
from varv.data.contracts.report import Report, Violation
from varv.data.contracts.row_rules import reads
from varv.data.contracts.trying import require_askable, require_expectations
from varv.data.contracts.words import rule_reason
from varv.data.privacy.minimising import Drop, Generalise, Minimiser, Treatment, treated_type, treatment_of
from varv.data.retention import retention_of
from varv.data.sources import KEPT, Frame, Keyed, Source, Types, fitted, in_kept_types, kept_type
from varv.kernel.clock import Duration, Instant, duration
from varv.kernel.codec import Digest, Event, event
from varv.kernel.columns import TIME
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
from varv.kernel.wording import count

MAX_COLUMNS = 2000
Updates = Literal["report", "merge"]
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Dataset:
    """A declared table of events.

    Parameters
    ----------
    name
        Lower-case letters, digits, ``-`` and ``_``.
    source
        `Parquet`, `Csv`, `JsonLines`, `Frame`, `Sql`, `Http`, `Objects`, `Landing` or `Dbt`.
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
        ``"generalise:3"``, or `varv.Pseudonymise`, `varv.Drop`, `varv.Generalise`.
    publish
        How often a running server publishes the dataset as Delta tables: ``"15m"``; it does so before a
        version is tagged or trained on, too. By default only `varv data publish` does.

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
        self._check_names()
        self._check_treatments()
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
        return Minimiser(self.pii, held or PurposeKeys(Path()))

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
        types: Types = {}
        for column, dtype in found.items():
            if column in self.source.technical and column not in named:
                # It would make a row that was only written again look like another one.
                continue
            kept = kept_type(dtype)
            if column in times and kept != TIME:
                hint = "parse it with .str.to_datetime(time_zone='UTC')"
                raise InvalidDeclaration(
                    "dataset", self.name, f"has times of type {dtype} in {column!r}", hint=hint
                )
            if kept is None:
                hint = "drop the column, or turn it into numbers or texts"
                raise InvalidDeclaration(
                    "dataset", self.name, f"has the type {dtype} in {column!r}, which is not kept", hint=hint
                )
            treatment = self.pii.get(column)
            treated = kept if treatment is None else treated_type(treatment, column, kept)
            if treated is not None:
                types[column] = treated
        if len(types) > MAX_COLUMNS:
            raise InvalidDeclaration(
                "dataset", self.name, f"has {len(types)} columns", hint=f"{MAX_COLUMNS} at most"
            )
        return types

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

    def _check_names(self) -> None:
        for where, names in (("key", self.key), ("event_time", (self.event_time,)), *self.known_at.items()):
            if not names or not all(isinstance(name, str) and name for name in names):
                raise InvalidDeclaration(
                    "dataset", self.name, f"names no column in {where!r}", hint="give its name"
                )
        for time in self.parts:
            if not _PART.fullmatch(time):
                hint = "rename it to letters, digits and _, 63 at most"
                problem = f"has a time column {time[:80]!r} that cannot name a part"
                raise InvalidDeclaration("dataset", self.name, problem, hint=hint)
        stated: dict[str, str] = {}
        named = [(self.event_time, "event_time"), *((time, "known_at") for time in self.known_at)]
        named += [(column, time) for time, columns in self.known_at.items() for column in columns]
        named += [(column, "key") for column in self.key if column != self.event_time]
        for column, place in named:
            if column in stated:
                places = f"as {stated[column]!r} and as {place!r}"
                raise InvalidDeclaration(
                    "dataset", self.name, f"names {column!r} twice, {places}", hint="keep one of them"
                )
            stated[column] = place

    def _check_treatments(self) -> None:
        stated = {*self.key, *self.parts, *(column for names in self.known_at.values() for column in names)}
        for column, treatment in self.pii.items():
            is_bad = column in self.parts or (isinstance(treatment, Drop) and column in stated)
            if is_bad or (column in self.key and isinstance(treatment, Generalise)):
                problem = f"cannot {treatment} {column!r}, which it is declared by"
                hint = "pseudonymise a key, leave times, and name what is dropped nowhere else"
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


@event("data.dataset_registered")
class DatasetRegistered(Event, frozen=True, kw_only=True):
    """A dataset became known by its keys, times and types."""

    dataset: DatasetName
    key: tuple[str, ...]
    event_time: str
    known_at: dict[str, tuple[str, ...]]
    types: dict[str, str]
    pii: dict[str, str] = msgspec.field(default_factory=dict)
    """What is done to personal columns; as `data.pii_declared` said last, in read models."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset}, {len(self.types)} columns, key {', '.join(self.key)}"


@event("data.dataset_widened")
class DatasetWidened(Event, frozen=True, kw_only=True):
    """A dataset has more columns from now on, `gained`, which are null in all rows stored before."""

    dataset: DatasetName
    known_at: dict[str, tuple[str, ...]]
    types: dict[str, str]
    gained: tuple[str, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} gains {', '.join(self.gained)}"


@event("data.contract_inferred")
class ContractInferred(Event, frozen=True, kw_only=True):
    """What a part's batches must look like was learned from a reference period."""

    dataset: DatasetName
    part: str
    contract: Contract


@event("data.expectations_declared")
class ExpectationsDeclared(Event, frozen=True, kw_only=True):
    """What an author expects of a dataset's rows from now on, beside what is learned of them; all of it."""

    dataset: DatasetName
    expectations: tuple[Expectation, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset}: {', '.join(map(rule_reason, self.expectations)) or 'nothing'} expected"


@event("data.batch_warned")
class BatchWarned(Event, frozen=True, kw_only=True):
    """A batch broke declared rules that only warn; no row of it is put aside for them."""

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    """Of the batch."""
    warnings: tuple[Violation, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        broken = ", ".join(f"{one.reason} in {count(one.n_rows)}" for one in self.warnings)
        return f"{self.dataset} {self.part} {self.segment}, {count(self.n_rows)} rows: {broken}"


@event("data.version_appended")
class DatasetVersionAppended(Event, frozen=True, kw_only=True):
    """A batch was ingested and made the next version of the dataset, counted in the order of the ledger.

    `digest` is that of the batch as it came, `rows` that of its rows as they are stored (`kernel.content`),
    empty in older entries; `first` and `last` are the batch's range of the part's time. `n_ahead` rows of a
    later part are about a row that was not there yet. Where rows of the batch were left out, `batch` is the
    keyed digest of the batch as it came.
    """

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    digest: Digest
    first: Instant | None
    last: Instant | None
    n_ahead: int = 0
    batch: Digest | None = None
    rows: Digest = Digest("")

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} {self.part} {self.segment}: {count(self.n_rows)} rows"


@event("data.batches_compacted")
class BatchesCompacted(Event, frozen=True, kw_only=True):
    """Segments of one part lie in one file from now on, in this order; versions stay what they are."""

    dataset: DatasetName
    part: str
    file: str
    segments: tuple[str, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} {self.part}: {count(len(self.segments))} batches stored together"


@event("data.repeats_dropped")
class RepeatsDropped(Event, frozen=True, kw_only=True):
    """Rows of a batch repeat a key that has been stated: `n_equal` with the same values, `n_different` with
    others. The first statement stands.
    """

    dataset: DatasetName
    part: str
    segment: str
    n_equal: int
    n_different: int
    batch: Digest

    def line(self) -> str:
        """Return one line on what this event states."""
        repeats = f"{count(self.n_equal)} equal, {count(self.n_different)} different"
        return f"{self.dataset} {self.part} {self.segment}: repeated keys dropped, {repeats}"


@event("data.rows_joined")
class RowsJoined(Event, frozen=True, kw_only=True):
    """Rows of a later part, which had come ahead of the row that they are about, have it now.

    `n_early` of them say something from before their row existed, and are not used.
    """

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    n_early: int

    def line(self) -> str:
        """Return one line on what this event states."""
        early = f", {count(self.n_early)} of them too early" if self.n_early else ""
        return f"{self.dataset} {self.part}: {count(self.n_rows)} rows have their row now{early}"


@event("data.batch_quarantined")
class BatchQuarantined(Event, frozen=True, kw_only=True):
    """Rows of a batch broke the contract and were put aside; the batch whole if it is not to be trusted.

    `n_rows` of `n_batch` rows, which is 0 in ledgers of before: they put aside whole batches only. `digest`
    is a keyed one, of the rows as they are kept. `rows` is a
    keyed digest of them that does not depend on how they are kept; empty in older entries.
    """

    dataset: DatasetName
    part: str
    segment: str
    n_rows: int
    digest: Digest
    report: Report
    n_batch: int = 0
    batch: Digest | None = None
    rows: Digest = Digest("")

    @property
    def whole(self) -> bool:
        """Whether no row of the batch was ingested."""
        return self.n_batch in (0, self.n_rows)

    def line(self) -> str:
        """Return one line on what this event states."""
        broken = ", ".join(violation.reason for violation in self.report.violations)
        rows = "whole" if self.whole else f"{count(self.n_rows)} of {count(self.n_batch)} rows"
        return f"{self.dataset} {self.part} {self.segment}, {rows} put aside: {broken}"


@event("data.batch_released")
class BatchReleased(Event, frozen=True, kw_only=True):
    """A person let rows out of quarantine; the version that they became follows.

    `rows` are their numbers among those put aside, empty for all; they became the segment `into`, which in
    ledgers of before is that of the batch.
    """

    dataset: DatasetName
    part: str
    segment: str
    by: str
    why: str = ""
    rows: tuple[int, ...] = ()
    into: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        return _out_of_quarantine(self, "released")


@event("data.batch_replaced")
class BatchReplaced(Event, frozen=True, kw_only=True):
    """A person gave corrected rows for some that were in quarantine; the version that they became follows."""

    dataset: DatasetName
    part: str
    segment: str
    by: str
    why: str
    rows: tuple[int, ...]
    into: str
    n_given: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return _out_of_quarantine(self, "replaced")


@event("data.batch_dropped")
class BatchDropped(Event, frozen=True, kw_only=True):
    """A person gave rows up that were in quarantine."""

    dataset: DatasetName
    part: str
    segment: str
    by: str
    why: str
    rows: tuple[int, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return _out_of_quarantine(self, "given up")


def _out_of_quarantine(event: BatchReleased | BatchReplaced | BatchDropped, act: str) -> str:
    rows = f"{count(len(event.rows))} rows" if event.rows else "all rows"
    why = f": {event.why}" if event.why else ""
    return f"{event.dataset} {event.part} {event.segment}, {rows} {act} by {event.by}{why}"


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
