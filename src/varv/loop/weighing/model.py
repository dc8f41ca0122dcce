"""Nouns of the trigger ``benefit``: what a training may cost, what versions lost on the same requests, and
what a fresh model is predicted to save.

`loop.benefit` scores and computes; `loop.rules` decides; `stats.benefit` has the arithmetic.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName, Version
from varv.kernel.sagas import Command, command
from varv.kernel.wording import count, number, percent

MOST_PERIODS = 104
"""Weeks that a curve is learned from: older ones are forgotten."""


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a training may cost: a sum of losses, or so many trainings a year; the other is None."""

    loss: float | None = None
    a_year: float | None = None
    said: str = ""
    """How it was declared, where that says more than the number."""

    def line(self) -> str:
        """Return the price in words."""
        if self.loss is None:
            return f"{number(self.a_year, 1)} trainings a year"
        return number(self.loss, 1) + (f" ({self.said})" if self.said else "")


class BenefitPolicy(msgspec.Struct, frozen=True):
    """When a training is worth its price: once it is predicted to save as much, with this certainty."""

    price: Price
    certainty: float


class VersionKnown(msgspec.Struct, frozen=True):
    """How fresh a version is: requests before ``until`` were mature at its training, and ``n_known`` of those
    that it may read had an outcome.
    """

    version: int
    until: Instant
    n_known: int


class PeriodWeighed(msgspec.Struct, frozen=True, kw_only=True):
    """What versions lost on the same requests of one week, none of which they were fitted on."""

    since: Instant
    until: Instant
    n: int
    """Requests with an outcome."""
    n_known: int
    """Outcomes that a model trained at the beginning would have known."""
    versions: tuple[int, ...]
    losses: tuple[float, ...]
    """The mean loss of each version."""


@event("loop.benefit_weighed")
class BenefitWeighed(Event, frozen=True, kw_only=True):
    """What a fresh model is predicted to save was held against the price of a training.

    ``predicted`` is the loss of the version against a fresh model, summed over its requests since its
    training; it is at least ``at_least`` with the declared certainty, and at most ``at_most`` with the same.
    ``price`` is what a promotion costs: the declared price times the trainings that one has taken so far,
    those that were refused included. The coefficients are a request's loss for each unit of log N, of 1/N and
    of weeks of age, N being the outcomes known at a training.
    """

    model: ModelName
    version: Version
    """The version that a fresh one is compared with: the champion, or the candidate that is under way."""
    through: Instant
    periods: tuple[PeriodWeighed, ...]
    """The weeks that are new."""
    known: tuple[VersionKnown, ...]
    """The versions that are new."""
    n_periods: int
    """Weeks in which at least two versions were compared."""
    n_pairs: int
    coefficients: tuple[float, ...] = ()
    """None before three weeks have pairs."""
    predicted: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    price: float | None = None
    trainings_a_promotion: float = 1.0
    certainty: float
    is_due: bool
    weeks_since: float | None = None
    """Since the latest version was trained, where that is so long that pairs of versions say nothing of it:
    only a fresh version shows what has changed meanwhile.
    """
    weeks_apart: float | None = None
    """The longest time between two versions, beside it."""

    def evidence(self) -> dict[str, float | None]:
        """Return the numbers that a trigger rests on."""
        if self.predicted is None:
            return {"n_periods": float(self.n_periods)}
        if self.weeks_since is not None:
            return {"weeks_since": self.weeks_since, "weeks_apart": self.weeks_apart}
        return {
            "predicted": self.predicted,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "price": self.price,
            "certainty": self.certainty,
            "n_pairs": float(self.n_pairs),
            "n_periods": float(self.n_periods),
        }

    def said(self) -> str:
        """Return in words what a fresh model is predicted to save."""
        return benefit_line(self.evidence())

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"v{self.version} until {iso(self.through)}: {self.said()}"


def benefit_line(seen: dict[str, float | None]) -> str:
    """Return in words what a fresh model is predicted to save, or that this is still being learned."""
    if (weeks := seen.get("weeks_since")) is not None:
        apart = number(seen.get("weeks_apart"), 1)
        return (
            f"the last version is {number(weeks, 1)} weeks old and no two were more than {apart} apart, "
            "so only a fresh one shows what has changed"
        )
    n_periods = count(seen.get("n_periods"))
    if seen.get("predicted") is None:
        return f"learning what a fresh model saves: {n_periods} of 3 weeks compare versions"
    saved, price = number(seen.get("predicted"), 1), number(seen.get("price"), 1)
    least, sure = number(seen.get("at_least"), 1), percent(seen.get("certainty") or 0.0)
    pairs = count(seen.get("n_pairs"))
    return (
        f"a fresh model would have saved {saved} of summed loss since the last training, "
        f"at least {least} with {sure} certainty; a training costs {price}; "
        f"learned from {pairs} pairs in {n_periods} weeks"
    )


class Weighed(msgspec.Struct, frozen=True):
    """What a loop has learned of its versions so far, as its ledger tells."""

    periods: tuple[PeriodWeighed, ...] = ()
    known: tuple[VersionKnown, ...] = ()
    last: BenefitWeighed | None = None

    def after(self, event: BenefitWeighed) -> Weighed:
        """Return it with what another event adds; of the oldest weeks as many are forgotten."""
        return Weighed((*self.periods, *event.periods)[-MOST_PERIODS:], (*self.known, *event.known), event)


@command("loop.weigh_benefit")
class WeighBenefit(Command, frozen=True):
    """Hold what a fresh model would save against the price of a training, on requests mature at `through`."""

    partition: ClassVar[str] = "training"

    model: ModelName
    version: Version
    through: Instant
