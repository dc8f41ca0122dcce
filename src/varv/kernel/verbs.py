"""Verbs: each use case described once, so that every front can offer it.

A room declares its verbs where they are done: `verb` stands above a function of the part that it works on and
of the request, and everything else that a front needs follows from the signature. REST paths, command lines
and clients are derived from the table; a front decodes a request here and never validates by itself.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Generic, NewType, TypeVar, get_type_hints

import msgspec

from varv.kernel.errors import AlreadyExists, InvalidInput, NotFound

Permission = NewType("Permission", str)
READ, WRITE, OPERATE = Permission("read"), Permission("write"), Permission("operate")
EXPORT = Permission("export")
"""To take rows out in bulk, which a server with a token gives to its holders only."""
REVEAL = Permission("reveal")
"""To read what is encrypted, which only a server with a token gives, and to its holders only."""

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
MOST_REQUEST_BYTES = 1 << 20
_MARK = "__verb__"


class Verb(msgspec.Struct, Generic[Q, R], frozen=True, kw_only=True):
    """One use case.

    `name` is the capability and the act, ``"model.rollback"``; `summary` one sentence for help texts;
    `request` a frozen struct; `permission` what the caller must hold; `run` does it.
    """

    name: str
    summary: str
    request: type[Q]
    result: Any
    permission: Permission
    run: Callable[[Q], R]

    def decode(self, data: bytes) -> Q:
        """Return the request that the JSON text `data` holds; nothing is coerced.

        Raises
        ------
        InvalidInput
            If it is not JSON, is over a mebibyte, or a field is missing, unknown or of the wrong type; the
            field is named.
        """
        if len(data) > MOST_REQUEST_BYTES:
            raise InvalidInput(
                "request", self.name, "is too large", size_bytes=len(data), most=MOST_REQUEST_BYTES
            )
        try:
            fields = msgspec.json.decode(data or b"{}")
            if isinstance(fields, dict):
                self._require_known(fields)
            return msgspec.convert(fields, type=self.request)
        except (msgspec.ValidationError, RecursionError) as error:
            said = _AT.fullmatch(str(error))
            problem, field = said.groups() if said else (str(error), "")
            where = f"{self.name} field {field}" if field else self.name
            raise InvalidInput("request", where, f"is not valid: {problem}", hint=self._hint()) from None
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidInput(
                "request", self.name, "is not JSON", why=str(error), hint=self._hint()
            ) from None

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schemas of the request and the result, under ``"request"`` and ``"result"``."""
        return {"request": msgspec.json.schema(self.request), "result": msgspec.json.schema(self.result)}

    def _require_known(self, fields: dict[str, Any]) -> None:
        known = [field.encode_name for field in msgspec.structs.fields(self.request)]
        for field in fields:
            if field not in known:
                raise InvalidInput(
                    "request", f"{self.name} field {field[:80]}", "does not exist", hint=_meant(field, known)
                )

    def _hint(self) -> str:
        fields = msgspec.structs.fields(self.request)
        return f"give {', '.join(field.encode_name for field in fields)}" if fields else "give {}"


class _Declared(msgspec.Struct, frozen=True):
    """What `verb` says of a function."""

    name: str
    permission: Permission


def verb(name: str, *, needs: Permission) -> Callable[[F], F]:
    """Declare a function ``(part, request) -> result`` as a use case; its first line is what help says.

    Parameters
    ----------
    name
        The capability and the act, ``"model.rollback"``.
    needs
        What the caller must hold.
    """

    def declare(function: F) -> F:
        setattr(function, _MARK, _Declared(name, needs))
        return function

    return declare


def declared_in(module: ModuleType, part_of: Callable[[type[Any]], Any]) -> Iterator[Verb[Any, Any]]:
    """Yield the verbs that a module declares.

    Parameters
    ----------
    part_of
        Returns the part of a type that a verb works on; asked at each call, so that a part may be made later.

    Raises
    ------
    InvalidInput
        If a function that is declared as a verb does not say what it takes and gives.
    """
    for function in vars(module).values():
        said = getattr(function, _MARK, None)
        if said is None or function.__module__ != module.__name__:
            continue
        hints = get_type_hints(function)
        names = [*inspect.signature(function).parameters]
        if len(names) != 2 or not {*names, "return"} <= hints.keys():
            hint = "write def rollback(loops: Loops, asked: Rollback) -> RolledBack"
            raise InvalidInput("verb", said.name, "does not say what it takes and gives", hint=hint)
        yield Verb(
            name=said.name,
            summary=(inspect.getdoc(function) or "").split("\n")[0],
            request=hints[names[1]],
            result=hints["return"],
            permission=said.permission,
            run=_bound(function, hints[names[0]], part_of),
        )


def _bound(
    function: Callable[[Any, Any], Any], kind: type[Any], part_of: Callable[[type[Any]], Any]
) -> Callable[[Any], Any]:
    return lambda asked: function(part_of(kind), asked)


class VerbTable:
    """All verbs of a program, by name."""

    def __init__(self) -> None:
        self._verbs: dict[str, Verb[Any, Any]] = {}

    def register(self, verb: Verb[Any, Any]) -> None:
        """Add a verb.

        Raises
        ------
        InvalidInput
            If its name has not the form ``"model.rollback"``, or its request is not a frozen struct.
        AlreadyExists
            If the name is taken.
        """
        if not _NAME.fullmatch(verb.name):
            raise InvalidInput(
                "verb", verb.name, "is not a capability and an act", hint="write model.rollback"
            )
        if not verb.request.__struct_config__.frozen:
            raise InvalidInput(
                "verb", verb.name, "has a request that can change", hint="make the struct frozen"
            )
        if verb.name in self._verbs:
            raise AlreadyExists("verb", verb.name)
        self._verbs[verb.name] = verb

    def get(self, name: str) -> Verb[Any, Any]:
        """Return a verb.

        Raises
        ------
        NotFound
            If there is none; the hint names the nearest.
        """
        if name not in self._verbs:
            raise NotFound("verb", name[:80], hint=_meant(name, list(self._verbs)))
        return self._verbs[name]

    def __iter__(self) -> Iterator[Verb[Any, Any]]:
        return iter(sorted(self._verbs.values(), key=lambda verb: verb.name))


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:80], known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
