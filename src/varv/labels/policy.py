"""How people are asked to label requests, as it is declared and as ledgers keep it."""

from __future__ import annotations

from typing import Literal

import msgspec

from varv.features import Slice
from varv.kernel.clock import DAY, MINUTE, Duration, spoken

Measure = Literal["entropy", "margin", "interval"]
"""By what a prediction is unsure: the entropy of calibrated probabilities, how little the likeliest class
leads, or how wide an interval is.
"""
Revisions = Literal["first", "latest"]

LEAST_RANDOM = 0.1
"""Of what is labelled, the share that is drawn by chance alone, whatever is declared."""


class LabellingPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which requests people are asked about, how many, and by whom."""

    budget: int
    """Requests of a window that are to be labelled."""
    every: Duration = DAY
    """How long a window is."""
    random: float = 0.2
    diverse: float = 0.2
    """Of those that are not drawn, the share that is to lie far apart."""
    by: Measure = "entropy"
    slices: tuple[Slice, ...] = ()
    """Each gets its share of what is unsure."""
    double: float = 0.05
    """The share that two people label, neither knowing of the other."""
    lease: Duration = Duration(30 * MINUTE)
    explored: float = 0.0
    """Of requests, the least share whose outcome is seen by chance and not by what the champion decided."""
    revisions: Revisions = "first"

    @property
    def n_random(self) -> int:
        """How many of a window's budget are drawn by chance."""
        return max(1, -int(-self.budget * max(self.random, LEAST_RANDOM) // 1))

    @property
    def line(self) -> str:
        """What it says, in words."""
        slices = f" over {', '.join(one.label for one in self.slices)}" if self.slices else ""
        explored = f", {self.explored:g} explored" if self.explored else ""
        return (
            f"{self.budget} every {spoken(self.every)}, {self.random:g} at random, {self.diverse:g} diverse, "
            f"by {self.by}{slices}, {self.double:g} twice, leased {spoken(self.lease)}{explored}, the "
            f"{self.revisions} stands"
        )
