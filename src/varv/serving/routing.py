"""Routing: which version answers a request, by a coin that is known and logged.

A table is immutable and complete; a new one replaces it whole, and only if its epoch is higher. The coin
depends on the table's salt and the request's key alone, so a key keeps its version while shares only grow,
and the probability that is logged with each answer is exactly the one that was in force.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np

from varv.kernel.errors import InvalidInput
from varv.kernel.ids import Version, coin


class RoutingShare(msgspec.Struct, frozen=True):
    """The probability with which a version answers a request."""

    version: Version
    share: float


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Which versions answer, and which score along unseen. A table is never changed, only replaced by a
    higher epoch.

    Raises
    ------
    InvalidInput
        If there are not one or two shares that sum to 1.
    """

    epoch: int
    shares: tuple[RoutingShare, ...]
    """They sum to 1. The candidate comes first: its range of the coin starts at 0, so a rising share keeps
    its keys.
    """
    shadows: tuple[Version, ...] = ()
    """Versions that score every request which another one answers."""
    former: Version | None = None
    """The champion before the present one, which scores along in its probation."""
    salt: str
    """With the key, the coin. One rollout keeps its salt over all steps."""

    def __post_init__(self) -> None:
        sound = 1 <= len(self.shares) <= 2 and all(0.0 <= part.share <= 1.0 for part in self.shares)
        if not sound or abs(math.fsum(part.share for part in self.shares) - 1.0) >= 1e-9:
            shares = {part.version: part.share for part in self.shares}
            raise InvalidInput(
                "routing table", self.epoch, "needs one or two shares that sum to 1", shares=shares
            )

    @cached_property
    def champion(self) -> Version:
        """The version that answers what the candidate does not."""
        return self.shares[-1].version

    @cached_property
    def candidate(self) -> Version | None:
        """The version on its way in, whether it answers or only scores along."""
        others = [part.version for part in self.shares[:-1]] + [v for v in self.shadows if v != self.champion]
        return others[0] if others else None

    @cached_property
    def candidate_share(self) -> float:
        """The probability with which the candidate answers."""
        return self.shares[0].share if len(self.shares) == 2 else 0.0

    @cached_property
    def versions(self) -> frozenset[Version]:
        """Versions that must be warm for this table."""
        along = set(self.shadows) | ({self.former} if self.former is not None else set())
        return frozenset({part.version for part in self.shares} | along)


def coins(table: RoutingTable, keys: Sequence[str]) -> np.ndarray:
    """Return the coin of `table` for each key, float64 of shape (n,) within [0, 1)."""
    return np.fromiter((coin(table.salt, key) for key in keys), dtype=np.float64, count=len(keys))


def assign(table: RoutingTable, tossed: np.ndarray) -> np.ndarray:
    """Return whether the candidate answers, bool of shape (n,), where its coin was `tossed`.

    Examples
    --------
    >>> def table(share: float) -> RoutingTable:
    ...     shares = (RoutingShare(Version(2), share), RoutingShare(Version(1), 1.0 - share))
    ...     return RoutingTable(epoch=3, shares=shares, salt="r2")
    >>> tossed = coins(table(0.25), [f"user-{n}" for n in range(1000)])
    >>> before, after = assign(table(0.25), tossed), assign(table(0.5), tossed)
    >>> bool((before & ~after).any())
    False
    """
    return tossed < table.candidate_share
