"""What a decision of a rollout rests on: the evidence of a verdict, and what a probation has shown.

`rollout.tally` makes them, `rollout.judgement` judges them, the events of `rollout.model` keep them. Numbers
only, and how they read; nothing here decides.
"""

from __future__ import annotations

import msgspec

from varv.kernel.clock import Instant
from varv.kernel.wording import count, limits, number, percent, with_minus_signs
from varv.rollout.guards import LOG_LOSS, Guard, in_unit
from varv.rollout.plan import RolloutPlan

ODD_SHIFT = 2.0
"""Losses that rise with the share by so many standard deviations are not those of the candidate that was
proven.
"""


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """How far the candidate's scores lie from the champion's of the same requests, in standard deviations of
    the champion's.
    """

    n_hours: int = 0
    shift: float = 0.0
    low: float = 0.0
    high: float = 0.0
    """A 95 % interval of `shift` that holds at all times at once."""
    spread: float | None = None
    """The standard deviation of the candidate's scores over that of the champion's; None where all of the
    champion's are alike.
    """


class GuardEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the outcomes say by one guard; the fields mean what they mean in `Evidence`."""

    guard: Guard
    n_labels: int
    n_blocks: int
    step_labels: int
    step_blocks: int
    log_harm: float
    log_safety: float
    step_safety: float
    step_difference: float | None
    step_low: float | None
    step_high: float | None
    difference: float | None
    low: float | None
    high: float | None
    excess: float
    excess_at: float
    shift: float
    inflation: float
    luck_days: int
    n_cut: int

    @property
    def exceeds(self) -> bool:
        """Whether the sum of the differences is more than the margin allows, and more than luck makes."""
        return self.excess > self.excess_at

    @property
    def said(self) -> str:
        """The difference over all of the rollout, with its interval and unit."""
        return self._with_unit(self.difference, self.low, self.high)

    @property
    def said_of_step(self) -> str:
        """The difference at the present share."""
        return self._with_unit(self.step_difference, self.step_low, self.step_high)

    @property
    def said_of_excess(self) -> str:
        """The sum of the differences, and what would be allowed."""
        excess = in_unit(number(self.excess, 0), self.guard.unit)
        return f"excess {excess}, {number(self.excess_at, 0)} allowed"

    def _with_unit(self, value: float | None, low: float | None, high: float | None) -> str:
        guard = self.guard
        return in_unit(limits(value, low, high, guard.digits), guard.unit)


OF_FIRST = tuple(set(GuardEvidence.__struct_fields__) - {"guard", "n_labels", "log_harm"})
"""What `Evidence` says of the first guard under the names that `GuardEvidence` has."""


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
    """Against "no worse"; a weighted average of the next three, of `log_harm_late`, and of the `log_harm` of
    `others`.
    """
    log_harm_paired: float
    """From outcomes, by the first guard."""
    log_harm_missing: float = 0.0
    """From answers that only one of the two gave."""
    log_harm_slow: float = 0.0
    """From answers for which one of the two took much longer."""
    log_harm_late: float = 0.0
    """Against "no more calls are late than the plan allows"."""
    n_calls: int = 0
    """Calls that were timed, where the plan sets a limit to them."""
    n_late: int = 0
    guard: Guard = LOG_LOSS
    """The first one, of which all differences and e-values beside `others` are."""
    others: tuple[GuardEvidence, ...] = ()
    moved: Moved | None = None
    """Where no outcome ever comes: how far its scores lie from the champion's."""
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
    """Mean loss of the candidate minus that of the champion while the present share was in force."""
    step_low: float | None = None
    step_high: float | None = None
    step_safety: float = 0.0
    difference: float | None
    """Mean loss of the candidate minus that of the champion; None without labels."""
    low: float | None
    high: float | None
    """A 95 % interval of `difference` that holds at all times at once."""
    excess: float = 0.0
    """Sum of the differences over all requests, in the unit of the loss."""
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
            guard=plan.guarded[0] if plan.has_outcome else LOG_LOSS,
            moved=None if plan.has_outcome else Moved(),
        )

    def line(self) -> str:
        """Return what a verdict rested on: what decided it first, then the rest.

        Harm is judged by what came at the present share, safety by all of the rollout.
        """
        parts = self._decisive_first()
        if self.inflation is not None and self.n_blocks:
            parts.append(f"{count(self.n_blocks)} blocks, {number(self.inflation, 1)} of them weigh as one")
        return with_minus_signs(", ".join(parts))

    @property
    def guards(self) -> tuple[GuardEvidence, ...]:
        """What the outcomes say by each guard; none where no outcome ever comes."""
        if self.moved is not None:
            return ()
        known = {name: getattr(self, name) for name in OF_FIRST}
        # Evidence of before these were counted.
        known |= {} if self.excess_at is not None else {"excess_at": float("inf")}
        known |= {} if self.inflation is not None else {"inflation": 1.0}
        first = GuardEvidence(
            guard=self.guard, n_labels=self.n_labels, log_harm=self.log_harm_paired, **known
        )
        return (first, *self.others)

    def named(self, one: GuardEvidence) -> str:
        """Return what begins a clause on one of several guards: its title and a space."""
        return f"{one.guard.title} " if self.others else ""

    def _decisive_first(self) -> list[str]:
        harm = f"harm {self.log_harm:.2f} of {self.harm_at:.2f}"
        if self.moved is not None:
            return [*self._decisive_counts(harm), *self._said_of_scores(self.moved)]
        n = f"n\u00a0{count(self.n_labels)}"
        of_all = ", ".join(f"{self.named(one)}difference {one.said}" for one in self.guards)
        if self.log_harm >= self.harm_at:
            return [self._harm(), harm, f"all of it: {of_all}", n]
        for one in self.guards:
            if one.exceeds:
                return [f"{self.named(one)}{one.said_of_excess}", of_all, harm, n]
        moved = max(self.guards, key=lambda one: one.shift)
        if moved.shift > ODD_SHIFT:
            risen = f"{number(moved.shift, 1)} standard deviations above what it was before"
            return [self._at_this_share(moved), risen, f"all of it: {of_all}", harm, n]
        return [of_all, f"{self._safety()} of {self.safety_at:.2f}", harm, n]

    def _safety(self) -> str:
        """Return the safety of the guard that is proven least."""
        least = min(self.guards, key=lambda one: one.log_safety)
        of_which = f" by {least.guard.title}" if self.others else ""
        return f"safety{of_which} {least.log_safety:.2f}"

    def _harm(self) -> str:
        """Return which kind of harm weighs most."""
        shown = {self._at_this_share(one): one.log_harm for one in self.guards}
        shown |= self._counted_harm()
        return max(shown, key=lambda text: shown[text])

    def _counted_harm(self) -> dict[str, float]:
        late = f"{count(self.n_late)} of {count(self.n_calls)} calls later than allowed"
        return {
            f"{count(self.n_missing)} requests without an answer": self.log_harm_missing,
            f"evidence of slower answers {self.log_harm_slow:.2f}": self.log_harm_slow,
            **({late: self.log_harm_late} if self.n_calls else {}),
        }

    def _decisive_counts(self, harm: str) -> list[str]:
        """Return the counts that decided, if they did."""
        shown = self._counted_harm()
        strongest = [max(shown, key=lambda text: shown[text])] if self.log_harm >= self.harm_at else []
        return [*strongest, harm]

    def _said_of_scores(self, moved: Moved) -> list[str]:
        shift = limits(moved.shift, moved.low, moved.high)
        return [
            f"scores moved by {shift} standard deviations over {count(moved.n_hours)} hours",
            f"their spread is {number(moved.spread, 2)} of the champion's",
            f"{count(self.n_requests)} answers",
            "nothing is known of its quality",
        ]

    def _at_this_share(self, one: GuardEvidence) -> str:
        at = "in the shadow" if self.share == 0.0 else f"at {percent(self.share)}"
        return f"{self.named(one)}{at} {one.said_of_step}"


class GuardProbation(msgspec.Struct, frozen=True, kw_only=True):
    """What a promoted version has shown by one guard; the fields mean what they mean in `Probation`."""

    guard: Guard
    n_labels: int
    n_blocks: int
    difference: float | None
    low: float | None
    high: float | None
    excess: float
    excess_allowed: float
    excess_by_luck: float
    log_harm: float

    @property
    def exceeds(self) -> bool:
        """Whether the sum of the differences is more than the margin allows, and more than luck makes."""
        return self.excess > max(self.excess_allowed, self.excess_by_luck)

    def line(self) -> str:
        """Return the difference and the excess, with their unit."""
        guard = self.guard
        difference = in_unit(limits(self.difference, self.low, self.high, guard.digits), guard.unit)
        excess = in_unit(number(self.excess, 0), guard.unit)
        return f"difference {difference}, excess {excess}, {number(self.excess_allowed, 0)} allowed"


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """What a promoted version has shown against the champion before it, with nothing cut off."""

    through: Instant
    n_labels: int
    n_blocks: int
    difference: float | None
    """Mean loss of the promoted version minus that of the one before."""
    low: float | None
    high: float | None
    excess: float
    """Sum of the differences, in the unit of the loss."""
    excess_allowed: float
    """What the margin allows over the whole probation, at the traffic seen so far."""
    excess_by_luck: float
    """What luck alone exceeds about once in a thousand probations."""
    log_harm: float
    """By all guards; an average of e-values."""
    harm_at: float
    guard: Guard = LOG_LOSS
    """The first one, of which the differences and the excess are."""
    others: tuple[GuardProbation, ...] = ()

    @property
    def guards(self) -> tuple[GuardProbation, ...]:
        """What the outcomes say by each guard; the harm of the first is that of all, where it is alone."""
        first = GuardProbation(
            guard=self.guard,
            n_labels=self.n_labels,
            n_blocks=self.n_blocks,
            difference=self.difference,
            low=self.low,
            high=self.high,
            excess=self.excess,
            excess_allowed=self.excess_allowed,
            excess_by_luck=self.excess_by_luck,
            log_harm=self.log_harm,
        )
        return (first, *self.others)

    def line(self) -> str:
        """Return what a probation has shown, with nothing cut off."""
        shown = [f"{one.guard.title} {one.line()}" if self.others else one.line() for one in self.guards]
        harm = f"harm {self.log_harm:.2f} of {self.harm_at:.2f}"
        return with_minus_signs(f"{'; '.join(shown)}, {harm}, n\u00a0{count(self.n_labels)}")
