"""Live: the loop of one model on the machine's clock, beside the replay, with the same rules and handlers.

On an empty home the history of the sources is lived through first, under a clock that stands at its end:
the first model is trained, gated and promoted as of then. From there on rows come from captures, which were
durable before their sender got an answer: what was captured is taken in, told to those that answer, and
only then dropped. A process that was killed at any point goes on from its ledger, and takes in what the
captures still hold.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import polars as pl

from varv.data import Correction, Dataset
from varv.kernel.clock import DAY, Clock, Duration, Instant
from varv.kernel.codec import Digest, Event, event
from varv.kernel.errors import FailedPrecondition, NotFound
from varv.kernel.ids import ModelName
from varv.kernel.observe import log
from varv.kernel.sagas import Fact, Message
from varv.loop.answering import PREDICTIONS, served_frames, typed_frame
from varv.loop.declaration import policy_of
from varv.loop.feed import Arrival, Feed
from varv.loop.intake import Intake, segment_name
from varv.loop.leak_report import reread
from varv.loop.model import LoopStarted, PolicyChanged
from varv.loop.views import LoopView
from varv.loop.world import World, loop_state
from varv.serving import Capture
from varv.serving.capture import read_captures
from varv.serving.model import AnswersUncaptured
from varv.serving.views import RoutingView

STREAM = "live"
CHUNK = Duration(30 * DAY)
"""History is taken in by stretches of this length."""
COMPACT_EVERY = 512
"""Capture files."""
_LOG = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)


@event("live.started")
class LiveStarted(Event, frozen=True, kw_only=True):
    """A server owns the home from now on."""

    model: str
    declaration: str


@event("live.history_taken")
class HistoryTaken(Event, frozen=True, kw_only=True):
    """Everything that the sources held before `through` has been taken in; `done` once a first model was
    tried.
    """

    through: Instant
    n_requests: int
    done: bool


class LiveClock:
    """Stands still while history is lived through, and is another clock from then on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: Instant | None = None

    def now(self) -> Instant:
        """Return the present instant."""
        return self._clock.now() if self._held is None else self._held

    def hold(self, at: Instant) -> None:
        """Stand still at `at`."""
        self._held = at

    def release(self) -> None:
        """Be the other clock again."""
        self._held = None


class Sealed(msgspec.Struct, frozen=True):
    """A capture file that nobody writes any more; its name is the segment of what is in it."""

    segment: str
    path: Path


class Answerers(Protocol):
    """Those that answer requests elsewhere, and have to be told what became known."""

    def restore(self) -> None:
        """Read what the ledger holds by now."""
        ...

    def observe(self, dataset: str, part: str, segment: str) -> None:
        """Rows of a part became known."""
        ...


class Captured(msgspec.Struct, frozen=True):
    """What a capture file holds, stored: the facts to commit, and what is known once they are committed."""

    segment: str
    facts: tuple[Fact, ...]
    known: tuple[Arrival, ...]
    predictions: pl.DataFrame | None


class LiveIntake(Intake):
    """Takes in what was captured: requests come with their answers.

    Memory changes after the commit only, so that a file whose commit failed can be taken in again.
    """

    def restore_telemetry(self) -> None:
        """Bring predictions and outcomes back into memory; features are kept by those that answer."""
        world, outcome = self._world, self._world.model.outcome
        world.telemetry.restore(world.prediction_segments())
        rows = world.datasets.read_part(self._requests, outcome.known_at)
        self._label(self._requests, outcome.known_at, rows)

    def know_corrected(self, corrected: Correction) -> None:
        """Label predictions by what a person let out of quarantine, once it is committed."""
        for dataset, part, prepared in corrected.made:
            if prepared.accepted:
                self._label(self._named(dataset), part, prepared.rows)

    def _named(self, dataset: Dataset) -> Dataset:
        return next(one for one in self._world.model.datasets if one.name == dataset.name)

    def take_captured(self, captures: Sequence[Capture], segment: str) -> Captured:
        """Store the rows of one capture file; the same file again changes nothing."""
        tables: dict[str, list[Mapping[str, Any]]] = {}
        for capture in captures:
            tables.setdefault(capture.table, []).append(capture.row)
        served = tables.pop(PREDICTIONS, [])
        predictions: pl.DataFrame | None = None
        arrivals: list[Arrival] = []
        if served:
            frames = served_frames(self._world.model, served)
            arrivals.append(Arrival(self._requests, self._requests.event_time, frames.requests))
            predictions = frames.predictions
        for table, rows in sorted(tables.items()):
            dataset, part = part_of(self._world, table)
            arrivals.append(Arrival(dataset, part, typed_frame(rows, dataset.part_types(part))))
        facts: list[Fact] = []
        known: list[Arrival] = []
        for arrival in arrivals:
            dataset, part = arrival.dataset, arrival.part
            prepared = self._world.datasets.prepare_append(
                dataset, part, arrival.rows, segment=segment, acknowledged=True
            )
            facts += prepared.facts
            if prepared.accepted:
                known.append(Arrival(dataset, part, prepared.rows))
        if predictions is not None:
            content = self._world.telemetry.store(segment, predictions)
            facts.append(self._served(predictions, segment, content))
        return Captured(segment, tuple(facts), tuple(known), predictions)

    def know(self, captured: Captured) -> None:
        """Remember what is committed."""
        for arrival in captured.known:
            self._label(arrival.dataset, arrival.part, arrival.rows)
        if captured.predictions is not None:
            self._world.telemetry.remember(captured.predictions)


class Live:
    """Drives one world live. `prepare` comes first; then `take_in` is called every few seconds by one
    thread, while others fire timers and run commands.

    Parameters
    ----------
    world
        A world on `clock`.
    declaration
        The digest of the declaration.
    answerers
        Told what becomes known.
    """

    def __init__(self, world: World, clock: LiveClock, declaration: Digest, answerers: Answerers) -> None:
        self._world = world
        self._clock = clock
        self._declaration = declaration
        self._answerers = answerers
        self._intake = LiveIntake(world)
        self._since_compaction = COMPACT_EVERY  # what the process before had not compacted
        self._sources_due = False
        self._lock = threading.Lock()
        self.state = "starting"
        """What is going on, for people."""

    def prepare(self) -> None:
        """Bring the world to the present: live through the history if it is new, go on if it is not.

        Raises
        ------
        FailedPrecondition
            If a replay of this home is unfinished, or its features or outcome were others.
        AlreadyExists
            If a dataset had other columns.
        """
        world = self._world
        with world.views.reading(LoopView) as view:
            unfinished = view.replayed_through is not None and not view.replay_finished
        if unfinished:
            hint = "finish it with varv replay, or choose another home with --home"
            raise FailedPrecondition("home", world.folder.name, "holds an unfinished replay", hint=hint)
        history = self._last(HistoryTaken)
        if loop_state(world).policy is None or (history is not None and not history.done):
            self._live_through_history(history)
        else:
            self._register()
            self._require_same_definition()
            self.state = "restoring"
            self._intake.restore_telemetry()
            self._answerers.restore()
            self._follow_declaration()
            self._sources_due = True
        started = LiveStarted(model=world.model.name, declaration=self._declaration)
        world.engine.tell(facts=(Fact(STREAM, started),))
        self.state = "serving"

    def take_in(self, files: Iterable[Sealed]) -> int:
        """Take in capture files, each in one transaction, tell the answerers, and drop them; return how
        many.

        Raises
        ------
        StorageFull
            If the disk takes nothing more; what is left is taken in by the next call.
        """
        if self._sources_due:
            # After a restart, and only now: nobody's answer waits for the sources to be read again.
            self._sources_due = False
            self._world.engine.tell(facts=[Fact(self._world.loop_id, event) for event in reread(self._world)])
        count = 0
        for sealed in files:
            captures = read_captures(sealed.path)
            with self._lock:
                if captures and not self._is_taken(sealed.segment):
                    captured = self._intake.take_captured(captures, sealed.segment)
                    self._world.engine.tell(facts=captured.facts)
                    self._intake.know(captured)
                    self._tell(captures, sealed.segment)
                    count += 1
            sealed.path.unlink()
        self._since_compaction += count
        if self._since_compaction >= COMPACT_EVERY:
            self._since_compaction = 0
            self._compact()
        return count

    def note_uncaptured(self, n_requests: int) -> None:
        """Put on record how many requests were answered without capture."""
        event = AnswersUncaptured(model=ModelName(self._world.model.name), n_requests=n_requests)
        self._world.engine.tell(facts=(Fact(f"requests/{self._world.model.name}", event),))

    def correct(self, decide: Callable[[], Correction]) -> Correction:
        """Carry out what a person decided about rows in quarantine: what comes out is known to those that
        answer, and labels predictions, when this returns.

        Parameters
        ----------
        decide
            Prepares it; nothing else is ingested meanwhile.
        """
        with self._lock:
            committed = False
            try:
                corrected = decide()
                self._world.engine.tell(facts=corrected.facts)
                committed = True
            finally:
                if not committed:
                    self._world.datasets.forget()
            self._intake.know_corrected(corrected)
            for dataset, part, prepared in corrected.made:
                if prepared.accepted:
                    self._answerers.observe(dataset.name, part, prepared.segment)
        return corrected

    def _compact(self) -> None:
        """Store what came in a few rows at a time together: a restart reads one file instead of hundreds."""
        world = self._world
        world.telemetry.compact(world.prediction_segments())
        for dataset in world.model.datasets:
            world.datasets.compact(dataset)

    # History

    def _live_through_history(self, reached: HistoryTaken | None) -> None:
        world = self._world
        self.state = "reading the sources"
        feed = Feed(world.model.datasets)
        world.model.require_binary(feed.values(world.model.requests, world.model.outcome.column))
        stretch = _stretch(feed, world, self._clock.now())
        position = _Position(stretch.first, 0)
        if reached is not None:
            self._intake.restore(reached.through)
            position = _Position(reached.through, reached.n_requests)
        self._clock.hold(position.through)
        self._register()
        for until in range(stretch.first + CHUNK, stretch.train_at, CHUNK):
            position = self._take_history(feed, position, Instant(until), stretch)
        position = self._take_history(feed, position, stretch.train_at, stretch)
        self._answerers.restore()
        self._train_first(max(position.through, stretch.train_at))
        # Other sources may reach further than the requests do; that is no reason to train on requests long
        # past.
        position = self._take_history(feed, position, stretch.end, stretch)
        if stretch.end > stretch.train_at:
            self._answerers.restore()
        self._clock.release()
        done = HistoryTaken(through=position.through, n_requests=position.n_requests, done=True)
        world.engine.tell(facts=(Fact(STREAM, done),))

    def _take_history(self, feed: Feed, position: _Position, until: Instant, stretch: _Stretch) -> _Position:
        since = position.through
        if until <= since:
            return position
        self.state = f"taking in history, {100 * (since - stretch.first) // (stretch.end - stretch.first)} %"
        self._clock.hold(until)
        arrivals = feed.between(since, until, undated=since == stretch.first)
        taken = self._intake.take_in(arrivals, segment_name(since))
        reached = _Position(until, position.n_requests + taken.n_requests)
        fact = HistoryTaken(through=until, n_requests=reached.n_requests, done=False)
        self._world.engine.tell(facts=(*taken.facts, Fact(STREAM, fact)))
        return reached

    def _train_first(self, at: Instant) -> None:
        world = self._world
        self.state = "training the first model"
        self._clock.hold(at)
        if loop_state(world).policy is None:
            facts = world.datasets.infer_contracts(world.model.datasets)
            started = LoopStarted(
                policy=policy_of(world.model, at, 0),
                declaration=self._declaration,
                definition=world.model.definition(),
            )
            world.engine.tell(Message(world.loop_id, started), facts=facts)
        world.engine.settle()

    def _register(self) -> None:
        """Make the datasets known; raise `AlreadyExists` if one is known with another shape."""
        world = self._world
        world.engine.tell(
            facts=[fact for data in world.model.datasets for fact in world.datasets.register(data)]
        )

    def _require_same_definition(self) -> None:
        """Raise `FailedPrecondition` if the model now learns something else, or from something else.

        Versions in service need the features that they were trained with, and the predictions on record,
        which the next training reads, hold no others.
        """
        world = self._world
        with world.views.reading(LoopView) as view:
            held = set(view.loops[world.model.name].definition)
        changed = held ^ set(world.model.definition())
        if held and changed:
            names = ", ".join(sorted({name for name, *_ in changed})[:10])
            hint = "put them back as they were, or start anew beside it: varv --home .varv-new up FILE"
            problem = f"declares other features or another outcome than this home was started with: {names}"
            raise FailedPrecondition("model", world.model.name, problem, hint=hint)

    def _follow_declaration(self) -> None:
        world = self._world
        held = loop_state(world).policy
        with world.views.reading(LoopView) as view:
            declared = view.loops[world.model.name].declaration
        assert held is not None, "a loop that goes on has started"
        policy = policy_of(world.model, held.first_training, held.seed)
        if policy != held or declared != self._declaration:
            changed = PolicyChanged(policy=policy, declaration=self._declaration)
            world.engine.tell(Message(world.loop_id, changed))

    # Captures

    def _is_taken(self, segment: str) -> bool:
        """Return whether a file was taken in before a crash kept it from being dropped."""
        world = self._world
        with world.views.reading(RoutingView) as routing:
            if segment in routing.segments.get(world.model.name, ()):
                return True
        return any(
            world.datasets.has_come(dataset, part, segment)
            for dataset in world.model.datasets
            for part in dataset.parts
        )

    def _tell(self, captures: Sequence[Capture], segment: str) -> None:
        world = self._world
        base = f"{world.model.requests.name}/{world.model.requests.event_time}"
        for table in sorted({capture.table for capture in captures}):
            dataset, part = part_of(world, base if table == PREDICTIONS else table)
            if world.datasets.version_of(dataset, part, segment):
                self._answerers.observe(dataset.name, part, segment)
            if n_rows := world.datasets.n_quarantined(dataset, part, segment):
                place = {"dataset": dataset.name, "part": part, "segment": segment}
                log(_LOG, logging.WARNING, "rows.quarantined", **place, n_rows=n_rows)

    def _last(self, kind: type[E]) -> E | None:
        events = [entry.event for entry in self._world.ledger.read(stream=STREAM)]
        return next((found for found in reversed(events) if isinstance(found, kind)), None)


def part_of(world: World, table: str) -> tuple[Dataset, str]:
    """Return the dataset and part of a name such as ``"flights/arrived_at"``; the base part if it names none.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    name, _, part = table.partition("/")
    known = {dataset.name: dataset for dataset in world.model.datasets}
    if name not in known:
        raise NotFound("dataset", name[:80], "is not declared", hint=f"declared are {', '.join(known)}")
    dataset = known[name]
    part = part or dataset.event_time
    if part not in dataset.parts:
        raise NotFound(
            "part", f"{name}/{part}"[:120], hint=f"the parts of {name} are {', '.join(dataset.parts)}"
        )
    return dataset, part


class _Position(msgspec.Struct, frozen=True):
    through: Instant
    n_requests: int


class _Stretch(msgspec.Struct, frozen=True):
    """Where history begins, where the requests end and the first model is trained, and where everything
    ends.
    """

    first: Instant
    train_at: Instant
    end: Instant


def _stretch(feed: Feed, world: World, now: Instant) -> _Stretch:
    arrivals = feed.between(Instant(0), Instant(now + 1))
    times = [(arrival.dataset, arrival.rows[arrival.part].to_physical()) for arrival in arrivals]
    if not times:
        return _Stretch(now, now, now)
    end = Instant(max(series[-1] for _, series in times) + 1)
    ours = [series[-1] + 1 for dataset, series in times if dataset is world.model.requests]
    return _Stretch(Instant(min(series[0] for _, series in times)), Instant(max(ours, default=end)), end)
