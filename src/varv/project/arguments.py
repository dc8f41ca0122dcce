"""Arguments of declarations, checked one by one: what cannot be is told by the object and the argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from varv.kernel.clock import Duration, Instant, duration, instant
from varv.kernel.errors import InvalidDeclaration, InvalidInput
from varv.kernel.ids import checked_name

T = TypeVar("T")


class Named(Protocol):
    """Something that is declared under a name."""

    @property
    def name(self) -> str:
        """How it is called."""
        ...


def declared_name(kind: str, name: object) -> str:
    """Return the name of something declared; raise `InvalidDeclaration` if it cannot be one."""
    try:
        return checked_name(kind, name)
    except InvalidInput as error:
        raise InvalidDeclaration(kind, error.name, error.problem, hint=error.hint) from None


def declared_duration(kind: str, argument: str, text: str) -> Duration:
    """Return a declared duration; raise `InvalidDeclaration` if it is none."""
    try:
        return duration(text)
    except InvalidInput as error:
        raise InvalidDeclaration(
            kind, argument, error.problem, given=repr(text)[:60], hint=error.hint
        ) from None


def listed(argument: str, given: Sequence[T]) -> tuple[T, ...]:
    """Return what a list holds; raise `InvalidDeclaration` if it is none, as a text is none."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        hint = f"write {argument}=[...]"
        raise InvalidDeclaration("argument", argument, "is not a list", given=repr(given)[:60], hint=hint)
    return tuple(given)


def declared_column(kind: str, argument: str, name: str) -> str:
    """Return the name of a column; raise `InvalidDeclaration` if it cannot be one."""
    if not isinstance(name, str) or not name:
        hint = "give the name of a column"
        raise InvalidDeclaration(kind, argument, "is not a name", given=repr(name)[:60], hint=hint)
    return name


def declared_instant(kind: str, name: str, text: str) -> Instant:
    """Return a declared time; raise `InvalidDeclaration` if it is none."""
    try:
        return instant(text)
    except InvalidInput as error:
        raise InvalidDeclaration(
            kind, name, f"has a bad time: {error.problem}", given=repr(text)[:40], hint=error.hint
        ) from None


def require_types(name: str, **checks: tuple[object, type]) -> None:
    """Check arguments of a model, each with its type; raise `InvalidDeclaration` if one has another."""
    for argument, (value, expected) in checks.items():
        if not isinstance(value, expected):
            problem = f"has {argument}={repr(value)[:60]}"
            raise InvalidDeclaration("model", name, problem, hint=f"give a varv.{expected.__name__}")


def require_one_of_each_name(kind: str, things: Sequence[Named]) -> None:
    """Check that different objects have different names; one object may be there several times.

    Raises
    ------
    InvalidDeclaration
        If two objects share a name.
    """
    seen: dict[str, Named] = {}
    for thing in things:
        if seen.setdefault(thing.name, thing) is not thing:
            hint = "share one object, or rename one of them"
            raise InvalidDeclaration(kind, thing.name, "is declared twice", hint=hint)
