"""Luck: how far two versions differ on a stretch of requests though neither is better.

Loss differences of neighbouring requests are alike: they share a storm, a sale, a heavy user. The grain of
all paired evidence is therefore the hour (`Hour`), and hours are judged in blocks of six. A block is measured
in standard deviations of its own, found from how its hours differ, and widened by a factor that is learned
from history: blocks that vary more than their hours suggest, and luck that lasts beyond a block, both show
there. The factor has no unit, so what was learned from other versions, seasons and volumes holds for this
one.

Pure; who gathers the hours is in `rollout.evidence`, what they lead to in `rollout.tally`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import special

from varv.kernel.clock import DAY, HOUR, Duration, Instant
from varv.stats.sequential import LARGEST

BLOCK = Duration(6 * HOUR)
UNKNOWN = 8.0
"""Inflation where nothing has been learned: two days then weigh as much as one block."""

_SCALES = (1, 2, 4, 8)
"""Blocks that are added up to see whether luck lasts: six hours, twelve, a day, two days."""
_FEWEST = 5
"""Stretches of one scale below which nothing is learned from that scale."""
_PRIOR_HOURS = 5
"""A block's own spread is believed as much as the history's when it has this many hours more than one."""
_PRIOR_BLOCKS = 4
"""The history's spread is believed as much as that of so many blocks of the rollout."""
_DAYS_TO_CHECK = 3
_CAP = 4.0
"""While learning, one block counts at most this many standard deviations."""
CAUTION = 0.5
"""The learned inflation is a limit that the true one exceeds with this chance."""
_LEAST = 1e-18

Numbers = npt.NDArray[np.float64]


class Hour(msgspec.Struct, frozen=True, array_like=True):
    """What the outcomes of one hour of requests say: how many there are, and the sum of loss differences.

    `total` is the candidate's losses minus the champion's, in the unit of the loss.
    """

    at: Instant
    n: int
    total: float


class Luck(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of luck before a rollout begins."""

    spread: float = 0.0
    """Variance of an hour's sum of differences, per request."""
    inflation: float = UNKNOWN
    """Variance of blocks, and of what lasts beyond them, over what their hours suggest."""
    n_days: int = 0
    """Days of paired scores that this was learned from."""
    level: float | None = None
    """The champion's mean loss on held-out rows that it was not fitted on."""
    others: tuple[GuardLuck, ...] = ()
    """The same of the plan's guards after the first."""

    def of(self, guard: str) -> Luck:
        """Return what is known of a guard after the first, by its name.

        Where nothing was learned of it, as little is taken for known as of a first model: the first guard's
        spread is in another unit.
        """
        return next((one.luck for one in self.others if one.guard == guard), Luck())


class GuardLuck(msgspec.Struct, frozen=True, array_like=True):
    """What is known of luck by one guard, by its name."""

    guard: str
    luck: Luck


class Blocks(NamedTuple):
    """Whole blocks of hours: the number of requests, the sum of differences, and its variance before
    inflation.
    """

    n: Numbers
    total: Numbers
    variance: Numbers

    def standardized(self, inflation: float, *, null: float = 0.0) -> Numbers:
        """Return by how many standard deviations each block's mean lies above `null`, cut to `LARGEST`."""
        sd = np.sqrt(np.maximum(inflation * self.variance, _LEAST))
        return np.clip((self.total - null * self.n) / sd, -LARGEST, LARGEST)


def blocks(hours: Sequence[Hour], luck: Luck, *, through: Instant) -> Blocks:
    """Return the whole blocks of `hours` that end by `through`, counted from the first hour.

    Parameters
    ----------
    hours
        In the order of time; hours without outcomes may be missing.
    luck
        Its spread, and more and more that of `hours` together, stands in where a block has too few hours to
        tell its own.
    """
    if not hours:
        return Blocks(*(np.empty(0) for _ in range(3)))
    begun = hours[0].at
    whole = [hour for hour in hours if begun + ((hour.at - begun) // BLOCK + 1) * BLOCK <= through]
    n, total, squares, k = _summed(whole, begun)
    share = n.size / (n.size + _PRIOR_BLOCKS) if luck.spread else 1.0
    spread = (1 - share) * luck.spread + share * float(squares.sum() / max(n.sum(), 1.0))
    own = np.maximum(k - 1, 0)
    return Blocks(n, total, (own * squares + _PRIOR_HOURS * spread * n) / (own + _PRIOR_HOURS))


def learned(histories: Iterable[Sequence[Hour]], *, caution: float = CAUTION) -> Luck:
    """Return what paired scores of the past say of luck.

    Parameters
    ----------
    histories
        For each pair of versions, the hours in which both scored the same requests, in the order of time. The
        first with a day or more gives the spread: put the pair at hand there. Leave out pairs of which one
        was broken.
    caution
        The chance with which the true inflation lies above the one that is returned.

    Notes
    -----
    Each history is centred at its own mean, so that a version that was better teaches nothing but its spread.
    Blocks in standard deviations are added up over stretches of up to two days: where blocks are independent,
    the mean square of such sums, over their length, is the same at every length; where luck lasts, it grows.
    Of each length the median over histories is taken, at its limit (chi-square); the inflation is the
    largest, and at least 1.
    """
    # Versions that say the same of everybody teach nothing about others.
    kept = [list(hours) for hours in histories if _days(hours) >= 1 and any(hour.total for hour in hours)]
    n_days = sum(_days(hours) for hours in kept)
    spreads: list[float] = []
    found: dict[int, list[tuple[float, float]]] = {scale: [] for scale in _SCALES}
    for hours in kept:
        z, spread = _centred(hours)
        spreads.append(spread)
        for scale in _SCALES:
            starts = np.arange(0, z.size - scale + 1, scale)
            if starts.size > 1:
                sums = np.add.reduceat(z[: starts.size * scale], starts)
                limit = float(np.sum(sums**2) / scale / special.chdtri(starts.size - 1, 1 - caution))
                found[scale].append((limit, float(starts.size - 1)))
    limits = [_median(ones) for ones in found.values() if sum(freedom for _, freedom in ones) >= _FEWEST]
    inflation = max([1.0, *limits]) if limits else UNKNOWN
    return Luck(
        spread=round(spreads[0], 12) if spreads else 0.0, inflation=round(inflation, 4), n_days=n_days
    )


def _centred(hours: Sequence[Hour]) -> tuple[Numbers, float]:
    """Return the blocks of one history in standard deviations around its own mean, and its spread."""
    found = blocks(hours, Luck(inflation=1.0), through=Instant(hours[-1].at + BLOCK))
    sd = np.sqrt(np.maximum(found.variance, _LEAST))
    centre = float((found.total / sd).sum() / (found.n / sd).sum())
    z = np.clip((found.total - centre * found.n) / sd, -_CAP, _CAP)
    return z, float(found.variance.sum() / found.n.sum())


def _median(weighted: Sequence[tuple[float, float]]) -> float:
    """Return the weighted median: one pair of versions that differ oddly must not speak for all."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= half:
            return value
    return ordered[-1][0]


def checked(luck: Luck, hours: Sequence[Hour]) -> Luck:
    """Return `luck`, with a larger inflation if the rollout's own `hours` clearly show one; where there is no
    history, if they do not exclude one.
    """
    own = learned([hours], caution=0.8 if luck.n_days else 0.2)
    if own.n_days < _DAYS_TO_CHECK or own.inflation <= luck.inflation:
        return luck
    return msgspec.structs.replace(luck, inflation=own.inflation)


def _summed(hours: Sequence[Hour], begun: Instant) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return for each block with requests: their number, the sum, the squared deviations of its hours, its
    hours.
    """
    if not hours:
        return np.empty(0), np.empty(0), np.empty(0), np.empty(0)
    block = (np.array([hour.at for hour in hours]) - begun) // BLOCK
    # Hours come in the order of time, so a block's are neighbours.
    index = np.concatenate([[0], np.cumsum(np.diff(block) != 0)])
    n_hour = np.array([hour.n for hour in hours], dtype=np.float64)
    sum_hour = np.array([hour.total for hour in hours])
    n, total, k = (
        np.bincount(index, weights).astype(np.float64) for weights in (n_hour, sum_hour, np.ones(len(hours)))
    )
    deviations = np.bincount(index, (sum_hour - n_hour * (total / n)[index]) ** 2)
    # Hours are measured against their own mean, which makes few of them look too much alike.
    return n, total, deviations * (k / np.maximum(k - 1, 1)), k


def _days(hours: Sequence[Hour]) -> int:
    return int((hours[-1].at + HOUR - hours[0].at) // DAY) if hours else 0
