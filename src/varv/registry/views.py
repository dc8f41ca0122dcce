"""Read model of the registry, folded from the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.errors import NotFound
from varv.kernel.ledger import Entry
from varv.registry.model import AliasMoved, VersionRegistered


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
    """Models by name."""

    models: dict[str, ModelRecord] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, VersionRegistered):
            model = self.models.setdefault(event.model, ModelRecord(event.model))
            model.versions[event.version] = VersionRecord(event, entry.at, entry.seq)
        elif isinstance(event, AliasMoved):
            model = self.models.setdefault(event.model, ModelRecord(event.model))
            for record in model.versions.values():
                record.aliases.discard(event.alias)
            if event.version is None:
                model.aliases.pop(event.alias, None)
                return
            model.aliases[event.alias] = event.version
            if record := model.versions.get(event.version):
                record.aliases.add(event.alias)
                record.was_champion |= event.alias == "champion"

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
