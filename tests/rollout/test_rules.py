"""What a rollout decides, case by case. Promises that hold in every state are in test_exploration."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from varv.kernel.clock import DAY, HOUR, MINUTE, Instant
from varv.kernel.codec import canonical
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.kernel.sagas import CommandFailed, SetTimer
from varv.rollout import (
    AT_ONCE,
    ApplyRouting,
    EvidenceArrived,
    Luck,
    MoveAlias,
    ProbationEnded,
    RollbackStarted,
    Rollout,
    RolloutAborted,
    RolloutHeld,
    RolloutNeedsHuman,
    RolloutRolledBack,
    RolloutSaga,
    RolloutSettled,
    RolloutState,
    RolloutStepped,
    RolloutSuperseded,
    RoutingApplied,
    ShadowStarted,
    UnloadVersion,
    VersionPromoted,
    VersionWarmed,
    WarmVersion,
)
from varv.rollout.grounds import ODD_SHIFT, Evidence
from varv.rollout.judgement import is_proven
from varv.rollout.luck import BLOCK, UNKNOWN
from varv.rollout.model import Scores
from varv.rollout.tally import Tally, weigh_probation

from .explorer import LUCK, counted, stretch
from .samples import BINARY, NEW, OLD, START, Driver, requests, started
from .samples import evidence as evidence_of

LATER = Instant(START + 30 * DAY)
PLAN = Rollout().plan_for(BINARY)
GOOD, FAIR, PLAIN, DOUBTFUL, BAD = -1.4, -0.5, 0.0, 1.1, 2.0
"""By how many standard deviations each block lies above zero."""


def spoken_at(since, *, z=PLAIN, n_labels=500, n_blocks=8):
    return EvidenceArrived(
        since=Instant(since),
        through=Instant(since + n_blocks * BLOCK),
        n_requests=n_labels,
        n_labels=n_labels,
        n_missing=0,
        hours=stretch(since, z, n_labels, n_blocks=n_blocks),
    )


class Teller(Driver):
    """A driver that is told blocks of evidence, one stretch after the other."""

    def __init__(self, plan=None, **options):
        super().__init__(plan, **{"luck": LUCK, **options})
        self.clock = START

    def hear(self, z=PLAIN, *, at=None, **options):
        since = max(self.state.tally.through, self.state.tally.step_since, START)
        told = spoken_at(since, z=z, **options)
        self.tell(told, at or told.through)

    def count(self, **options):
        self.tell(counted(self.state.epoch, **options), LATER)

    def bake(self):
        self.wait_until(max(at for key, at in self.timers.items() if key.startswith("step")))

    def outlive_the_shadow(self):
        self.wait_until(self.timers["shadow"])


def proven_and_promoted():
    run = Teller()
    run.hear(GOOD)
    for _ in range(2):
        run.bake()
        run.hear(GOOD)
    return run


def test_a_proven_candidate_climbs_the_ladder_to_the_champions_place():
    run = proven_and_promoted()
    assert run.outcome == "promoted"
    assert [(f.from_share, f.to_share) for f in run.said(RolloutStepped)] == [
        (0, 0.05),
        (0.05, 0.25),
        (0.25, 1),
    ]
    assert [type(c) for c in run.commands] == [
        WarmVersion,
        *[ApplyRouting] * 3,
        MoveAlias,
        ApplyRouting,
    ]
    (promoted,) = run.said(VersionPromoted)
    assert (promoted.version, promoted.previous, promoted.epoch) == (NEW, OLD, 7)
    (settled,) = run.tells
    assert (settled.outcome, settled.reason, settled.epoch) == ("promoted", "proven safe", 7)
    assert settled.evidence.log_safety >= settled.evidence.safety_at
    assert run.timers == {}


def test_tables_keep_one_salt_and_raise_the_epoch_each_time():
    run = proven_and_promoted()
    assert [table.epoch for table in run.tables] == [4, 5, 6, 7]
    assert len({table.salt for table in run.tables}) == 1
    assert [[(p.version, p.share) for p in table.shares] for table in run.tables] == [
        [(OLD, 1.0)],
        [(NEW, 0.05), (OLD, 0.95)],
        [(NEW, 0.25), (OLD, 0.75)],
        [(NEW, 1.0)],
    ]
    assert [table.shadows for table in run.tables] == [(NEW,), (NEW, OLD), (NEW, OLD), ()]


@pytest.mark.parametrize("phase", ["shadow", "canary"])
def test_harm_rolls_back_at_once_in_any_phase(phase):
    run = Teller()
    if phase == "canary":
        run.hear(GOOD)
    run.hear(BAD)
    assert run.outcome == "rolled_back"
    (back,) = run.said(RolloutRolledBack)
    assert back.reason == "the candidate is worse than the champion"
    assert back.evidence.log_harm >= back.evidence.harm_at
    assert [(p.version, p.share) for p in run.tables[-1].shares] == [(OLD, 1.0)]
    assert run.tables[-1].shadows == ()
    assert run.commands[-1] == UnloadVersion(model="late", version=NEW)
    assert (run.tells[-1].outcome, run.tells[-1].epoch) == ("rolled_back", run.tables[-1].epoch)


def test_a_rollback_restores_traffic_before_it_unloads():
    run = Teller()
    run.hear(GOOD)
    run.tell(RolloutAborted(by="ana", reason="odd"), LATER)
    assert [type(c) for c in run.commands[-2:]] == [ApplyRouting, UnloadVersion]
    assert run.said(RollbackStarted)[0].reason == "aborted by ana: odd"


def test_a_newer_version_supersedes():
    run = Teller()
    run.tell(RolloutSuperseded(by_version=8), LATER)
    assert (run.outcome, run.tells[-1].reason) == ("rolled_back", "superseded by version 8")


def test_the_shadow_ends_after_its_time_if_nothing_speaks_against_the_candidate():
    run = Teller()
    run.hear()
    assert run.state.phase == "shadow"
    run.outlive_the_shadow()
    (stepped,) = run.said(RolloutStepped)
    assert (stepped.to_share, stepped.because) == (0.05, "nothing speaks against it")


def test_without_enough_labels_the_shadow_is_held_visibly_and_goes_on_when_they_come():
    run = Teller()
    run.hear(n_labels=20)
    run.outlive_the_shadow()
    run.hear(n_labels=20)
    (held,) = run.said(RolloutHeld)
    assert (held.reason, held.evidence.n_labels, run.state.held) == ("too few labels", 20, "too few labels")
    run.hear()
    assert (run.state.phase, run.state.held) == ("canary", "")


def test_evidence_that_leans_towards_harm_blocks_the_next_step():
    run = Teller()
    run.hear(DOUBTFUL)
    run.outlive_the_shadow()
    assert run.said(RolloutHeld)[0].reason == "evidence leans towards harm"
    assert run.state.share == 0


def test_a_mean_beyond_the_margin_blocks_the_next_step_long_before_it_is_proof():
    run = Teller()
    run.hear(0.5, n_labels=200)
    run.outlive_the_shadow()
    held = run.said(RolloutHeld)[0]
    assert (held.reason, held.evidence.difference) == ("evidence leans towards harm", 0.1)
    assert held.evidence.log_harm < held.evidence.harm_at / 2


def test_a_proof_of_the_shadow_counts_only_while_the_share_agrees():
    run = Teller()
    run.hear(GOOD, n_blocks=40, n_labels=8000)
    run.bake()
    run.hear(0.5, n_labels=200)
    assert run.state.share == 0.05
    assert run.state.tally.n_labels == 8200


@pytest.mark.parametrize(
    ("changes", "proven"),
    [
        ({}, True),
        ({"step_blocks": 3}, False),
        ({"step_difference": 0.02}, False),
        ({"step_difference": None}, False),
        ({"shift": ODD_SHIFT + 0.1}, False),
        ({"shift": ODD_SHIFT + 0.1, "step_safety": 3.0}, True),
    ],
)
def test_a_proof_stays_one_while_the_present_share_agrees(changes, proven):
    state = msgspec.structs.replace(Teller().state, proven=True)
    known = {"safety_at": 3.0, "log_safety": 2.0, "step_difference": 0.0, "step_blocks": 4, **changes}
    evidence = msgspec.structs.replace(Evidence.none(Rollout().plan_for(BINARY)), **known)
    assert is_proven(state, evidence) == proven


def test_a_share_does_not_rise_to_where_harm_that_is_not_excluded_exceeds_the_margin():
    run = Teller()
    run.hear()
    run.outlive_the_shadow()
    run.bake()
    run.hear()
    assert run.state.share == 0.05
    run.wait_until(run.timers["deadline"])
    (held,) = run.said(RolloutHeld)
    assert held.reason == "harm that is not excluded yet is too large for the next share"
    assert 0.25 * held.evidence.high > run.state.plan.margin
    run.hear(n_labels=20_000, n_blocks=24)
    assert run.state.share == 0.25


def test_what_was_proven_before_its_losses_shifted_counts_no_more():
    run = Teller()
    run.hear(2 * GOOD)
    run.bake()
    run.hear(PLAIN)
    run.wait_until(run.timers["deadline"])
    assert run.state.share == 0.05
    assert run.said(RolloutHeld)[-1].reason == "its losses are worse than before its share rose"
    assert run.said(RolloutHeld)[-1].evidence.shift > ODD_SHIFT


def test_what_shifted_far_and_is_worse_than_the_champion_is_given_up():
    run = Teller()
    run.hear(2 * GOOD)
    run.bake()
    run.hear(0.5)
    assert run.state.phase == "rolled_back"
    assert run.state.reason == "it is worse than the champion and than before its share rose"


def test_what_shifted_and_proves_itself_anew_goes_on():
    run = Teller(luck=Luck(spread=LUCK.spread, inflation=1.0, n_days=30))
    run.hear(4 * GOOD)
    run.bake()
    run.hear(GOOD, n_blocks=16)
    assert run.state.share == 0.25


def test_harm_of_few_blocks_uses_up_the_margin_of_the_whole_rollout():
    run = Teller()
    run.hear(PLAIN)
    run.hear(100.0, n_blocks=1, n_labels=60)
    assert run.state.phase == "rolled_back"
    assert run.state.reason == "its losses exceed what the margin allows for the whole rollout"
    (started_back,) = run.said(RollbackStarted)
    assert started_back.evidence.log_harm < started_back.evidence.harm_at


def test_the_last_step_waits_for_the_proof_and_is_held_at_the_deadline():
    run = Teller()
    run.hear(n_labels=5000)
    run.outlive_the_shadow()
    for _ in range(2):
        run.bake()
        run.hear(n_labels=2500)
    assert (run.state.share, run.outcome, run.said(RolloutHeld)) == (0.25, "", [])
    run.wait_until(run.timers["deadline"])
    assert run.said(RolloutHeld)[0].reason == "safety is not proven"
    run.hear(GOOD, n_blocks=24, n_labels=1500)
    assert run.outcome == "promoted"


def test_labels_of_an_earlier_share_do_not_count_for_the_step():
    run = Teller()
    run.hear(GOOD, at=LATER)
    run.bake()
    run.tell(spoken_at(run.state.tally.through), LATER)
    assert (run.state.share, run.state.tally.n_labels) == (0.05, 1000)
    run.tell(spoken_at(LATER), LATER)
    assert run.state.share == 0.25


def test_a_router_that_splits_otherwise_is_held_at_once():
    run = Teller()
    run.hear(GOOD)
    run.count(n_candidate=500)
    assert run.said(RolloutHeld)[0].reason == "the router does not split as told"


def test_overlapping_or_old_evidence_counts_once():
    run = Teller()
    told = spoken_at(START, n_labels=100)
    run.tell(told, LATER)
    run.tell(told, LATER)
    run.tell(msgspec.structs.replace(told, since=Instant(START + HOUR)), LATER)
    assert run.state.tally.n_labels == 100


def test_requests_before_the_shadow_are_no_evidence():
    run = Teller()
    assert run.said(ShadowStarted)[0].since == START
    run.tell(spoken_at(START - HOUR, z=BAD), LATER)
    assert (run.state.phase, run.state.tally.n_labels) == ("shadow", 0)


def test_a_first_version_is_promoted_once_it_is_warm():
    run = Driver(champion=None)
    assert run.outcome == "promoted"
    assert run.said(RolloutStepped)[0].because == "there is no champion yet"
    assert [type(c) for c in run.commands] == [WarmVersion, MoveAlias, ApplyRouting]


def test_an_immediate_rollout_replaces_the_champion_once_it_is_warm():
    run = Driver(AT_ONCE)
    assert run.outcome == "promoted"
    assert run.commands[-1] == UnloadVersion(model="late", version=OLD)


class Unreliable(Driver):
    """Commands named in `broken` fail."""

    broken: frozenset[str] = frozenset()

    def done(self, command, now):
        name = command.command_name
        if name not in self.broken:
            return super().done(command, now)
        failed = CommandFailed(command=name, command_id="1", code="internal", reason="no memory", attempts=5)
        return self.tell(failed, now)


def test_a_version_that_cannot_be_warmed_never_meets_traffic():
    class ColdDriver(Unreliable):
        broken = frozenset({"rollout.warm_version"})

    run = ColdDriver()
    assert run.outcome == "rolled_back"
    assert run.tables == []
    assert run.tells[-1].reason == "warm version failed: no memory"


def test_a_compensation_that_fails_calls_a_person_and_is_tried_again():
    class Stuck(Unreliable):
        broken = frozenset({"rollout.unload_version"})

    run = Stuck()
    run.tell(RolloutAborted(by="ana", reason="odd"), START)
    assert (run.outcome, run.said(RolloutNeedsHuman)[0].n_failures) == ("", 1)
    waits = [run.timers["retry"] - START]
    for _ in range(8):
        at = run.timers["retry"]
        run.wait_until(at)
        waits.append(run.timers["retry"] - at)
    assert waits[:3] == [MINUTE, 2 * MINUTE, 4 * MINUTE]
    assert waits[-1] == HOUR
    run.broken = frozenset()
    run.wait_until(run.timers["retry"])
    assert (run.outcome, run.timers) == ("rolled_back", {})


def test_after_the_pivot_the_way_is_forward_only():
    class Stuck(Unreliable):
        broken = frozenset({"rollout.move_alias"})

    run = Stuck(AT_ONCE)
    run.tell(RolloutAborted(by="ana", reason="too late"), START)
    assert run.state.phase == "promoting"
    run.broken = frozenset()
    run.wait_until(run.timers["retry"])
    assert run.outcome == "promoted"


def test_an_echo_of_an_earlier_table_means_nothing():
    saga, state = RolloutSaga(), RolloutSaga().initial("rollout/late/7")
    for event in (started(), VersionWarmed(version=NEW)):
        state = saga.step(state, event, START).state
    assert saga.step(state, RoutingApplied(epoch=3), START).state == state
    assert saga.step(state, RoutingApplied(epoch=4), START).timers == (
        SetTimer("shadow", Instant(START + 2 * DAY)),
        SetTimer("answers", Instant(START + 4 * MINUTE)),
    )


def test_a_settled_version_may_be_rolled_out_again_with_a_fresh_coin():
    run = Teller()
    run.hear(BAD)
    salt = run.state.salt
    run.tell(started(epoch=run.state.epoch), LATER)
    assert (run.state.phase, run.state.tally.n_labels) == ("shadow", 0)
    assert run.state.salt != salt
    assert len(run.tells) == 1


def test_the_champion_cannot_replace_itself():
    saga = RolloutSaga()
    with pytest.raises(FailedPrecondition, match="champion already"):
        saga.step(saga.initial("rollout/late/7"), started(champion=NEW), START)


@pytest.mark.parametrize("saga_id", ["rollout/late", "rollout/late/x", "rollout/a/b/7"])
def test_an_id_that_is_no_rollout_is_refused(saga_id):
    with pytest.raises(InvalidInput, match="is not a rollout"):
        RolloutSaga().initial(saga_id)


def test_the_state_survives_the_ledger():
    run = proven_and_promoted()
    assert msgspec.json.decode(canonical(run.state), type=RolloutState) == run.state


def lived(seed, plan, n_days, **options):
    run = Driver(plan)
    run.live_through(np.random.default_rng(seed), n_days, **options)
    return run


@pytest.mark.slow
def test_harmless_candidates_are_seldom_rolled_back_and_mostly_promoted():
    plan = Rollout(deadline="30d").plan_for(BINARY)
    outcomes = [lived(seed, plan, 14, n=300).outcome for seed in range(60)]
    assert outcomes.count("rolled_back") <= 6
    assert outcomes.count("promoted") >= 30


def test_clearly_worse_candidates_are_rolled_back_in_the_shadow():
    for seed in range(10):
        run = lived(seed, None, 7, n=300, shift=0.5)
        assert run.outcome == "rolled_back"
        assert run.said(RolloutStepped) == []


def test_a_candidate_that_loses_answers_is_rolled_back():
    run = lived(1, None, 7, n=300, missing=0.1)
    assert run.outcome == "rolled_back"
    assert run.tells[-1].reason == "the candidate leaves requests without an answer"
    assert run.tells[-1].evidence.n_missing > 0


def test_a_candidate_that_answers_nothing_is_rolled_back_before_any_outcome():
    run = Teller()
    run.count(n_against=12)
    assert (run.outcome, run.tells[-1].evidence.n_labels) == ("rolled_back", 0)
    assert run.tells[-1].reason == "the candidate leaves requests without an answer"


def test_a_candidate_that_is_much_slower_is_rolled_back_before_any_outcome():
    run = Teller()
    told = counted(run.state.epoch)
    run.tell(msgspec.structs.replace(told, n_slower=30, n_faster=3), LATER)
    assert (run.outcome, run.tells[-1].reason) == ("rolled_back", "the candidate is slower than the champion")


def test_answers_under_another_table_are_not_counted():
    run = Teller()
    run.tell(counted(run.state.epoch - 1, n_against=100), LATER)
    assert run.outcome == ""


def test_answers_are_counted_soon_after_a_table_and_then_less_often():
    run = Teller()
    waits = []
    for _ in range(9):
        due, before = run.timers["answers"], run.clock
        waits.append(due - before)
        run.clock = due
        run.wait_until(due)
    assert waits[:3] == [4 * MINUTE, 8 * MINUTE, 16 * MINUTE]
    assert waits[-1] == 6 * HOUR


def scored(run, gap, *, gap_sd=0.02, sd=0.1, n=100):
    told = msgspec.structs.replace(counted(run.state.epoch), scores=Scores(n, gap, gap_sd, sd))
    run.tell(told, LATER)


@pytest.mark.parametrize(("gap", "sd"), [(0.07, 0.1), (0.0, 0.001)], ids=["moved", "constant"])
def test_scores_that_are_not_those_of_the_shadow_hold_the_share(gap, sd):
    run = Teller()
    scored(run, 0.0)
    run.hear(GOOD)
    scored(run, gap, sd=sd)
    run.bake()
    run.hear(FAIR)
    assert run.state.share == 0.05
    run.wait_until(run.timers["deadline"])
    assert run.said(RolloutHeld)[-1].reason == "its scores are not those of its shadow"
    scored(run, 0.01)
    assert run.state.share == 0.25


def in_probation(plan=None):
    run = proven_and_promoted()
    assert run.state.phase == "probation"
    return run


def test_after_its_promotion_the_champion_before_scores_along():
    run = in_probation()
    assert (run.tables[-1].former, run.tells[-1].former, run.state.former) == (OLD, OLD, OLD)
    assert UnloadVersion(model="late", version=OLD) not in run.commands


def test_a_probation_that_shows_nothing_ends_with_its_time():
    run = in_probation()
    run.hear(n_blocks=55)
    assert run.said(ProbationEnded) == []
    run.hear(n_blocks=1)
    (ended,) = run.said(ProbationEnded)
    assert (ended.outcome, ended.former, run.state.phase) == ("passed", OLD, "done")
    assert run.tells[-1] == ended


def test_harm_in_the_probation_is_told_to_the_loop():
    run = in_probation()
    run.hear(BAD, n_blocks=8)
    (ended,) = run.said(ProbationEnded)
    assert (ended.outcome, ended.reason) == ("failed", "worse than the champion before")
    assert ended.probation.log_harm >= ended.probation.harm_at


def test_one_block_that_uses_up_the_margin_of_all_fails_the_probation():
    run = in_probation()
    run.hear(n_blocks=10)
    run.hear(200.0, n_labels=60, n_blocks=1)
    (ended,) = run.said(ProbationEnded)
    assert (ended.outcome, ended.reason[:23]) == ("failed", "its losses exceed what ")
    assert ended.probation.excess > ended.probation.excess_allowed
    assert ended.probation.log_harm < ended.probation.harm_at


def test_where_nothing_was_learned_a_probation_is_measured_by_its_usual_block():
    told = Tally(through=Instant(START + 2 * DAY), hours=stretch(START, PLAIN, 480, n_blocks=8))
    shown = weigh_probation(told, PLAN, Luck())
    known = weigh_probation(told, PLAN, LUCK)
    assert shown.excess_by_luck == pytest.approx(known.excess_by_luck * (UNKNOWN / 50) ** 0.5, rel=1e-3)
    assert weigh_probation(Tally(through=START), PLAN, Luck()).excess_by_luck == 0.0


def test_a_newer_champion_ends_the_probation():
    run = in_probation()
    run.tell(RolloutSuperseded(by_version=8), LATER)
    (ended,) = run.said(ProbationEnded)
    assert (ended.outcome, ended.reason) == ("replaced", "version 8 took over")


def test_without_a_probation_the_champion_before_is_unloaded_at_once():
    run = Teller(Rollout(probation="0d").plan_for(BINARY))
    run.hear(GOOD)
    for _ in range(2):
        run.bake()
        run.hear(GOOD)
    assert (run.state.phase, run.tables[-1].former) == ("done", None)
    assert run.commands[-1] == UnloadVersion(model="late", version=OLD)


def test_the_same_history_gives_the_same_bytes():
    rows = requests(np.random.default_rng(1), START)
    through = Instant(START + DAY)
    one, two = (
        evidence_of(rows, task=BINARY, guards=PLAN.guarded, since=START, through=through) for _ in range(2)
    )
    assert canonical(one) == canonical(two)
    assert isinstance(lived(3, None, 7, shift=0.5, n=300).tells[-1], RolloutSettled)
