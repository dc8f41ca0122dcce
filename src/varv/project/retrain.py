"""When a model is trained anew, as it is declared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from varv.kernel.clock import Duration
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.wording import call_text
from varv.loop.weighing.model import BenefitPolicy
from varv.project.arguments import declared_duration
from varv.project.price import Cost, price_of

_KINDS = ("performance", "drift", "calibration", "benefit", "schedule", "volume")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")


class Retrain:
    """When a new candidate is trained.

    Parameters
    ----------
    on
        Any of ``"performance"``, ``"drift"`` and ``"calibration"`` (an alarm of that kind),
        ``"schedule:30d"`` (so long after the last training), ``"volume:25%"`` (so many more rows with an
        outcome than at the last training) and ``"benefit"`` (a fresh model would have saved what a training
        costs). An empty list never retrains.
    cooldown
        The least time between two trainings; what comes in between waits.
    cost
        What a training may cost, which ``"benefit"`` weighs and `varv replay --regret` judges by: a summed
        loss, such as 30 (nats, of the log-loss); ``"0.01 on 10000 requests"``, which is 100; in money,
        ``varv.money(training=400, loss=2)``; or a budget, ``"12 a year"``, from which the price follows that
        would have led to so many trainings in the past.
    certainty
        With which ``"benefit"`` must know that a training is worth its cost.

    Raises
    ------
    InvalidDeclaration
        If a trigger is not understood or is there twice.
    """

    def __init__(
        self,
        on: Sequence[str] = ("performance", "schedule:30d"),
        *,
        cooldown: str = "3d",
        cost: Cost | None = None,
        certainty: float = 0.9,
    ) -> None:
        self.alarms: frozenset[str] = frozenset()
        self.price = None if cost is None else price_of(cost)
        self.certainty = _certainty(certainty)
        self.schedule: Duration | None = None
        self.volume: float | None = None
        if isinstance(on, str) or not isinstance(on, Sequence):
            raise InvalidDeclaration(
                "retrain", "on", "is not a list", given=repr(on)[:60], hint='write on=["performance"]'
            )
        seen: set[str] = set()
        for trigger in on:
            kind = self._declare(trigger)
            if kind in seen:
                raise InvalidDeclaration("retrain", "on", f"names {kind!r} twice", hint="keep one of them")
            seen.add(kind)
        if "benefit" in seen and self.price is None:
            hint = 'say what a training may cost: cost="0.01 on 10000 requests", or cost="12 a year"'
            raise InvalidDeclaration("retrain", "on", "weighs a benefit against no cost", hint=hint)
        given = {"on": list(on), "cooldown": cooldown, "cost": cost, "certainty": certainty}
        self.text = call_text("varv.Retrain", given, {"cooldown": "3d", "cost": None, "certainty": 0.9})
        """How it is written in Python."""
        self.on = tuple(on)
        self.cooldown = declared_duration("retrain", "cooldown", cooldown)

    @property
    def benefit(self) -> BenefitPolicy | None:
        """What a training may cost, if it is to be worth that."""
        if "benefit" not in self.on or self.price is None:
            return None
        return BenefitPolicy(self.price, self.certainty)

    def _declare(self, trigger: object) -> str:
        kind, _, detail = trigger.partition(":") if isinstance(trigger, str) else ("", "", "")
        if kind in ("performance", "drift", "calibration") and not detail:
            self.alarms |= {kind}
        elif kind == "benefit" and not detail:
            pass
        elif kind == "schedule" and detail:
            self.schedule = declared_duration("retrain", "schedule", detail)
        elif kind == "volume" and (share := _PERCENT.fullmatch(detail)) and 0 < float(share[1]) <= 1e6:
            self.volume = float(share[1]) / 100
        else:
            hint = f"use {', '.join(_KINDS[:4])}, schedule:30d or volume:25%"
            raise InvalidDeclaration("retrain", "on", f"has no trigger {str(trigger)[:60]!r}", hint=hint)
        return kind

    @classmethod
    def never(cls) -> Retrain:
        """Declare that the first model stays."""
        return cls(on=[])


def _certainty(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0.5 <= given < 1:
        hint = "write certainty=0.9; from 0.5 to below 1"
        problem = "is not allowed"
        raise InvalidDeclaration("retrain", "certainty", problem, given=repr(given)[:60], hint=hint)
    return float(given)
