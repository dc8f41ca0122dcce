"""Live: the loops of a home on the machine's clock, beside the replay, with the same rules and handlers.

On an empty home the history of the sources is lived through first (`home.history`). From there on rows come
from captures, which were durable before their sender got an answer: what was captured is ingested, sent to
those that answer, and only then dropped. A process that was killed at any point goes on from its ledger, and
ingests what the captures still hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from varv.data.dataset import part_named
from varv.data.ingestion.acts import T
from varv.data.intake import Batch, Intake, made_known
from varv.data.rewriting.files import Rewritten
from varv.data.values import typed_frame
from varv.home.answers import served
from varv.home.change.carrying import Changes
from varv.home.change.recorded import recorded_schemas
from varv.home.feed import Feed
from varv.home.history import STREAM, History
from varv.home.home import Home
from varv.home.keeping import KeepFeatures, Keeping
from varv.home.model import LiveStarted
from varv.home.publishing import PublicationBeat
from varv.home.views import HomeView
from varv.kernel.clock import HeldClock, Instant
from varv.kernel.codec import Digest
from varv.kernel.columns import segment_name
from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import ModelName
from varv.kernel.memory import return_freed
from varv.kernel.observe import log
from varv.kernel.sagas import Fact
from varv.loop.plan import loop_id
from varv.serving import Capture, RequestSchema
from varv.serving.capture import read_captures
from varv.serving.model import AnswersUncaptured
from varv.serving.prediction_log import ServedFrames, model_in, served_frames
from varv.serving.stored import predictions_of
from varv.serving.views import stream_of, was_served

COMPACT_EVERY = 512
"""Capture files."""
_LOG = logging.getLogger(__name__)


class Sealed(msgspec.Struct, frozen=True):
    """A capture file that nobody writes any more; its name is the segment of what is in it."""

    segment: str
    path: Path


class Captured(msgspec.Struct, frozen=True):
    """What a capture file holds, stored: the facts to commit, and what is known once they are committed."""

    segment: str
    facts: tuple[Fact, ...]
    batches: tuple[Batch, ...]
    predictions: dict[ModelName, pl.DataFrame]


class Live:
    """Drives one home live. `prepare` comes first; then `ingest` is called every few seconds by one thread,
    while others fire timers and run commands.

    Memory changes after the commit only, so that a file whose commit failed can be ingested again.

    Parameters
    ----------
    home
        A home on `clock`.
    declarations
        The digest of each model's declaration.
    changes
        Carry out what is declared otherwise than it is on record; by default nothing may be retired.
    keep_features
        Lets those that answer write a snapshot of their feature state; by default they hold none.
    """

    def __init__(
        self,
        home: Home,
        clock: HeldClock,
        declarations: Mapping[ModelName, Digest],
        changes: Changes | None = None,
        keep_features: KeepFeatures = lambda position, versions: None,
    ) -> None:
        self._home = home
        self._clock = clock
        self._declarations = declarations
        self._changes = changes or Changes(home, declarations)
        self._history = History(home, clock, declarations, self._say)
        self._intake = Intake(home.datasets, [home, home.fleet])
        self._since_compaction = COMPACT_EVERY  # what the process before had not compacted
        self._sources_due = False
        self._publishing = PublicationBeat(home)
        self.keeping = Keeping(home, keep_features)
        """Writes snapshots, for the next start."""
        self.state = "starting"
        """What is going on, for people."""

    def prepare(self) -> None:
        """Bring the home to the present: live through the history if it is new, go on if it is not. What is
        declared otherwise than before is put on record; `go_on` carries it out.

        Raises
        ------
        FailedPrecondition
            If a replay of this home is unfinished, a change of the declaration is refused, or what publishes
            datasets is not installed.
        """
        home = self._home
        self._publishing.require_ready()
        with home.views.reading(HomeView) as view:
            unfinished = view.replayed_through is not None and not view.replay_finished
        if unfinished:
            hint = "finish it with varv replay, or choose another home with --home"
            raise FailedPrecondition("home", home.folder.name, "holds an unfinished replay", hint=hint)
        if self._history.is_due():
            self._history.live_through()
        else:
            self._go_on()
        started = [
            Fact(STREAM, LiveStarted(model=model, declaration=self._declarations[model]))
            for model in home.models
        ]
        home.engine.tell(facts=started)
        self.state = "serving"

    def ingest(self, files: Iterable[Sealed]) -> int:
        """Ingest capture files, each in one transaction, send what became known to those that answer, and
        drop the files; return how many.

        Raises
        ------
        StorageFull
            If the disk takes nothing more; what is left is ingested by the next call.
        """
        self._read_sources_again()
        count = 0
        for sealed in files:
            captures = read_captures(sealed.path)
            with self._home.lock:
                self._home.datasets.look_after_keys()
                if captures and not self._has_come(sealed.segment):
                    captured = self._stored(captures, sealed.segment)
                    self._home.engine.tell(facts=captured.facts)
                    self._know(captured)
                    count += 1
            sealed.path.unlink()
        self._since_compaction += count
        compacts = self._since_compaction >= COMPACT_EVERY
        if compacts:
            self._since_compaction = 0
            # No rewrite comes between: it takes out segments as they lie.
            with self._home.lock:
                self._home.engine.tell(facts=self._home.compact())
        self._publishing.publish_due()
        if compacts or self.keeping.is_due:
            self.keeping.keep()
        if count:
            # A file of captures is taken in as a whole, in objects of every size.
            return_freed()
        return count

    def note_uncaptured(self, counts: Mapping[ModelName, int]) -> None:
        """Put on record how many requests were answered without capture."""
        facts = [
            Fact(stream_of(model), AnswersUncaptured(model=model, n_requests=n))
            for model, n in counts.items()
            if n
        ]
        self._home.engine.tell(facts=facts)

    def settle(self, decide: Callable[[], T]) -> T:
        """Commit what was decided about rows in quarantine, or pulled: what comes of it is known to those
        that answer, and labels predictions, when this returns.

        Parameters
        ----------
        decide
            Prepares it; nothing else is ingested meanwhile.
        """
        with self._home.lock:
            committed = False
            try:
                decided = decide()
                self._home.engine.tell(facts=decided.facts)
                committed = True
            finally:
                if not committed:
                    self._home.datasets.forget()
            batches = made_known(decided.made)
            self._intake.tell(batches)
            self.keeping.told(batches)
            self._since_compaction += len(batches)
        return decided

    def tell(self, facts: tuple[Fact, ...]) -> None:
        """Put facts on record."""
        self._home.engine.tell(facts=facts)

    def rewrite(self, name: str, act: Callable[[], Rewritten]) -> Rewritten:
        """Have rows of a dataset replaced: those that answer, and outcomes of predictions, are those of the
        new version when this returns. What monitors and reports had counted stays counted.

        Parameters
        ----------
        act
            Does it; nothing is ingested meanwhile.
        """
        home = self._home
        dataset = next((one for one in home.declared if one.name == name), None)
        with home.lock:
            before = None if dataset is None else home.datasets.version(dataset)
            result = act()
            if dataset is not None and result.version != before:
                home.rows_rewritten(dataset)
        return result

    def _say(self, state: str) -> None:
        self.state = state

    def go_on(self) -> None:
        """Let what a changed declaration has left to do be done; called once all that was captured before is
        ingested.
        """
        self._changes.go_on()

    def _go_on(self) -> None:
        """Bring a home that was served before to the present."""
        home = self._home
        self._changes.begin()
        self._ingest_new_datasets()
        learned = [fact for dataset in home.declared for fact in home.datasets.infer_gained(dataset)]
        home.engine.tell(facts=learned)
        self.state = "restoring"
        # Those that answer first: nobody's request waits for what monitors and trainings look at.
        home.fleet.restore()
        for parts in home.models.values():
            home.restore(parts)
        self._sources_due = True

    def _ingest_new_datasets(self) -> None:
        """Ingest datasets of which nothing is stored from their sources: a model that is new reads them."""
        home = self._home
        for dataset in home.declared:
            if home.datasets.version(dataset):
                continue
            now = self._clock.now()
            arrivals = Feed([dataset]).between(Instant(0), Instant(now + 1), undated=True)
            if not arrivals:
                continue
            stored = Intake(home.datasets).store(arrivals, segment_name(now))
            contracts = home.datasets.infer_contracts([dataset])
            home.engine.tell(facts=[*stored.facts, *contracts])

    def _read_sources_again(self) -> None:
        """Look, once after a restart, whether the sources say otherwise of the past than they did."""
        if not self._sources_due:
            return
        # Only now: nobody's answer waits for the sources to be read again.
        self._sources_due = False
        home = self._home
        for name, parts in home.models.items():
            found = home.leaks.reread(name, parts.plan.datasets)
            home.engine.tell(facts=[Fact(loop_id(name), event) for event in found])

    # Captures

    def _has_come(self, segment: str) -> bool:
        """Return whether a file was ingested before a crash kept it from being dropped."""
        home = self._home
        if any(was_served(home.views, home.ledger, model, segment) for model in home.models):
            return True
        return any(
            home.datasets.has_come(dataset, part, segment)
            for dataset in home.declared
            for part in dataset.parts
        )

    def _stored(self, captures: Sequence[Capture], segment: str) -> Captured:
        """Store the rows of one capture file; the same file again changes nothing."""
        home = self._home
        only = next(iter(home.models)) if len(home.models) == 1 else None
        tables: dict[str, list[Mapping[str, Any]]] = {}
        answered: dict[ModelName, list[Capture]] = {}
        for capture in captures:
            model = model_in(capture.table, only)
            if model is not None:
                answered.setdefault(model, []).append(capture)
            elif capture.row is not None:
                tables.setdefault(capture.table, []).append(capture.row)
        frames = {
            name: served_frames(self._schema(name), of_it)
            for name, of_it in answered.items()
            # A crash may have left the layout of a line that was never acknowledged.
            if any(one.layout is None for one in of_it)
        }
        stored = self._intake.store(
            [*self._requests(frames), *self._rows(tables)], segment, acknowledged=True
        )
        facts = list(stored.facts)
        for name, frame in frames.items():
            content = home.columns.append(predictions_of(name, home.columns), segment, frame.predictions)
            facts.append(served(name, segment, frame.predictions, content))
        predictions = {name: frame.predictions for name, frame in frames.items()}
        return Captured(segment, tuple(facts), stored.batches, predictions)

    def _schema(self, model: ModelName) -> RequestSchema:
        """Return what a captured request of a model is; of one that was retired, as it is on record.

        Raises
        ------
        FailedPrecondition
            If it is not on record.
        """
        home = self._home
        if model in home.models:
            return home.models[model].schema
        schema = recorded_schemas(home.views, home.ledger, [model], home.declared).get(model)
        if schema is None:
            hint = "declare it once more, so that what it answered is put on record"
            problem = "is not declared, and has captured predictions that are not on record"
            raise FailedPrecondition("model", model, problem, hint=hint)
        return schema

    def _requests(self, frames: Mapping[ModelName, ServedFrames]) -> list[Batch]:
        """Return the requests in `frames`, those of models that share a dataset together."""
        found: dict[str, list[ModelName]] = {}
        for name in frames:
            found.setdefault(self._schema(name).requests.name, []).append(name)
        batches = []
        for names in found.values():
            dataset = self._schema(names[0]).requests
            rows = pl.concat([frames[name].requests for name in names])
            batches.append(Batch(dataset, dataset.event_time, rows))
        return batches

    def _rows(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Batch]:
        declared = {dataset.name: dataset for dataset in self._home.declared}
        batches = []
        for table, rows in sorted(tables.items()):
            dataset, part = part_named(declared, table)
            batches.append(Batch(dataset, part, typed_frame(rows, dataset.part_types(part))))
        return batches

    def _know(self, captured: Captured) -> None:
        """Remember what is committed, and send it to those that answer."""
        for name, rows in captured.predictions.items():
            if name in self._home.models:
                self._home.models[name].predictions.remember(captured.segment, rows)
        self._intake.tell(captured.batches)
        self.keeping.told(captured.batches)
        for batch in captured.batches:
            place = (batch.dataset, batch.part, captured.segment)
            if n_rows := self._home.datasets.n_quarantined(*place):
                named = {"dataset": batch.dataset.name, "part": batch.part, "segment": captured.segment}
                log(_LOG, logging.WARNING, "rows.quarantined", **named, n_rows=n_rows)
