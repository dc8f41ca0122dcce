"""Read model of changes: each with its plan, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from varv.home.change.model import (
    ChangeDone,
    ChangePlanned,
    ChangeSuperseded,
    ChangeSwitched,
    ModelReady,
    PreparationFailed,
    RequestsPrepared,
)
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName
from varv.kernel.ledger import Entry
from varv.project.planned import ModelChange, Plan


@dataclass
class ChangeRecord:
    """One change."""

    number: int
    plan: Plan
    prepared: tuple[ModelName, ...]
    at: Instant
    seq: int
    phase: str = "planned"
    """``"planned"``, ``"preparing"``, ``"done"``, or ``"superseded"``."""
    ready: set[ModelName] = field(default_factory=set)
    failures: dict[ModelName, str] = field(default_factory=dict)
    """Why models could not be prepared."""
    ended_at: Instant | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is left to do."""
        return self.phase in ("planned", "preparing")

    def of_model(self, model: ModelName) -> ModelChange | None:
        """Return what changes of a model, if anything does."""
        return next((one for one in self.plan.models if one.model == model), None)

    def progress(self) -> str:
        """Return how far it has come, in words."""
        if not self.is_open:
            return self.phase
        left = [model for model in self.prepared if model not in self.ready]
        if self.failures:
            return "; ".join(f"{model} could not be prepared: {why}" for model, why in self.failures.items())
        if self.phase == "planned":
            return "is being switched to"
        return f"computes what stored requests of {', '.join(left)} lack" if left else "is nearly done"


class ChangesView(msgspec.Struct):
    """Changes by number."""

    changes: dict[int, ChangeRecord] = {}

    @property
    def open(self) -> list[ChangeRecord]:
        """Changes that are not done."""
        return [one for one in self.changes.values() if one.is_open]

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        match event:
            case ChangePlanned():
                self.changes[event.number] = ChangeRecord(
                    event.number, event.plan, event.prepared, entry.at, entry.seq
                )
            case ChangeSwitched():
                self.changes[event.number].phase = "preparing"
            case RequestsPrepared() | ModelReady():
                record = self.changes[event.number]
                record.failures.pop(event.model, None)
                if isinstance(event, ModelReady):
                    record.ready.add(event.model)
            case PreparationFailed():
                self.changes[event.number].failures[event.model] = event.reason
            case ChangeDone() | ChangeSuperseded():
                record = self.changes[event.number]
                record.phase = "done" if isinstance(event, ChangeDone) else "superseded"
                record.ended_at = entry.at
            case _:
                pass
