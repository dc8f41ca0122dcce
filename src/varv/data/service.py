"""Keeping datasets: batches checked by their contract, immutable versions, and reading as of any version and
instant.

What happened is a fact in the ledger; the rows are segments in the columns, written before the fact that
makes them count. A crash between the two leaves a segment that nobody reads and that the same batch, tried
again, finds in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from varv.data.model import (
    BatchQuarantined,
    BatchReleased,
    ContractInferred,
    Dataset,
    DatasetRegistered,
    DatasetVersionAppended,
)
from varv.data.rules import Contract, Report, Violation, check, contract_of_types, infer_contract
from varv.data.sources import in_kept_types
from varv.data.views import DatasetsView, DatasetVersion
from varv.kernel.clock import Clock, Instant, as_datetime
from varv.kernel.codec import Digest, digest
from varv.kernel.columns import Columns
from varv.kernel.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.sagas import Fact
from varv.kernel.views import Views


class Prepared(msgspec.Struct, frozen=True):
    """A batch whose rows are stored and count once the facts are in the ledger."""

    facts: tuple[Fact, ...]
    """None if the same batch was taken in, or put aside, before."""
    accepted: bool
    rows: pl.DataFrame
    """If accepted, the rows as they are stored: the part's columns, in kept types."""
    report: Report


class Appended(msgspec.Struct, frozen=True):
    """What became of a batch: the version it made, or None and why it is in quarantine."""

    version: Version | None
    report: Report


class Datasets:
    """The datasets of one store.

    Parameters
    ----------
    ledger, columns, clock
        Where facts and rows are kept, and what tells the time.
    views
        Views of the same ledger, `DatasetsView` among them.
    """

    def __init__(self, ledger: Ledger, columns: Columns, clock: Clock, views: Views) -> None:
        self._ledger = ledger
        self._columns = columns
        self._clock = clock
        self._views = views

    def register(self, dataset: Dataset) -> tuple[Fact, ...]:
        """Return the facts that make a dataset known by its keys, times and types; none if it is.

        Raises
        ------
        AlreadyExists
            If the name was registered with another shape.
        """
        declared = DatasetRegistered(
            dataset=dataset.name,
            key=dataset.key,
            event_time=dataset.event_time,
            known_at=dict(dataset.known_at),
            types={name: str(dtype) for name, dtype in dataset.types().items()},
        )
        with self._views.reading(DatasetsView) as view:
            registered = view.registered(dataset.name)
        if registered is None:
            return (Fact(_stream(dataset), declared),)
        if registered != declared:
            hint = "declare the dataset as before, or give the new one another name"
            raise AlreadyExists("dataset", dataset.name, "is registered with another shape", hint=hint)
        return ()

    def infer_contracts(self, datasets: Sequence[Dataset]) -> list[Fact]:
        """Return the facts that batches must from now on be like all that is stored at present."""
        facts = []
        for dataset in datasets:
            for part in dataset.parts:
                reference = self.read_part(dataset, part)
                if not reference.is_empty():
                    contract = infer_contract(reference, key=dataset.key, time=part)
                    event = ContractInferred(dataset=dataset.name, part=part, contract=contract)
                    facts.append(Fact(_stream(dataset), event))
        return facts

    def append(self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str) -> Appended:
        """Take in a batch, or put it in quarantine whole if it breaks the contract.

        The same segment with the same rows, once more, changes nothing and gets the same answer.

        Raises
        ------
        Conflict
            If the segment exists with other rows.
        InvalidInput
            If a column holds what cannot be kept even in quarantine, such as lists.
        """
        prepared = self.prepare_append(dataset, part, frame, segment=segment)
        self._commit(prepared.facts)
        return Appended(self.version_of(dataset, part, segment), prepared.report)

    def prepare_append(self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str) -> Prepared:
        """Check a batch and store its rows, and return the facts that make it count, for the caller to
        commit.

        Raises
        ------
        Conflict
            If the segment exists with other rows.
        InvalidInput
            If a column holds what cannot be kept even in quarantine, such as lists.
        """
        content = content_digest(frame)
        place = (dataset.name, part, segment)
        with self._views.reading(DatasetsView) as view:
            contract = view.contract(dataset.name, part)
            appended, held = view.segment(*place), view.quarantined(*place)
        before = appended or held
        if before is not None and before.digest != content:
            hint = "a segment never changes; give the new rows another segment name"
            raise Conflict("segment", "/".join(place), "exists with other rows", hint=hint)
        if appended is not None:
            return Prepared((), True, _conformed(frame, dataset, part), Report(n_rows=frame.height))
        if held is not None:
            return Prepared((), False, frame, held.report)
        rows, report = _checked(contract, dataset, part, frame, self._clock.now())
        if report.ok:
            event = self._stored(dataset, part, segment, rows, content)
        else:
            event = self._put_aside(dataset, part, segment, frame, content, report)
        return Prepared((Fact(_stream(dataset), event),), report.ok, rows, report)

    def release(self, dataset: Dataset, part: str, segment: str, *, by: str) -> Version:
        """Let a batch out of quarantine, as it is, into the next version; return that version.

        Raises
        ------
        NotFound
            If there is no such batch in quarantine.
        FailedPrecondition
            If its columns cannot be read as those of the dataset.
        """
        name = f"{dataset.name}/{part}/{segment}"
        with self._views.reading(DatasetsView) as view:
            held = view.quarantined(dataset.name, part, segment)
        if held is None:
            raise NotFound("batch", name, "is not in quarantine")
        try:
            stored = self._columns.scan(_quarantine(dataset, part), [segment]).collect()
            rows = _conformed(stored, dataset, part)
        except pl.exceptions.PolarsError as error:
            raise FailedPrecondition(
                "batch",
                name,
                "does not have the dataset's types",
                why=str(error).split("\n")[0][:200],
                hint="mend the rows and append them as another segment",
            ) from None
        released = BatchReleased(dataset=dataset.name, part=part, segment=segment, by=by)
        event = self._stored(dataset, part, segment, rows, held.digest)
        self._commit((Fact(_stream(dataset), released), Fact(_stream(dataset), event)))
        return self.version_of(dataset, part, segment) or Version(0)

    def read(
        self, dataset: Dataset, *, version: Version | int | None = None, known_at: Instant | None = None
    ) -> pl.DataFrame:
        """Return the rows of a version, by default the latest, with what was known at an instant, by default
        all.

        The result depends on the arguments only: the same version and instant give the same frame for ever.

        Returns
        -------
        pl.DataFrame
            One row a key, the columns as declared, in the order of event time and key. What was not known is
            null, its knowledge time too.

        Raises
        ------
        NotFound
            If there is no such dataset or version.
        """
        frame = self.read_part(dataset, dataset.event_time, version=version, known_at=known_at)
        for part in dataset.known_at:
            later = self.read_part(dataset, part, version=version, known_at=known_at)
            own = [name for name in later.columns if name not in dataset.key]
            frame = frame.join(
                later.select(*dataset.key, *own), on=dataset.key, how="left", maintain_order="left"
            )
        return frame.select(list(dataset.types())).sort(dataset.event_time, *dataset.key)

    def read_part(
        self,
        dataset: Dataset,
        part: str,
        *,
        version: Version | int | None = None,
        known_at: Instant | None = None,
    ) -> pl.DataFrame:
        """Return the rows of one part as `read` would join them, in the order of its time and key."""
        columns = dataset.columns(part)
        segments = [
            kept.segment
            for kept in self.versions(dataset, upto=version)
            if kept.part == part and (known_at is None or (kept.first is not None and kept.first <= known_at))
        ]
        if not segments:
            return pl.DataFrame(schema=dataset.part_types(part))
        frame = self._columns.scan(_table(dataset, part), segments).collect()
        frame = frame.unique(dataset.key, keep="first", maintain_order=True)
        if known_at is not None:
            frame = frame.filter(pl.col(part) <= as_datetime(known_at))
        return frame.select(columns).sort(part, *dataset.key)

    def compact(self, dataset: Dataset) -> None:
        """Store small batches together, in the order in which they came; versions stay what they are."""
        versions = self.versions(dataset)
        for part in dataset.parts:
            segments = [kept.segment for kept in versions if kept.part == part]
            self._columns.compact(_table(dataset, part), segments)

    def versions(self, dataset: Dataset, *, upto: Version | int | None = None) -> Sequence[DatasetVersion]:
        """Return the versions of a dataset, each with the batch that made it, version 1 first.

        Raises
        ------
        NotFound
            If there is no version `upto`.
        """
        with self._views.reading(DatasetsView) as view:
            found = view.versions(dataset.name)
        if upto is None:
            return found
        if not 0 <= upto <= len(found):
            hint = f"the last is {len(found)}"
            raise NotFound("dataset", dataset.name, f"has no version {upto}", hint=hint)
        return found[:upto]

    def version_of(self, dataset: Dataset, part: str, segment: str) -> Version | None:
        """Return the version that a batch made; None if it made none, or is in quarantine."""
        with self._views.reading(DatasetsView) as view:
            kept = view.segment(dataset.name, part, segment)
        return None if kept is None else kept.version

    def latest(self, dataset: Dataset, part: str) -> DatasetVersion | None:
        """Return the last version that a batch of this part made, if any did."""
        return next((kept for kept in reversed(self.versions(dataset)) if kept.part == part), None)

    def _stored(
        self, dataset: Dataset, part: str, segment: str, rows: pl.DataFrame, content: Digest
    ) -> DatasetVersionAppended:
        self._columns.append(_table(dataset, part), segment, rows)
        times = rows[part].cast(pl.Int64)
        first, last = times.min(), times.max()
        return DatasetVersionAppended(
            dataset=dataset.name,
            part=part,
            segment=segment,
            n_rows=rows.height,
            digest=content,
            first=Instant(first) if isinstance(first, int) else None,
            last=Instant(last) if isinstance(last, int) else None,
        )

    def _put_aside(
        self, dataset: Dataset, part: str, segment: str, frame: pl.DataFrame, content: Digest, report: Report
    ) -> BatchQuarantined:
        self._columns.append(_quarantine(dataset, part), segment, frame)
        return BatchQuarantined(
            dataset=dataset.name,
            part=part,
            segment=segment,
            n_rows=frame.height,
            digest=content,
            report=report,
        )

    def _commit(self, facts: Sequence[Fact]) -> None:
        if facts:
            appends = tuple(Append(fact.stream, fact.event) for fact in facts)
            self._ledger.commit(Change(at=self._clock.now(), facts=appends))


def content_digest(frame: pl.DataFrame) -> Digest:
    """Return the SHA-256 of a frame's columns, types and values; it does not depend on how the frame is
    stored.

    Examples
    --------
    >>> content_digest(pl.DataFrame({"a": [1, None]})) == content_digest(pl.DataFrame({"a": [1, 2]}))
    False
    """
    for name, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in (pl.Object, pl.Binary):
            hint = "send numbers, Booleans, texts and times"
            raise InvalidInput("column", name[:80], f"has the type {dtype}", hint=hint)
    header = "\x1f".join(f"{name}\x1e{dtype}" for name, dtype in frame.schema.items())
    # Texts are quoted, so a null (nothing) and an empty text ("") differ.
    body = frame.write_csv(include_header=False, quote_style="non_numeric", datetime_format="%s%.6f")
    return digest(f"{header}\n{body}".encode())


def _checked(
    contract: Contract | None, dataset: Dataset, part: str, frame: pl.DataFrame, now: Instant
) -> tuple[pl.DataFrame, Report]:
    """Return the rows as they would be stored and what the contract says; the rows as they came if that is
    no.
    """
    types = dataset.part_types(part)
    kept = in_kept_types(frame)
    report = check(contract or contract_of_types(types, key=dataset.key, time=part), kept, now=now)
    if not report.ok:
        return frame, report
    try:
        return _conformed(kept, dataset, part), report
    except pl.exceptions.PolarsError as error:
        why = f"the declared types: {str(error).splitlines()[0][:200]}"
        misfit = Violation(rule="type", column="", n_rows=frame.height, n_allowed=0, expected=why)
        return frame, Report(n_rows=frame.height, violations=(misfit,))


def _conformed(frame: pl.DataFrame, dataset: Dataset, part: str) -> pl.DataFrame:
    types = dataset.part_types(part)
    rows = in_kept_types(frame).select(list(types))
    return rows if rows.schema == types else rows.cast(types, strict=True)  # type: ignore[arg-type]


def _stream(dataset: Dataset) -> str:
    return f"dataset/{dataset.name}"


def _table(dataset: Dataset, part: str) -> str:
    return f"data/{dataset.name}/{part}"


def _quarantine(dataset: Dataset, part: str) -> str:
    return f"quarantine/{dataset.name}/{part}"
