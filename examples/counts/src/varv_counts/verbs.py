"""The verb of this package: every front of varv offers it, as it does its own."""

from __future__ import annotations

import msgspec

from varv.kernel.verbs import READ, verb
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.registry import RegistryView


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
