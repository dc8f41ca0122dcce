"""Keeping datasets: batches checked by their contract row by row, and immutable versions; they are read in
`data.stored`.

What happened is a fact in the ledger; the rows are segments in the columns, written before the fact that
makes them count. A crash between the two leaves a segment that nobody reads and that the same batch, tried
again, finds in place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import polars as pl

from varv.data.contracts.gained import with_gained
from varv.data.contracts.inference import contract_of_types, infer_contract
from varv.data.contracts.model import Contract, Expectation, is_as_before
from varv.data.contracts.report import BEFORE_ITS_ROW, Report, Screening, no_reasons, with_reason
from varv.data.contracts.rules import Screen
from varv.data.dataset import Dataset
from varv.data.kept_contracts import Contracts
from varv.data.keys import DatasetKeys, KeysState, Standing, Stated, repeats
from varv.data.model import (
    BatchesCompacted,
    BatchQuarantined,
    BatchWarned,
    ContractInferred,
    DatasetVersionAppended,
    ExpectationsDeclared,
    RepeatsDropped,
    RowsJoined,
)
from varv.data.privacy.minimising import Pseudonymise
from varv.data.privacy.model import PiiDeclared
from varv.data.rewriting.files import Rewritten, stated_rows
from varv.data.rewriting.preparing import Author, PreparedRewrite, Rewrites, There
from varv.data.shape import conformed, in_shape, misfit, shape_of, span_of, widening
from varv.data.sources import in_kept_types
from varv.data.stored import StoredDatasets, quarantine_of
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import PublicationDeclared, RetentionDeclared
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock, Instant
from varv.kernel.codec import Digest, Event, canonical, digest
from varv.kernel.columns import Columns
from varv.kernel.content import rows_digest
from varv.kernel.errors import AlreadyExists, Conflict
from varv.kernel.ids import Version
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.observe import log
from varv.kernel.sagas import Fact
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.table_folder import require_segment_name
from varv.kernel.views import Views
from varv.tasks import OutcomeRule

_LOG = logging.getLogger(__name__)
REASON = "@reason"
"""The column beside the rows in quarantine that says why each is there."""


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


class Datasets(StoredDatasets):
    """The datasets of one store.

    Parameters
    ----------
    ledger, columns, clock
        Where facts and rows are kept, and what tells the time.
    views
        Views of the same ledger, `DatasetsView` among them.
    secret
        Of the home, for digests of what the ledger must not reveal.
    snapshots
        Where keys are kept, so that a restart reads only what came later; by default it reads everything.
    """

    def __init__(
        self,
        ledger: Ledger,
        columns: Columns,
        clock: Clock,
        views: Views,
        secret: Secret,
        snapshots: Snapshots | None = None,
    ) -> None:
        super().__init__(ledger, columns, views, secret)
        self._snapshots = snapshots
        self._clock = clock
        self._outcomes: dict[str, dict[str, OutcomeRule]] = {}
        self._contracts = Contracts(columns, views, secret)
        self._screens: dict[tuple[str, str], Screen] = {}
        self._expected: dict[tuple[str, str], tuple[tuple[Expectation, ...], tuple[Expectation, ...]]] = {}
        self._declared: dict[tuple[str, str], Contract] = {}
        self._keys: dict[str, DatasetKeys] = {}
        self._keys_kept: dict[str, Version] = {}
        self._keys_at: dict[str, Version] = {}
        """By dataset, the version that its keys are those of, once what is prepared is committed."""
        self._reading_keys = threading.Lock()
        self._writing = threading.RLock()
        self._pending: dict[tuple[str, str, str], tuple[Digest, Prepared]] = {}

    def expect_outcomes(self, dataset: Dataset, column: str, rule: OutcomeRule) -> None:
        """Let contracts that are made from now on allow in a column only what may be an outcome."""
        self._outcomes.setdefault(dataset.name, {})[column] = rule
        self._declared.clear()

    def register(self, dataset: Dataset) -> tuple[Fact, ...]:
        """Return the facts that make a dataset known by its keys, times and types, and what is expected of
        it; none if they are. One that gained columns is known with them from then on.

        Raises
        ------
        AlreadyExists
            If the name was registered with another shape.
        """
        with self._views.reading(DatasetsView) as view:
            registered, history = view.registered(dataset.name), view.history(dataset.name)
            kept, every = history.retention, history.publish_every
            expected = view.expectations(dataset.name) or ()
        stream, facts = stream_of(dataset.name), list[Event]()
        if dataset.retention != kept:
            facts.append(RetentionDeclared(dataset=dataset.name, retention=dataset.retention))
        if dataset.publish_every != every:
            facts.append(PublicationDeclared(dataset=dataset.name, every=dataset.publish_every))
        if not is_as_before(expected, dataset.expect):
            for one in dataset.expect:
                dataset.part_of(one)
            facts.append(ExpectationsDeclared(dataset=dataset.name, expectations=dataset.expect))
        treatments = {column: str(how) for column, how in dataset.pii.items()}
        if registered is not None and registered.pii != treatments:
            facts.append(PiiDeclared(dataset=dataset.name, treatments=treatments))
        if registered is None:
            return tuple(Fact(stream, fact) for fact in (shape_of(dataset), *facts))
        if problem := misfit(registered, dataset):
            hint = "declare the dataset as before, or give the new one another name"
            raise AlreadyExists("dataset", dataset.name, problem, hint=hint)
        if (widened := widening(registered, dataset)) is not None:
            contracts = (self._widened_contract(dataset, part, widened.gained) for part in dataset.parts)
            facts += [widened, *filter(None, contracts)]
        return tuple(Fact(stream, fact) for fact in facts)

    def _widened_contract(
        self, dataset: Dataset, part: str, gained: Sequence[str]
    ) -> ContractInferred | None:
        """Return the contract of a part with what follows from the types of columns that it gains; rows of
        before do not bring them. None if nothing was inferred of it yet.
        """
        with self._views.reading(DatasetsView) as view:
            held = view.contract(dataset.name, part)
        types = {name: dtype for name, dtype in dataset.part_types(part).items() if name in gained}
        if held is None or not types:
            return None
        more = contract_of_types(types, key=(), time="", outcomes=self._outcomes_in(dataset, part)).columns
        rules = tuple(msgspec.structs.replace(rule, may_be_missing=True) for rule in more)
        contract = msgspec.structs.replace(held, columns=(*held.columns, *rules))
        return ContractInferred(dataset=dataset.name, part=part, contract=contract)

    def infer_contracts(self, datasets: Sequence[Dataset]) -> list[Fact]:
        """Return the facts that batches must from now on be like all that is stored at present, prepared ones
        among them.
        """
        facts = []
        for dataset in datasets:
            for part in dataset.parts:
                reference = self._stored_so_far(dataset, part)
                if not reference.is_empty():
                    contract = infer_contract(
                        reference,
                        key=dataset.key,
                        time=part,
                        outcomes=self._outcomes_in(dataset, part),
                        declared=self.expectations(dataset, part),
                    )
                    contract = _without_pseudonyms(contract, dataset)
                    kept = self._contracts.keep(dataset.name, part, contract)
                    event = ContractInferred(dataset=dataset.name, part=part, contract=kept)
                    facts.append(Fact(stream_of(dataset.name), event))
        return facts

    def infer_gained(self, dataset: Dataset) -> list[Fact]:
        """Return the facts that batches must from now on be like what has come in columns that a dataset
        gained; none as long as too little has.
        """
        facts = []
        for part in dataset.parts:
            held = self._contracts.latest(dataset.name, part)
            if held is None or not any(rule.may_be_missing for rule in held.columns):
                continue
            learned = with_gained(held, self.read_part(dataset, part))
            if learned is not held:
                kept = self._contracts.keep(dataset.name, part, learned)
                event = ContractInferred(dataset=dataset.name, part=part, contract=kept)
                facts.append(Fact(stream_of(dataset.name), event))
        return facts

    def _stored_so_far(self, dataset: Dataset, part: str) -> pl.DataFrame:
        with self._views.reading(DatasetsView) as view:
            waiting = [
                made
                for place, (_, made) in self._pending.items()
                if not view.is_on_record(*place) and place[:2] == (dataset.name, part)
            ]
        rows = [made.rows for made in waiting if made.accepted]
        return pl.concat([self.read_part(dataset, part), *rows])

    def contract(self, dataset: Dataset, part: str) -> Contract:
        """Return what batches of a part are checked by: what was inferred, or else what was declared."""
        inferred = self._contracts.latest(dataset.name, part)
        if inferred is not None:
            return inferred
        place = (dataset.name, part)
        if place not in self._declared:
            types, outcomes = dataset.part_types(part), self._outcomes_in(dataset, part)
            self._declared[place] = contract_of_types(types, key=dataset.key, time=part, outcomes=outcomes)
        return self._declared[place]

    def screen(self, dataset: Dataset, part: str) -> Screen:
        """Return what looks at batches of a part by its contract."""
        contract, place = self.contract(dataset, part), (dataset.name, part)
        found, declared = self._screens.get(place), self.expectations(dataset, part)
        if found is None or found.contract is not contract or found.declared is not declared:
            found = self._screens[place] = Screen(contract, dataset.part_types(part), declared)
        return found

    def expectations(self, dataset: Dataset, part: str) -> tuple[Expectation, ...]:
        """Return what an author expects of a part: as it is on record, and before that as it is declared."""
        with self._views.reading(DatasetsView) as view:
            recorded = view.expectations(dataset.name)
        every = dataset.expect if recorded is None else recorded
        held = self._expected.get((dataset.name, part))
        if held is None or held[0] is not every:
            held = (every, tuple(one for one in every if dataset.part_of(one) == part))
            self._expected[dataset.name, part] = held
        return held[1]

    def append(self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str) -> Appended:
        """Ingest a batch but for the rows that break the contract, which are put in quarantine, and those
        that repeat a key, which are dropped.

        The same segment with the same rows, once more, changes nothing and gets the same answer.

        Raises
        ------
        Conflict
            If the segment exists with other rows.
        InvalidInput
            If a column holds what cannot be kept even in quarantine, such as lists.
        """
        require_segment_name(segment)
        with self._writing:
            while True:
                expected, _ = self._seen(dataset)
                prepared = self.prepare_append(dataset, part, frame, segment=segment)
                if self._is_committed(dataset, prepared.facts, expected):
                    return Appended(self.version_of(dataset, part, segment), prepared.report)

    def _seen(self, dataset: Dataset) -> tuple[int, Version]:
        """Return how long the stream of a dataset is, and its version, which is that or a later one; keys are
        read anew if somebody else has made a version.
        """
        length = self._ledger.head(stream_of(dataset.name)).version
        with self._views.reading(DatasetsView) as view:
            version = view.version(dataset.name)
            self._pending = {one: made for one, made in self._pending.items() if not view.is_on_record(*one)}
        if not self._pending and self._keys_at.get(dataset.name) != version:
            self._keys.pop(dataset.name, None)
        return length, version

    def _is_committed(self, dataset: Dataset, facts: Sequence[Fact], expected: int) -> bool:
        """Commit facts, if the stream of the dataset is still as long as expected; else return False."""
        if not facts:
            return True
        try:
            self.commit((msgspec.structs.replace(facts[0], expected=expected), *facts[1:]))
        except Conflict as error:
            if error.kind != "stream":
                raise
            return False
        return True

    def overwrite(
        self,
        dataset: Dataset,
        part: str,
        frame: pl.DataFrame,
        *,
        by: str = "",
        why: str = "",
        seen: Version | int | None = None,
        also: Sequence[Event] = (),
    ) -> Rewritten:
        """Put rows in the place of all that a part holds. Earlier versions read as before.

        Parameters
        ----------
        by, why
            Who does it, and the reason, for the ledger.
        seen
            The version that the caller knows; the present one by default.
        also
            What goes on record in the same change, if there is any change.

        Raises
        ------
        InvalidInput
            If a row breaks the contract, is from before the row that it is about, or two rows state one key
            and differ. Nothing is changed then.
        Conflict
            If the dataset is of another version than the one that was seen, or somebody makes one meanwhile.
        """
        return self._rewrite(
            dataset, seen, lambda: self.prepare_overwrite(dataset, part, frame, by, why), also
        )

    def merge(
        self,
        dataset: Dataset,
        part: str,
        frame: pl.DataFrame,
        *,
        by: str = "",
        why: str = "",
        seen: Version | int | None = None,
    ) -> Rewritten:
        """Put rows in the place of those that have their keys, and add those whose keys are new. Rows that
        say what is there already are left where they are; if all do, there is no new version.

        Parameters and errors are those of `overwrite`; each row is checked by itself, not for the company
        that it comes in, since corrected rows are no sample.
        """
        return self._rewrite(dataset, seen, lambda: self.prepare_merge(dataset, part, frame, by, why))

    def remove(
        self, dataset: Dataset, part: str, keys: pl.DataFrame, *, by: str = "", why: str = ""
    ) -> Rewritten:
        """Take the rows of some keys out of a part. Earlier versions read as before.

        Parameters
        ----------
        keys
            The columns of the key in their types, each key once.

        Raises
        ------
        Conflict
            If somebody makes another version meanwhile.
        """
        rewrites = partial(self._rewrites, dataset, part, by, why)
        return self._rewrite(dataset, None, lambda: self._noted(dataset, rewrites().remove(keys)))

    def _rewrite(
        self,
        dataset: Dataset,
        seen: Version | int | None,
        prepare: Callable[[], PreparedRewrite],
        also: Sequence[Event] = (),
    ) -> Rewritten:
        with self._writing:
            first: Version | int | None = seen
            while True:
                expected, version = self._seen(dataset)
                first = version if first is None else first
                if version != first:
                    hint = f"see varv data diff {dataset.name}@{first} {dataset.name}, and try again"
                    raise Conflict("dataset", dataset.name, expected=first, found=int(version), hint=hint)
                prepared = self._prepared_rewrite(prepare)
                # Where only a compaction came between, or a tag, the rewrite is prepared once more.
                more = tuple(Fact(stream_of(dataset.name), event) for event in also if prepared.facts)
                if self._is_committed(dataset, (*prepared.facts, *more), expected):
                    return prepared.result

    def _prepared_rewrite(self, prepare: Callable[[], PreparedRewrite]) -> PreparedRewrite:
        try:
            return prepare()
        except BaseException:
            # The keys may be those of a version that will not be.
            self.forget()
            raise

    def prepare_overwrite(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, by: str = "", why: str = ""
    ) -> PreparedRewrite:
        """Store the rows of an overwrite, and return the facts that make it count, for the caller to commit
        before anything else is written to the dataset.
        """
        rows = self.minimised(dataset, frame)
        return self._noted(dataset, self._rewrites(dataset, part, by, why).overwrite(rows))

    def prepare_merge(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, by: str = "", why: str = ""
    ) -> PreparedRewrite:
        """Store the rows of a merge, and return the facts that make it count, for the caller to commit before
        anything else is written to the dataset.
        """
        rows = self.minimised(dataset, frame)
        return self._noted(dataset, self._rewrites(dataset, part, by, why).merge(rows))

    def _rewrites(self, dataset: Dataset, part: str, by: str, why: str) -> Rewrites:
        there = There(
            self.version(dataset),
            self.extents(dataset, part),
            self._known(dataset),
            partial(self.rows_in, dataset, part),
        )
        screen, now = self.screen(dataset, part), self._clock.now()
        return Rewrites(dataset, part, there, screen, self._columns, now, Author(by, why))

    def _noted(self, dataset: Dataset, prepared: PreparedRewrite) -> PreparedRewrite:
        # The keys are those of the version that it makes.
        self._keys_at[dataset.name] = Version(prepared.result.version)
        return prepared

    def prepare_append(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str, acknowledged: bool = False
    ) -> Prepared:
        """Check a batch and store its rows, and return the facts that make it count, for the caller to
        commit.

        Parameters
        ----------
        acknowledged
            Each row was checked and accepted by itself, so none is put aside for the company it came in.

        Raises
        ------
        Conflict
            If the segment exists with other rows.
        InvalidInput
            If a column holds what cannot be kept even in quarantine, such as lists.
        """
        require_segment_name(segment)
        kept = self.minimised(dataset, in_kept_types(frame))
        content = rows_digest(kept)
        before = self._before(dataset, part, frame, segment, content)
        if before is not None:
            return before
        screening = self.screen(dataset, part).look(kept, now=self._clock.now(), acknowledged=acknowledged)
        return self._sorted_out(dataset, part, kept, screening, segment, content)

    def prepare_correction(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str
    ) -> Prepared:
        """Store rows that a person vouches for, as `prepare_append` does, without asking the contract."""
        frame = self.minimised(dataset, frame)
        screening = Screening(Report(n_rows=frame.height), no_reasons(frame.height), False)
        return self._sorted_out(dataset, part, frame, screening, segment, rows_digest(frame))

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
            held = view.quarantined(*place)
            self._pending = {one: made for one, made in self._pending.items() if not view.is_on_record(*one)}
        came = self._came(*place)
        if came is None:
            pending = self._pending.get(place)
            return pending[1] if pending is not None and pending[0] == content else None
        if not self._is_of(came.batch, frame, content):
            hint = "a segment never changes; give the new rows another segment name"
            raise Conflict("segment", "/".join(place), "exists with other rows", hint=hint)
        report = Report(n_rows=frame.height) if held is None else held.report
        if came.rows is None or not self._counts(dataset, part, segment):
            return Prepared((), False, frame.clear(), report, segment)
        return Prepared((), True, self._rows_of(dataset, part, {segment: came.rows}), report, segment)

    def _is_of(self, came: Digest, frame: pl.DataFrame, content: Digest) -> bool:
        """Return whether a batch that came, as the ledger knows it, is this one."""
        if came in (content, self._keyed(content)):
            return True
        before = _digest_of_before(frame)
        return came in (before, self._keyed(before))

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
        batch = self._keyed(content) if repeated.any() or kept.height < frame.height else None
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
            self._keys_at[dataset.name] = Version(self._keys_at[dataset.name] + 1)
            facts.append(self._stored(dataset, part, segment, (frame, content), kept, n_ahead, batch))
        for later, (n_rows, n_early) in self._known(dataset).add(part, given, standing).items():
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
        standing = self._known(dataset).standing(part, given)
        early = standing.early(given)
        if not early.any():
            return kept, given, standing, screening
        where = screening.reasons.is_null().to_numpy().copy()
        where[where] = early
        expected = f"a time not before {dataset.event_time}"
        screening = with_reason(screening, pl.Series(where), BEFORE_ITS_ROW, part, expected)
        return kept.filter(pl.Series(~early)), given.only(~early), standing.only(~early), screening

    def _known(self, dataset: Dataset) -> DatasetKeys:
        """Return the keys of a dataset; they are read from what is stored when they are first needed."""
        with self._reading_keys:
            return self._keys.get(dataset.name) or self._read_keys(dataset)

    def _read_keys(self, dataset: Dataset) -> DatasetKeys:
        keys = DatasetKeys(dataset.event_time, tuple(dataset.known_at))
        kept = None
        if self._snapshots is not None:
            kept = self._snapshots.newest(_keys_name(dataset), KeysState, self._ledger)
        since = Version(0)
        is_of = kept is not None and kept.state.identity == identity_of(dataset)
        if kept is not None and is_of and not self.was_rewritten(dataset, Version(kept.state.version)):
            keys.take(kept.state, kept.lies_in)
            since = self._keys_kept[dataset.name] = Version(kept.state.version)
        upto = self.version(dataset)
        for part in dataset.parts:
            segments = self._segments_after(dataset, part, since, upto)
            batches = self._columns.batches(table_of(dataset.name, part), segments)
            names, types = dataset.columns(part), dataset.part_types(part)
            whole = (in_shape(rows, types).select(names) for rows in batches)
            keys.restore(part, (stated_rows(rows, dataset, part) for rows in whole))
        self._keys[dataset.name], self._keys_at[dataset.name] = keys, upto
        return keys

    def keep_keys(self, dataset: Dataset, position: Position) -> Callable[[], bool] | None:
        """Return what writes a snapshot of a dataset's keys as they are now, in any thread; None if they were
        never needed, there are none after the last snapshot, or a batch was prepared that is not committed.

        Parameters
        ----------
        position
            The head of the ledger.
        """
        with self._views.reading(DatasetsView) as view:
            is_settled = all(view.is_on_record(*place) for place in self._pending)
            version = view.version(dataset.name)
        keys, snapshots = self._keys.get(dataset.name), self._snapshots
        if (
            keys is None
            or snapshots is None
            or not is_settled
            or version == self._keys_kept.get(dataset.name)
        ):
            return None
        self._keys_kept[dataset.name] = Version(version)
        state = keys.as_state(identity_of(dataset), version)
        return lambda: snapshots.write(_keys_name(dataset), position, state, let_go=keys.let_go)

    def look_after_keys(self) -> None:
        """Read all keys anew when they are next needed, if somebody wrote to a file that they lie in; called
        while nothing is prepared.
        """
        if self._snapshots is not None and not self._snapshots.are_unchanged:
            log(_LOG, logging.ERROR, "snapshot.changed", hint="nobody may write to the snapshots of a home")
            self.forget()

    def _outcomes_in(self, dataset: Dataset, part: str) -> dict[str, OutcomeRule]:
        columns = dataset.columns(part)
        return {name: of for name, of in self._outcomes.get(dataset.name, {}).items() if name in columns}

    def compact(self, dataset: Dataset, *, entirely: Version | int = 0) -> list[Fact]:
        """Store small batches together, in the order in which they came, and return the facts of it; versions
        stay what they are. Files that a removal left because of a crash go.

        Parameters
        ----------
        entirely
            The version up to which no small batch is left alone; by default some are, until they are enough.
        """
        self.finish_vacuum(dataset)
        facts = []
        for part in dataset.parts:
            with self._views.reading(DatasetsView) as view:
                held = view.catalogue(dataset.name, part)
                (alone, files), removed = held.compactable(), held.removed_files()
                now = {name for name in alone if held.alone[name].number <= entirely}
                spared = {one.name for one in held.superseded if not one.is_file}
            table = table_of(dataset.name, part)
            kept = {"removed": removed, "spared": spared}
            for made in self._columns.compact(table, alone, files, entirely=now, **kept):
                event = BatchesCompacted(
                    dataset=dataset.name, part=part, file=made.file, segments=made.segments
                )
                facts.append(Fact(stream_of(dataset.name), event))
        return facts

    def finish_vacuum(self, dataset: Dataset) -> None:
        """Remove the files whose removal was put on record last, as far as they are still there."""
        with self._views.reading(DatasetsView) as view:
            event = view.history(dataset.name).vacuumed
        if event is None:
            return
        for part, names in event.files.items():
            self._columns.remove(table_of(dataset.name, part), names)

    def minimised(self, dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with their personal columns treated as the dataset declares."""
        return dataset.minimiser(self._secret.purposes).frame(rows) if dataset.pii else rows

    def minimised_rows(
        self, dataset: Dataset, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """Return rows out of JSON with their personal columns treated as the dataset declares."""
        return dataset.minimiser(self._secret.purposes).rows(rows) if dataset.pii else rows

    def event_times(self, dataset: Dataset, keys: pl.DataFrame) -> list[Instant | None]:
        """Return the event time of the row of each key, None where there is none: the key's columns, in kept
        types.
        """
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        found = self._known(dataset).find(dataset.event_time, hashes)
        pairs = zip(found.known.tolist(), found.times.tolist(), strict=True)
        return [Instant(at) if known else None for known, at in pairs]

    def knows(self, dataset: Dataset, part: str, keys: pl.DataFrame) -> pl.Series:
        """Return of which keys a part has a row: the key's columns, in kept types."""
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        return pl.Series(self._known(dataset).find(part, hashes).known)

    def n_waiting_for(self, dataset: Dataset, part: str, keys: pl.DataFrame) -> int:
        """Return how many rows of a later part wait for one of these keys: the key's columns, in kept
        types.
        """
        hashes = keys.select(dataset.key).hash_rows(seed=0).to_numpy()
        return self._known(dataset).n_waiting_for(part, hashes)

    def commit(self, facts: Sequence[Fact]) -> None:
        """Write facts to the ledger by themselves, as one change."""
        done = False
        try:
            appends = tuple(Append(fact.stream, fact.event, fact.expected) for fact in facts)
            if appends:
                self._ledger.commit(Change(at=self._clock.now(), facts=appends))
            done = True
        finally:
            if not done:
                self.forget()

    def forget(self) -> None:
        """Forget the keys of what was prepared and could not be committed."""
        self._keys.clear()
        self._keys_at.clear()
        self._pending.clear()

    def said_before(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """Return which rows of a part, in the types in which they are stored, have a key that stands, and
        which of those say what it says.
        """
        given = stated_rows(rows, dataset, part)
        found = self._known(dataset).find(part, given.keys)
        return pl.Series(found.known), pl.Series(found.known & (found.rows == given.rows))

    def before_its_row(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> pl.Series:
        """Return which rows of a later part, in the types in which they are stored, say something from before
        the row that they are about existed.
        """
        given = stated_rows(rows, dataset, part)
        return pl.Series(self._known(dataset).standing(part, given).early(given))

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
            digest=self._keyed(stored),
            report=msgspec.structs.replace(screening.report, warnings=()),
            batch=batch,
            rows=self._keyed(stored),
        )


def _digest_of_before(frame: pl.DataFrame) -> Digest:
    """Return the digest by which ledgers of before know a batch."""
    header = "\x1f".join(f"{name}\x1e{dtype}" for name, dtype in frame.schema.items())
    body = frame.write_csv(include_header=False, quote_style="non_numeric", datetime_format="%s%.6f")
    return digest(f"{header}\n{body}".encode())


def _without_pseudonyms(contract: Contract, dataset: Dataset) -> Contract:
    """Return a contract that does not say which values a pseudonymised column may have: that would refuse
    everybody who is new, and list who is known.
    """
    columns = [
        msgspec.structs.replace(rule, domain=None)
        if isinstance(dataset.pii.get(rule.name), Pseudonymise)
        else rule
        for rule in contract.columns
    ]
    return msgspec.structs.replace(contract, columns=tuple(columns))


def identity_of(dataset: Dataset) -> str:
    """Return what two datasets have in common if what was kept of one is of the other."""
    # In no order: a record of a dataset keeps none.
    shape = [
        sorted([name, str(dtype)] for name, dtype in dataset.part_types(part).items())
        for part in dataset.parts
    ]
    return canonical([dataset.name, dataset.key, dataset.parts, shape]).decode()


def _keys_name(dataset: Dataset) -> str:
    return f"keys.{dataset.name}"
