"""History: a new home lives through what its sources hold, under a clock that stands at its end.

The first version of each model is trained, gated and promoted as of then. A home that was killed on the way
goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from varv.home.answers import PastIntake
from varv.home.feed import Feed
from varv.home.home import Home, ModelParts
from varv.home.model import HistoryTaken
from varv.kernel.clock import DAY, Duration, HeldClock, Instant
from varv.kernel.codec import Digest, Event
from varv.kernel.columns import segment_name
from varv.kernel.errors import Conflict, FailedPrecondition
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Fact, Message
from varv.loop.model import LoopStarted
from varv.loop.views import LoopView
from varv.project.declared import declared_fact
from varv.registry import number_after

STREAM = "live"
CHUNK = Duration(30 * DAY)
"""History is ingested by stretches of this length."""

E = TypeVar("E", bound=Event)


class _Position(msgspec.Struct, frozen=True):
    through: Instant
    n_requests: int


class _Stretch(msgspec.Struct, frozen=True):
    """Where history begins, where the requests end and first versions are trained, and where everything
    ends.
    """

    first: Instant
    train_at: Instant
    end: Instant


class History:
    """The past of a new home.

    Parameters
    ----------
    home
        A home on `clock`.
    declarations
        The digest of each model's declaration.
    say
        Told what is going on, for people.
    """

    def __init__(
        self,
        home: Home,
        clock: HeldClock,
        declarations: Mapping[ModelName, Digest],
        say: Callable[[str], None],
    ) -> None:
        self._home = home
        self._clock = clock
        self._declarations = declarations
        self._say = say

    def is_due(self) -> bool:
        """Return whether the past has not been lived through to its end."""
        reached = self._last(HistoryTaken)
        if reached is not None:
            return not reached.done
        with self._home.views.reading(LoopView) as view:
            return not view.loops

    def live_through(self) -> None:
        """Ingest what the sources hold, and train the first version of each model.

        Raises
        ------
        InvalidDeclaration
            If a history holds what its model cannot learn.
        AlreadyExists
            If a dataset had other columns.
        FailedPrecondition
            If a history that was cut short was begun with other features.
        """
        home = self._home
        self._say("reading the sources")
        feed = Feed(home.declared)
        for parts in home.models.values():
            if column := parts.plan.outcome.column:
                parts.plan.require_history(feed.values(parts.schema.requests, column))
        stretch = self._stretch(feed)
        position = _Position(stretch.first, 0)
        intake = PastIntake(home)
        reached = self._last(HistoryTaken)
        if reached is not None:
            intake.restore()
            position = _Position(reached.through, reached.n_requests)
        self._clock.hold(position.through)
        home.engine.tell(facts=[*home.registered(), *self._declared()])
        for until in range(stretch.first + CHUNK, stretch.train_at, CHUNK):
            position = self._advance(intake, feed, position, Instant(until), stretch)
        position = self._advance(intake, feed, position, stretch.train_at, stretch)
        home.fleet.restore()
        self._train_first(max(position.through, stretch.train_at))
        # Other sources may reach further than the requests do; that is no reason to train on requests long
        # past.
        position = self._advance(intake, feed, position, stretch.end, stretch)
        if stretch.end > stretch.train_at:
            home.fleet.restore()
        self._clock.release()
        done = HistoryTaken(through=position.through, n_requests=position.n_requests, done=True)
        home.engine.tell(facts=(Fact(STREAM, done),))

    def _declared(self) -> list[Fact]:
        """Return the facts that say what is declared, which a history keeps to until its end.

        Raises
        ------
        FailedPrecondition
            If it was begun with other features, or another outcome: its requests are stored with those.
        """
        facts = []
        for name, parts in self._home.models.items():
            with self._home.views.reading(LoopView) as view:
                begun = view.declared.get(name)
            if begun is None:
                facts.append(declared_fact(parts.plan, self._declarations[name]))
            elif begun.definition != parts.loop.definition():
                problem = "declares other features or another outcome than its history was begun with"
                hint = "put them back until the history is ingested, or start in another home with --home"
                raise FailedPrecondition("model", name, problem, hint=hint)
        return facts

    def _advance(
        self, intake: PastIntake, feed: Feed, position: _Position, until: Instant, stretch: _Stretch
    ) -> _Position:
        since = position.through
        if until <= since:
            return position
        self._say(f"ingesting history, {100 * (since - stretch.first) // (stretch.end - stretch.first)} %")
        self._clock.hold(until)
        arrivals = feed.between(since, until, undated=since == stretch.first)
        lived = intake.live_through(arrivals, segment_name(since))
        reached = _Position(until, position.n_requests + lived.n_requests)
        fact = HistoryTaken(through=until, n_requests=reached.n_requests, done=False)
        self._home.engine.tell(facts=(*lived.facts, Fact(STREAM, fact)))
        return reached

    def _train_first(self, at: Instant) -> None:
        home = self._home
        self._say("training the first versions")
        self._clock.hold(at)
        new = [parts for name, parts in home.models.items() if home.loop_state(name).policy is None]
        if new:
            facts = home.datasets.infer_contracts(home.declared)
            while not self._begin(new, at, facts):
                pass
        home.engine.settle()

    def _begin(self, new: Sequence[ModelParts], at: Instant, facts: Sequence[Fact]) -> bool:
        """Begin the loops of new models; return whether no client logged a version of one meanwhile."""
        home = self._home
        numbers = {parts.name: number_after(home.views, home.ledger, parts.name) for parts in new}
        messages = (self._beginning(parts, at, numbers[parts.name][0]) for parts in new)
        try:
            home.engine.tell(*messages, facts=facts, guards=[seen for _, seen in numbers.values()])
        except Conflict as error:
            if error.name not in {seen.stream for _, seen in numbers.values()}:
                raise
            return False
        return True

    def _beginning(self, parts: ModelParts, at: Instant, first_version: Version) -> Message:
        started = LoopStarted(
            policy=parts.loop.policy(at, 0),
            declaration=self._declarations[parts.name],
            definition=parts.loop.definition(),
            task=parts.plan.outcome.task.spec,
            first_version=first_version,
        )
        return Message(parts.loop.loop_id, started)

    def _stretch(self, feed: Feed) -> _Stretch:
        now = self._clock.now()
        spans = feed.spans(Instant(now + 1))
        if not spans:
            return _Stretch(now, now, now)
        end = Instant(max(last for _, _, _, last in spans) + 1)
        asked = {parts.schema.requests for parts in self._home.models.values()}
        ours = [last + 1 for dataset, _, _, last in spans if dataset in asked]
        first = Instant(max(0, min(first for _, _, first, _ in spans)))
        return _Stretch(first, Instant(max(ours, default=end)), end)

    def _last(self, kind: type[E]) -> E | None:
        events = [entry.event for entry in self._home.ledger.read(stream=STREAM)]
        return next((found for found in reversed(events) if isinstance(found, kind)), None)
