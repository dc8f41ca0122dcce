"""Where a rollout stands, and what follows from that alone: its table, its next share, its next command.

Nothing here decides; `rollout.rules` does.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command
from varv.rollout.grounds import Evidence
from varv.rollout.luck import Luck
from varv.rollout.model import (
    ApplyRouting,
    CountAnswers,
    MoveAlias,
    Scores,
    UnloadVersion,
)
from varv.rollout.plan import RolloutPlan
from varv.rollout.tally import Tally
from varv.serving.routing import RoutingShare, RoutingTable

CHAMPION = "champion"

Phase = Literal[
    "new",
    "warming",
    "shadow",
    "canary",
    "promoting",
    "draining",
    "probation",
    "done",
    "rolling_back",
    "rolled_back",
]
Action = Literal["alias", "route", "unload_previous", "unload_former", "restore", "unload"]


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """Where one rollout stands."""

    model: ModelName
    version: Version
    phase: Phase = "new"
    plan: RolloutPlan | None = None
    champion: Version | None = None
    former: Version | None = None
    """The champion before the present one, while it scores along."""
    luck: Luck = Luck()
    salt: str = ""
    epoch: int = 0
    """Of the last table that was ordered; each order raises it, and only its own echo counts."""
    echoed: int = 0
    """Of the last table that the router confirmed."""
    share: float = 0.0
    n_steps: int = 0
    """Canary steps taken."""
    elapsed: bool = False
    """Whether the time of the present phase or step is over."""
    overdue: bool = False
    held: str = ""
    tally: Tally = Tally()
    proven: bool = False
    """Whether safety was proven once: an e-value that has reached its threshold is a proof, whatever it does
    after."""
    shadow_scores: Scores = Scores()
    """How the candidate's scores lay when it left the shadow."""
    n_looks: int = 0
    """Counts of answers ordered since the present table is in force."""
    undo: tuple[Action, ...] = ()
    todo: tuple[Action, ...] = ()
    n_failures: int = 0
    reason: str = ""
    verdict: Evidence | None = None
    """The evidence on which the end was decided."""

    @property
    def saga_id(self) -> str:
        """The address of this rollout, which is also the stream of its events."""
        return rollout_id(self.model, self.version)


def rollout_id(model: ModelName, version: Version) -> str:
    """Return the saga id of the rollout of `version`."""
    return f"rollout/{model}/{version}"


def plan_of(state: RolloutState) -> RolloutPlan:
    """Return the plan of a rollout that has started."""
    if state.plan is None:
        raise InvalidInput("rollout", state.saga_id, "has not started", hint="tell it RolloutStarted first")
    return state.plan


def next_share(state: RolloutState) -> float:
    """Return the share that follows the present one; 1 is the promotion."""
    shares = plan_of(state).shares
    return shares[state.n_steps] if state.n_steps < len(shares) else 1.0


def timer_key(state: RolloutState) -> str:
    """Return the key of the timer of the present phase or step; a late one of an earlier step has another."""
    return "shadow" if state.phase == "shadow" else f"step-{state.n_steps}"


def table_of(state: RolloutState) -> RoutingTable:
    """Return the table that `state` wants in force."""
    version, champion, former = RoutingShare(state.version, state.share), state.champion, state.former
    if champion is None or state.share == 1:
        shares, shadows = (version,), ()
        former = champion if plan_of(state).probation else None
    elif state.share == 0:
        # Scoring in the shadow is exposure of the machines, not of the users; a rollback ends it too.
        shares = (RoutingShare(champion, 1.0),)
        shadows = (state.version,) if state.phase == "shadow" else ()
    else:
        # Both go on scoring what the other answers: pairs need far fewer labels than arms.
        shares = (version, RoutingShare(champion, round(1 - state.share, 12)))
        shadows = (state.version, champion)
    return RoutingTable(epoch=state.epoch, shares=shares, shadows=shadows, former=former, salt=state.salt)


def routing_of(state: RolloutState) -> ApplyRouting:
    """Return the command that puts the table of `state` in force."""
    return ApplyRouting(model=state.model, table=table_of(state))


def count_of(state: RolloutState) -> CountAnswers:
    """Return the command that counts the answers under the table in force."""
    return CountAnswers(
        model=state.model,
        version=state.version,
        epoch=state.epoch,
        since=state.tally.step_since,
        latency=plan_of(state).latency,
    )


def command_of(state: RolloutState) -> Command:
    """Return the command of the first thing to be done; the same each time, so a retry is harmless."""
    action = state.todo[0]
    if action == "alias":
        return MoveAlias(model=state.model, alias=CHAMPION, version=state.version)
    if action == "unload":
        return UnloadVersion(model=state.model, version=state.version)
    if action == "unload_former" and state.former is not None:
        return UnloadVersion(model=state.model, version=state.former)
    if action == "unload_previous" and state.champion is not None:
        return UnloadVersion(model=state.model, version=state.champion)
    return routing_of(state)
