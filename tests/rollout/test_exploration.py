"""Every reachable state of a rollout keeps its promises, and the search would notice if one did not."""

from __future__ import annotations

import msgspec
import pytest

from varv.rollout import AT_ONCE, Rollout, RolloutSaga, RoutingApplied
from varv.rollout.rules import SETTLED

from .explorer import TWO_GUARDS, WITHOUT_OUTCOME, Explorer, Violation
from .samples import BINARY

pytestmark = pytest.mark.slow


ALWAYS = {"warming", "shadow", "canary", "promoting", "probation", "rolling_back", *SETTLED}


@pytest.mark.parametrize(
    ("former", "phases"), [(None, ALWAYS), (5, ALWAYS | {"draining"})], ids=["alone", "in a probation"]
)
def test_no_reachable_state_breaks_a_promise_and_all_can_settle(former, phases):
    explorer = Explorer(RolloutSaga(), former=former)
    explorer.explore()
    assert len(explorer.edges) > 1000
    assert explorer.cut_off() == []
    assert {world.saga.phase for world in explorer.edges} == phases


@pytest.mark.parametrize(
    ("champion", "plan"), [(None, Rollout().plan_for(BINARY)), (6, AT_ONCE)], ids=["first", "immediate"]
)
def test_a_first_version_and_an_immediate_one_settle_too(champion, plan):
    explorer = Explorer(RolloutSaga(), champion=champion, plan=plan)
    explorer.explore()
    assert explorer.cut_off() == []
    assert not any(world.saga.phase in ("shadow", "canary") for world in explorer.edges)


@pytest.mark.parametrize("plan", [TWO_GUARDS, WITHOUT_OUTCOME], ids=["two guards", "without outcome"])
def test_plans_of_other_tasks_keep_their_promises_too(plan):
    explorer = Explorer(RolloutSaga(), plan=plan)
    explorer.explore()
    assert explorer.cut_off() == []
    ended = {"done"} if not plan.has_outcome else {"probation", "done"}
    assert {world.saga.phase for world in explorer.edges} >= {"shadow", "canary", "rolled_back", *ended}


class NoFencing(RolloutSaga):
    def next_epoch(self, state):
        return max(1, state.epoch)


class BelievesAnyEcho(RolloutSaga):
    def _on_the_way(self, state, event, now):
        if isinstance(event, RoutingApplied):
            event = RoutingApplied(epoch=state.epoch)
        return super()._on_the_way(state, event, now)


class PromotesWithoutProof(RolloutSaga):
    def blocker(self, state, evidence):
        return super().blocker(state, msgspec.structs.replace(evidence, log_safety=evidence.safety_at))


class TakesSilenceForConsent(RolloutSaga):
    def blocker(self, state, evidence):
        plenty = msgspec.structs.replace(evidence, n_labels=10**6, step_labels=10**6, high=None, shift=0.0)
        return super().blocker(state, plenty)


class OverlooksDoubt(RolloutSaga):
    def blocker(self, state, evidence):
        rosy = msgspec.structs.replace(
            evidence, log_harm=0.0, difference=None, step_difference=None, high=None, shift=0.0
        )
        return super().blocker(state, rosy)


class OverlooksAShift(RolloutSaga):
    def blocker(self, state, evidence):
        return super().blocker(state, msgspec.structs.replace(evidence, shift=0.0))


class IgnoresTheSecondGuard(RolloutSaga):
    def blocker(self, state, evidence):
        rosy = {"difference": None, "step_difference": None, "high": None, "shift": 0.0}
        others = tuple(msgspec.structs.replace(one, **rosy) for one in evidence.others)
        first = {"log_harm": evidence.log_harm_paired, "others": others}
        return super().blocker(state, msgspec.structs.replace(evidence, **first))


class TakesOneProofForAll(RolloutSaga):
    def lack(self, state, evidence):
        return super().lack(state, msgspec.structs.replace(evidence, others=()))


class NeedsNoScores(RolloutSaga):
    def lack(self, state, evidence):
        return "" if state.elapsed else "its time is not over"


class PromotesScoresAtOnce(RolloutSaga):
    def lack(self, state, evidence):
        return super().lack(msgspec.structs.replace(state, elapsed=True), evidence)


class ForgetsToUnload(RolloutSaga):
    def _roll_back(self, state, reason):
        return super()._roll_back(msgspec.structs.replace(state, undo=state.undo[1:]), reason)


class UnloadsFirst(RolloutSaga):
    def _roll_back(self, state, reason):
        return super()._roll_back(msgspec.structs.replace(state, undo=state.undo[::-1]), reason)


class ForgetsLateWarming(RolloutSaga):
    def _at_rest(self, state, event, now):
        step = super()._at_rest(state, event, now)
        return msgspec.structs.replace(step, commands=()) if state.phase == "rolled_back" else step


class GivesUpAfterAFailure(RolloutSaga):
    def _ending(self, state, event, now):
        step = super()._ending(state, event, now)
        return msgspec.structs.replace(step, timers=())


@pytest.mark.parametrize(
    ("mutant", "found"),
    [
        (NoFencing, "decided later"),
        (BelievesAnyEcho, "table before is in force"),
        (PromotesWithoutProof, "proof of safety"),
        (TakesSilenceForConsent, "missing evidence"),
        (OverlooksDoubt, "bad evidence"),
        (OverlooksAShift, "proof that a shift has voided"),
        (ForgetsToUnload, "leaves nothing behind"),
        (UnloadsFirst, "only loaded versions"),
        (ForgetsLateWarming, "leaves nothing behind"),
    ],
)
def test_a_planted_mistake_in_the_rules_is_found(mutant, found):
    with pytest.raises(Violation, match=found):
        Explorer(mutant()).explore()


@pytest.mark.parametrize(
    ("mutant", "plan", "found"),
    [
        (IgnoresTheSecondGuard, TWO_GUARDS, "bad evidence"),
        (TakesOneProofForAll, TWO_GUARDS, "proof of safety"),
        (NeedsNoScores, WITHOUT_OUTCOME, "scores must lie"),
        (PromotesScoresAtOnce, WITHOUT_OUTCOME, "time must be over"),
    ],
)
def test_a_planted_mistake_about_guards_or_scores_is_found(mutant, plan, found):
    with pytest.raises(Violation, match=found):
        Explorer(mutant(), plan=plan).explore()


def test_a_rollout_that_could_never_settle_is_found():
    explorer = Explorer(GivesUpAfterAFailure(), plan=AT_ONCE)
    explorer.explore()
    assert explorer.cut_off()
