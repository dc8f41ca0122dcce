"""How a rollout is declared, and the plan that the declaration becomes.

A plan is frozen and goes into the ledger with the start of a rollout, so each is judged by the rules it
started with. Everything wrong with a declaration is found here, before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

import msgspec

from varv.kernel.clock import Duration, duration, spoken
from varv.kernel.errors import InvalidDeclaration, InvalidInput

_PROVEN = re.compile(r"until proven or (\S+)")
_MARGIN = re.compile(r"not worse by (\d+(?:\.\d+)?)")
_RISKS = {"false_rollback", "false_promote"}


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one rollout, as they stand in the ledger."""

    immediate: bool = False
    """Promote as soon as the version is warm; nothing is measured."""
    shadow_limit: Duration
    """How long to wait in the shadow for a proof before a small share is risked without one."""
    shares: tuple[float, ...]
    """Shares of the canary steps, rising, each below 1. Promotion follows the last."""
    margin: float
    """The mean log-loss by which a candidate may be worse and still count as safe."""
    bake: Duration
    """The least time at each share."""
    min_labels: int
    """The least number of labelled requests in the shadow and at each share."""
    false_rollback: float
    """The chance that a candidate that is no worse is ever rolled back on evidence."""
    false_promote: float
    """The chance that a candidate worse by `margin` is ever taken for safe."""
    deadline: Duration
    """How long a rollout may take before it is held for a person to see."""

    probation: Duration = Duration(0)
    """How long after its promotion a version is compared with the champion before."""

    @property
    def harm_at(self) -> float:
        """The log e-value at which a candidate is rolled back.

        The accepted risk is divided among the shadow, the shares, and the probation.
        """
        return log((2 + len(self.shares)) / self.false_rollback)

    @property
    def safety_at(self) -> float:
        """The log e-value from which a candidate counts as proven."""
        return log(1 / self.false_promote)


class Rollout:
    """How a candidate takes over from the champion: unseen in the shadow, then at rising shares.

    Parameters
    ----------
    shadow
        ``"until proven or 2d"``: score every request beside the champion until the candidate is proven safe,
        or the time is over and nothing speaks against it.
    steps
        Percentages of the requests, rising, the last one 100.
    guard
        What must not get worse, and by how much: ``{"log_loss": "not worse by 0.01"}``.
    bake
        The least time at each step.
    min_labels
        The least number of outcomes in the shadow and at each step.
    risk
        Accepted chances of a wrong verdict, ``{"false_rollback": 0.05, "false_promote": 0.05}``.
    deadline
        After this long without a verdict the rollout is held at its present share, for a person to see.
    probation
        After its promotion a version is compared with the champion before for so long, on every request. No
        rollout is long enough to show harm that is large and rare; if it shows now, the champion before comes
        back by itself. ``"0d"`` for none.

    Raises
    ------
    InvalidDeclaration
        If an argument is not of the form above; the error names it.

    Examples
    --------
    >>> Rollout(steps=[10, 100]).plan.shares
    (0.1,)
    """

    def __init__(
        self,
        *,
        shadow: str = "until proven or 2d",
        steps: Sequence[float] = (5, 25, 100),
        guard: Mapping[str, str] | None = None,
        bake: str = "12h",
        min_labels: int = 200,
        risk: Mapping[str, float] | None = None,
        deadline: str = "7d",
        probation: str = "14d",
    ) -> None:
        false_rollback, false_promote = _risk(risk)
        self.plan = RolloutPlan(
            shadow_limit=_shadow(shadow),
            shares=_shares(steps),
            margin=_margin(guard),
            bake=_span("bake", bake),
            probation=Duration(0) if probation == "0d" else _span("probation", probation),
            min_labels=_count(min_labels),
            deadline=_span("deadline", deadline),
            false_rollback=false_rollback,
            false_promote=false_promote,
        )
        if self.plan.deadline <= self.plan.shadow_limit:
            hint = f"make it longer than the shadow, {spoken(self.plan.shadow_limit)}"
            raise _wrong("deadline", "ends before the shadow does", hint)

    @classmethod
    def immediate(cls) -> Rollout:
        """Return a rollout that promotes as soon as the version is warm; it measures nothing."""
        chosen = cls()
        chosen.plan = msgspec.structs.replace(chosen.plan, immediate=True, probation=Duration(0))
        return chosen

    def __repr__(self) -> str:
        return f"Rollout({self.plan!r})"


def _wrong(argument: str, problem: str, hint: str, **facts: object) -> InvalidDeclaration:
    return InvalidDeclaration("rollout argument", argument, problem, hint=hint, **facts)


def _span(argument: str, text: object) -> Duration:
    if not isinstance(text, str):
        raise _wrong(argument, "is not a text", f'write {argument}="12h"', given=repr(text)[:40])
    try:
        return duration(text)
    except InvalidInput as error:
        raise _wrong(argument, "is not a duration", error.hint, given=text[:40]) from None


def _shadow(text: object) -> Duration:
    found = _PROVEN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise _wrong(
            "shadow", "is not understood", 'write shadow="until proven or 2d"', given=repr(text)[:40]
        )
    return _span("shadow", found[1])


def _shares(steps: object) -> tuple[float, ...]:
    hint = "write rising percentages that end with 100: steps=[5, 25, 100]"
    if isinstance(steps, str) or not isinstance(steps, Sequence) or not 1 <= len(steps) <= 20:
        raise _wrong("steps", "is not a list of 1 to 20 percentages", hint, given=repr(steps)[:60])
    numbers = [step for step in steps if _is_number(step)]
    rising = all(high - low >= 0.01 for low, high in pairwise([0, *numbers]))
    if len(numbers) < len(steps) or not rising or numbers[-1] != 100:
        raise _wrong("steps", "does not rise to 100 by at least 0.01 a step", hint, given=repr(steps)[:60])
    return tuple(step / 100 for step in numbers[:-1])


def _margin(guard: object) -> float:
    hint = 'write guard={"log_loss": "not worse by 0.01"}'
    if guard is None:
        return 0.01
    if not isinstance(guard, Mapping) or set(guard) != {"log_loss"}:
        raise _wrong("guard", "does not name exactly the metric log_loss", hint, given=repr(guard)[:60])
    found = _MARGIN.fullmatch(guard["log_loss"]) if isinstance(guard["log_loss"], str) else None
    margin = float(found[1]) if found else 0.0
    if not 0.0001 <= margin <= 1:
        raise _wrong("guard", "has no margin between 0.0001 and 1", hint, given=repr(guard["log_loss"])[:40])
    return margin


def _risk(risk: object) -> tuple[float, float]:
    hint = 'write risk={"false_rollback": 0.05, "false_promote": 0.05}'
    if risk is not None and (not isinstance(risk, Mapping) or not set(risk) <= _RISKS):
        raise _wrong("risk", "has an unknown name", hint, given=repr(risk)[:60])
    given = dict(risk or {})
    for name, chance in given.items():
        if not _is_number(chance) or not 1e-6 <= chance <= 0.5:
            raise _wrong(
                "risk", f"gives {name} no chance between 0.000001 and 0.5", hint, given=repr(chance)[:40]
            )
    return float(given.get("false_rollback", 0.05)), float(given.get("false_promote", 0.05))


def _count(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10**9:
        raise _wrong(
            "min_labels", "is not a count of at least 1", "write min_labels=200", given=repr(number)[:40]
        )
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
