"""What a rollout is guarded by: losses that must not get worse, calls that must not get slower, and, where no
outcome ever comes, scores that must not move.

A guard is declared as a text before its task is known (`read`), and becomes a value of the plan once it is
(`Declared.of_task`). What guards weigh is in `rollout.tally`, what follows from it in `rollout.judgement`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import floor, isfinite, log10
from typing import NamedTuple

import msgspec

from varv.features.slices import Slice
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.wording import percent
from varv.tasks import Task
from varv.tasks.measures import OWN_UNIT, OWN_UNIT_SQUARED

LATENCY, SCORE_SHIFT = "latency", "score_shift"
"""Guards that are no losses; no task has a loss of such a name."""
MARGINS = (1e-5, 0.2)
"""A margin lies between these shares of the loss's bound."""
LEAST_BOUND = 0.01
"""Ledgers keep losses to six digits after the point, so a bound below this would leave nothing of them."""

_BY = re.compile(r"not worse by (\d+(?:\.\d+)?)(%?)")
_QUANTILE = re.compile(r"p(\d\d?(?:\.\d+)?) not above (\d+(?:\.\d+)?) ?ms")
_FACTOR = re.compile(r"not slower by (\d+(?:\.\d+)?)x")
_SHIFT = re.compile(r"at most (\d+(?:\.\d+)?)")
_HINT = 'write guard={"log_loss": "not worse by 0.01"}, with a loss of the task'
_UNITS = {OWN_UNIT: "outcome units", OWN_UNIT_SQUARED: "squared outcome units"}
_LATENCY_HINT = 'write "p99 not above 20ms" or "not slower by 2x"'


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """A loss that a candidate may be worse in by less than `margin`, on all requests or on a slice."""

    loss: str
    label: str
    """The loss in words."""
    unit: str
    """Of the loss; empty for a pure number."""
    bound: float
    """The most that a request can cost."""
    margin: float
    """In `unit`; 0 while only `relative` is known."""
    relative: float | None = None
    """The margin as a share of the champion's mean loss on held-out rows."""
    slice: Slice | None = None

    @property
    def name(self) -> str:
        """The guard as a text, which tells it from the others of a plan."""
        return self.loss if self.slice is None else f"{self.loss}, {self.slice.label}"

    @property
    def title(self) -> str:
        """The guard in words."""
        return self.label if self.slice is None else f"{self.label} of {self.slice.label}"

    @property
    def limit(self) -> str:
        """The margin with its unit: ``"0.01 nats"``."""
        return in_unit(f"{self.margin:g}", self.unit)

    @property
    def unit_words(self) -> str:
        """The unit in words; empty for a pure number."""
        return _UNITS.get(self.unit, self.unit)

    @property
    def in_words(self) -> str:
        """The loss, and its unit if it has one: ``"log-loss, nats"``."""
        return f"{self.title}, {self.unit_words}" if self.unit else self.title

    @property
    def digits(self) -> int:
        """Digits after the point that differences of the loss are shown with."""
        return digits_of(self.bound)


LOG_LOSS = Guard(loss="log_loss", label="log-loss", unit="nats", bound=6.907755278982137, margin=0.01)
"""The guard of plans that name none: they are from when every task was binary. It is a binary task's default
to this day.
"""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How slow a candidate's calls may be: one of the two is set."""

    factor: float | None = None
    """Calls that take so many times as long as the champion's are no more frequent than the other way
    round.
    """
    limit_ms: float | None = None
    """All but `share` of the calls take no longer."""
    share: float = 0.01

    @property
    def limit(self) -> str:
        """The guard in words: ``"p99 not above 20 ms"``."""
        if self.limit_ms is None:
            return f"not slower by {self.factor:g}x"
        return f"p{round(100 * (1 - self.share), 3):g} not above {self.limit_ms:g} ms"


class DeclaredLoss(NamedTuple):
    """A guard on a loss, before the task is known."""

    loss: str
    amount: float
    """In the loss's unit, or a share of the champion's loss."""
    is_relative: bool
    slice: Slice | None


class Declared(NamedTuple):
    """The guards of a declaration, before the task is known."""

    losses: tuple[DeclaredLoss, ...] = ()
    latency: Latency | None = None
    score_shift: float | None = None

    def of_task(self, task: Task) -> tuple[Guard, ...]:
        """Return the guards on losses, the one on all requests that was declared first at the head.

        Where none is on all requests, the task's default loss is added with a margin of `default_margin`: a
        candidate that is good on a slice must not ruin the rest.

        Raises
        ------
        InvalidDeclaration
            If a loss is not one that the task can be guarded by, a margin does not suit it, or the guards do
            not suit a task without outcome.
        """
        if not task.has_outcome:
            if self.losses:
                hint = 'write guard={"score_shift": "at most 0.2"}'
                raise wrong("guard", f"names a loss, and the task {task.name!r} has none", hint)
            return ()
        if self.score_shift is not None:
            hint = "guard a loss: outcomes say more than scores do"
            raise wrong("guard", f"names {SCORE_SHIFT}, and the task {task.name!r} has an outcome", hint)
        guards = [_guard(task, one) for one in self.losses]
        whole = [guard for guard in guards if guard.slice is None]
        if not whole:
            whole = [default_guard(task)]
        return (*whole, *(guard for guard in guards if guard.slice is not None))


def default_guard(task: Task) -> Guard:
    """Return the guard on the default loss of a task with its default margin.

    Notes
    -----
    A task that lacks a range has a loss without bound, and no guard yet: what is returned then has neither
    bound nor margin. Such a declaration goes as far as its history, which refuses it and proposes a range.
    """
    loss = task.loss
    if loss is None:
        raise wrong("guard", f"has no loss: the task {task.name!r} names none", "name one in default_loss")
    if loss.name not in task.guards:
        return Guard(loss=loss.name, label=loss.label, unit=loss.unit, bound=0.0, margin=0.0)
    margin = default_margin(loss.bound) if loss.margin is None else loss.margin
    return _guard(task, DeclaredLoss(loss.name, margin, False, None))


def default_margin(bound: float) -> float:
    """Return a seven-hundredth of the bound, rounded to one digit: the margin of losses that name none.

    Notes
    -----
    Of probabilities that is 0.01 nats, the margin of binary models from the start; of a regression over 660
    minutes 0.9 minutes. It is small beside what usual models differ by, and large enough to be proven.

    Examples
    --------
    >>> default_margin(6.9078), default_margin(660.0), default_margin(1.0)
    (0.01, 0.9, 0.001)
    """
    return float(f"{bound / 700:.0e}")


def read(given: object) -> Declared:
    """Return the guards that a declaration names; the task's default where it names none.

    Raises
    ------
    InvalidDeclaration
        If one is not understood.
    """
    if given is None:
        return Declared()
    if not isinstance(given, Mapping) or not given:
        raise wrong("guard", "is not a mapping of guards", _HINT, given=repr(given)[:60])
    losses: list[DeclaredLoss] = []
    latency, score_shift = None, None
    for key, text in given.items():
        if key == LATENCY:
            latency = _latency(text)
        elif key == SCORE_SHIFT:
            score_shift = _score_shift(text)
        else:
            losses.append(_loss(key, text))
    return Declared(tuple(losses), latency, score_shift)


def wrong(argument: str, problem: str, hint: str, **facts: object) -> InvalidDeclaration:
    """Return the error of an argument of a rollout."""
    return InvalidDeclaration("rollout argument", argument, problem, hint=hint, **facts)


def _loss(key: object, text: object) -> DeclaredLoss:
    name, part = key if isinstance(key, tuple) and len(key) == 2 else (key, None)
    if not isinstance(name, str) or not isinstance(part, Slice | None):
        hint = 'write "log_loss", or ("log_loss", varv.slice("carrier", "UA"))'
        raise wrong("guard", "names neither a loss nor a loss of a slice", hint, given=repr(key)[:60])
    found = _BY.fullmatch(text) if isinstance(text, str) else None
    amount = float(found[1]) if found else 0.0
    if found is None or not (amount > 0 and isfinite(amount)):
        raise wrong("guard", f"has no margin for {name}", _HINT, given=repr(text)[:40])
    if not found[2]:
        return DeclaredLoss(name, amount, False, part)
    if part is not None:
        # Held-out rows are kept without features, so the champion's loss on a slice is not known there.
        hint = f"write the margin in the unit of {name}"
        raise wrong("guard", "has a relative margin on a slice, whose loss nobody knows before", hint)
    if amount > 50:
        raise wrong("guard", f"lets {name} be worse by {amount:g} %", "write 50 % at most")
    return DeclaredLoss(name, amount / 100, True, None)


def _latency(text: object) -> Latency:
    if isinstance(text, str) and (found := _FACTOR.fullmatch(text)):
        if not 1.2 <= float(found[1]) <= 1000:
            raise wrong("guard", "has no factor of latency between 1.2 and 1000", _LATENCY_HINT)
        return Latency(factor=float(found[1]))
    if isinstance(text, str) and (found := _QUANTILE.fullmatch(text)):
        quantile, limit_ms = float(found[1]), float(found[2])
        if not (50 <= quantile <= 99.9 and 0 < limit_ms < 1e7):
            raise wrong("guard", "has no latency between p50 and p99.9, above 0 ms", _LATENCY_HINT)
        return Latency(limit_ms=limit_ms, share=round(1 - quantile / 100, 6))
    raise wrong("guard", "does not say how slow is too slow", _LATENCY_HINT, given=repr(text)[:40])


def _score_shift(text: object) -> float:
    found = _SHIFT.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0.01 <= float(found[1]) <= 3:
        hint = 'write guard={"score_shift": "at most 0.2"}, in standard deviations from 0.01 to 3'
        raise wrong("guard", "does not say how far scores may move", hint, given=repr(text)[:40])
    return float(found[1])


def _guard(task: Task, declared: DeclaredLoss) -> Guard:
    name, amount, is_relative, part = declared
    if name not in task.guards:
        known = ", ".join(task.guards) or "none before its range is declared"
        problem = f"names {name!r}, and the losses with a bound of the task {task.name!r} are {known}"
        raise wrong("guard", problem, _HINT)
    loss = task.losses[name]
    if loss.bound < LEAST_BOUND:
        problem = f"is on {name}, which is at most {loss.bound:g}: too little to keep"
        raise wrong("guard", problem, "declare the outcome in a smaller unit")
    low, high = (share * loss.bound for share in MARGINS)
    if not is_relative and not low <= amount <= high:
        problem = f"has no margin for {name} between {low:.2g} and {high:.3g}, shares of its bound"
        raise wrong("guard", problem, _HINT, given=amount)
    return Guard(
        loss=name,
        label=loss.label,
        unit=loss.unit,
        bound=loss.bound,
        margin=0.0 if is_relative else amount,
        relative=amount if is_relative else None,
        slice=part,
    )


def relative_limit(guard: Guard) -> str:
    """Return a margin that was declared as a share, in words; empty for one that was not."""
    return "" if guard.relative is None else f"{percent(guard.relative)} of the champion's loss"


def in_unit(text: str, unit: str) -> str:
    """Return a number with the unit of a loss.

    Examples
    --------
    >>> in_unit("0.01", "nats"), in_unit("0.9", "outcome"), in_unit("0.002", "")
    ('0.01 nats', '0.9 outcome units', '0.002')
    """
    return f"{text} {_UNITS.get(unit, unit)}".rstrip()


def digits_of(bound: float) -> int:
    """Return how many digits after the point a difference of losses is shown with.

    Examples
    --------
    >>> digits_of(6.9), digits_of(660.0), digits_of(0.05)
    (4, 2, 6)
    """
    return max(0, 4 - floor(log10(bound))) if bound > 0 else 4
