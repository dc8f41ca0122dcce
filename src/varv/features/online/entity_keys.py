"""Keys of entities as bytes: each value with its type and length, so that different entities never share one.

Numbers that are equal are one value, whatever type they came in, as everywhere in features: a column of a
request may hold a double where the dataset has an integer. ``1`` and ``"1"`` differ, as do ``("a", "bc")``
and ``("ab", "c")``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from varv.kernel.errors import InvalidInput

_WHOLE, _REAL, _LENGTH = struct.Struct("<cq"), struct.Struct("<cd"), struct.Struct("<cI")
_LONG = 1 << 63


def entity_key(values: Sequence[object]) -> bytes:
    """Return the key of the entity that has these values, in the order of the view's columns; times are
    microseconds.

    Raises
    ------
    InvalidInput
        If one is null, or neither a number nor a text.

    Examples
    --------
    >>> entity_key([1]) == entity_key([1.0])
    True
    >>> entity_key([1]) == entity_key(["1"])
    False
    """
    return b"".join([_part(value) for value in values])


def _part(value: object) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return _LENGTH.pack(b"s", len(text)) + text
    if isinstance(value, float):
        if not value.is_integer():
            return _REAL.pack(b"f", value)
        value = int(value)
    if isinstance(value, int):
        if -_LONG <= value < _LONG:
            return _WHOLE.pack(b"i", value)
        digits = str(value).encode()
        return _LENGTH.pack(b"n", len(digits)) + digits
    if value is None:
        hint = "leave such rows out: nobody knows whose features they want"
        raise InvalidInput("entity", "", "has a value that is null", hint=hint)
    hint = "name entities by numbers or texts, times by microseconds"
    raise InvalidInput("entity", "", f"has a value of type {type(value).__name__}", hint=hint)
