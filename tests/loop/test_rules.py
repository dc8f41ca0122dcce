"""The loop saga as a pure function: each rule alone, and what must hold in any order of events."""

from __future__ import annotations

from collections import deque

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from varv.kernel.clock import DAY, Instant
from varv.kernel.codec import canonical
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import CancelTimer, CommandFailed, SetTimer, Step, TimerFired
from varv.loop.commands import GatherEvidence, JudgeCandidate, Measure, SetReference, TrainCandidate
from varv.loop.declaring.model import ModelRetired
from varv.loop.looking import EVIDENCE_EVERY
from varv.loop.model import (
    CandidateRejected,
    CandidateTrained,
    FaultPlanted,
    GatesJudged,
    LoopPolicy,
    LoopStarted,
    LoopState,
    ModelOffered,
    NumberAsked,
    NumberGiven,
    Offer,
    PlantedFault,
    PolicyChanged,
    RetrainAsked,
    RetrainTriggered,
    RollbackAsked,
    RowsMatured,
    Trained,
    TrainingSuspended,
    TriggerDeferred,
)
from varv.loop.rules import LoopSaga
from varv.monitoring import AlarmRaised, Window
from varv.registry import Imported
from varv.rollout import (
    Luck,
    ProbationEnded,
    Rollout,
    RolloutAborted,
    RolloutSettled,
    RolloutStarted,
    RolloutSuperseded,
    RoutingApplied,
    UnloadVersion,
)
from varv.rollout.grounds import Evidence
from varv.rollout.tally import Tally, weigh_probation
from varv.tasks import task_of

SAGA = LoopSaga()
START = Instant(1000 * DAY)
POLICY = LoopPolicy(
    model="late",
    alarms=("performance",),
    schedule=30 * DAY,
    volume=0.25,
    cooldown=3 * DAY,
    maturity=DAY,
    plan=Rollout().plan_for(task_of("binary")),
    first_training=Instant(START + 10 * DAY),
    seed=1,
)
PLANT = PlantedFault("leaky", "delay", "at once")
NOTHING = Evidence.none(POLICY.plan)
OFFER = Offer(source=Imported(file="late.onnx", content="0" * 64, by="ana"), fitted_until=START)


def after(n_days: float) -> Instant:
    return Instant(int(START + n_days * DAY))


def alarm(version: int = 1, kind: str = "performance", subject: str = "excess loss") -> AlarmRaised:
    return AlarmRaised(
        model=ModelName("late"),
        version=Version(version),
        kind=kind,
        subject=subject,
        severity="critical",
        evidence={"cusum": 5.0},
        window=Window(START, after(1)),
    )


def settled(
    version: int, outcome: str = "promoted", epoch: int = 1, former: int | None = None
) -> RolloutSettled:
    return RolloutSettled(
        model=ModelName("late"),
        version=Version(version),
        outcome=outcome,
        reason="",
        epoch=epoch,
        evidence=NOTHING,
        former=None if former is None else Version(former),
    )


def probation_ended(outcome: str, version: int = 2, former: int = 1) -> ProbationEnded:
    shown = weigh_probation(Tally(through=START), POLICY.plan, Luck())
    return ProbationEnded(
        model=ModelName("late"),
        version=Version(version),
        former=Version(former),
        outcome=outcome,
        reason="as told",
        probation=shown,
    )


def failed(
    command: str = "loop.train_candidate", reason: str = "no luck", code: str = "user_code_failed"
) -> CommandFailed:
    return CommandFailed(command=command, command_id="x", code=code, reason=reason, attempts=1)


def timer(key: str, due: float = 0.0) -> TimerFired:
    return TimerFired(key=key, due=after(due))


def trained(version: int, n: int = 1000) -> CandidateTrained:
    return CandidateTrained(version=version, n_rows=n, n_labelled=n)


def judged(version: int, *, passed: bool = True) -> GatesJudged:
    return GatesJudged(version=version, passed=passed, results=())


def told(step: Step[LoopState], kind: type) -> list[object]:
    return [message.event for message in step.tells if isinstance(message.event, kind)]


def facts(step: Step[LoopState], kind: type) -> list[object]:
    return [fact.event for fact in step.emits if isinstance(fact.event, kind)]


class Play:
    """A loop that is told one thing after the other."""

    def __init__(self, policy: LoopPolicy = POLICY) -> None:
        self.state = SAGA.initial("loop/late")
        self.last = self.tell(LoopStarted(policy=policy, declaration="d"), 0)

    def tell(self, event, day: float) -> Step[LoopState]:
        self.last = SAGA.step(self.state, event, after(day))
        self.state = self.last.state
        return self.last

    def serving(self) -> Play:
        """Bring the first version into service on day 10."""
        self.tell(timer("train"), 10)
        self.tell(trained(1), 10)
        self.tell(judged(1), 10)
        self.tell(settled(1), 10)
        return self

    def in_probation(self) -> Play:
        """Promote version 2 on day 25, with version 1 scoring along."""
        self.rolling()
        self.tell(settled(2, epoch=7, former=1), 25)
        return self

    def rolling(self, day: float = 20) -> Play:
        """Bring version 2 on its way, for an alarm."""
        self.serving()
        self.tell(alarm(), day)
        self.tell(trained(2), day)
        self.tell(judged(2), day)
        return self


def test_the_loop_starts_with_a_timer_for_the_first_training_and_one_for_the_day():
    play = Play()
    assert set(play.last.timers) == {SetTimer("train", after(10)), SetTimer("day", after(1))}
    assert play.state.phase == "idle"


def test_a_start_that_comes_twice_changes_nothing():
    play = Play().serving()
    before = play.state
    assert play.tell(LoopStarted(policy=POLICY, declaration="e"), 11) == Step(before)


def test_before_the_start_nothing_means_anything():
    for event in (
        alarm(),
        timer("train"),
        trained(1),
        judged(1),
        settled(1),
        RetrainAsked(by="a", reason="b"),
    ):
        assert SAGA.step(LoopState(), event, START) == Step(LoopState())


def test_the_first_training_names_its_reason_and_is_no_retrain():
    step = Play().tell(timer("train"), 10)
    [triggered] = facts(step, RetrainTriggered)
    assert [trigger.kind for trigger in triggered.triggers] == ["first training"]
    assert (triggered.version, triggered.n_retrains, triggered.cutoff) == (1, 0, after(10))
    assert step.commands == (TrainCandidate(model="late", version=1, cutoff=after(10), seed=1),)


def test_training_is_followed_by_judging_and_judging_by_a_rollout():
    play = Play()
    play.tell(timer("train"), 10)
    assert play.tell(trained(1), 10).commands == (JudgeCandidate(model="late", version=1, champion=None),)
    [started] = told(play.tell(judged(1), 10), RolloutStarted)
    assert (started.version, started.champion, started.plan.immediate) == (1, None, True)
    step = play.tell(settled(1, epoch=4), 10)
    assert step.commands == (SetReference(model="late", version=1),)
    assert (play.state.champion, play.state.epoch, play.state.phase) == (1, 4, "idle")


def test_a_first_training_that_fails_is_tried_again_later():
    play = Play()
    play.tell(timer("train"), 10)
    step = play.tell(failed("loop.train_candidate"), 10)
    [rejected] = facts(step, CandidateRejected)
    assert "no luck" in rejected.reason
    assert step.timers == (SetTimer("train", after(13)),)
    [triggered] = facts(play.tell(timer("train"), 13), RetrainTriggered)
    assert triggered.version == 2


def test_an_alarm_of_the_champion_retrains_with_its_evidence():
    step = Play().serving().tell(alarm(), 20)
    [triggered] = facts(step, RetrainTriggered)
    assert [(one.kind, one.subject, one.evidence) for one in triggered.triggers] == [
        ("performance", "excess loss", {"cusum": 5.0})
    ]
    assert triggered.n_retrains == 1


@pytest.mark.parametrize("event", [alarm(version=7), alarm(kind="drift")])
def test_an_alarm_of_another_version_or_of_a_kind_that_is_not_declared_changes_nothing(event):
    play = Play().serving()
    assert play.tell(event, 20) == Step(play.state)


def test_within_the_cool_down_a_trigger_waits_and_is_used_at_its_end():
    play = Play().serving()
    step = play.tell(alarm(), 11)
    [deferred] = facts(step, TriggerDeferred)
    assert deferred.because == "cooling down"
    assert step.timers == (SetTimer("cooldown", after(13)),)
    [triggered] = facts(play.tell(timer("cooldown"), 13), RetrainTriggered)
    assert triggered.triggers[0].kind == "performance"


def test_a_trigger_that_waits_is_deferred_once():
    play = Play().serving()
    play.tell(alarm(), 11)
    assert facts(play.tell(alarm(), 12), TriggerDeferred) == []
    assert len(play.state.pending) == 1


def test_triggers_that_waited_together_are_all_named():
    play = Play().serving()
    play.tell(alarm(), 11)
    play.tell(RetrainAsked(by="ana", reason="new airport"), 11)
    [triggered] = facts(play.tell(timer("cooldown"), 13), RetrainTriggered)
    assert [one.kind for one in triggered.triggers] == ["performance", "manual"]
    assert play.state.pending == ()


@pytest.mark.parametrize("phase", ["training", "judging", "rolling"])
def test_while_a_candidate_is_under_way_no_other_is_trained(phase):
    play = Play().serving()
    play.tell(alarm(), 20)
    if phase != "training":
        play.tell(trained(2), 20)
    if phase == "rolling":
        play.tell(judged(2), 20)
    step = play.tell(RetrainAsked(by="ana", reason="now"), 24)
    assert step.commands == ()
    [deferred] = facts(step, TriggerDeferred)
    assert deferred.because == phase


def test_what_waited_for_a_rollout_is_trained_when_it_has_settled():
    play = Play().rolling(20)
    play.tell(RetrainAsked(by="ana", reason="now"), 21)
    step = play.tell(settled(2), 25)
    [triggered] = facts(step, RetrainTriggered)
    assert triggered.version == 3
    assert [type(command) for command in step.commands] == [SetReference, TrainCandidate]


def test_an_alarm_about_a_version_that_was_replaced_is_answered():
    play = Play().rolling(20)
    play.tell(alarm(1, kind="performance", subject="auc"), 22)
    step = play.tell(settled(2), 25)
    assert (facts(step, RetrainTriggered), play.state.pending) == ([], ())


def test_a_rollout_that_had_its_time_gives_way_to_what_waits():
    play = Play().rolling(20)
    play.tell(RetrainAsked(by="ana", reason="now"), 21)
    step = play.tell(timer("evidence"), 27)
    assert told(step, RolloutSuperseded) == [RolloutSuperseded(by_version=Version(3))]


def test_a_rollout_is_fed_mature_hours_of_requests_once():
    play = Play().rolling(20)
    first = play.state.evidence_through
    assert first == after(20 + 1 / 24)
    assert play.tell(timer("evidence"), 20.25).commands == ()
    [gathered] = play.tell(timer("evidence"), 21.51).commands
    assert (gathered.since, gathered.through, gathered.former) == (first, after(20.5), None)
    [gathered] = play.tell(timer("evidence"), 22).commands
    assert (gathered.since, gathered.through) == (after(20.5), after(21))


def test_a_rollout_is_told_what_was_learned_of_luck_and_who_scores_along():
    play = Play().in_probation()
    luck = Luck(spread=0.02, inflation=1.5, n_days=21)
    play.tell(alarm(2), 30)
    play.tell(trained(3), 30)
    step = play.tell(replace(judged(3), luck=luck), 30)
    [started] = told(step, RolloutStarted)
    assert (started.luck, started.former, started.champion, started.epoch) == (luck, 1, 2, 7)


def test_a_probation_is_fed_mature_hours_each_day():
    play = Play().in_probation()
    commands = play.tell(timer("day", 27), 27).commands
    [gathered] = [one for one in commands if isinstance(one, GatherEvidence)]
    assert (gathered.version, gathered.former) == (2, 1)
    assert (gathered.since, gathered.through) == (after(25 + 1 / 24), after(26))


def test_after_a_passed_probation_the_version_before_leaves_the_table_and_then_memory():
    play = Play().in_probation()
    [routed] = play.tell(probation_ended("passed"), 40).commands
    assert (routed.table.former, routed.table.versions, routed.table.epoch) == (None, {2}, 8)
    assert play.tell(RoutingApplied(epoch=7), 40).commands == ()
    assert play.tell(RoutingApplied(epoch=8), 40).commands == (UnloadVersion(model="late", version=1),)
    assert play.tell(RoutingApplied(epoch=8), 40).commands == ()


def test_a_probation_that_passes_during_a_rollout_is_cleared_up_after_it():
    play = Play().in_probation()
    play.tell(alarm(2), 30)
    play.tell(trained(3), 30)
    play.tell(judged(3), 30)
    assert play.tell(probation_ended("passed"), 39).commands == ()
    [routed] = play.tell(settled(3, "rolled_back", epoch=12), 41).commands
    assert (routed.table.versions, routed.table.epoch) == ({2}, 13)


def test_a_failed_probation_brings_the_champion_before_back_at_once():
    play = Play().in_probation()
    [started] = told(play.tell(probation_ended("failed"), 30), RolloutStarted)
    assert (started.version, started.champion, started.plan.immediate, started.former) == (1, 2, True, None)
    play.tell(settled(1, epoch=9), 30)
    assert (play.state.champion, play.state.returning_to, play.state.probation) == (1, None, None)


def test_a_failed_probation_ends_the_rollout_that_is_open_first():
    play = Play().in_probation()
    play.tell(alarm(2), 30)
    play.tell(trained(3), 30)
    play.tell(judged(3), 30)
    [aborted] = told(play.tell(probation_ended("failed"), 31), RolloutAborted)
    assert aborted.by == "probation"
    [started] = told(play.tell(settled(3, "rolled_back", epoch=9), 31), RolloutStarted)
    assert (started.version, started.epoch) == (1, 9)


@pytest.mark.parametrize("phase", ["training", "judging"])
@pytest.mark.parametrize(
    "asked", [RollbackAsked(by="ana", reason="odd"), "probation"], ids=["by hand", "by the probation"]
)
def test_a_champion_that_comes_back_goes_before_a_candidate_in_training(phase, asked):
    play = Play().in_probation()
    play.tell(alarm(2), 30)
    if phase == "judging":
        play.tell(trained(3), 30)
    step = play.tell(probation_ended("failed") if asked == "probation" else asked, 31)
    [rejected] = facts(step, CandidateRejected)
    assert (rejected.version, rejected.reason[:8]) == (3, "given up")
    assert [one.version for one in told(step, RolloutStarted)] == [1]
    for late in (trained(3), judged(3)):
        assert play.tell(late, 31).state.phase == "rolling"
    play.tell(settled(1, epoch=9), 31)
    assert (play.state.champion, play.state.former, play.state.given_up) == (1, 2, ())


def test_a_training_that_was_given_up_fails_for_nobody():
    play = Play().in_probation()
    play.tell(alarm(2), 30)
    play.tell(RollbackAsked(by="ana", reason="odd"), 31)
    play.tell(settled(1, epoch=9), 31)
    play.tell(RetrainAsked(by="ana", reason="again"), 40)
    assert (play.state.phase, play.state.candidate, play.state.given_up) == ("training", 4, (3,))
    step = play.tell(failed("loop.train_candidate"), 40)
    assert (step.emits, play.state.phase, play.state.given_up) == ((), "training", ())


def test_a_promotion_ends_the_probation_of_the_champion_before():
    play = Play().in_probation()
    play.tell(alarm(2), 30)
    play.tell(trained(3), 30)
    play.tell(judged(3), 30)
    step = play.tell(settled(3, epoch=12, former=2), 36)
    assert told(step, RolloutSuperseded) == [RolloutSuperseded(by_version=Version(3))]
    assert step.tells[0].saga == "rollout/late/2"
    assert play.tell(probation_ended("replaced"), 36).state == play.state
    assert (play.state.probation, play.state.former) == (2, 2)


def test_a_return_that_cannot_be_done_is_not_tried_for_ever():
    play = Play().in_probation()
    play.tell(probation_ended("failed"), 30)
    play.tell(settled(1, "rolled_back", epoch=9), 30)
    assert (play.state.phase, play.state.champion, play.state.returning_to) == ("idle", 2, None)


def test_growth_of_the_labelled_rows_triggers_with_its_numbers():
    play = Play().serving()
    assert facts(play.tell(RowsMatured(n_rows=1249, through=after(20)), 20), RetrainTriggered) == []
    [triggered] = facts(play.tell(RowsMatured(n_rows=1250, through=after(21)), 21), RetrainTriggered)
    [volume] = triggered.triggers
    assert volume.evidence == {"n_rows": 1250.0, "trained_rows": 1000.0, "growth": 0.25, "threshold": 0.25}


def test_the_schedule_counts_from_a_candidate_that_is_under_way():
    play = Play().serving()
    assert play.state.trained_at == after(10)
    step = play.tell(alarm(), 20)
    assert SetTimer("schedule", after(50)) in step.timers
    assert CancelTimer("cooldown") in step.timers
    assert SetTimer("schedule", after(50)) in Play().rolling(20).tell(settled(2), 24).timers


def refused(play: Play) -> Step[LoopState]:
    return play.tell(judged(2, passed=False), 20)


def rolled_back(play: Play) -> Step[LoopState]:
    play.tell(judged(2), 20)
    return play.tell(settled(2, "rolled_back"), 26)


@pytest.mark.parametrize("ends", [refused, rolled_back])
def test_a_candidate_that_never_served_resets_neither_volume_nor_age(ends):
    play = Play().serving()
    play.tell(RowsMatured(n_rows=1250, through=after(20)), 20)
    play.tell(trained(2, n=1250), 20)
    step = ends(play)
    assert SetTimer("schedule", after(40)) in step.timers
    step = play.tell(RowsMatured(n_rows=1260, through=after(28)), 28)
    [again] = facts(step, RetrainTriggered) or facts(play.tell(timer("cooldown"), 33), RetrainTriggered)
    assert again.triggers[0].evidence["trained_rows"] == 1000.0


def test_an_age_that_was_reached_long_ago_asks_again_after_a_refusal():
    play = Play().serving()
    play.tell(timer("schedule"), 40)
    play.tell(trained(2), 40)
    step = play.tell(judged(2, passed=False), 40)
    assert SetTimer("schedule", after(40)) in step.timers
    [deferred] = facts(play.tell(timer("schedule"), 40), TriggerDeferred)
    assert deferred.trigger.evidence == {"days_since_training": 30.0}
    [again] = facts(play.tell(timer("cooldown"), 46), RetrainTriggered)
    assert again.triggers == (deferred.trigger,)


def test_rows_that_the_candidate_under_way_has_seen_ask_for_no_other():
    play = Play().serving()
    play.tell(RowsMatured(n_rows=1250, through=after(20)), 20)
    assert play.tell(RowsMatured(n_rows=1255, through=after(21)), 21).emits == ()
    play.tell(trained(2, n=1250), 21)
    play.tell(judged(2), 21)
    assert play.tell(RowsMatured(n_rows=1300, through=after(22)), 22).emits == ()
    [deferred] = facts(play.tell(RowsMatured(n_rows=1563, through=after(23)), 23), TriggerDeferred)
    assert deferred.trigger.evidence["trained_rows"] == 1250.0


def test_after_a_manual_rollback_age_and_volume_are_those_of_the_version_that_serves():
    play = Play().serving()
    play.tell(alarm(), 20)
    play.tell(trained(2, n=1100), 20)
    play.tell(judged(2), 20)
    play.tell(settled(2), 24)
    play.tell(RollbackAsked(by="ana", reason="odd"), 25)
    step = play.tell(settled(1), 25)
    assert SetTimer("schedule", after(40)) in step.timers
    [triggered] = facts(play.tell(RowsMatured(n_rows=1250, through=after(26)), 26), RetrainTriggered)
    assert triggered.triggers[0].evidence["trained_rows"] == 1000.0


def test_a_state_of_the_first_days_counts_from_the_last_training():
    play = Play().serving()
    stored = msgspec.to_builtins(play.state)
    for name in ("champion_trained", "former_trained", "n_failures", "failure", "suspended"):
        del stored[name]
    play.state = msgspec.convert(stored, LoopState)
    [triggered] = facts(play.tell(RowsMatured(n_rows=1250, through=after(21)), 21), RetrainTriggered)
    assert triggered.triggers[0].evidence["trained_rows"] == 1000.0


# trainings that fail


def failing(n: int, *, reason: str = "raised ValueError: shape (7, 3)", **more: str) -> Play:
    """Return a loop whose first training failed `n` times, a day apart from each other's rows."""
    play = Play()
    for number in range(n):
        play.tell(timer("train"), 10 + 3 * number)
        play.tell(failed(reason=reason.replace("7", str(7 + number)), **more), 10 + 3 * number)
    return play


def test_three_equal_failures_suspend_training_and_say_so_once():
    play = failing(3)
    [suspended] = facts(play.last, TrainingSuspended)
    assert (suspended.version, suspended.n_failures) == (3, 3)
    assert "shape (9, 3)" in suspended.reason
    assert play.last.timers == ()
    assert play.tell(timer("train"), 30).commands == ()


def test_two_failures_or_three_that_differ_do_not_suspend():
    assert not failing(2).state.suspended
    play = failing(2)
    play.tell(timer("train"), 20)
    assert facts(play.tell(failed(reason="raised KeyError: 'x'"), 20), TrainingSuspended) == []
    assert play.last.timers == (SetTimer("train", after(23)),)


def test_too_few_rows_are_waited_for_however_long_it_takes():
    assert not failing(5, code="failed_precondition").state.suspended


def test_the_whole_message_of_a_failure_is_kept_beside_its_first_line():
    play = failing(1, reason="raised ValueError: bad\n  flights.py:82 in fit: return model.fit(X)")
    [rejected] = facts(play.last, CandidateRejected)
    assert rejected.reason == "train candidate failed: raised ValueError: bad"
    assert "flights.py:82" in rejected.detail


def test_a_changed_declaration_ends_the_suspension_and_trains_at_once():
    step = failing(3).tell(PolicyChanged(policy=POLICY, declaration="e"), 17)
    [triggered] = facts(step, RetrainTriggered)
    assert [one.kind for one in triggered.triggers] == ["first training"]
    assert not step.state.suspended


def test_a_person_may_try_once_more_and_an_equal_failure_suspends_again():
    play = failing(3)
    [triggered] = facts(play.tell(RetrainAsked(by="ana", reason="mended"), 17), RetrainTriggered)
    assert triggered.triggers[0].kind == "manual"
    [again] = facts(play.tell(failed(reason="raised ValueError: shape (70, 3)"), 17), TrainingSuspended)
    assert again.n_failures == 4


def test_a_suspended_loop_goes_on_serving_and_keeps_what_asks_for_training():
    play = Play().serving()
    for day in (20, 30, 40):
        play.tell(RetrainAsked(by="ana", reason=f"on day {day}"), day)
        play.tell(failed(), day)
    assert play.state.suspended
    [deferred] = facts(play.tell(alarm(), 45), TriggerDeferred)
    assert deferred.because == "waiting for a changed declaration"
    [triggered] = facts(play.tell(PolicyChanged(policy=POLICY, declaration="e"), 50), RetrainTriggered)
    assert triggered.triggers[0].kind == "performance"


def test_a_training_that_succeeds_forgets_the_failures_before_it():
    play = failing(2)
    play.tell(timer("train"), 20)
    play.tell(trained(3), 20)
    play.tell(judged(3), 20)
    assert (play.state.n_failures, play.state.failure) == (0, None)


def test_three_equal_failures_of_judging_suspend_training_too():
    play = Play()
    for number in range(3):
        play.tell(timer("train"), 10 + 3 * number)
        play.tell(trained(number + 1), 10 + 3 * number)
        play.tell(failed("loop.judge_candidate"), 10 + 3 * number)
    assert facts(play.last, TrainingSuspended)


def test_a_candidate_that_fails_its_gates_never_meets_traffic():
    play = Play().serving()
    play.tell(alarm(), 20)
    play.tell(trained(2), 20)
    step = play.tell(judged(2, passed=False), 20)
    assert step.tells == ()
    [rejected] = facts(step, CandidateRejected)
    assert rejected.version == 2
    assert (play.state.phase, play.state.champion) == ("idle", 1)


def test_a_plant_is_no_retrain_and_neither_postpones_nor_eats_what_waits():
    play = Play().serving()
    play.tell(alarm(), 11)
    step = play.tell(FaultPlanted(plant=PLANT), 11.5)
    [triggered] = facts(step, RetrainTriggered)
    assert (triggered.planted, triggered.n_retrains) == ("leaky", 0)
    assert [one.kind for one in triggered.triggers] == ["planted"]
    assert step.commands[0].planted == PLANT
    assert step.timers == ()
    assert play.state.trained_at == after(10)
    assert len(play.state.pending) == 1
    play.tell(trained(2, n=9000), 11.5)
    assert play.state.trained_rows == 1000
    [rejected] = facts(play.tell(judged(2, passed=False), 11.5), CandidateRejected)
    assert rejected.planted == "leaky"


def test_a_plant_waits_for_the_candidate_before_it():
    play = Play().rolling(20)
    assert play.tell(FaultPlanted(plant=PLANT), 21).commands == ()
    [triggered] = facts(play.tell(settled(2, "rolled_back"), 22), RetrainTriggered)
    assert triggered.planted == "leaky"


def test_a_model_that_is_offered_is_taken_at_once_and_neither_answers_nor_postpones_what_waits():
    play = Play().serving()
    play.tell(alarm(), 11)
    step = play.tell(ModelOffered(offer=OFFER), 11.5)
    [triggered] = facts(step, RetrainTriggered)
    assert (triggered.version, triggered.n_retrains) == (2, 0)
    assert [one.line() for one in triggered.triggers] == ["registered late.onnx, from ana"]
    assert step.commands[0].offer == OFFER
    assert step.timers == ()
    play.tell(trained(2, n=9000), 11.5)
    assert (play.state.trained_at, play.state.trained_rows) == (after(10), 1000)
    step = play.tell(judged(2, passed=False), 11.6)
    assert facts(step, CandidateRejected)
    assert (play.state.n_refused, [one.kind for one in play.state.pending]) == (0, ["performance"])


def test_an_offered_model_that_is_promoted_answers_alarms_and_is_what_age_counts_from():
    play = Play().serving()
    play.tell(alarm(), 11)
    play.tell(ModelOffered(offer=OFFER), 11.5)
    play.tell(trained(2, n=9000), 11.5)
    play.tell(judged(2), 11.5)
    play.tell(settled(2), 12)
    assert (play.state.champion, play.state.former, play.state.pending) == (2, 1, ())
    assert play.state.champion_trained == Trained(after(11.5), 9000)
    assert (play.state.offer, play.state.offer_taken) == (None, None)


def test_an_offered_model_may_be_the_first_and_waits_for_the_candidate_before_it():
    play = Play()
    [triggered] = facts(play.tell(ModelOffered(offer=OFFER), 1), RetrainTriggered)
    assert triggered.version == 1
    play.tell(timer("train"), 10)
    assert [one.kind for one in play.state.pending] == ["first training"]
    assert play.tell(ModelOffered(offer=replace(OFFER, trust=True)), 10).commands == ()
    step = play.tell(failed("loop.train_candidate"), 10)
    assert step.commands[0].offer.trust
    [triggered] = facts(play.tell(failed("loop.train_candidate"), 10), RetrainTriggered)
    assert [one.kind for one in triggered.triggers] == ["first training"]
    assert not play.state.n_failures


def test_a_first_training_that_fails_gives_way_to_what_was_offered_meanwhile():
    play = Play()
    play.tell(timer("train"), 10)
    play.tell(ModelOffered(offer=OFFER), 10)
    step = play.tell(failed("loop.train_candidate"), 10)
    assert step.commands[0].offer == OFFER
    assert [one.key for one in step.timers] == ["train"]


def test_a_loop_whose_training_is_suspended_takes_offers():
    play = failing(3)
    assert play.state.suspended
    step = play.tell(ModelOffered(offer=OFFER), 50)
    assert step.commands[0].offer == OFFER
    step = play.tell(failed("loop.train_candidate"), 50)
    assert play.state.suspended
    assert not facts(step, TrainingSuspended)


def test_a_rollback_that_is_asked_for_aborts_an_open_rollout():
    step = Play().rolling(20).tell(RollbackAsked(by="ana", reason="odd"), 21)
    assert told(step, RolloutAborted) == [RolloutAborted(by="ana", reason="odd")]


def test_a_rollback_that_is_asked_for_returns_to_the_champion_before():
    play = Play().rolling(20)
    play.tell(settled(2), 22)
    [started] = told(play.tell(RollbackAsked(by="ana", reason="odd"), 23), RolloutStarted)
    assert (started.version, started.champion, started.plan.immediate) == (1, 2, True)
    play.tell(settled(1), 23)
    assert (play.state.champion, play.state.former, play.state.next_version) == (1, 2, 3)


def test_a_rollback_without_a_champion_before_changes_nothing():
    play = Play().serving()
    assert play.tell(RollbackAsked(by="ana", reason="odd"), 21) == Step(play.state)


def test_a_changed_policy_is_followed_from_then_on():
    play = Play().serving()
    play.tell(PolicyChanged(policy=replace(POLICY, alarms=("drift",), schedule=None), declaration="e"), 15)
    assert play.last.timers == (CancelTimer("schedule"),)
    assert play.tell(alarm(), 20).commands == ()
    assert facts(play.tell(alarm(kind="drift"), 20), RetrainTriggered)


def test_every_midnight_the_last_mature_day_is_measured():
    step = Play().serving().tell(timer("day", 11), 11)
    assert step.commands == (Measure(model="late", day=after(9)),)
    assert step.timers == (SetTimer("day", after(12)),)


# any order of events


class World:
    """A model checker's idea of what is around the loop: which commands are out, which timers are set."""

    def __init__(self) -> None:
        play = Play()
        self.state, self.day = play.state, 0.0
        self.timers = {one.key: one.due for one in play.last.timers}
        self.outstanding: tuple[object, ...] = ()
        self.rolling: tuple[int, ...] = ()
        self.trainings: tuple[float, ...] = ()
        self.epoch = 0

    def copy(self) -> World:
        other = World.__new__(World)
        other.__dict__ |= self.__dict__ | {"timers": dict(self.timers)}
        return other

    def key(self) -> bytes:
        outstanding = sorted(map(repr, self.outstanding))
        return canonical([self.state, outstanding, self.rolling, sorted(self.timers.items()), self.day])

    def choices(self) -> list[tuple[str, object]]:
        """Return everything that may happen next."""
        found: list[tuple[str, object]] = []
        if self.state.champion is not None:
            found += [
                ("alarm", alarm(self.state.champion)),
                ("grow", RowsMatured(n_rows=10**6, through=START)),
            ]
        found += [("ask", RetrainAsked(by="ana", reason="b")), ("back", RollbackAsked(by="ana", reason="b"))]
        found += [("plant", FaultPlanted(plant=PLANT))] if self.state.champion is not None else []
        found += [] if self.state.offers else [("offer", ModelOffered(offer=OFFER))]
        for command in self.outstanding:
            if isinstance(command, TrainCandidate) and self.state.given_up:
                continue  # trainings follow each other
            name = command.command_name
            found.append(("fail", failed(name)))
            if isinstance(command, TrainCandidate):
                found.append(("done", trained(command.version)))
            elif isinstance(command, JudgeCandidate):
                found += [("done", judged(command.version)), ("done", judged(command.version, passed=False))]
        for version in self.rolling:
            found += [("settle", settled(version, outcome, 9)) for outcome in ("promoted", "rolled_back")]
        # Late or doubled answers about versions of long ago.
        found += [("stale", trained(version)) for version in self.state.given_up]
        found += [("stale", failed("loop.train_candidate"))] if self.state.given_up else []
        old = self.state.next_version - 2
        if old != self.state.candidate:
            found += [("stale", trained(old)), ("stale", judged(old)), ("stale", settled(old))]
        found += [("time", key) for key, due in self.timers.items() if due == min(self.timers.values())]
        return found

    def happen(self, what: str, event: object) -> Step[LoopState]:
        """Let it happen, and check what must always hold."""
        if what == "time":
            due = self.timers.pop(str(event))
            self.day = max(self.day, (due - START) / DAY)
            event = timer(str(event))
        before = self.state
        step = SAGA.step(before, event, after(self.day))
        self.state = step.state
        if what in ("done", "fail"):
            self.outstanding = ()
        if what == "settle":
            self.rolling = ()
        self._take(step)
        self._check(before, step)
        return step

    def _take(self, step: Step[LoopState]) -> None:
        for change in step.timers:
            if isinstance(change, SetTimer):
                self.timers[change.key] = change.due
            else:
                self.timers.pop(change.key, None)
        work = tuple(c for c in step.commands if isinstance(c, TrainCandidate | JudgeCandidate))
        gone = {one.version for one in facts(step, CandidateRejected)}
        self.outstanding = tuple(one for one in self.outstanding if one.version not in gone) + work
        self.rolling += tuple(one.version for one in told(step, RolloutStarted))

    def _check(self, before: LoopState, step: Step[LoopState]) -> None:
        state = self.state
        assert len(self.outstanding) + len(self.rolling) <= 1, "two candidates are under way"
        busy = bool(self.outstanding or self.rolling)
        assert (state.phase in ("training", "judging", "rolling")) == busy, (
            "the phase is not what is going on"
        )
        assert (state.candidate is not None) == busy
        assert state.champion not in self.rolling
        for triggered in facts(step, RetrainTriggered):
            assert triggered.triggers, "a training without a reason"
            if triggered.triggers[0].kind in ("planted", "registered"):
                assert state.n_retrains == before.n_retrains
                assert state.trained_at == before.trained_at
            else:
                last = self.trainings[-1] if self.trainings else None
                # A person, or a changed declaration, ends a suspension without waiting.
                kept = last is None or self.day - last >= 3 or before.suspended
                assert kept, "the cool-down was not kept"
                self.trainings = (*self.trainings, self.day)
                assert triggered.n_retrains == before.n_retrains + (state.champion is not None)
        assert busy or not state.offers, "an offer waits for nothing"
        if state.pending and not busy and not state.suspended:
            assert {"cooldown", "train"} & set(self.timers), "what waits is never looked at again"
        for fact in step.emits:
            assert fact.stream == "loop/late"
        canonical(state)


def settles(world: World) -> None:
    """Give every open thing its answer, and see that the loop comes to rest."""
    for _ in range(50):
        if world.outstanding:
            [command] = world.outstanding
            done = (
                trained(command.version) if isinstance(command, TrainCandidate) else judged(command.version)
            )
            world.happen("done", done)
        elif world.rolling:
            world.happen("settle", settled(world.rolling[0], "rolled_back", 9))
        else:
            break
    assert world.state.phase == "idle"


@pytest.mark.parametrize("n_events", [8, pytest.param(10, marks=pytest.mark.soak)])
def test_every_order_of_events_keeps_what_must_hold(n_events):
    seen: set[bytes] = set()
    queue = deque([(World(), 0)])
    n = 0
    while queue:
        world, depth = queue.popleft()
        settles(world.copy())
        if depth == n_events:
            continue
        for what, event in world.choices():
            after_it = world.copy()
            after_it.happen(what, event)
            n += 1
            if (key := after_it.key()) not in seen:
                seen.add(key)
                queue.append((after_it, depth + 1))
    assert n > 10_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=30, max_size=120))
def test_no_long_history_breaks_what_must_hold(picks):
    world = World()
    for pick in picks:
        choices = world.choices()
        world.happen(*choices[pick % len(choices)])
    settles(world)


def test_the_evidence_timer_beats_while_a_rollout_is_open():
    play = Play().rolling(20)
    due = [one for one in play.last.timers if isinstance(one, SetTimer)]
    assert due == [SetTimer("evidence", Instant(after(20) + EVIDENCE_EVERY))]
    for day, following in ((20.25, 20.5), (21, 21.25), (22, 22.25), (26.9, 27)):
        assert SetTimer("evidence", after(following)) in play.tell(timer("evidence"), day).timers
    assert isinstance(play.last.commands[0], GatherEvidence)
    assert CancelTimer("evidence") in play.tell(settled(2), 27).timers


def test_days_that_matured_while_nobody_ran_are_measured_and_the_empty_ones_after_them_are_not():
    step = Play().serving().tell(timer("day", 11), 11)
    [usual] = [one.day for one in step.commands if isinstance(one, Measure)]
    step = Play().serving().tell(timer("day", 11), 40.5)
    days = [one.day for one in step.commands if isinstance(one, Measure)]
    assert days[0] == usual
    assert days[:-1] == [usual + n * DAY for n in range(len(days) - 1)]
    assert len(days) < 7
    assert days[-1] == usual + 29 * DAY
    step = Play().serving().tell(timer("day", 11), 12.5)
    assert [one.day for one in step.commands if isinstance(one, Measure)] == [usual, usual + DAY]


def test_a_number_is_given_to_a_version_from_outside_or_to_a_candidate():
    now = after(1)
    started = LoopStarted(policy=POLICY, declaration="0" * 64, first_version=Version(4))
    state = SAGA.step(LoopState(), started, START).state
    asked = SAGA.step(state, NumberAsked(), now)
    assert [fact.event for fact in asked.emits] == [NumberGiven(version=Version(4))]
    trained = SAGA.step(asked.state, RetrainAsked(by="ana", reason="to see"), now)
    assert [command.version for command in trained.commands] == [5]
    retired = SAGA.step(trained.state, ModelRetired(model=ModelName("late")), now)
    again = SAGA.step(retired.state, NumberAsked(), now)
    assert [fact.event for fact in again.emits] == [NumberGiven(version=Version(6))]
