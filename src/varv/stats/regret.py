"""What a schedule of trainings cost, and what the best one would have: policies on a matrix of losses.

The matrix holds, for versions trained at fixed times, the loss of each on every later day. On it any policy
that decides at these times can be scored, and the best schedule in hindsight found, all with the declared
delay between a training and its service. **Regret** is what a policy lost, its trainings at their price
included, beyond the best schedule. Plain arrays in, plain numbers out; randomness is a generator that is
passed in. Who fits and scores the versions is in `home.regret`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from varv.stats.benefit import PairSums, growth_curve, is_beyond, pair_sums, predicted, terms
from varv.stats.intervals import Numbers

Schedule = tuple[int, ...]
"""The versions that are trained, in order; the first is always 0."""


class LossMatrix(NamedTuple):
    """What each of V versions lost on each of D days.

    Parameters
    ----------
    losses
        Summed loss of each day, shape (V, D); what lies before a version's training is never read.
    n
        Requests with an outcome of each day, shape (D,).
    starts
        The day at whose beginning each version is trained, shape (V,), increasing; the first is 0.
    n_known
        Outcomes known at each training, shape (V,).
    delay
        Days from a training to its service; the first version serves at once. One candidate is under way at a
        time, so the next training is that much later at least.
    lag
        Days after which the outcomes of a day are known, for policies that look at them.
    """

    losses: Numbers
    n: Numbers
    starts: npt.NDArray[np.int64]
    n_known: Numbers
    delay: int = 0
    lag: int = 1

    @property
    def served_from(self) -> npt.NDArray[np.int64]:
        """The day from which each version would serve, shape (V,)."""
        later = np.minimum(self.starts + self.delay, self.n.size)
        later[0] = 0
        return later

    @property
    def free_from(self) -> npt.NDArray[np.int64]:
        """The day from which the next candidate may be trained, shape (V,)."""
        return np.where(self.starts > 0, self.starts + self.delay, 0)


def require_matrix(matrix: LossMatrix) -> None:
    """Check the shapes and times of a matrix.

    Raises
    ------
    ValueError
        If shapes differ, times are out of order, or a loss that can be read is not finite.
    """
    n_versions, n_days = matrix.losses.shape
    if not matrix.starts.shape == matrix.n_known.shape == (n_versions,) or matrix.n.shape != (n_days,):
        raise ValueError(f"a matrix of shape {matrix.losses.shape} needs a start and n_known a row")
    if (
        not n_versions
        or matrix.starts[0]
        or np.any(np.diff(matrix.starts) <= 0)
        or matrix.starts[-1] >= n_days
    ):
        raise ValueError("versions must be trained in order, the first on day 0, the last before the end")
    read = np.arange(n_days) >= matrix.starts[:, None]
    finite = [matrix.losses[read], matrix.n, matrix.n_known]
    if not all(np.all(np.isfinite(numbers)) for numbers in finite) or matrix.delay < 0 or matrix.lag < 0:
        raise ValueError("losses and counts must be finite, and delay and lag at least 0")


def loss_of(matrix: LossMatrix, schedule: Schedule) -> float:
    """Return the summed loss under a schedule, the price of its trainings left out.

    Raises
    ------
    ValueError
        If the matrix is none, or the schedule does not begin with the first version and go on in order.
    """
    require_matrix(matrix)
    if not schedule or schedule[0] or np.any(np.diff(schedule) <= 0):
        raise ValueError(f"a schedule names versions in order, the first one first, not {schedule}")
    served = matrix.served_from[list(schedule)]
    ends = [*served[1:].tolist(), matrix.n.size]
    spans = zip(schedule, served.tolist(), ends, strict=True)
    return float(sum(matrix.losses[version, since:until].sum() for version, since, until in spans))


def best_schedule(matrix: LossMatrix, price: float) -> Schedule:
    """Return the schedule of least loss, each training after the first paid with `price`.

    Raises
    ------
    ValueError
        If the matrix is none, or the price is not a number.

    Notes
    -----
    Dynamic programming backwards over the versions, as the oracle of Mahadevan and Mathioudakis (2024): from
    the moment that a version serves, what comes after does not depend on what was before.

    Examples
    --------
    >>> aging = np.maximum(np.arange(9.0) - np.array([[0], [3], [6]]), 0)
    >>> matrix = LossMatrix(aging, np.ones(9), np.array([0, 3, 6]), np.ones(3))
    >>> best_schedule(matrix, 1.0), best_schedule(matrix, 10.0), best_schedule(matrix, 99.0)
    ((0, 1, 2), (0, 1), (0,))
    """
    require_matrix(matrix)
    if not np.isfinite(price):
        raise ValueError(f"a price must be finite, not {price}")
    n_versions, n_days = matrix.losses.shape
    read = np.arange(n_days) >= matrix.starts[:, None]
    until = np.zeros((n_versions, n_days + 1))
    until[:, 1:] = np.cumsum(np.where(read, matrix.losses, 0.0), axis=1)
    served, free = matrix.served_from, matrix.free_from
    rest, then = np.zeros(n_versions), np.full(n_versions, -1)
    for version in range(n_versions - 1, -1, -1):
        already = until[version, served[version]]
        rest[version] = until[version, -1] - already
        for later in range(version + 1, n_versions):
            if matrix.starts[later] >= free[version]:
                cost = until[version, served[later]] - already + price + rest[later]
                if cost < rest[version]:
                    rest[version], then[version] = cost, later
    found = [0]
    while then[found[-1]] >= 0:
        found.append(int(then[found[-1]]))
    return tuple(found)


def scheduled(matrix: LossMatrix, is_due: Callable[[int, Schedule], bool]) -> Schedule:
    """Return the schedule of a policy that is asked at every start whether a candidate is due.

    Parameters
    ----------
    is_due
        Of the version that could be trained now and the schedule so far; it must look at nothing later.

    Raises
    ------
    ValueError
        If the matrix is none.
    """
    require_matrix(matrix)
    found: Schedule = (0,)
    for version in range(1, matrix.starts.size):
        if matrix.starts[version] >= matrix.free_from[found[-1]] and is_due(version, found):
            found = (*found, version)
    return found


def calendars(matrix: LossMatrix, every: int) -> list[Schedule]:
    """Return the schedules that train at every so many starts: one for each start that they may begin with.

    One calendar run is one draw; the mean over where it begins is what the calendar is worth.

    Raises
    ------
    ValueError
        If `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"a calendar trains every start or less often, not every {every}")
    phases = range(1, min(every, matrix.starts.size) + 1)
    return [
        scheduled(matrix, lambda version, _, phase=phase: (version - phase) % every == 0) for phase in phases
    ]


def by_volume(matrix: LossMatrix, growth: float) -> Schedule:
    """Return the schedule that trains once so large a share more outcomes are known than at the last one."""
    known = matrix.n_known
    return scheduled(matrix, lambda version, so_far: known[version] >= (1 + growth) * known[so_far[-1]])


def cumulative_staleness(matrix: LossMatrix, tau: float) -> Schedule:
    """Return the schedule of CARA's cumulative rule: train once the staleness since the last training sums
    to more than `tau`.

    Notes
    -----
    Mahadevan and Mathioudakis (2024): the staleness of a day is how much more the version in service lost
    than its mean loss when it was new, here that of its first period, if more. Rebuilt from the description.
    """
    length = int(np.median(np.diff(matrix.starts))) if matrix.starts.size > 1 else 1

    def is_due(version: int, so_far: Schedule) -> bool:
        serving, since = so_far[-1], int(matrix.served_from[so_far[-1]])
        known = int(matrix.starts[version]) - matrix.lag
        first = min(since + length, known)
        n = matrix.n[since:first].sum()
        if known <= first or not n:
            return False
        level = matrix.losses[serving, since:first].sum() / n
        weeks = np.arange(first, known) // length
        excess = (matrix.losses[serving] - level * matrix.n)[first:known]
        return float(np.maximum(np.bincount(weeks - weeks[0], weights=excess), 0.0).sum()) > tau

    return scheduled(matrix, is_due)


def by_benefit(matrix: LossMatrix, price: float, *, certainty: float, rng: np.random.Generator) -> Schedule:
    """Return the schedule that trains once the predicted loss against a fresh model, summed since the last
    training, is at least `price` with the declared certainty; see `stats.benefit`.

    It learns from pairs of the versions that it has trained itself, trains at every start until three periods
    have pairs, and trusts what it has learned only so far (`is_beyond`).
    """
    ends = [*matrix.starts[1:].tolist(), matrix.n.size]
    n = np.array([matrix.n[since:until].sum() for since, until in zip(matrix.starts, ends, strict=True)])
    at = np.arange(matrix.starts.size)
    periods: list[PairSums] = []

    def is_due(version: int, so_far: Schedule) -> bool:
        while len(periods) < version:
            j = len(periods)
            days = slice(int(matrix.starts[j]), max(ends[j] - matrix.lag, int(matrix.starts[j]) + 1))
            own = [one for one in so_far if one <= j]
            losses = matrix.losses[own, days].sum(axis=1) / max(matrix.n[days].sum(), 1.0)
            periods.append(pair_sums(losses, matrix.n_known[own], at[own], float(n[j])))
        curve = growth_curve(periods, rng)
        if curve is None or is_beyond(so_far, version):
            return True
        last, over = so_far[-1], at[so_far[-1] : version]
        behind = terms(matrix.n_known[last], matrix.n_known[over], over - last)
        return predicted(curve, n[over] @ behind, certainty=certainty).low >= price

    return scheduled(matrix, is_due)


def luck(first: LossMatrix, second: LossMatrix, price: float) -> float:
    """Return how much of hindsight is luck, per request: how much worse than the best schedule of one half
    of the requests the best one of the other half is there, the mean of both ways.

    Parameters
    ----------
    first, second
        The matrices of two halves of the same requests.
    price
        Of a training in the loss of all requests; a half pays half of it.
    """
    lost = 0.0
    for chosen_on, scored_on in ((first, second), (second, first)):
        chosen, best = best_schedule(chosen_on, price / 2), best_schedule(scored_on, price / 2)
        lost += paid(scored_on, chosen, price / 2) - paid(scored_on, best, price / 2)
    return lost / float(first.n.sum() + second.n.sum())


def paid(matrix: LossMatrix, schedule: Schedule, price: float) -> float:
    """Return the summed loss under a schedule with every training after the first at its price."""
    return loss_of(matrix, schedule) + price * (len(schedule) - 1)
