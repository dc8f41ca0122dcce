"""Events and their bytes: frozen structs with a name and a version, canonical JSON, upcasting on read.

Canonical JSON has sorted keys, no spaces and the shortest float form, so equal values have equal bytes and a
digest means something. Old events are never rewritten: a reader lifts them, version by version, to today's
shape.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, NewType, TypeVar

import msgspec

from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.wording import facts, flat

Digest = NewType("Digest", str)
"""A SHA-256 in lower-case hexadecimal, 64 characters."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened. Subclasses are registered with `event`."""

    event_name: ClassVar[str] = ""
    event_version: ClassVar[int] = 1
    in_file: ClassVar[bool] = False
    """Whether its read model is a file of tables (`kernel.recorder`), so that no view in memory takes it in.
    """

    def line(self) -> str:
        """Return one line of plain text on what this event states: its fields, where its class has no better
        words.
        """
        return facts(flat(msgspec.to_builtins(self)))


E = TypeVar("E", bound=type[Event])

_EVENTS: dict[str, type[Event]] = {}
_UPCASTERS: dict[tuple[str, int], Upcaster] = {}


def event(name: str, *, version: int = 1, upcast: Mapping[int, Upcaster] | None = None) -> Callable[[E], E]:
    """Register an event class under a stable `name`, such as ``"rollout.stepped"``.

    Parameters
    ----------
    name
        The capability and what happened, in the past tense.
    version
        Raised when the fields change.
    upcast
        For each older version, a function from its fields to those of the next version.
    """

    def register(cls: E) -> E:
        if name in _EVENTS:
            raise InvalidInput("event", name, "is registered twice", hint="choose another name")
        cls.event_name, cls.event_version = name, version
        _EVENTS[name] = cls
        for old, lift in (upcast or {}).items():
            _UPCASTERS[name, old] = lift
        return cls

    return register


def registered_events() -> dict[str, type[Event]]:
    """Return every registered event class by its name."""
    return dict(sorted(_EVENTS.items()))


def is_in_file(name: str) -> bool:
    """Return whether no view in memory takes in the events of a name."""
    known = _EVENTS.get(name)
    return known is not None and known.in_file


def canonical(value: object) -> bytes:
    """Return the canonical JSON of `value`.

    Raises
    ------
    InvalidInput
        If `value` cannot be written as JSON.

    Examples
    --------
    >>> canonical({"b": 0.1, "a": [1, None]})
    b'{"a":[1,null],"b":0.1}'
    """
    try:
        return msgspec.json.encode(value, order="sorted")
    except (TypeError, msgspec.MsgspecError) as error:
        raise InvalidInput(
            "value", type(value).__name__, "cannot be written as JSON", why=str(error)
        ) from None


def digest(data: bytes) -> Digest:
    """Return the SHA-256 of `data` in hexadecimal."""
    return Digest(hashlib.sha256(data).hexdigest())


def digest_of(value: object) -> Digest:
    """Return the digest of the canonical JSON of `value`."""
    return digest(canonical(value))


def decode_event(name: str, version: int, data: bytes) -> Event:
    """Return the event that `data` holds, lifted to today's version.

    Raises
    ------
    Corrupt
        If the name is unknown, or the bytes do not fit the event's fields.
    """
    cls = _EVENTS.get(name) or _brought(name)
    try:
        if version == cls.event_version:
            return msgspec.json.decode(data, type=cls)
        fields = msgspec.json.decode(data)
        for step in range(version, cls.event_version):
            fields = _UPCASTERS[name, step](fields)
        return msgspec.convert(fields, type=cls)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise Corrupt("event", name, "does not decode", version=version, why=str(error)) from None


def _brought(name: str) -> type[Event]:
    """Return an event class that another package brings, by an entry point of the event's own name."""
    for point in entry_points(group="varv.events", name=name):
        # Whoever reads a ledger has not imported the package that wrote it; the class registers itself.
        point.load()
    if name not in _EVENTS:
        hint = "upgrade varv, or install the package that brings it"
        raise Corrupt("event", name, "is not known to this version of varv", hint=hint)
    return _EVENTS[name]


def finite(value: float) -> float | None:
    """Return `value`, or None where it is not finite, since JSON has no other way to say so."""
    return value if math.isfinite(value) else None
