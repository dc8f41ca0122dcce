"""Steps as authors declare them: functions whose parameters and results have types, bound to what they are
given.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints, overload

import msgspec

from varv.kernel.clock import SECOND, duration
from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.executor import Limits
from varv.kernel.ids import checked_name
from varv.kernel.sizes import size_bytes
from varv.pipelines import values
from varv.pipelines.reporting import Report

MOST_RETRIES = 20
SEED, KEY = "seed", "idempotency_key"
"""Parameters that are given by the run where nobody binds them."""
P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function that can stand in a pipeline; see `step`. Called, it is the function itself."""

    def __init__(self, function: Callable[P, R], options: _Options) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        self.name = checked_name("step", getattr(function, "__name__", "").strip("_"))
        self.inputs, self.returns = _types(self.name, function)
        self.reports = next((one for one, kind in get_type_hints(function).items() if kind is Report), "")
        _require_own(self.name, self.inputs, options)
        for one, value in options.defaults.items():
            fitting(self.name, one, self.inputs[one], value)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    def bind(self, *args: object, **kwargs: object) -> Node:
        """Return the step with what it is given: results of other nodes, or values.

        Raises
        ------
        InvalidDeclaration
            If a parameter is missing or unknown, or is given what is not of its type.
        """
        try:
            given = dict(inspect.signature(self.function).bind_partial(*args, **kwargs).arguments)
        except TypeError as error:
            raise InvalidDeclaration("step", self.name, f"cannot be bound: {error}") from None
        for one, kind in self.inputs.items():
            if one in given:
                given[one] = fitting(self.name, one, kind, given[one])
            elif one not in self.options.defaults and one not in (SEED, KEY):
                problem = f"is not given {one!r}"
                raise InvalidDeclaration("step", self.name, problem, hint=f"bind {one}=")
        if self.reports in given:
            problem = f"is given {self.reports!r}, which whoever runs it gives"
            raise InvalidDeclaration("step", self.name, problem, hint="leave it out")
        return Node(self, self.name, given, ())


class Node:
    """A step in a pipeline: what it is called there, and what it is given."""

    def __init__(
        self, step: Step[..., Any], name: str, given: Mapping[str, object], waits_for: tuple[Node, ...]
    ) -> None:
        self.step, self.name, self.given, self.waits_for = step, name, dict(given), waits_for

    def named(self, name: str) -> Node:
        """Return the node under another name than that of its function."""
        return Node(self.step, checked_name("step", name), self.given, self.waits_for)

    def after(self, *nodes: Node) -> Node:
        """Return the node as one that waits for others, gates above all, without taking anything of them.

        Raises
        ------
        InvalidDeclaration
            If one of them is no node.
        """
        for one in nodes:
            if not isinstance(one, Node):
                problem = f"comes after a {type(one).__name__}"
                raise InvalidDeclaration("step", self.name, problem, hint="give what .bind(...) returned")
        return Node(self.step, self.name, self.given, (*self.waits_for, *nodes))

    @property
    def before(self) -> tuple[Node, ...]:
        """The nodes that must have ended."""
        return (*(one for one in self.given.values() if isinstance(one, Node)), *self.waits_for)

    @property
    def params(self) -> dict[str, Any]:
        """What it is given that is no result of another one, defaults of the function included."""
        given = {**self.step.options.defaults, **self.given}
        named = {name: given[name] for name in self.step.inputs if name in given}
        return {name: one for name, one in named.items() if not isinstance(one, Node)}


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    retries: int
    backoff_s: float
    limits: Limits
    effect: bool
    version: str
    defaults: dict[str, Any]


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    retries: int = ...,
    backoff: str = ...,
    time: str | None = ...,
    memory: str | None = ...,
    effect: bool = ...,
    version: str = ...,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    retries: int = 0,
    backoff: str = "1s",
    time: str | None = None,
    memory: str | None = None,
    effect: bool = False,
    version: str = "",
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step of pipelines. All its parameters and its result have types.

    A parameter ``seed: int`` that nobody binds is given the seed of the pipeline, and one of type
    `varv.Report` what tells a study of progress.

    Parameters
    ----------
    retries, backoff
        How often it runs again once it has failed, and how long it waits before the first time; each wait is
        twice as long as the one before, five minutes at most.
    time, memory
        What one attempt may take in a process of its own, such as ``"2h"`` and ``"8GB"``.
    effect
        Whether it changes something elsewhere. It then runs each time, and a parameter ``idempotency_key:
        str`` is given what stays the same if it runs again for the same inputs.
    version
        Vouches for what its code reaches and nobody can follow, such as an object made at import: change it
        when that changes. Without one, such a step is never taken from the cache.

    Raises
    ------
    InvalidDeclaration
        If a type is missing or cannot be stored, or an option is out of range.
    """
    if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= MOST_RETRIES:
        hint = f"write a whole number from 0 to {MOST_RETRIES}"
        raise InvalidDeclaration("step", "retries", "is not allowed", given=repr(retries)[:60], hint=hint)
    limits = Limits()
    if time is not None:
        limits = msgspec.structs.replace(limits, time_s=duration(time) / SECOND)
    if memory is not None:
        limits = msgspec.structs.replace(limits, memory_bytes=size_bytes(memory))

    def made(function: Callable[P, R]) -> Step[P, R]:
        options = _Options(
            retries=retries,
            backoff_s=duration(backoff) / SECOND,
            limits=limits,
            effect=effect,
            version=version,
            defaults=_defaults(function),
        )
        return Step(function, options)

    return made if function is None else made(function)


def _types(name: str, function: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError, AttributeError) as error:
        hint = "import the types where the function stands"
        raise InvalidDeclaration(
            "step", name, "has types that do not resolve", why=str(error), hint=hint
        ) from None
    returns = hints.pop("return", inspect.Parameter.empty)
    if returns is inspect.Parameter.empty:
        raise InvalidDeclaration("step", name, "does not say what it returns", hint="write -> TYPE")
    inputs: dict[str, Any] = {}
    for one in inspect.signature(function).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            problem = f"has a parameter {one.name!r} that cannot be bound by name"
            raise InvalidDeclaration("step", name, problem, hint="name each parameter")
        if one.name not in hints:
            problem = f"has a parameter {one.name!r} without a type"
            raise InvalidDeclaration("step", name, problem, hint=f"write {one.name}: TYPE")
        if hints[one.name] is Report:
            continue
        inputs[one.name] = hints[one.name]
        values.require_carried(name, one.name, hints[one.name])
    values.require_carried(name, "its result", returns)
    return inputs, returns


def _require_own(name: str, inputs: Mapping[str, Any], options: _Options) -> None:
    """Check the parameters that a run gives."""
    for one, kind in ((SEED, int), (KEY, str)):
        if one in inputs and inputs[one] is not kind:
            problem = f"has a parameter {one!r} that is no {kind.__name__}"
            raise InvalidDeclaration("step", name, problem, hint=f"write {one}: {kind.__name__}")
    if KEY in inputs and not options.effect:
        problem = f"has a parameter {KEY!r}, and no effect"
        raise InvalidDeclaration("step", name, problem, hint="write @varv.step(effect=True)")


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    found = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in found if one.default is not one.empty}


def fitting(step: str, parameter: str, kind: Any, given: object) -> object:
    """Return what a parameter is given.

    Raises
    ------
    InvalidDeclaration
        If it is not of the parameter's type.
    """
    problem = f"is given a {{}} for {parameter!r}, which is a {values.shown(kind)}"
    if isinstance(given, Node):
        if not values.accepts(kind, given.step.returns):
            raise InvalidDeclaration("step", step, problem.format(values.shown(given.step.returns)))
        return given
    try:
        return msgspec.convert(msgspec.json.decode(canonical(given)), kind, strict=True)
    except (msgspec.MsgspecError, InvalidInput, TypeError):
        shown = f"{type(given).__name__} {given!r}"[:80]
        hint = "bind a value that JSON can hold, or the result of a step"
        raise InvalidDeclaration("step", step, problem.format(shown), hint=hint) from None
