"""The verbs of this package: every front of varv offers them, as it does its own."""

from __future__ import annotations

import msgspec

from varv.kernel.verbs import OPERATE, READ, verb
from varv.kernel.views import Views
from varv.loop.verbs import Loops
from varv.loop.views import LoopView
from varv.registry import RegistryView
from varv_counts.events import SurgeExpected


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for nothing in particular."""


class CountModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of counts: its champion, if it has one, and the largest count that matters to it."""

    model: str
    champion: int | None
    most: int


class CountModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models of counts of a home."""

    models: tuple[CountModel, ...]


class ExpectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a model will see more than usual, and why."""

    model: str
    reason: str
    by: str = "operator"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The entry that it is on record in."""

    seq: int


@verb("counts.expect", needs=OPERATE)
def expect(loops: Loops, asked: ExpectRequest) -> Expected:
    """Put on record that more than usual is to come, for whoever looks at an alarm later."""
    model = loops.model(asked.model)
    return Expected(seq=loops.state_fact(model, SurgeExpected(by=asked.by, reason=asked.reason)))


@verb("counts.list", needs=READ)
def list_models(views: Views, asked: ListRequest) -> CountModels:
    """List the models of a home that predict counts."""
    with views.reading(LoopView) as loops, views.reading(RegistryView) as registry:
        tasks = {name: loops.task(name) for name in sorted(loops.loops)}
        champions = {name: record.champion for name, record in registry.models.items()}
    return CountModels(
        models=tuple(
            CountModel(
                model=name,
                champion=None if (found := champions.get(name)) is None else found.registered.version,
                most=task.options["most"],
            )
            for name, task in tasks.items()
            if task.name == "counts"
        )
    )
