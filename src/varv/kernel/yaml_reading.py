"""YAML from a stranger, read as events of the parser: no tags or aliases, bounds on bytes, depth and nodes.

What it says becomes texts, lists and mappings, and where that is wanted numbers, truth values and times.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import yaml

from varv.kernel.errors import InvalidInput

LARGEST_BYTES = 1024 * 1024
DEEPEST = 32
MOST_NODES = 50_000

Scalar = str | int | float | bool | dt.date | None
Node = Scalar | list["Node"] | dict[str, "Node"]


class Refusal(Protocol):
    """Makes the error that says what is wrong with the file."""

    def __call__(self, problem: str, **facts: object) -> InvalidInput:
        """Return it."""
        ...


def read_yaml(data: bytes, refused: Refusal, *, texts_alone: bool = False) -> Node:
    r"""Return the first document of a file.

    Parameters
    ----------
    refused
        Makes the errors.
    texts_alone
        Every scalar is its text, but for null.

    Raises
    ------
    InvalidInput
        What `refused` makes: if it is not YAML, is too large, too deep or has too much in it, or has tags or
        aliases.

    Examples
    --------
    >>> read_yaml(b"a: [1, 0.5, true, 'no', ~]", lambda problem, **facts: InvalidInput("file", "a", problem))
    {'a': [1, 0.5, True, 'no', None]}
    """
    if len(data) > LARGEST_BYTES:
        raise refused("is too large", size_bytes=len(data), limit=LARGEST_BYTES)
    scalar = _text if texts_alone else _typed
    try:
        return _Reader(yaml.parse(data.decode(), Loader=_LOADER), refused, scalar).document()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise refused(f"is not YAML: {' '.join(str(error).split())[:100]}") from None


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader:
    """Builds one document from the parser's events."""

    def __init__(self, events: Iterator[Any], refused: Refusal, scalar: Callable[[Any], Scalar]) -> None:
        self._events = events
        self._refused = refused
        self._scalar = scalar
        self._n_nodes = 0

    def document(self) -> Node:
        for event in self._events:
            if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
                return None if isinstance(event, yaml.StreamEndEvent) else self._node(event, 0)
        return None

    def _node(self, event: Any, depth: int) -> Node:
        self._n_nodes += 1
        if depth > DEEPEST or self._n_nodes > MOST_NODES:
            raise self._refused("holds too much, or holds it too deep", deepest=DEEPEST, most=MOST_NODES)
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            raise self._refused("is not YAML without tags and aliases")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._node(part, depth + 1) for part in self._until(yaml.SequenceEndEvent)]
        found: dict[str, Node] = {}
        for key in self._until(yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._refused("has a key that is no text")
            found[key.value] = self._node(next(self._events), depth + 1)
        return found

    def _until(self, end: type[Any]) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event


def _text(event: Any) -> Scalar:
    is_null = event.implicit[0] and event.value in ("", "null", "~")
    return None if is_null else event.value


def _typed(event: Any) -> Scalar:
    """Return a scalar as the library's safe loader reads it."""
    if not event.implicit[0]:
        return event.value
    loader = yaml.SafeLoader("")
    node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, event.value, (True, False)), event.value)
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return event.value
