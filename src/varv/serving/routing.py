"""Routing: which version answers a request, by a coin that is known and logged.

A table is immutable and complete; a new one replaces it whole, and only if its epoch is higher. The coin depends on the
table's salt and the request's key alone, so a key keeps its version while shares only grow, and the probability that is
logged with each answer is exactly the one that was in force.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import coin


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers what.

    Parameters
    ----------
    epoch
        Raised with every table; a lower one is never applied after a higher.
    champion
        The version that answers everything which the candidate does not.
    candidate
        The version on its way in, if there is one.
    candidate_share
        Probability, in [0, 1], that the candidate answers a key.
    shadow
        Whether both versions score every request, whoever answers.
    salt
        Names the coin; a new rollout has a new one.

    Raises
    ------
    InvalidInput
        If the share is not in [0, 1], or is above 0 without a candidate.
    """

    epoch: int
    champion: int
    candidate: int | None = None
    candidate_share: float = 0.0
    shadow: bool = False
    salt: str = ""

    def __post_init__(self) -> None:
        share = self.candidate_share
        if not math.isfinite(share) or not 0.0 <= share <= 1.0:
            raise InvalidInput("routing table", self.epoch, "has a share outside 0 to 1", share=share)
        if share > 0.0 and self.candidate is None:
            raise InvalidInput("routing table", self.epoch, "gives a share to no candidate", share=share)

    @property
    def shares(self) -> dict[int, float]:
        """Share of traffic of each version; they sum to 1."""
        if self.candidate is None:
            return {self.champion: 1.0}
        return {self.champion: 1.0 - self.candidate_share, self.candidate: self.candidate_share}

    @property
    def versions(self) -> frozenset[int]:
        """Versions that must be warm for this table."""
        return frozenset(self.shares)


class Assignment(msgspec.Struct, frozen=True):
    """Which requests the candidate answers, and the probability with which each arm was assigned."""

    candidate: np.ndarray
    """bool of shape (n,)."""
    probability: np.ndarray
    """Probability of the arm that was assigned, float64 of shape (n,)."""


def assign(table: RoutingTable, keys: Sequence[str]) -> Assignment:
    """Toss the coin of `table` for each key.

    Examples
    --------
    >>> quarter = RoutingTable(epoch=3, champion=1, candidate=2, candidate_share=0.25, salt="r2")
    >>> half = RoutingTable(epoch=4, champion=1, candidate=2, candidate_share=0.5, salt="r2")
    >>> keys = [f"user-{n}" for n in range(1000)]
    >>> before, after = assign(quarter, keys).candidate, assign(half, keys).candidate
    >>> bool((before & ~after).any())
    False
    """
    share = table.candidate_share
    if share in (0.0, 1.0):
        chosen = np.full(len(keys), share == 1.0)
    else:
        chosen = np.fromiter((coin(table.salt, key) < share for key in keys), dtype=bool, count=len(keys))
    return Assignment(chosen, np.where(chosen, share, 1.0 - share))
