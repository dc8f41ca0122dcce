"""What the commands of a change do: compute what stored requests lack, and bring memory to what is stored.

Both may run again after a crash: what is computed is stored once, and what is in memory is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from varv.data import Datasets
from varv.data.intake import Intake
from varv.features import FeatureEngine, FeatureStore
from varv.home.answers import requests_served as served
from varv.home.change.model import (
    ModelReady,
    PreparationFailed,
    PrepareRequests,
    ReadAgain,
    RequestsPrepared,
    change_id,
)
from varv.home.change.views import ChangesView
from varv.kernel.catalogue import digests
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.columns import Columns
from varv.kernel.errors import NotFound, VarvError
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Guard, Ledger
from varv.kernel.sagas import Command, Fact, Handler, Message, Reply
from varv.kernel.views import Views
from varv.loop.declaring.model import DefinitionChanged
from varv.loop.model import LoopStarted
from varv.loop.plan import loop_id
from varv.loop.views import LoopView
from varv.project import ModelPlan
from varv.registry import Runtimes, number_after
from varv.serving import DataPlane, predicted
from varv.serving.backfill import Backfill, in_files, table_of
from varv.serving.model import RequestsBackfilled, RequestsServed
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView


class Planned(Protocol):
    """What a home holds of one model for its changes."""

    @property
    def plan(self) -> ModelPlan:
        """What the home works by."""
        ...


class ChangeHandlers:
    """The handlers of all changes of a home.

    Parameters
    ----------
    models
        By name; looked up by each command.
    datasets, columns, views, ledger
        Of the home.
    read_again
        Brings what is held of a model to what is stored.
    """

    def __init__(
        self,
        models: Mapping[ModelName, Planned],
        datasets: Datasets,
        columns: Columns,
        views: Views,
        ledger: Ledger,
        runtimes: Runtimes,
        read_again: Callable[[ModelName], None],
    ) -> None:
        self._models = models
        self._datasets = datasets
        self._columns = columns
        self._views = views
        self._ledger = ledger
        self._runtimes = runtimes
        self._read_again = read_again

    def table(self) -> Mapping[type[Command], Handler]:
        """Return the handler of each command."""
        return {PrepareRequests: self.prepare, ReadAgain: self.read_again}

    def prepare(self, command: PrepareRequests, command_id: str, now: Instant) -> Reply:
        """Compute and store what stored requests of a model lack."""
        saga = change_id(command.number)
        try:
            facts = self._prepared(command)
        except VarvError as error:
            if error.retryable:
                raise
            failed = PreparationFailed(number=command.number, model=command.model, reason=str(error))
            return Reply(messages=(Message(saga, failed),))
        n_requests = sum(fact.n_requests for fact in facts)
        ready = RequestsPrepared(number=command.number, model=command.model, n_requests=n_requests)
        stream = f"requests/{command.model}"
        return Reply(tuple(Fact(stream, fact) for fact in facts), (Message(saga, ready),))

    def read_again(self, command: ReadAgain, command_id: str, now: Instant) -> Reply:
        """Bring memory to what is stored, and let the loop of the model go on with it."""
        plan = self._plan(command.model)
        self._read_again(command.model)
        ready = ModelReady(number=command.number, model=command.model)
        event, guards = self._beginning(plan, command.number, now)
        told = Message(loop_id(command.model), event)
        return Reply(messages=(told, Message(change_id(command.number), ready)), guards=guards)

    def _beginning(self, plan: ModelPlan, number: int, now: Instant) -> tuple[Event, tuple[Guard, ...]]:
        """Return what a loop is told, that it begins or that its features are others, and what that was found
        by.
        """
        with self._views.reading(LoopView) as view:
            record, declared = view.loops.get(plan.name), view.declared[plan.name]
        with self._views.reading(ChangesView) as changes:
            change = changes.changes[number].of_model(plan.name)
        if record is None:
            first_version, seen = number_after(self._views, self._ledger, plan.name)
            started = LoopStarted(
                policy=plan.loop.policy(now, 0),
                declaration=declared.declaration,
                definition=plan.loop.definition(),
                task=plan.outcome.task.spec,
                first_version=first_version,
            )
            return started, (seen,)
        removed = () if change is None else tuple(one.feature for one in change.removed)
        added = () if change is None else change.added
        added = tuple(dict.fromkeys((*added, *record.awaited)))
        return DefinitionChanged(model=plan.name, added=added, removed=removed), ()

    def _prepared(self, command: PrepareRequests) -> list[RequestsBackfilled] | list[RequestsServed]:
        plan = self._plan(command.model)
        with self._views.reading(LoopView) as view:
            record = view.loops.get(plan.name)
            awaited = () if record is None else record.awaited
        if record is None:
            return self._first_requests(plan)
        with self._views.reading(RoutingView) as routing:
            segments = digests(routing.catalogue(plan.name).extents())
            backfilled = dict(routing.backfilled.get(plan.name, {}))
        predictions = predictions_of(plan.name, self._columns)
        work = Backfill(self._datasets, self._columns, plan.schema, predictions)
        return list(work.run(awaited, segments, table_of(plan.name, command.number), backfilled))

    def _first_requests(self, plan: ModelPlan) -> list[RequestsServed]:
        """Give a new model the requests that its dataset holds, each with its features as of its own instant
        and no answer: what its first version is trained on.
        """
        data, store = plan.schema.requests, FeatureStore()
        engine = FeatureEngine(plan.schema.features, data, store)
        Intake(self._datasets, [store]).restore(plan.datasets)
        if column := plan.outcome.column:
            known = self._datasets.read_part(data, plan.outcome.known_at)
            plan.require_history(known[column])
        plane = DataPlane(plan.outcome.task, self._runtimes)
        table = predictions_of(plan.name, self._columns)
        answered = (
            (segment, predicted(plan.schema, engine, plane, requests))
            for segment, requests in self._datasets.segments(data, data.event_time)
        )
        facts: list[RequestsServed] = []
        for frames in in_files(answered):
            digests = self._columns.append_together(table, frames)
            facts += [served(plan.name, name, rows, digests[name]) for name, rows in frames.items()]
        return facts

    def _plan(self, model: ModelName) -> ModelPlan:
        if model not in self._models:
            raise NotFound("model", model, "is not declared", hint="declare it again, or retire it")
        return self._models[model].plan
