"""What evidence means for a rollout: whether a candidate is proven, harmful, or not what it was.

These are the judgements; what follows from them is in `rollout.rules`.
"""

from __future__ import annotations

from varv.rollout.grounds import ODD_SHIFT, Evidence, GuardEvidence
from varv.rollout.model import Scores
from varv.rollout.plan import RolloutPlan
from varv.rollout.state import RolloutState, plan_of

FEWEST_BLOCKS = 4
"""Blocks since the last change of the share, a day, that must agree with an earlier proof. A column that is
filled in the shadow alone looked fine for six hours without it.
"""
FEWEST_SCORES = 50
ODD_GAP = 3.0
"""Scores whose mean gap to the champion's moved by so many of its standard deviations are not those of the
shadow.
"""
OTHER_SHIFT = 6.0
"""From here on it is another candidate than the one that was judged, and is given up if it is the worse."""
ODD_SPREAD = 0.05
"""Scores that vary by less than this share of what they did say the same of everybody."""
FEWEST_HOURS = 12
"""Hours of scores before anything is said of how far they moved."""
FEW_LOST = 0.001
"""Where no outcome ever comes, so large a share of units may be answered badly, beyond the champion's."""
FEWEST_CALLS = 100


def all_proven(evidence: Evidence) -> bool:
    """Return whether every guard is proven by what is known now; without outcomes nothing ever is."""
    guards = evidence.guards
    return bool(guards) and all(one.log_safety >= evidence.safety_at for one in guards)


def is_proven(state: RolloutState, evidence: Evidence) -> bool:
    """Return whether the candidate counts as safe by every guard: by what is known now, or by a proof that
    nothing contradicts.

    An e-value that once reached its threshold bounds the risk for a candidate that stays what it is. One that
    changed with its share shows in the mean since then.
    """
    guards = evidence.guards
    return bool(guards) and all(_is_proven(state, one, evidence.safety_at) for one in guards)


def _is_proven(state: RolloutState, one: GuardEvidence, safety_at: float) -> bool:
    if one.shift > ODD_SHIFT:
        return one.step_safety >= safety_at
    if one.log_safety >= safety_at:
        return True
    here = one.step_difference
    agrees = here is not None and here <= one.guard.margin and one.step_blocks >= FEWEST_BLOCKS
    return state.proven and agrees


def harm(state: RolloutState, evidence: Evidence) -> str:
    """Return why a candidate must go back, or nothing; of several guards, which of them says so."""
    if evidence.log_harm >= evidence.harm_at:
        return _harm_shown(evidence)
    for one in evidence.guards:
        if one.exceeds:
            return f"its losses exceed what the margin allows for the whole rollout{_by(evidence, one)}"
    for one in evidence.guards:
        if _is_another(state, one):
            return f"it is worse than the champion and than before its share rose{_by(evidence, one)}"
    moved, limit = evidence.moved, plan_of(state).score_shift
    if moved is None or limit is None or moved.n_hours < FEWEST_HOURS:
        return ""
    away = moved.low > limit or moved.high < -limit
    return "its scores moved further from the champion's than declared" if away else ""


def _by(evidence: Evidence, one: GuardEvidence) -> str:
    return f", by {one.guard.title}" if evidence.others else ""


def _is_another(state: RolloutState, one: GuardEvidence) -> bool:
    """Return whether the candidate is not the one that its shadow showed, and the worse for it."""
    known = one.step_labels >= plan_of(state).min_labels
    worse = one.step_difference is not None and one.step_difference > 0.0
    return known and worse and one.shift > OTHER_SHIFT


def leans_towards_harm(evidence: Evidence) -> bool:
    """Return whether a share must not rise, though harm is not proven: that takes days.

    Half of the way to a verdict is one reason, a mean that would be a breach were it exact the other.
    """
    breach = any(
        mean is not None and mean > one.guard.margin
        for one in evidence.guards
        for mean in (one.difference, one.step_difference)
    )
    return breach or evidence.log_harm >= evidence.harm_at / 2


def is_late(evidence: Evidence, plan: RolloutPlan) -> bool:
    """Return whether more calls were late than the plan allows, though that is not proven."""
    if plan.latency is None or plan.latency.limit_ms is None or evidence.n_calls < FEWEST_CALLS:
        return False
    return evidence.n_late > plan.latency.share * evidence.n_calls


def doubt_of_scores(state: RolloutState, evidence: Evidence) -> str:
    """Return what speaks against a candidate of which no outcome ever comes, or nothing.

    Nothing is known of its quality. What can be known is whether it answers, in time, and what the champion
    would have said: the mean of its scores is shown to have moved by less than declared, and their spread by
    no larger a share.
    """
    plan, answers, moved = plan_of(state), state.tally.answers, evidence.moved
    limit = plan.score_shift or 0.0
    if answers is None or moved is None or answers.n_requests < plan.min_labels:
        return "too few answers"
    n_few = FEW_LOST * (answers.n_candidate + answers.n_champion)
    if answers.n_against - answers.n_in_favour > n_few:
        return "it leaves requests without an answer"
    if answers.n_slower - answers.n_faster > n_few:
        return "its answers are slow"
    if moved.n_hours < FEWEST_HOURS:
        return "too little is known of its scores"
    if moved.spread is None:
        return "the champion's scores are all alike, so nothing is known of how far others moved"
    if max(abs(moved.low), abs(moved.high)) > limit:
        return "its scores are not shown to have moved as little as declared"
    if abs(moved.spread - 1) > limit:
        return "its scores spread otherwise than the champion's"
    return ""


def odd_scores(state: RolloutState) -> bool:
    """Return whether the candidate's scores are not those that its shadow showed, whatever came of them."""
    answers, shadow = state.tally.answers, state.shadow_scores
    if answers is None:
        return False
    now = (answers.scores, *answers.scores.others)
    # Counts of older homes describe the first number only.
    return any(map(_odd, now, (shadow, *shadow.others)))


def _odd(now: Scores, before: Scores) -> bool:
    if min(now.n, before.n) < FEWEST_SCORES:
        return False
    moved = abs(now.gap - before.gap) > ODD_GAP * before.gap_sd
    return moved or now.sd < ODD_SPREAD * before.sd


def _harm_shown(evidence: Evidence) -> str:
    shown = {
        f"the candidate is worse than the champion{_by(evidence, one)}": one.log_harm
        for one in evidence.guards
    }
    shown |= {
        "the candidate leaves requests without an answer": evidence.log_harm_missing,
        "the candidate is slower than the champion": evidence.log_harm_slow,
        "the candidate answers later than its plan allows": evidence.log_harm_late,
    }
    return max(shown, key=lambda reason: shown[reason])
