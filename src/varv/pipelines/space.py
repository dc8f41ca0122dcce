"""Spaces of parameters, as searches and studies declare them: lists of values, and ranges of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration, InvalidInput

LOG_FROM = 10.0
"""A range of positive numbers is drawn from on a logarithmic scale if its ends are this factor apart."""

Choice = tuple[Any, ...]
Space = dict[str, "Between | OneOf"]


class Between(msgspec.Struct, frozen=True, tag="between"):
    """A number from `low` to `high`, both included; whole if both ends are."""

    low: int | float
    high: int | float

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_log(self) -> bool:
        """Whether it is drawn from on a logarithmic scale; whole numbers are not."""
        return not self.is_whole and self.low > 0 and self.high / self.low >= LOG_FROM

    def holds(self, value: object) -> bool:
        """Return whether a value is one of them."""
        is_number = isinstance(value, int if self.is_whole else int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def draw(self, rng: np.random.Generator) -> int | float:
        """Return one of them."""
        if self.is_whole:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.is_log:
            return float(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return float(rng.uniform(self.low, self.high))


class OneOf(msgspec.Struct, frozen=True, tag="one of"):
    """One of several values."""

    values: Choice

    def holds(self, value: object) -> bool:
        """Return whether a value is one of them."""
        return canonical(value) in map(canonical, self.values)

    def draw(self, rng: np.random.Generator) -> Any:
        """Return one of them."""
        return self.values[int(rng.integers(len(self.values)))]


def declared_space(kind: str, space: Mapping[str, Sequence[Any]]) -> Space:
    """Return a space that is written as a dictionary: for each parameter a list of values, or a pair ``(low,
    high)`` of numbers.

    Parameters
    ----------
    kind
        What it is declared for, as errors will name it.

    Raises
    ------
    InvalidDeclaration
        If it is empty or not understood.
    """
    if not isinstance(space, Mapping) or not space:
        hint = 'write space={"max_iter": [30, 60], "learning_rate": (0.05, 0.3)}'
        raise InvalidDeclaration(kind, "space", "is not a dict of parameters", hint=hint)
    return {name: _declared(kind, name, values) for name, values in space.items()}


def _declared(kind: str, name: str, values: object) -> Between | OneOf:
    if isinstance(values, tuple) and len(values) == 2 and all(map(_is_number, values)):
        low, high = values
        if low < high:
            return Between(low, high)
    elif isinstance(values, list) and values:
        with suppress(InvalidInput):
            return OneOf(tuple(msgspec.json.decode(canonical(values))))
    hint = "give a list of values, or a pair (low, high) of numbers in order"
    raise InvalidDeclaration(kind, str(name)[:60], "cannot be drawn from", given=repr(values)[:60], hint=hint)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
