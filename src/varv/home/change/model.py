"""Nouns of a change: its state, its events, and the commands that it gives."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Command, command
from varv.kernel.wording import count
from varv.project.planned import Plan

Phase = Literal["new", "planned", "preparing", "done"]


class ChangeState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a change is."""

    phase: Phase = "new"
    number: int = 0
    waiting: tuple[ModelName, ...] = ()
    """Models whose stored requests are not what they are to be yet."""
    failed: tuple[ModelName, ...] = ()
    """Of those, the ones whose preparation has failed; the next start tries them again."""


@event("change.planned")
class ChangePlanned(Event, frozen=True, kw_only=True):
    """The declaration differs from what was on record, and from now on it is what is on record.

    ``prepared`` are the models whose stored requests get features, or predictions, that they lack.
    """

    number: int
    plan: Plan
    prepared: tuple[ModelName, ...] = ()

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: {'; '.join(self.plan.lines())}"


@event("change.switched")
class ChangeSwitched(Event, frozen=True, kw_only=True):
    """Requests are answered by the changed declaration, and all that was captured before is ingested."""

    number: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: requests are answered by it"


@event("change.requests_prepared")
class RequestsPrepared(Event, frozen=True, kw_only=True):
    """The stored requests of a model have what the change brings them."""

    number: int
    model: ModelName
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: {count(self.n_requests)} stored requests of {self.model} are prepared"


@event("change.model_ready")
class ModelReady(Event, frozen=True, kw_only=True):
    """What is held in memory of a model is what is stored; its loop goes on with the changed declaration."""

    number: int
    model: ModelName

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: {self.model} is ready to train"


@event("change.preparation_failed")
class PreparationFailed(Event, frozen=True, kw_only=True):
    """The stored requests of a model could not be prepared; the next start tries it again."""

    number: int
    model: ModelName
    reason: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: {self.model} could not be prepared: {self.reason}"


@event("change.superseded")
class ChangeSuperseded(Event, frozen=True, kw_only=True):
    """Another change takes over what this one had left to do."""

    number: int
    by: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number}: change {self.by} takes over"


@event("change.done")
class ChangeDone(Event, frozen=True, kw_only=True):
    """Everything that a change does at once is done; what is trained follows the loop of each model."""

    number: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"change {self.number} is carried out"


@command("change.prepare_requests")
class PrepareRequests(Command, frozen=True):
    """Compute what stored requests of a model lack: new features, or, of a new model, all of them.

    In the partition of trainings and before any of them: none reads rows that are half done.
    """

    partition: ClassVar[str] = "training"
    priority: ClassVar[int] = 10

    number: int
    model: ModelName


@command("change.read_again")
class ReadAgain(Command, frozen=True):
    """Bring what is held in memory of a model to what is stored, and let its loop go on."""

    partition: ClassVar[str] = "training"
    priority: ClassVar[int] = 10

    number: int
    model: ModelName


def change_id(number: int) -> str:
    """Return the id of the saga that is a change, which is also the stream of its events."""
    return f"change/{number}"
