"""How a rollout is declared, and the plan that the declaration becomes.

A plan is frozen and goes into the ledger with the start of a rollout, so each is judged by the rules it
started with. Everything wrong with a declaration is found here, before anything runs. What it is guarded by
is in `rollout.guards`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log

import msgspec
from msgspec.structs import replace

from varv.features.slices import Slice
from varv.kernel.clock import Duration, duration, spoken
from varv.kernel.errors import InvalidInput
from varv.kernel.wording import call_text
from varv.rollout.guards import LOG_LOSS, Guard, Latency, read, wrong
from varv.rollout.luck import Luck
from varv.tasks import Task

_PROVEN = re.compile(r"until proven or (\S+)")
_RISKS = {"false_rollback", "false_promote"}
SHIFT = 0.2
"""How far scores may move where nothing is declared, in standard deviations of the champion's."""


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one rollout, as they stand in the ledger."""

    immediate: bool = False
    """Promote as soon as the version is warm; nothing is measured."""
    shadow_limit: Duration
    """How long to wait in the shadow for a proof before a small share is risked without one."""
    shares: tuple[float, ...]
    """Shares of the canary steps, rising, each below 1. Promotion follows the last."""
    margin: float
    """The mean loss by which a candidate may be worse and still count as safe, of the first of `guards`."""
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
    guards: tuple[Guard, ...] = ()
    """Losses that must not get worse, the first on all requests; plans from when every task was binary name
    none, and mean the log-loss.
    """
    latency: Latency | None = None
    score_shift: float | None = None
    """Where no outcome ever comes: how far scores may lie from the champion's, in standard deviations."""

    @property
    def guarded(self) -> tuple[Guard, ...]:
        """The losses that must not get worse, the first of them on all requests; none without outcomes."""
        if self.score_shift is not None:
            return ()
        return self.guards or (replace(LOG_LOSS, margin=self.margin),)

    @property
    def has_outcome(self) -> bool:
        """Whether anything will be known of its quality."""
        return self.score_shift is None

    @property
    def unresolved(self) -> tuple[Guard, ...]:
        """The guards whose margin is only known as a share of a loss that is not."""
        return tuple(guard for guard in self.guards if guard.relative is not None and not guard.margin)

    def resolved(self, luck: Luck) -> RolloutPlan:
        """Return the plan with margins in the unit of their loss, as far as history knows the champion's.

        Notes
        -----
        The champion's loss on held-out rows is known before the first request is scored by the candidate, so
        the margin is one that the rollout itself cannot move. Taken from the requests of the rollout it would
        grow with a champion that breaks, and forgive a candidate that breaks alike.
        """
        if all(guard.relative is None for guard in self.guards):
            return self
        guards = tuple(map(_resolved, self.guards, self.lucks(luck)))
        return replace(self, guards=guards, margin=guards[0].margin)

    def lucks(self, luck: Luck) -> tuple[Luck, ...]:
        """Return what is known of luck by each of `guarded`."""
        return tuple(luck if not n else luck.of(guard.name) for n, guard in enumerate(self.guarded))

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
        What must not get worse, and by how much: ``{"log_loss": "not worse by 0.01"}``, a loss of the task
        with a margin in its unit, or as a share of the champion's mean loss on held-out rows,
        ``"not worse by 5%"``. Several may be named, each of which the candidate must be proven by; a key
        ``("log_loss", varv.slice("carrier", "UA"))`` looks at a part of the requests. Left out, it is the
        task's default loss with a seven-hundredth of its bound, 0.01 nats of a log-loss.
        ``"latency"`` takes ``"p99 not above 20ms"`` or ``"not slower by 2x"``. A task without outcome takes
        ``"score_shift": "at most 0.2"``, how far scores may move in standard deviations, 0.2 if left out.
    bake
        The least time at each step.
    min_labels
        The least number of outcomes in the shadow and at each step; of answers, where no outcome ever comes.
    risk
        Accepted chances of a wrong verdict, ``{"false_rollback": 0.05, "false_promote": 0.05}``.
    deadline
        After this long without a verdict the rollout is held at its present share, for a person to see.
    probation
        After its promotion a version is compared with the champion before for so long, on every request. No
        rollout is long enough to show harm that is large and rare; if it shows now, the champion before comes
        back by itself. ``"0d"`` for none; without outcomes there is none.

    Raises
    ------
    InvalidDeclaration
        If an argument is not of the form above; the error names it.

    Examples
    --------
    >>> from varv.tasks import task_of
    >>> Rollout(steps=[10, 100]).plan_for(task_of("binary")).shares
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
        given = {name: value for name, value in locals().items() if name != "self"}
        self.text = call_text("varv.Rollout", given, _USUAL)
        """How it is written in Python."""
        false_rollback, false_promote = _risk(risk)
        self._guards = read(guard)
        self._rules = RolloutPlan(
            shadow_limit=_shadow(shadow),
            shares=_shares(steps),
            margin=LOG_LOSS.margin,
            bake=_span("bake", bake),
            probation=Duration(0) if probation == "0d" else _span("probation", probation),
            min_labels=_count(min_labels),
            deadline=_span("deadline", deadline),
            false_rollback=false_rollback,
            false_promote=false_promote,
            latency=self._guards.latency,
        )
        if self._rules.deadline <= self._rules.shadow_limit:
            hint = f"make it longer than the shadow, {spoken(self._rules.shadow_limit)}"
            raise wrong("deadline", "ends before the shadow does", hint)

    @classmethod
    def immediate(cls) -> Rollout:
        """Return a rollout that promotes as soon as the version is warm; it measures nothing."""
        chosen = cls()
        chosen._rules = AT_ONCE
        chosen.text = "varv.Rollout.immediate()"
        return chosen

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The parts of the requests that guards look at by themselves."""
        return tuple(one.slice for one in self._guards.losses if one.slice is not None)

    def plan_for(self, task: Task) -> RolloutPlan:
        """Return the plan of a rollout of versions with this task.

        Raises
        ------
        InvalidDeclaration
            If a guard does not suit the task: a loss it does not have or that has no bound, a margin out of
            proportion, or a loss where no outcome ever comes.
        """
        guards = self._guards.of_task(task)
        if task.has_outcome:
            return replace(self._rules, guards=guards, margin=guards[0].margin)
        shift = self._guards.score_shift
        shift = SHIFT if shift is None else shift
        return replace(self._rules, margin=0.0, probation=Duration(0), score_shift=shift)

    def __repr__(self) -> str:
        return f"Rollout({self._rules!r}, guards={self._guards!r})"


_USUAL = {
    name: one.default
    for name, one in inspect.signature(Rollout.__init__).parameters.items()
    if one.default is not inspect.Parameter.empty
}
"""The arguments of a rollout that are left out."""


def _resolved(guard: Guard, luck: Luck) -> Guard:
    if guard.relative is None or luck.level is None:
        return guard
    return replace(guard, margin=float(f"{guard.relative * luck.level:.4g}"))


def _span(argument: str, text: object) -> Duration:
    if not isinstance(text, str):
        raise wrong(argument, "is not a text", f'write {argument}="12h"', given=repr(text)[:40])
    try:
        return duration(text)
    except InvalidInput as error:
        raise wrong(argument, "is not a duration", error.hint, given=text[:40]) from None


def _shadow(text: object) -> Duration:
    found = _PROVEN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise wrong("shadow", "is not understood", 'write shadow="until proven or 2d"', given=repr(text)[:40])
    return _span("shadow", found[1])


def _shares(steps: object) -> tuple[float, ...]:
    hint = "write rising percentages that end with 100: steps=[5, 25, 100]"
    if isinstance(steps, str) or not isinstance(steps, Sequence) or not 1 <= len(steps) <= 20:
        raise wrong("steps", "is not a list of 1 to 20 percentages", hint, given=repr(steps)[:60])
    numbers = [step for step in steps if _is_number(step)]
    rising = all(high - low >= 0.01 for low, high in pairwise([0, *numbers]))
    if len(numbers) < len(steps) or not rising or numbers[-1] != 100:
        raise wrong("steps", "does not rise to 100 by at least 0.01 a step", hint, given=repr(steps)[:60])
    return tuple(step / 100 for step in numbers[:-1])


def _risk(risk: object) -> tuple[float, float]:
    hint = 'write risk={"false_rollback": 0.05, "false_promote": 0.05}'
    if risk is not None and (not isinstance(risk, Mapping) or not set(risk) <= _RISKS):
        raise wrong("risk", "has an unknown name", hint, given=repr(risk)[:60])
    given = dict(risk or {})
    for name, chance in given.items():
        if not _is_number(chance) or not 1e-6 <= chance <= 0.5:
            raise wrong(
                "risk", f"gives {name} no chance between 0.000001 and 0.5", hint, given=repr(chance)[:40]
            )
    return float(given.get("false_rollback", 0.05)), float(given.get("false_promote", 0.05))


def _count(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10**9:
        raise wrong(
            "min_labels", "is not a count of at least 1", "write min_labels=200", given=repr(number)[:40]
        )
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


AT_ONCE = replace(Rollout()._rules, immediate=True, probation=Duration(0))
"""The plan that promotes as soon as the version is warm, whatever its task; it measures nothing."""
