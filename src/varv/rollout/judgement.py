"""What evidence means for a rollout: whether a candidate is proven, harmful, or not what it was.

These are the judgements; what follows from them is in `rollout.rules`.
"""

from __future__ import annotations

from varv.rollout.grounds import ODD_SHIFT, Evidence
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


def is_proven(state: RolloutState, evidence: Evidence) -> bool:
    """Return whether the candidate counts as safe: by what is known now, or by a proof that nothing
    contradicts.

    An e-value that once reached its threshold bounds the risk for a candidate that stays what it is. One that
    changed with its share shows in the mean since then.
    """
    if evidence.shift > ODD_SHIFT:
        return evidence.step_safety >= evidence.safety_at
    if evidence.log_safety >= evidence.safety_at:
        return True
    here = evidence.step_difference
    agrees = here is not None and here <= plan_of(state).margin and evidence.step_blocks >= FEWEST_BLOCKS
    return state.proven and agrees


def harm(state: RolloutState, evidence: Evidence) -> str:
    """Return why a candidate must go back, or nothing."""
    if evidence.log_harm >= evidence.harm_at:
        return _harm_shown(evidence)
    if evidence.excess_at is not None and evidence.excess > evidence.excess_at:
        return "its losses exceed what the margin allows for the whole rollout"
    if _is_another(state, evidence):
        return "it is worse than the champion and than before its share rose"
    return ""


def _is_another(state: RolloutState, evidence: Evidence) -> bool:
    """Return whether the candidate is not the one that its shadow showed, and the worse for it."""
    known = evidence.step_labels >= plan_of(state).min_labels
    worse = evidence.step_difference is not None and evidence.step_difference > 0.0
    return known and worse and evidence.shift > OTHER_SHIFT


def leans_towards_harm(evidence: Evidence, plan: RolloutPlan) -> bool:
    """Return whether a share must not rise, though harm is not proven: that takes days.

    Half of the way to a verdict is one reason, a mean that would be a breach were it exact the other.
    """
    breach = any(
        mean is not None and mean > plan.margin for mean in (evidence.difference, evidence.step_difference)
    )
    return breach or evidence.log_harm >= evidence.harm_at / 2


def odd_scores(state: RolloutState) -> bool:
    """Return whether the candidate's scores are not those that its shadow showed, whatever came of them."""
    answers, before = state.tally.answers, state.shadow_scores
    if answers is None or min(answers.scores.n, before.n) < FEWEST_SCORES:
        return False
    moved = abs(answers.scores.gap - before.gap) > ODD_GAP * before.gap_sd
    return moved or answers.scores.sd < ODD_SPREAD * before.sd


def _harm_shown(evidence: Evidence) -> str:
    shown = {
        "the candidate is worse than the champion": evidence.log_harm_paired,
        "the candidate leaves requests without an answer": evidence.log_harm_missing,
        "the candidate is slower than the champion": evidence.log_harm_slow,
    }
    return max(shown, key=lambda reason: shown[reason])
