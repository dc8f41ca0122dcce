"""Regret: what each policy lost beyond the best schedule in hindsight, trainings at their price included, and
the frontier of price, trainings and loss that a user chooses a price from.

Read from the losses of a version a week (`home.losses`); policies that were lived in full bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from varv.home.losses import PERIOD_DAYS, WeeklyLosses
from varv.kernel.ids import derived_seed
from varv.loop.weighing.model import Price
from varv.stats.regret import (
    LossMatrix,
    Schedule,
    best_schedule,
    by_benefit,
    by_volume,
    calendars,
    cumulative_staleness,
    loss_of,
    luck,
    paid,
)

FACTORS = (1 / 3, 1.0, 3.0)
"""Regret is shown at these multiples of the price: nobody knows it better than that."""
WEEKS = (2, 4, 8)
VOLUMES = (0.25, 0.5)
ONCE_A_MONTH = Price(a_year=12.0)
"""What a training is taken to be worth where no price is declared."""
MOST_ROWS = 14
PER_REQUESTS = 1000.0
BEST = "best in hindsight"


class AtPrice(msgspec.Struct, frozen=True):
    """What a policy did at a price: trainings after the first (the mean over where a calendar begins), loss a
    request, and regret per 1,000 requests.
    """

    n_trainings: float
    loss: float
    regret: float


class PolicyRegret(msgspec.Struct, frozen=True):
    """One policy at each of the prices; ``lived`` if it was replayed with all its delays and refusals, else
    it is scored on the losses of a version a week.
    """

    name: str
    lived: bool
    at: tuple[AtPrice, ...]


class FrontierRow(msgspec.Struct, frozen=True):
    """One price that a user may sign, and what it leads to: the best schedule in hindsight, and the trigger
    ``benefit``, which looks at nothing later.
    """

    price: float
    n_best: int
    loss_best: float
    n_benefit: int
    loss_benefit: float


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """How policies did against the best schedule in hindsight."""

    prices: tuple[float, ...]
    price_said: str
    """Where the price comes from, in words."""
    n: int
    """Requests that are scored."""
    n_versions: int
    period_days: int
    delay_days: int
    """Days that a version takes into service, in hindsight and in all policies that were not lived."""
    delay_said: str
    luck: tuple[float, ...]
    """Per 1,000 requests at each price: how much worse the schedule that is best on one half of the requests
    is on the other half than the best there.
    """
    policies: tuple[PolicyRegret, ...]
    frontier: tuple[FrontierRow, ...]


class Lived(NamedTuple):
    """A policy that was replayed: its summed loss on the same requests, and its trainings after the first."""

    name: str
    loss: float
    n_trainings: int


class Judged(NamedTuple):
    """What regret is asked by: the price as declared, how long a version takes into service, and chance."""

    price: Price | None
    """A budget is the lowest price at which hindsight trains no more often, and so is the budget of one a
    month where nothing is declared.
    """
    certainty: float
    delay_said: str
    seed: int


def price_text(price: float) -> str:
    """Return a price as it is written in a declaration.

    Examples
    --------
    >>> price_text(30.0), price_text(0.03), price_text(1234.5)
    ('30', '0.03', '1234.5')
    """
    return f"{price:.10g}"


def regret(losses: WeeklyLosses, lived: Sequence[Lived], asked: Judged) -> Regret:
    """Return the regret of every policy at a third, once and three times the price."""
    matrix, n = losses.both, float(losses.both.n.sum())
    per_training, said = _resolved(matrix, asked.price)
    prices = tuple(_four(per_training * factor) for factor in FACTORS)
    best = [paid(matrix, best_schedule(matrix, price), price) for price in prices]

    def at(tried: Sequence[tuple[float, float]]) -> tuple[AtPrice, ...]:
        """Return what trainings and losses at each price come to."""
        return tuple(
            AtPrice(
                round(n_trainings, 2),
                round(loss / n, 6),
                round((loss + price * n_trainings - least) / n * PER_REQUESTS, 3),
            )
            for (n_trainings, loss), price, least in zip(tried, prices, best, strict=True)
        )

    found = [PolicyRegret(one.name, True, at([(one.n_trainings, one.loss)] * len(prices))) for one in lived]
    for name, schedules in _policies(matrix, asked).items():
        found.append(PolicyRegret(name, False, at([_mean(matrix, schedules(price)) for price in prices])))
    lucky = [luck(losses.first, losses.second, price) * PER_REQUESTS for price in prices]
    return Regret(
        prices=prices,
        price_said=said,
        n=int(n),
        n_versions=matrix.starts.size,
        period_days=PERIOD_DAYS,
        delay_days=matrix.delay,
        delay_said=asked.delay_said,
        luck=tuple(round(one, 3) for one in lucky),
        policies=tuple(found),
        frontier=_frontier(matrix, asked),
    )


def _policies(matrix: LossMatrix, asked: Judged) -> dict[str, Callable[[float], list[Schedule]]]:
    """Return by name what each policy would have scheduled at a price: several schedules where it depends on
    where a calendar begins.
    """

    def always(schedules: list[Schedule]) -> Callable[[float], list[Schedule]]:
        return lambda _: schedules

    calendar = {f"every {every} weeks": always(calendars(matrix, every)) for every in WEEKS}
    volume = {f"volume +{growth:.0%}": always([by_volume(matrix, growth)]) for growth in VOLUMES}
    return {
        BEST: lambda price: [best_schedule(matrix, price)],
        "never": always([(0,)]),
        "every week": always(calendars(matrix, 1)),
        **calendar,
        **volume,
        "CARA cumulative": lambda price: [cumulative_staleness(matrix, price)],
        "benefit": lambda price: [_benefit(matrix, price, asked)],
    }


def _benefit(matrix: LossMatrix, price: float, asked: Judged) -> Schedule:
    rng = np.random.default_rng(derived_seed(asked.seed, "benefit in hindsight"))
    return by_benefit(matrix, price, certainty=asked.certainty, rng=rng)


def _mean(matrix: LossMatrix, schedules: Sequence[Schedule]) -> tuple[float, float]:
    """Return the mean number of trainings after the first, and the mean loss."""
    n_trainings = [len(schedule) - 1 for schedule in schedules]
    return float(np.mean(n_trainings)), float(np.mean([loss_of(matrix, schedule) for schedule in schedules]))


def _resolved(matrix: LossMatrix, price: Price | None) -> tuple[float, str]:
    """Return a price in summed loss, and where it comes from."""
    if price is not None and price.loss is not None:
        return price.loss, price.said or "as declared"
    budget = price or ONCE_A_MONTH
    assert budget.a_year is not None, "a price is a loss or a budget"
    years = matrix.n.size / 365
    found = _price_of(matrix, budget.a_year * years)
    whence = "no price is declared; taken as" if price is None else "declared as a budget:"
    return found, f"{whence} what leads hindsight to {budget.a_year:g} trainings a year"


def _price_of(matrix: LossMatrix, n_trainings: float) -> float:
    """Return the lowest price, to a hundredth of itself, at which hindsight trains at most so often."""
    total = float(np.abs(matrix.losses).sum()) + 1.0
    low, high = 1e-9 * total, total
    while high / low > 1.01:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if len(best_schedule(matrix, middle)) - 1 <= n_trainings else (middle, high)
    return high


def _frontier(matrix: LossMatrix, asked: Judged) -> tuple[FrontierRow, ...]:
    """Return prices from where hindsight trains nearly as often as it would for nothing to where it trains
    once.
    """
    most = len(best_schedule(matrix, 0.0)) - 1
    n = float(matrix.n.sum())
    low, high = _price_of(matrix, max(most - 1, 1)), _price_of(matrix, 0)
    found: list[FrontierRow] = []
    for price in _round_prices(low, high)[:MOST_ROWS]:
        best, lived = best_schedule(matrix, price), _benefit(matrix, price, asked)
        losses = (round(loss_of(matrix, schedule) / n, 6) for schedule in (best, lived))
        loss_best, loss_benefit = losses
        found.append(FrontierRow(price, len(best) - 1, loss_best, len(lived) - 1, loss_benefit))
    return tuple(found)


def _round_prices(low: float, high: float) -> list[float]:
    """Return the powers of ten and three times them, from the last below `low` to the first above `high`."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = [float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 3)]
    return [step for step in steps if low / 3.4 < step < high * 3.4]


def _four(value: float) -> float:
    return float(f"{value:.4g}")
