"""Appending: a batch sorted into rows that count, rows that are put aside and rows that repeat a key."""

from __future__ import annotations

import msgspec
import polars as pl

from varv.data.contracts.report import BEFORE_ITS_ROW, Report, Screening, no_reasons, with_reason
from varv.data.dataset import Dataset
from varv.data.keys import Standing, Stated, repeats
from varv.data.known_keys import KnownKeys
from varv.data.model import BatchQuarantined, BatchWarned, DatasetVersionAppended, RepeatsDropped, RowsJoined
from varv.data.part_contracts import PartContracts
from varv.data.quarantined import REASON, quarantine_of
from varv.data.rewriting.files import stated_rows
from varv.data.shape import conformed, in_shape, span_of
from varv.data.stored import StoredDatasets
from varv.data.versions import stream_of, table_of
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock
from varv.kernel.codec import Digest, Event, digest
from varv.kernel.columns import Columns
from varv.kernel.content import rows_digest
from varv.kernel.errors import Conflict
from varv.kernel.ids import Version
from varv.kernel.sagas import Fact
from varv.kernel.views import Views


class Prepared(msgspec.Struct, frozen=True):
    """A batch whose rows are stored and count once the facts are in the ledger."""

    facts: tuple[Fact, ...]
    """None if the same batch came before."""
    accepted: bool
    """Whether the batch makes a version, of all of its rows or of some."""
    rows: pl.DataFrame
    """The rows of that version as they are stored: the part's columns, in kept types."""
    report: Report
    """Why rows were put aside."""
    segment: str = ""


class Appended(msgspec.Struct, frozen=True):
    """What became of a batch: the version it made, if any, and why rows are in quarantine."""

    version: Version | None
    report: Report


class Appends:
    """Prepares the batches of one store that are appended, and remembers those that are not committed.

    Parameters
    ----------
    stored, columns, views, clock
        The datasets, where their rows and facts are, and what tells the time.
    contracts, keys
        What batches are checked by, and the keys that stand.
    """

    def __init__(
        self,
        stored: StoredDatasets,
        columns: Columns,
        views: Views,
        clock: Clock,
        contracts: PartContracts,
        keys: KnownKeys,
    ) -> None:
        self._datasets = stored
        self._columns = columns
        self._views = views
        self._clock = clock
        self._contracts = contracts
        self._keys = keys
        self._pending: dict[tuple[str, str, str], tuple[Digest, Prepared]] = {}

    def prepare(
        self, dataset: Dataset, part: str, rows: pl.DataFrame, segment: str, *, acknowledged: bool
    ) -> Prepared:
        """Check a batch in kept types; see `Datasets.prepare_append`."""
        content = rows_digest(rows)
        before = self._before(dataset, part, rows, segment, content)
        if before is not None:
            return before
        screen, now = self._contracts.screen(dataset, part), self._clock.now()
        screening = screen.look(rows, now=now, acknowledged=acknowledged)
        return self._sorted_out(dataset, part, rows, screening, segment, content)

    def correct(self, dataset: Dataset, part: str, rows: pl.DataFrame, segment: str) -> Prepared:
        """Store rows that a person vouches for, without asking the contract."""
        screening = Screening(Report(n_rows=rows.height), no_reasons(rows.height), False)
        return self._sorted_out(dataset, part, rows, screening, segment, rows_digest(rows))

    def settle(self) -> bool:
        """Forget what is on record by now, and return whether nothing is left that is prepared only."""
        with self._views.reading(DatasetsView) as view:
            self._pending = {one: made for one, made in self._pending.items() if not view.is_on_record(*one)}
        return not self._pending

    def forget(self) -> None:
        """Forget what was prepared and could not be committed."""
        self._pending.clear()

    def waiting(self, dataset: Dataset, part: str) -> list[pl.DataFrame]:
        """Return the rows of a part that are prepared and not committed."""
        with self._views.reading(DatasetsView) as view:
            return [
                made.rows
                for place, (_, made) in self._pending.items()
                if made.accepted and not view.is_on_record(*place) and place[:2] == (dataset.name, part)
            ]

    def _before(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, segment: str, content: Digest
    ) -> Prepared | None:
        """Return what became of a batch that came before; None if it is new.

        Raises
        ------
        Conflict
            If other rows came under its name.
        """
        place = (dataset.name, part, segment)
        with self._views.reading(DatasetsView) as view:
            held = view.arrivals.quarantined(*place)
        self.settle()
        came = self._datasets.came(*place)
        if came is None:
            pending = self._pending.get(place)
            return pending[1] if pending is not None and pending[0] == content else None
        if not self._is_of(came.batch, frame, content):
            hint = "a segment never changes; give the new rows another segment name"
            raise Conflict("segment", "/".join(place), "exists with other rows", hint=hint)
        report = Report(n_rows=frame.height) if held is None else held.report
        if came.rows is None or not self._datasets.counts(dataset, part, segment):
            return Prepared((), False, frame.clear(), report, segment)
        return Prepared(
            (), True, self._datasets.rows_of(dataset, part, {segment: came.rows}), report, segment
        )

    def _is_of(self, came: Digest, frame: pl.DataFrame, content: Digest) -> bool:
        """Return whether a batch that came, as the ledger knows it, is this one."""
        if came in (content, self._datasets.keyed(content)):
            return True
        before = _digest_of_before(frame)
        return came in (before, self._datasets.keyed(before))

    def _sorted_out(
        self,
        dataset: Dataset,
        part: str,
        frame: pl.DataFrame,
        screening: Screening,
        segment: str,
        content: Digest,
    ) -> Prepared:
        """Store the rows of a batch where they belong, and return the facts that make them count."""
        kept, given, standing, screening = self._kept(dataset, part, frame, screening)
        repeated, equal = repeats(given, standing.own)
        facts: list[Event] = []
        if warnings := screening.report.warnings:
            facts.append(
                BatchWarned(
                    dataset=dataset.name, part=part, segment=segment, n_rows=frame.height, warnings=warnings
                )
            )
        batch = self._datasets.keyed(content) if repeated.any() or kept.height < frame.height else None
        if kept.height < frame.height:
            facts.append(self._put_aside(dataset, part, segment, frame, screening, batch))
        if repeated.any():
            n_equal = int(equal.sum())
            counts = {"n_equal": n_equal, "n_different": int(repeated.sum()) - n_equal}
            facts.append(
                RepeatsDropped(
                    dataset=dataset.name, part=part, segment=segment, batch=batch or content, **counts
                )
            )
            kept, given, standing = (
                kept.filter(pl.Series(~repeated)),
                given.only(~repeated),
                standing.only(~repeated),
            )
        accepted = not kept.is_empty() or frame.is_empty()
        if accepted:
            n_ahead = int(standing.ahead().sum())
            self._keys.advance(dataset)
            facts.append(self._stored(dataset, part, segment, (frame, content), kept, n_ahead, batch))
        for later, (n_rows, n_early) in self._keys.of(dataset).add(part, given, standing).items():
            facts.append(
                RowsJoined(dataset=dataset.name, part=later, segment=segment, n_rows=n_rows, n_early=n_early)
            )
        made = tuple(Fact(stream_of(dataset.name), fact) for fact in facts)
        prepared = Prepared(made, accepted, kept, screening.report, segment)
        # Until it is committed the ledger does not know it, though its keys are taken.
        self._pending[dataset.name, part, segment] = (content, prepared)
        return prepared

    def _kept(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, screening: Screening
    ) -> tuple[pl.DataFrame, Stated, Standing, Screening]:
        """Return the rows that are not put aside, in the types in which they are stored, and what is
        remembered of them.
        """
        types = dataset.part_types(part)
        if screening.whole:
            kept = pl.DataFrame(schema=types)
        else:
            sound = frame.filter(screening.reasons.is_null()) if screening.reasons.count() else frame
            kept = conformed(in_shape(sound, types), dataset, part)
        given = stated_rows(kept, dataset, part)
        standing = self._keys.of(dataset).standing(part, given)
        early = standing.early(given)
        if not early.any():
            return kept, given, standing, screening
        where = screening.reasons.is_null().to_numpy().copy()
        where[where] = early
        expected = f"a time not before {dataset.event_time}"
        screening = with_reason(screening, pl.Series(where), BEFORE_ITS_ROW, part, expected)
        return kept.filter(pl.Series(~early)), given.only(~early), standing.only(~early), screening

    def _stored(
        self,
        dataset: Dataset,
        part: str,
        segment: str,
        came: tuple[pl.DataFrame, Digest],
        rows: pl.DataFrame,
        n_ahead: int,
        batch: Digest | None,
    ) -> DatasetVersionAppended:
        frame, content = came
        # Digests of a long batch take as long as everything else, so the same rows are not read twice.
        known = content if batch is None and rows.schema == frame.schema else None
        stored = self._columns.append(table_of(dataset.name, part), segment, rows, content=known)
        first, last = span_of(rows, part)
        return DatasetVersionAppended(
            dataset=dataset.name,
            part=part,
            segment=segment,
            n_rows=rows.height,
            digest=content if batch is None else stored,
            first=first,
            last=last,
            n_ahead=n_ahead,
            batch=batch,
            rows=stored,
        )

    def _put_aside(
        self,
        dataset: Dataset,
        part: str,
        segment: str,
        frame: pl.DataFrame,
        screening: Screening,
        batch: Digest | None,
    ) -> BatchQuarantined:
        rows = frame.with_columns(screening.reasons.alias(REASON)).filter(pl.col(REASON).is_not_null())
        stored = self._columns.append(quarantine_of(dataset.name, part), segment, rows)
        return BatchQuarantined(
            dataset=dataset.name,
            part=part,
            segment=segment,
            n_rows=rows.height,
            n_batch=frame.height,
            digest=self._datasets.keyed(stored),
            report=msgspec.structs.replace(screening.report, warnings=()),
            batch=batch,
            rows=self._datasets.keyed(stored),
        )


def _digest_of_before(frame: pl.DataFrame) -> Digest:
    """Return the digest by which ledgers of before know a batch."""
    header = "\x1f".join(f"{name}\x1e{dtype}" for name, dtype in frame.schema.items())
    body = frame.write_csv(include_header=False, quote_style="non_numeric", datetime_format="%s%.6f")
    return digest(f"{header}\n{body}".encode())
