"""Pulling: the steps of a source, sorted into what is new, known, otherwise and unfit, and committed one by
one.

A step is committed with the cursor that it moves. Killed between two commits, a pull is as if it had ended
there: what is read again is known by its keys. Rows that replace others are committed before their step,
since to replace them again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import polars as pl

from varv.data.appending import Prepared
from varv.data.dataset import Dataset
from varv.data.ingestion.acts import BY, Acts
from varv.data.ingestion.model import Counts, PullFailed, SourcePulled, UpstreamsChecked
from varv.data.ingestion.removing import Removals
from varv.data.ingestion.sorting import PartRows, as_texts, sorted_out, steps_of, without_gone
from varv.data.ingestion.views import PullsView
from varv.data.model import BatchQuarantined, DatasetVersionAppended, RepeatsDropped
from varv.data.quarantine import ROW
from varv.data.quarantined import REASON
from varv.data.service import Datasets
from varv.data.shape import misfit
from varv.data.sources import Asked, Derived, Keyed, Source, Step, in_kept_types, with_last
from varv.data.versions import stream_of
from varv.data.views import DatasetsView
from varv.kernel.clock import HOUR, Clock
from varv.kernel.codec import digest_of
from varv.kernel.content import rows_digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, StorageFull, VarvError
from varv.kernel.faults import Faults
from varv.kernel.sagas import Fact
from varv.kernel.views import Views

MISFITS = "misfits"
"""What the names of segments end with whose rows do not fit the types of the dataset."""
_SAME_FAILURE_EVERY = HOUR


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a pull."""

    dataset: str
    source: str
    version: int
    done: bool
    """False if it was told to stop before it came to its end; the next one goes on there."""
    n_read: int
    n_new: int
    n_known: int
    """Said what stands already."""
    n_different: int
    """Said otherwise than what stands, which was left."""
    n_changed: int
    """Said otherwise, and took its place."""
    n_aside: int
    """Put in quarantine."""
    n_removed: int
    """Rows that the source has no more."""


class _PreparedStep(NamedTuple):
    facts: tuple[Fact, ...]
    made: tuple[tuple[Dataset, str, Prepared], ...]
    counts: Counts


class Puller:
    """Pulls the sources of one store.

    Parameters
    ----------
    acts
        Commits.
    requests
        The datasets whose base rows come by predicting: of those only what becomes known later is pulled.
    faults
        Where a test lets it die.
    """

    def __init__(
        self,
        datasets: Datasets,
        views: Views,
        clock: Clock,
        acts: Acts,
        *,
        requests: frozenset[str] = frozenset(),
        faults: Faults | None = None,
    ) -> None:
        self._datasets, self._views, self._clock, self._acts = datasets, views, clock, acts
        self._requests = requests
        self._faults = faults or Faults()
        self._removals = Removals(datasets, acts, requests, self._faults)

    def pull(self, dataset: Dataset, *, stopped: Callable[[], bool] = lambda: False) -> Pulled:
        """Bring in what the source of a dataset has beyond the last pull.

        Parameters
        ----------
        stopped
            Asked after each step whether to end there.

        Raises
        ------
        VarvError
            If the source cannot be read to its end; that is on record, and what had come before stays.
        """
        source = dataset.source
        try:
            return self._pulled(dataset, source, stopped)
        except VarvError as error:
            self._note_failure(dataset, source, error)
            raise
        except pl.exceptions.PolarsError as error:
            why = " ".join(str(error).split())[:300]
            unfit = InvalidInput("source", source.identity, "gives rows that cannot be kept", why=why)
            self._note_failure(dataset, source, unfit)
            raise unfit from error

    def _pulled(self, dataset: Dataset, source: Source, stopped: Callable[[], bool]) -> Pulled:
        self._require_same(dataset)
        if isinstance(source, Derived):
            self._note_upstreams(dataset, source)
        with self._views.reading(PullsView) as view:
            cursor = dict(view.cursor(dataset.name, source.identity))
        total, done, n_removed = Counts(), False, 0
        asked = Asked(cursor, dataset.types(), self._clock.now())
        for came, is_last in with_last(steps_of(source, asked)):
            # Before anything is compared or stored: what is stored has no personal values either.
            step = came._replace(rows=self._datasets.minimised(dataset, in_kept_types(came.rows)))
            # Both are committed before the step: to remove once more changes nothing.
            step, gone = without_gone(dataset, step)
            n_removed += self._removals.remove(dataset, gone, f"{source.identity} says they were deleted")
            if step.entire and dataset.updates == "merge":
                n_removed += self._removals.remove_unsaid(dataset, step, f"{source.identity} says it no more")
            if step.only is not None:
                n_removed += self._removals.compare(dataset, step.only, may_be_empty=True)
            total.add(self._take(dataset, source, cursor, step, done=is_last))
            cursor |= step.moved
            done = is_last
            self._faults.reach("pull.after_step")
            if not is_last and stopped():
                break
        else:
            if not done:
                done = True
                self._take(dataset, source, cursor, Step(pl.DataFrame(), {}), done=True)
        n_removed += self._compared(dataset, source) if done else 0
        return Pulled(
            dataset=dataset.name,
            source=source.identity,
            version=self._datasets.version(dataset),
            done=done,
            n_removed=n_removed,
            **msgspec.structs.asdict(total),
        )

    def _require_same(self, dataset: Dataset) -> None:
        with self._views.reading(DatasetsView) as view:
            registered = view.registered(dataset.name)
        if registered is None:
            hint = "run varv up once: it reads the source whole, and learns what rows are like"
            raise FailedPrecondition("dataset", dataset.name, "has no history yet", hint=hint)
        if problem := misfit(registered, dataset):
            hint = "declare the dataset as before"
            raise FailedPrecondition("dataset", dataset.name, problem, hint=hint)

    # One step

    def _take(
        self, dataset: Dataset, source: Source, cursor: Mapping[str, str], step: Step, *, done: bool
    ) -> Counts:
        counts = Counts(n_read=step.rows.height)
        sorted_parts = [
            sorted_out(dataset, part, step)
            for part in dataset.parts
            if step.rows.height and (part != dataset.event_time or dataset.name not in self._requests)
        ]
        if dataset.updates == "merge":
            for part in sorted_parts:
                counts.n_changed += self._replace(dataset, source, part)
        name = digest_of([source.identity, sorted(cursor.items()), sorted(step.moved.items())])

        def decide() -> _PreparedStep:
            return self._prepared(dataset, source, sorted_parts, step, counts, name, done=done)

        return self._acts.settle(decide).counts

    def _replace(self, dataset: Dataset, source: Source, part: PartRows) -> int:
        """Put rows that say otherwise in the place of what stands; return how many."""
        rows = part.typed
        known, equal = self._datasets.keys.said_before(dataset, part.name, rows)
        changed = rows.filter(known & ~equal)
        if changed.is_empty():
            return 0
        found = self._datasets.contracts.screen(dataset, part.name).look(
            changed, now=self._clock.now(), acknowledged=True
        )
        early = self._datasets.keys.before_its_row(dataset, part.name, changed)
        # What cannot stand there is put aside with the step, and what stands stays.
        sound = changed.filter(found.reasons.is_null() & ~early) if not found.whole else changed.clear()
        if sound.is_empty():
            return 0
        why = f"{source.identity} says otherwise"
        act = self._acts.rewrite
        result = act(dataset.name, lambda: self._datasets.merge(dataset, part.name, sound, by=BY, why=why))
        self._faults.reach("pull.after_merge")
        return result.n_changed

    def _prepared(
        self,
        dataset: Dataset,
        source: Source,
        parts: list[PartRows],
        step: Step,
        counts: Counts,
        name: str,
        *,
        done: bool,
    ) -> _PreparedStep:
        counts = msgspec.structs.replace(counts)
        facts: list[Fact] = []
        made: list[tuple[Dataset, str, Prepared]] = []
        for part in parts:
            fresh, n_known, n_different = self._fresh(dataset, part)
            if part.name == dataset.event_time or dataset.name in self._requests:
                counts.n_known += n_known
            counts.n_different += n_different
            for rows, kind in ((fresh, ""), (self._not_aside(dataset, part.name, part.unfit), MISFITS)):
                if rows.is_empty():
                    continue
                content = rows_digest(rows)
                segment = f"pull-{digest_of([name, content])[:24]}" + (f".{kind}" if kind else "")
                prepared = self._datasets.prepare_append(dataset, part.name, rows, segment=segment)
                facts += prepared.facts
                made.append((dataset, part.name, prepared))
                _count(prepared, counts)
        event = SourcePulled(
            dataset=dataset.name,
            source=source.identity,
            moved=dict(step.moved),
            done=done,
            **msgspec.structs.asdict(counts),
        )
        return _PreparedStep((*facts, Fact(stream_of(dataset.name), event)), tuple(made), counts)

    def _fresh(self, dataset: Dataset, part: PartRows) -> tuple[pl.DataFrame, int, int]:
        """Return the rows that say something new, and how many others say what stands, or otherwise."""
        known, equal = self._datasets.keys.said_before(dataset, part.name, part.typed)
        if not known.any():
            return self._not_aside(dataset, part.name, part.rows), 0, 0
        n_known, n_different = int(equal.sum()), int((known & ~equal).sum())
        return self._not_aside(dataset, part.name, part.rows.filter(~known)), n_known, n_different

    def _not_aside(self, dataset: Dataset, part: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that are not in quarantine as they are: read again, they are no other rows."""
        if rows.is_empty():
            return rows
        with self._views.reading(DatasetsView) as view:
            held = view.arrivals.quarantine(dataset.name, part)
        texts = as_texts(rows).with_row_index("@row")
        for one in held:
            there = self._datasets.rows_put_aside(one).drop(REASON, ROW, strict=False)
            if set(there.columns) == set(rows.columns):
                texts = texts.join(as_texts(there), on=rows.columns, how="anti", nulls_equal=True)
        return rows if texts.height == rows.height else rows[sorted(texts["@row"].to_list())]

    # Deletions

    def _compared(self, dataset: Dataset, source: Source) -> int:
        """Remove rows that the source has no more, if it is time to look; return how many."""
        if dataset.deletes is None or not isinstance(source, Keyed):
            return 0
        with self._views.reading(PullsView) as view:
            state = view.state(dataset.name)
        before = None if state is None else state.compared_at
        if before is not None and self._clock.now() - before < dataset.deletes:
            return 0
        if dataset.name in self._requests:
            problem = "is one of requests, which no source has all of"
            raise FailedPrecondition("dataset", dataset.name, problem, hint="declare it without deletes")
        return self._removals.compare(dataset, source)

    def _note_upstreams(self, dataset: Dataset, source: Derived) -> None:
        upstreams, identity = source.upstreams(), dataset.source.identity
        with self._views.reading(PullsView) as view:
            state = view.state(dataset.name)
        known = state.upstreams if state is not None and state.source == identity else ()
        if upstreams != known:
            fact = UpstreamsChecked(dataset=dataset.name, source=identity, upstreams=upstreams)
            self._acts.tell((Fact(stream_of(dataset.name), fact),))

    def _note_failure(self, dataset: Dataset, source: Source, error: VarvError) -> None:
        """Put a failure on record; the same one at most once an hour."""
        with self._views.reading(PullsView) as view:
            state = view.state(dataset.name)
        failed = None if state is None else state.failed
        why = str(error)[:500]
        is_same = failed is not None and (failed.code, failed.why) == (error.code, why)
        is_lately = failed is not None and self._clock.now() - failed.at < _SAME_FAILURE_EVERY
        # A disk that is full takes no word about that either.
        if (is_same and is_lately) or isinstance(error, StorageFull):
            return
        fact = PullFailed(dataset=dataset.name, source=source.identity, code=error.code, why=why)
        self._acts.tell((Fact(stream_of(dataset.name), fact),))


def _count(prepared: Prepared, counts: Counts) -> None:
    """Add what became of the rows of a batch; nothing if it came before."""
    for event in (fact.event for fact in prepared.facts):
        match event:
            case DatasetVersionAppended():
                counts.n_new += event.n_rows
            case BatchQuarantined():
                counts.n_aside += event.n_rows
            case RepeatsDropped():
                counts.n_known += event.n_equal
                counts.n_different += event.n_different
            case _:
                pass
