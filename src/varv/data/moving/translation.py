"""What a translation of a contract gives: rules or a document, and all that could not be translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import polars as pl

from varv.data.contracts.model import Expectation
from varv.data.contracts.words import rule_name, rule_reason
from varv.kernel.errors import InvalidInput
from varv.kernel.yaml_reading import LARGEST_BYTES, read_yaml

Tool = Literal["pandera", "gx"]
Origin = Literal["pandera", "gx", "dbt"]
"""Where rules are read from; they are written for a `Tool`."""
_MOST_SHOWN = 100


class LeftOut(msgspec.Struct, frozen=True):
    """Something that was not translated, and why."""

    what: str
    why: str


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of another tool's file."""

    tool: Origin
    expectations: tuple[Expectation, ...]
    left_out: tuple[LeftOut, ...] = ()
    held: tuple[str, ...] = ()
    """What a dataset holds by itself, such as its columns and their types."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """Rules as a document of another tool."""

    tool: Tool
    document: dict[str, Any]
    left_out: tuple[LeftOut, ...] = ()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the dataset that a file is about."""

    name: str
    part: str
    """Its time column, which names the part."""
    types: Mapping[str, pl.DataType]


class Collector:
    """Collects rules while a file is read, and whatever is none."""

    def __init__(self, shape: Shape | None) -> None:
        self.shape = shape
        self.left_out: list[LeftOut] = []
        self.held: list[str] = []
        self._found: list[Expectation] = []

    def take(self, what: str, make: Callable[[], Expectation | Sequence[Expectation]]) -> None:
        """Take the rules that a function makes; list what they were for if they cannot be."""
        try:
            made = make()
        except (InvalidInput, KeyError, TypeError, ValueError) as error:
            self.leave(what, _why(error))
            return
        for one in [made] if isinstance(made, Expectation) else made:
            strange = [name for name in one.columns if self.shape and name not in self.shape.types]
            if strange:
                self.leave(what, f"the dataset has no column {strange[0]!r}")
            else:
                self._found.append(one)

    def leave(self, what: str, why: str) -> None:
        """List something that is not translated."""
        self.left_out.append(LeftOut(what[:_MOST_SHOWN], why))

    def translated(self, tool: Origin) -> Translated:
        """Return what was found, each rule under a name of its own and none twice."""
        return Translated(
            tool=tool,
            expectations=tuple(_named_apart(self._found)),
            left_out=tuple(self.left_out),
            held=tuple(dict.fromkeys(self.held)),
        )


def read_document(data: bytes, name: str) -> dict[str, Any]:
    """Return what a file of JSON or YAML says.

    Raises
    ------
    InvalidInput
        If it is neither, is too large, or is no mapping.
    """

    def refused(problem: str, **facts: object) -> InvalidInput:
        hint = "give a schema of Pandera or a suite of Great Expectations"
        return InvalidInput("file", name, problem, hint=hint, **facts)

    if len(data) > LARGEST_BYTES:
        raise refused("is too large", size_bytes=len(data), limit=LARGEST_BYTES)
    found: object
    if data.lstrip()[:1] == b"{":
        try:
            found = msgspec.json.decode(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise refused(f"is not JSON: {str(error)[:100]}") from None
    else:
        found = read_yaml(data, refused)
    if not isinstance(found, dict):
        raise refused("is no mapping")
    return found


def _why(error: Exception) -> str:
    if isinstance(error, InvalidInput):
        return f"{error.problem}; {error.hint}" if error.hint else error.problem
    if isinstance(error, KeyError):
        return f"has no {error.args[0]}"
    return str(error)[:200] or type(error).__name__


def _named_apart(found: Sequence[Expectation]) -> list[Expectation]:
    """Return rules without repeats, those that reports would call alike with a number."""
    kept: list[Expectation] = []
    reasons: set[str] = set()
    for one in found:
        if any(one.is_same(msgspec.structs.replace(other, name=one.name)) for other in kept):
            continue
        named, number = one, 2
        while rule_reason(named) in reasons:
            name = f"{rule_name(one)} {number}" if one.name else f"{rule_reason(one)} ({number})"
            named, number = msgspec.structs.replace(one, name=name), number + 1
        reasons.add(rule_reason(named))
        kept.append(named)
    return kept
