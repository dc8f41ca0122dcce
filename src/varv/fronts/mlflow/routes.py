"""How a part of the API is declared: a path, what its request says, and what answers it.

A handler that reads is given a connection, one that writes returns a piece of work for the recorder and a
function that says what the answer to it is. Both are plain functions; what is asynchronous is in `app`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from varv.kernel.recorder import Write

A = TypeVar("A", bound=msgspec.Struct)

API = "/api/2.0/mlflow/"
API_3 = "/api/3.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/"


class Nothing(msgspec.Struct):
    """A request that says nothing, or nothing that is asked for."""


@dataclass(frozen=True)
class Route(Generic[A]):
    """One method and path of the API.

    ``{name}`` in a path stands for one segment, which is handed to the request's field of that name.
    """

    method: str
    path: str
    """Below `API`, or from the root if it begins with a slash."""
    asked: type[A]
    """What the body says, or the query of a GET."""
    answer: Callable[[Any, A], Any]
    """Takes the desk of its area and the request."""
    reads: bool = False
    """Whether it only reads though it is no GET, as searches do."""
    slow: bool = False
    """Whether it may take longer than others should wait; it is answered in a thread then."""

    @property
    def whole_path(self) -> str:
        """The path from the root."""
        return self.path if self.path.startswith("/") else API + self.path


@dataclass(frozen=True)
class Written:
    """What a handler that writes returns: the work, and what is answered once it is durable. That is nothing
    if neither way to an answer is given.
    """

    write: Write[Any]
    answer: Callable[[sqlite3.Connection, Any], object] | None = None
    """Takes a connection that shows what was written, and the result."""
    known: Callable[[Any], object] | None = None
    """Takes the result, where that alone says it."""


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return parameters or tags as the protocol lists them."""
    return [{"key": key, "value": value} for key, value in values.items()]


def number(value: float | None) -> float | str:
    """Return a number as the protocol has it: JSON knows no number that is none.

    Examples
    --------
    >>> number(0.5), number(None)
    (0.5, 'NaN')
    """
    return "NaN" if value is None or value != value else value
