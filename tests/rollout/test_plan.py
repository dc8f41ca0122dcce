"""The declaration of a rollout."""

from __future__ import annotations

from math import log

import msgspec
import pytest

from varv.kernel.clock import DAY, HOUR
from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration
from varv.rollout import AT_ONCE, Luck, Rollout, RolloutPlan
from varv.rollout.guards import LOG_LOSS
from varv.rollout.luck import GuardLuck
from varv.tasks import task_of

from .samples import BINARY


def test_the_declaration_becomes_a_plan():
    plan = Rollout(
        shadow="until proven or 36h",
        steps=[1, 12.5, 100],
        guard={"log_loss": "not worse by 0.02"},
        bake="6h",
        min_labels=50,
        risk={"false_rollback": 0.01},
        deadline="9d",
        probation="21d",
    ).plan_for(BINARY)
    assert plan == RolloutPlan(
        shadow_limit=36 * HOUR,
        shares=(0.01, 0.125),
        margin=0.02,
        guards=(msgspec.structs.replace(LOG_LOSS, margin=0.02),),
        bake=6 * HOUR,
        probation=21 * DAY,
        min_labels=50,
        false_rollback=0.01,
        false_promote=0.05,
        deadline=9 * DAY,
    )
    # The accepted risk is divided among the shadow, two shares, and the probation.
    assert plan.harm_at == pytest.approx(log(4 / 0.01))
    assert plan.safety_at == pytest.approx(log(20))


def test_a_plan_survives_the_ledger():
    plan = Rollout().plan_for(BINARY)
    assert msgspec.json.decode(canonical(plan), type=RolloutPlan) == plan


def test_steps_of_a_hundred_alone_promote_from_the_shadow():
    assert Rollout(steps=[100]).plan_for(BINARY).shares == ()


def test_an_immediate_rollout_measures_nothing():
    assert AT_ONCE.immediate
    assert AT_ONCE.probation == 0
    assert not Rollout().plan_for(BINARY).immediate


def test_a_plan_of_older_homes_is_read_as_one_without_a_probation():
    old = {**msgspec.to_builtins(Rollout().plan_for(BINARY)), "block": 6 * HOUR}
    del old["probation"]
    assert msgspec.convert(old, type=RolloutPlan).probation == 0


def test_a_plan_of_older_homes_is_guarded_by_the_log_loss():
    old = msgspec.to_builtins(Rollout(guard={"log_loss": "not worse by 0.02"}).plan_for(BINARY))
    for name in ("guards", "latency", "score_shift"):
        del old[name]
    (guard,) = msgspec.convert(old, type=RolloutPlan).guarded
    assert (guard.loss, guard.margin, guard.unit) == ("log_loss", 0.02, "nats")


def test_a_relative_margin_is_resolved_by_the_champions_held_out_loss():
    guard = {"log_loss": "not worse by 5%", "brier": "not worse by 10%"}
    plan = Rollout(guard=guard).plan_for(BINARY)
    assert [one.name for one in plan.unresolved] == ["log_loss", "brier"]
    known = Luck(level=0.4, others=(GuardLuck("brier", Luck(level=0.13)),))
    resolved = plan.resolved(known)
    assert (resolved.unresolved, resolved.margin) == ((), 0.02)
    assert [one.margin for one in resolved.guarded] == [0.02, 0.013]
    assert [one.name for one in plan.resolved(Luck(level=0.4)).unresolved] == ["brier"]


def test_a_score_is_judged_by_how_far_it_moves():
    plan = Rollout().plan_for(task_of("score"))
    assert (plan.score_shift, plan.guarded, plan.probation, plan.has_outcome) == (0.2, (), 0, False)
    assert Rollout(guard={"score_shift": "at most 0.5"}).plan_for(task_of("score")).score_shift == 0.5


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("shadow", "2d"),
        ("shadow", "until proven or soon"),
        ("shadow", None),
        ("steps", []),
        ("steps", "5, 100"),
        ("steps", [5, 25]),
        ("steps", [25, 5, 100]),
        ("steps", [0, 100]),
        ("steps", [5, 5, 100]),
        ("steps", [5, 5.001, 100]),
        ("steps", [True, 100]),
        ("steps", [float("nan"), 100]),
        ("steps", [10**400, 100]),
        ("steps", ["5", 100]),
        ("guard", {"log_loss": "not worse by -1"}),
        ("guard", {"log_loss": "not worse by 0"}),
        ("guard", {"log_loss": 0.01}),
        ("guard", "log_loss"),
        ("risk", {"false_alarm": 0.05}),
        ("risk", {"false_rollback": 0}),
        ("risk", {"false_promote": 0.9}),
        ("risk", {"false_promote": "low"}),
        ("bake", 12),
        ("bake", "noon"),
        ("probation", "0h"),
        ("probation", 14),
        ("min_labels", 0),
        ("min_labels", 12.5),
        ("min_labels", True),
        ("deadline", "1d"),
        ("deadline", "-7d"),
    ],
)
def test_a_wrong_argument_is_named_with_its_fix(argument, value):
    with pytest.raises(InvalidDeclaration, match=f"rollout argument '{argument}'") as caught:
        Rollout(**{argument: value})
    assert caught.value.hint
