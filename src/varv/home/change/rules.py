"""A change as a saga: planned, switched to, prepared model by model, and done.

What it plans is on record from its first event on, so a home that was killed at any point goes on with it at
its next start. Each command may run again: what is computed is stored once.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from varv.home.change.model import (
    ChangeDone,
    ChangePlanned,
    ChangeState,
    ChangeSuperseded,
    ChangeSwitched,
    ModelReady,
    PreparationFailed,
    PrepareRequests,
    ReadAgain,
    RequestsPrepared,
    change_id,
)
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ids import ModelName
from varv.kernel.sagas import CommandFailed, Fact, Step


class ChangeSaga:
    """One change of the declaration; ids are ``change/<number>``."""

    name: ClassVar[str] = "change"
    state_type = ChangeState

    def initial(self, saga_id: str) -> ChangeState:
        """Return the state before the change is planned."""
        return ChangeState()

    def step(self, state: ChangeState, event: Event, now: Instant) -> Step[ChangeState]:
        """Decide what `event` leads to."""
        match event:
            case ChangePlanned() if state.phase == "new":
                return Step(replace(state, phase="planned", number=event.number, waiting=event.prepared))
            case ChangeSwitched() if state.phase == "planned":
                return _prepare(replace(state, phase="preparing"), state.waiting)
            case ChangeSwitched() if state.failed:
                return _prepare(replace(state, failed=()), state.failed)
            case RequestsPrepared() if event.model in state.waiting:
                return Step(state, commands=(ReadAgain(number=state.number, model=event.model),))
            case ModelReady() if event.model in state.waiting:
                left = tuple(model for model in state.waiting if model != event.model)
                return _prepare(replace(state, waiting=left), ())
            case PreparationFailed() if event.model in state.waiting:
                others = tuple(model for model in state.failed if model != event.model)
                return Step(replace(state, failed=(*others, event.model)))
            case CommandFailed() if state.phase == "preparing":
                # It names no model, and to prepare once more what is prepared costs little.
                return Step(replace(state, failed=state.waiting))
            case ChangeSuperseded() if state.phase != "done":
                return Step(replace(state, phase="done", waiting=(), failed=()))
            case _:
                return Step(state)


def _prepare(state: ChangeState, models: tuple[ModelName, ...]) -> Step[ChangeState]:
    """Prepare models; a change that none of them waits for is done."""
    if not state.waiting:
        done = Fact(change_id(state.number), ChangeDone(number=state.number))
        return Step(replace(state, phase="done"), emits=(done,))
    return Step(state, commands=tuple(PrepareRequests(number=state.number, model=model) for model in models))
