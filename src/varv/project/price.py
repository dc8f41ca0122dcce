"""The price of a training, as it is declared: in loss, in money, or as a budget."""

from __future__ import annotations

import math
import re

import msgspec

from varv.kernel.errors import InvalidDeclaration
from varv.loop.weighing.model import Price

_ON_REQUESTS = re.compile(r"(\d*\.?\d+(?:e-?\d+)?) on (\d[\d,_]*) requests?")
_BUDGET = re.compile(r"(\d+(?:\.\d+)?) a (year|month|week)")
_A_YEAR = {"year": 1.0, "month": 12.0, "week": 365 / 7}
_HINT = 'write cost=30 (summed loss), "0.01 on 10000 requests", varv.money(...), or a budget, "12 a year"'


class Money(msgspec.Struct, frozen=True):
    """What a training costs in money, and what a unit of summed loss does; see `money`."""

    training: float
    loss: float

    def __repr__(self) -> str:
        return f"varv.money(training={self.training:g}, loss={self.loss:g})"


Cost = float | str | Money | Price


def money(*, training: float, loss: float) -> Money:
    """Return the price of a training from what it and a loss cost in one currency.

    Parameters
    ----------
    training
        Computing, the time of who looks at it, and the risk of a rollout.
    loss
        What a loss of 1 costs, summed over requests: of the log-loss a nat, of an absolute error in minutes a
        minute.

    Raises
    ------
    InvalidDeclaration
        If one is not a positive number.
    """
    for argument, value in (("training", training), ("loss", loss)):
        _require_positive(f"money({argument}=...)", value)
    return Money(float(training), float(loss))


def price_of(cost: object) -> Price:
    """Return a declared price.

    Raises
    ------
    InvalidDeclaration
        If it is not understood, or not above zero.

    Examples
    --------
    >>> price_of("0.01 on 10000 requests").loss, price_of("1 a month").a_year
    (100.0, 12.0)
    >>> price_of(money(training=60.0, loss=2.0)).loss
    30.0
    """
    if isinstance(cost, Price):
        return cost
    if isinstance(cost, Money):
        return Price(cost.training / cost.loss, said=f"{cost.training:g} at {cost.loss:g} a unit of loss")
    if isinstance(cost, str):
        if found := _ON_REQUESTS.fullmatch(cost.strip()):
            loss = float(found[1]) * float(re.sub("[,_]", "", found[2]))
            _require_positive(repr(cost), loss)
            return Price(loss, said=cost.strip())
        if found := _BUDGET.fullmatch(cost.strip()):
            a_year = float(found[1]) * _A_YEAR[found[2]]
            _require_positive(repr(cost), a_year)
            return Price(a_year=a_year)
    elif isinstance(cost, int | float):
        _require_positive(repr(cost), cost)
        return Price(float(cost))
    raise InvalidDeclaration("retrain", "cost", "is not understood", given=repr(cost)[:60], hint=_HINT)


def _require_positive(given: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        problem = "is not a positive number"
        raise InvalidDeclaration("retrain", "cost", problem, given=f"{given}: {value!r}"[:60], hint=_HINT)
