"""Read model of the registry, folded from the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.errors import NotFound
from varv.kernel.ids import Version
from varv.kernel.ledger import Entry, Guard, Ledger
from varv.kernel.views import Views
from varv.registry.model import (
    AliasMoved,
    ModelDeleted,
    ModelRenamed,
    VersionLogged,
    VersionRegistered,
    model_stream,
)


@dataclass
class VersionRecord:
    """One version: what was registered, when, and in which entry."""

    registered: VersionRegistered
    at: Instant
    seq: int
    aliases: set[str] = field(default_factory=set)
    was_champion: bool = False


@dataclass
class ModelRecord:
    """One model: its versions in order and where its aliases point."""

    name: str
    versions: dict[int, VersionRecord] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)

    @property
    def champion(self) -> VersionRecord | None:
        """The version that the alias ``champion`` names."""
        number = self.aliases.get("champion")
        return None if number is None else self.versions.get(number)


class RegistryView(msgspec.Struct):
    """Models by name, as loops have registered them; of what is logged from outside only the numbers."""

    models: dict[str, ModelRecord] = {}
    logged: dict[str, int] = {}
    """The highest number that a logged version has, by name."""

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, VersionRegistered):
            model = self.models.setdefault(event.model, ModelRecord(event.model))
            model.versions[event.version] = VersionRecord(event, entry.at, entry.seq)
        elif isinstance(event, AliasMoved):
            model = self.models.get(event.model)
            if model is None:  # of a name that only logged versions have
                return
            for record in model.versions.values():
                record.aliases.discard(event.alias)
            if event.version is None:
                model.aliases.pop(event.alias, None)
                return
            model.aliases[event.alias] = event.version
            if record := model.versions.get(event.version):
                record.aliases.add(event.alias)
                record.was_champion |= event.alias == "champion"
        elif isinstance(event, VersionLogged):
            self.logged[event.model] = max(self.logged.get(event.model, 0), event.version)
        elif isinstance(event, ModelRenamed) and event.model in self.logged:
            self.logged[event.to] = self.logged.pop(event.model)
        elif isinstance(event, ModelDeleted):
            self.logged.pop(event.model, None)

    def next_version(self, model: str) -> Version:
        """Return the number after all that a model has had, for a loop that begins under its name."""
        record = self.models.get(model)
        registered = 0 if record is None else max(record.versions, default=0)
        return Version(max(registered, self.logged.get(model, 0)) + 1)

    def moving(self, model: str, alias: str, version: int) -> AliasMoved:
        """Return the event that points an alias at a version from now on."""
        record = self.models.get(model)
        previous = None if record is None else record.aliases.get(alias)
        return AliasMoved(model=model, alias=alias, version=version, previous=previous)

    def version(self, model: str, version: int) -> VersionRecord:
        """Return one version.

        Raises
        ------
        NotFound
            If the model or the version is not registered; the names that are, are listed.
        """
        found = self.models.get(model)
        if found is None:
            raise NotFound("model", model, "is not registered", registered=sorted(self.models))
        if version not in found.versions:
            raise NotFound(
                "version", f"{model} v{version}", "is not registered", registered=sorted(found.versions)
            )
        return found.versions[version]


def number_after(views: Views, ledger: Ledger, model: str) -> tuple[Version, Guard]:
    """Return the number after all that a model has had, for a loop that begins under its name, and what that
    was found by: a client may log a version of this number meanwhile, or rename a model that has it.
    """
    stream = model_stream(model)
    # The head comes first: a view that is ahead of it is told by a guard that is refused.
    seen = Guard(stream, ledger.head(stream).version)
    with views.reading(RegistryView) as registry:
        return registry.next_version(model), seen
