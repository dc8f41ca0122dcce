"""Rollouts: a candidate replaces the champion step by step, and only on evidence.

`plan` has the declaration, `guards` what must not get worse, `model` commands and events, `grounds` what a
decision rests on; `evidence` turns scored requests into hours, `answers` counts those without an outcome,
`luck` says how far hours differ by chance, `tally` adds and weighs them; `rules` is the saga that decides, on
the `state` of one rollout; `views` is the read model. The router that obeys is in `serving`.
"""

from varv.rollout.answers import answers
from varv.rollout.evidence import evidence, luck_of
from varv.rollout.grounds import Evidence
from varv.rollout.guards import Guard, Latency
from varv.rollout.luck import Luck, learned
from varv.rollout.model import (
    AliasConfirmed,
    AnswersCounted,
    ApplyRouting,
    CountAnswers,
    EvidenceArrived,
    MoveAlias,
    ProbationEnded,
    RollbackStarted,
    RolloutAborted,
    RolloutHeld,
    RolloutNeedsHuman,
    RolloutRolledBack,
    RolloutSettled,
    RolloutStarted,
    RolloutStepped,
    RolloutSuperseded,
    RoutingApplied,
    ShadowStarted,
    UnloadVersion,
    VersionPromoted,
    VersionUnloaded,
    VersionWarmed,
    WarmVersion,
)
from varv.rollout.plan import AT_ONCE, Rollout, RolloutPlan
from varv.rollout.rules import RolloutSaga
from varv.rollout.state import RolloutState, rollout_id
from varv.rollout.views import RolloutsView

__all__ = [
    "AT_ONCE",
    "AliasConfirmed",
    "AnswersCounted",
    "ApplyRouting",
    "CountAnswers",
    "Evidence",
    "EvidenceArrived",
    "Guard",
    "Latency",
    "Luck",
    "MoveAlias",
    "ProbationEnded",
    "RollbackStarted",
    "Rollout",
    "RolloutAborted",
    "RolloutHeld",
    "RolloutNeedsHuman",
    "RolloutPlan",
    "RolloutRolledBack",
    "RolloutSaga",
    "RolloutSettled",
    "RolloutStarted",
    "RolloutState",
    "RolloutStepped",
    "RolloutSuperseded",
    "RolloutsView",
    "RoutingApplied",
    "ShadowStarted",
    "UnloadVersion",
    "VersionPromoted",
    "VersionUnloaded",
    "VersionWarmed",
    "WarmVersion",
    "answers",
    "evidence",
    "learned",
    "luck_of",
    "rollout_id",
]
