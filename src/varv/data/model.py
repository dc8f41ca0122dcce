"""What can happen to a dataset."""

from __future__ import annotations

import msgspec

from varv.data.contracts.model import Contract, Expectation
from varv.data.contracts.report import Report, Violation
from varv.data.contracts.words import rule_reason
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import DatasetName
from varv.kernel.wording import count


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


@event("data.dataset_undeclared")
class DatasetUndeclared(Event, frozen=True, kw_only=True):
    """Nothing declares a dataset any more, so what stands of it as an alarm waits for nobody."""

    dataset: DatasetName

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} is not declared any more; its alarms are left out"


@event("data.dataset_declared_again")
class DatasetDeclaredAgain(Event, frozen=True, kw_only=True):
    """A dataset is declared once more, so what still stands of it is an alarm again."""

    dataset: DatasetName

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} is declared again; its alarms that still hold stand again"


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


@event("data.files_merged")
class FilesMerged(Event, frozen=True, kw_only=True):
    """What lay in several files of one part, segments or compacted files, lies in one larger from now on, in
    this order; versions stay what they are. `digest` is that of what the file lists.

    The smaller ones stay until they are vacuumed: versions that were published name them.
    """

    dataset: DatasetName
    part: str
    file: str
    files: tuple[str, ...]
    digest: Digest

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.dataset} {self.part}: {count(len(self.files))} files stored together"


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
