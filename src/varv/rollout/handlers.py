"""What the commands of a rollout do: warm, route, name, unload, and count answers.

Each acts on whatever answers (`serving.ports.Fleet`) and reports to the saga that asked. All of them may run
again after a crash: warming what is warm costs nothing, and routing is fenced by its epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.errors import Conflict
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, Fact, Handler, Message, Reply
from varv.kernel.views import Views
from varv.registry import RegistryView
from varv.rollout.answers import answered_columns, answers
from varv.rollout.model import (
    AliasConfirmed,
    ApplyRouting,
    CountAnswers,
    MoveAlias,
    RoutingApplied,
    UnloadVersion,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
)
from varv.serving import Fleet, Predictions
from varv.serving.model import RoutingChanged


class RolledOut(Protocol):
    """What a home holds of one model for its rollouts."""

    @property
    def predictions(self) -> Predictions:
        """What was answered."""
        ...


class RolloutHandlers:
    """The handlers of all rollouts of a home.

    Parameters
    ----------
    models
        By name; looked up by each command.
    fleet
        Whatever answers requests.
    views
        Of the home, the registry among them.
    """

    def __init__(self, models: Mapping[ModelName, RolledOut], fleet: Fleet, views: Views) -> None:
        self._models = models
        self._fleet = fleet
        self._views = views

    def table(self) -> Mapping[type[Command], Handler]:
        """Return the handler of each command."""
        return {
            CountAnswers: self.count_answers,
            WarmVersion: self.warm,
            ApplyRouting: self.apply_routing,
            MoveAlias: self.move_alias,
            UnloadVersion: self.unload,
        }

    def count_answers(self, command: CountAnswers, command_id: str, now: Instant) -> Reply:
        """Tell the open rollout what was answered under its table, whether or not outcomes are known."""
        predictions = self._models[command.model].predictions
        task = predictions.task
        columns = (*answered_columns(task), "epoch")
        rows = predictions.matured(command.since, now, known_by=now, columns=columns)
        under = rows.filter(pl.col("epoch") == command.epoch)
        counted = answers(under, task=task, epoch=command.epoch, through=now, latency=command.latency)
        return _reply_to(command_id, counted)

    def warm(self, command: WarmVersion, command_id: str, now: Instant) -> Reply:
        """Bring a version into memory wherever requests are answered."""
        self._warm(command.model, command.version)
        return _reply_to(command_id, VersionWarmed(version=command.version))

    def apply_routing(self, command: ApplyRouting, command_id: str, now: Instant) -> Reply:
        """Put a routing table in force."""
        confirmed = _reply_to(command_id, RoutingApplied(epoch=command.table.epoch))
        # A restart forgets what was warm but had no traffic yet; warming what is warm costs nothing.
        for version in sorted(command.table.versions):
            self._warm(command.model, version)
        try:
            self._fleet.apply(command.model, command.table)
        except Conflict:
            # A higher epoch came first: this table has been dealt with, and is never in force.
            return confirmed
        changed = Fact(f"routing/{command.model}", RoutingChanged(model=command.model, table=command.table))
        return Reply((changed,), confirmed.messages)

    def move_alias(self, command: MoveAlias, command_id: str, now: Instant) -> Reply:
        """Point an alias at a version."""
        with self._views.reading(RegistryView) as registry:
            moved = registry.moving(command.model, command.alias, command.version)
        reply = _reply_to(command_id, AliasConfirmed(alias=command.alias, version=command.version))
        return Reply((Fact(f"model/{command.model}", moved),), reply.messages)

    def unload(self, command: UnloadVersion, command_id: str, now: Instant) -> Reply:
        """Let a version go."""
        self._fleet.unload(command.model, command.version)
        return _reply_to(command_id, VersionUnloaded(version=command.version))

    def _warm(self, model: ModelName, version: Version) -> None:
        with self._views.reading(RegistryView) as registry:
            package = registry.version(model, version).registered.package
        self._fleet.warm(model, version, package)


def _reply_to(command_id: str, event: Event) -> Reply:
    saga, _, _ = command_id.rsplit(":", 2)
    return Reply(messages=(Message(saga, event),))
