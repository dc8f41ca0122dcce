"""What a decision of a rollout rests on: the evidence of a verdict, and what a probation has shown.

`rollout.tally` makes them, `rollout.judgement` judges them, the events of `rollout.model` keep them. Numbers
only, and how they read; nothing here decides.
"""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.wording import count, limits, number, percent, with_minus_signs
from varv.rollout.plan import RolloutPlan

ODD_SHIFT = 2.0
"""Losses that rise with the share by so many standard deviations are not those of the candidate that was
proven.
"""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that was known when a decision was made. E-values are natural logarithms.

    What begins with `step_` is of requests made at the present share; harm is judged by these alone.
    """

    share: float
    epoch: int
    through: Instant
    n_requests: int
    n_labels: int
    n_missing: int
    n_blocks: int
    """Blocks of six hours."""
    step_labels: int
    log_harm: float
    """Against "no worse"; a weighted average of the next three."""
    log_harm_paired: float
    """From outcomes."""
    log_harm_missing: float = 0.0
    """From answers that only one of the two gave."""
    log_harm_slow: float = 0.0
    """From answers for which one of the two took much longer."""
    log_safety: float
    """Against "worse by the margin or more"."""
    log_split: float
    """Against "the router split as told", at the present share."""
    harm_at: float
    """The `log_harm` at which the rollout is rolled back."""
    safety_at: float
    """The `log_safety` from which the candidate counts as proven."""
    step_blocks: int = 0
    step_difference: float | None
    """Mean log-loss of the candidate minus that of the champion while the present share was in force."""
    step_low: float | None = None
    step_high: float | None = None
    step_safety: float = 0.0
    difference: float | None
    """Mean log-loss of the candidate minus that of the champion; None without labels."""
    low: float | None
    high: float | None
    """A 95 % interval of `difference` that holds at all times at once."""
    excess: float = 0.0
    """Sum of the differences over all requests, in nats."""
    excess_at: float | None = None
    """The `excess` above which the rollout is rolled back: more than the margin allows until the deadline,
    and more than luck makes of it.
    """
    shift: float = 0.0
    """By how many standard deviations the losses at the present share exceed those before it. A candidate
    that was not what it is now is proven by `step_safety` alone.
    """
    inflation: float | None = None
    """How many times more blocks vary than their hours suggest: so many blocks weigh as one."""
    luck_days: int = 0
    """Days of history that the inflation was learned from."""
    n_cut: int = 0
    """Blocks that count less than they showed, since no single one may decide."""

    @staticmethod
    def none(plan: RolloutPlan) -> Evidence:
        """Return the evidence before there is any."""
        return Evidence(
            share=0.0,
            epoch=0,
            through=Instant(0),
            n_requests=0,
            n_labels=0,
            n_missing=0,
            n_blocks=0,
            step_labels=0,
            log_harm=0.0,
            log_harm_paired=0.0,
            log_safety=0.0,
            log_split=0.0,
            harm_at=plan.harm_at,
            safety_at=plan.safety_at,
            step_difference=None,
            difference=None,
            low=None,
            high=None,
        )

    def line(self) -> str:
        """Return what a verdict rested on: what decided it first, then the rest.

        Harm is judged by what came at the present share, safety by all of the rollout.
        """
        parts = self._decisive_first()
        if self.inflation is not None and self.n_blocks:
            parts.append(f"{count(self.n_blocks)} blocks, {number(self.inflation, 1)} of them weigh as one")
        return with_minus_signs(", ".join(parts))

    def _decisive_first(self) -> list[str]:
        harm = f"harm {self.log_harm:.2f} of {self.harm_at:.2f}"
        of_all = f"difference {limits(self.difference, self.low, self.high, 4)}"
        n = f"n\u00a0{count(self.n_labels)}"
        if self.log_harm >= self.harm_at:
            return [self._harm(), harm, f"all of it: {of_all}", n]
        if self.excess_at is not None and self.excess > self.excess_at:
            excess = f"excess {number(self.excess, 0)} nats, {number(self.excess_at, 0)} allowed"
            return [excess, of_all, harm, n]
        if self.shift > ODD_SHIFT:
            risen = f"{number(self.shift, 1)} standard deviations above what it was before"
            return [self._at_this_share(), risen, f"all of it: {of_all}", harm, n]
        return [of_all, f"safety {self.log_safety:.2f} of {self.safety_at:.2f}", harm, n]

    def _harm(self) -> str:
        """Return which of the three kinds of harm weighs most."""
        shown = {
            self._at_this_share(): self.log_harm_paired,
            f"{count(self.n_missing)} requests without an answer": self.log_harm_missing,
            f"evidence of slower answers {self.log_harm_slow:.2f}": self.log_harm_slow,
        }
        return max(shown, key=lambda text: shown[text])

    def _at_this_share(self) -> str:
        at = "in the shadow" if self.share == 0.0 else f"at {percent(self.share)}"
        return f"{at} {limits(self.step_difference, self.step_low, self.step_high, 4)}"


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """What a promoted version has shown against the champion before it, with nothing cut off."""

    through: Instant
    n_labels: int
    n_blocks: int
    difference: float | None
    """Mean log-loss of the promoted version minus that of the one before."""
    low: float | None
    high: float | None
    excess: float
    """Sum of the differences, in nats."""
    excess_allowed: float
    """What the margin allows over the whole probation, at the traffic seen so far."""
    excess_by_luck: float
    """What luck alone exceeds about once in a thousand probations."""
    log_harm: float
    harm_at: float

    def line(self) -> str:
        """Return what a probation has shown, with nothing cut off."""
        difference = limits(self.difference, self.low, self.high, 4)
        excess = f"excess {number(self.excess, 0)} nats, {number(self.excess_allowed, 0)} allowed"
        harm = f"harm {self.log_harm:.2f} of {self.harm_at:.2f}"
        return with_minus_signs(f"difference {difference}, {excess}, {harm}, n\u00a0{count(self.n_labels)}")
