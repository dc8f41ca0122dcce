"""Keeping datasets: batches checked by their contract row by row, and immutable versions; they are read in
`data.stored`.

What happened is a fact in the ledger; the rows are segments in the columns, written before the fact that
makes them count. A crash between the two leaves a segment that nobody reads and that the same batch, tried
again, finds in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import msgspec
import polars as pl

from varv.data.appending import Appended, Appends, Prepared
from varv.data.contracts.model import is_as_before
from varv.data.dataset import Dataset
from varv.data.known_keys import KnownKeys
from varv.data.model import BatchesCompacted, ExpectationsDeclared
from varv.data.part_contracts import PartContracts
from varv.data.privacy.model import PiiDeclared
from varv.data.rewriting.files import Rewritten
from varv.data.rewriting.preparing import Author, PreparedRewrite, Rewrites, There
from varv.data.shape import misfit, shape_of, widening
from varv.data.sources import in_kept_types
from varv.data.stored import StoredDatasets, copies_in
from varv.data.versions import stream_of, table_of
from varv.data.versions.model import ArchivalDeclared, PublicationDeclared, RetentionDeclared
from varv.data.views import DatasetsView
from varv.kernel.clock import Clock
from varv.kernel.codec import Event
from varv.kernel.columns import Columns
from varv.kernel.errors import AlreadyExists, Conflict
from varv.kernel.ids import Version
from varv.kernel.ledger import Append, Change, Ledger
from varv.kernel.sagas import Fact
from varv.kernel.secret import Secret
from varv.kernel.snapshots import Position, Snapshots
from varv.kernel.table_folder import require_segment_name
from varv.kernel.views import Views


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
        self._clock = clock
        self.contracts = PartContracts(columns, views, secret)
        self.keys = KnownKeys(self, ledger, snapshots)
        self._appends = Appends(self, columns, views, clock, self.contracts, self.keys)
        self._writing = threading.RLock()

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
            kept, every, after = history.retention, history.publish_every, history.archive_after
            expected = view.expectations(dataset.name) or ()
        stream, facts = stream_of(dataset.name), list[Event]()
        if dataset.retention != kept:
            facts.append(RetentionDeclared(dataset=dataset.name, retention=dataset.retention))
        if dataset.publish_every != every:
            facts.append(PublicationDeclared(dataset=dataset.name, every=dataset.publish_every))
        if dataset.archive_after != after:
            facts.append(ArchivalDeclared(dataset=dataset.name, after=dataset.archive_after))
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
            contracts = (self.contracts.widened(dataset, part, widened.gained) for part in dataset.parts)
            facts += [widened, *filter(None, contracts)]
        return tuple(Fact(stream, fact) for fact in facts)

    def infer_contracts(self, datasets: Sequence[Dataset]) -> list[Fact]:
        """Return the facts that batches must from now on be like all that is stored at present, prepared ones
        among them.
        """
        facts = []
        for dataset in datasets:
            for part in dataset.parts:
                waiting = self._appends.waiting(dataset, part)
                stored = any(one.n_rows for one in self.extents(dataset, part))
                if stored or any(one.height for one in waiting):
                    rows = self.batches(dataset, part, columns=dataset.columns(part))
                    facts.append(self.contracts.infer(dataset, part, chain(rows, waiting)))
        return facts

    def infer_gained(self, dataset: Dataset) -> list[Fact]:
        """Return the facts that batches must from now on be like what has come in columns that a dataset
        gained; none as long as too little has.
        """
        parts = (part for part in dataset.parts if self.contracts.may_learn(dataset, part))
        # Archived rows came before the columns that were gained.
        learned = (
            self.contracts.learn(
                dataset,
                part,
                lambda columns, part=part: self.batches(dataset, part, columns=columns, warm_only=True),
            )
            for part in parts
        )
        return [fact for fact in learned if fact is not None]

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
        length, version = self._ledger.head(stream_of(dataset.name)).version, self.version(dataset)
        if self._appends.settle() and self.keys.at(dataset) != version:
            self.keys.drop(dataset)
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
            self.keys.of(dataset),
            partial(self.rows_in, dataset, part),
        )
        screen, now = self.contracts.screen(dataset, part), self._clock.now()
        return Rewrites(dataset, part, there, screen, self._columns, now, Author(by, why))

    def _noted(self, dataset: Dataset, prepared: PreparedRewrite) -> PreparedRewrite:
        # The keys are those of the version that it makes.
        self.keys.mark(dataset, prepared.result.version)
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
        rows = self.minimised(dataset, in_kept_types(frame))
        return self._appends.prepare(dataset, part, rows, segment, acknowledged=acknowledged)

    def prepare_correction(
        self, dataset: Dataset, part: str, frame: pl.DataFrame, *, segment: str
    ) -> Prepared:
        """Store rows that a person vouches for, as `prepare_append` does, without asking the contract."""
        self._seen(dataset)
        return self._appends.correct(dataset, part, self.minimised(dataset, frame), segment)

    def keep_keys(self, dataset: Dataset, position: Position) -> Callable[[], bool] | None:
        """Return what writes a snapshot of a dataset's keys as they are now; see `KnownKeys.keep`. None too
        if a batch was prepared that is not committed.
        """
        return self.keys.keep(dataset, position) if self._appends.settle() else None

    def look_after_keys(self) -> None:
        """Read all keys anew when they are next needed, if somebody wrote to a file that they lie in; called
        while nothing is prepared.
        """
        if not self.keys.look_after():
            self.forget()

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
            table = table_of(dataset.name, part)
            with self._views.reading(DatasetsView) as view:
                held = view.catalogue(dataset.name, part)
                copies = [copy for name in names for copy in copies_in(self._columns, table, held, name)]
            self._columns.remove(table, [*copies, *names])

    def minimised(self, dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with their personal columns treated as the dataset declares."""
        return dataset.minimiser(self._secret.purposes).frame(rows) if dataset.pii else rows

    def minimised_rows(
        self, dataset: Dataset, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """Return rows out of JSON with their personal columns treated as the dataset declares."""
        return dataset.minimiser(self._secret.purposes).rows(rows) if dataset.pii else rows

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
        self.keys.forget()
        self._appends.forget()
