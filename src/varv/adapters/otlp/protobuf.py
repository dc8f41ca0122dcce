"""The few wire types of protobuf that OTLP needs, as functions that return bytes.

Source: Protocol Buffers, Encoding. What is written is read in the tests by the protocol's own messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache

from varv.kernel.errors import InvalidInput
from varv.kernel.protobuf_reading import fields

Value = str | int | float | bool
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SMALL = [bytes((value,)) for value in range(0x80)]
_UNSIGNED = struct.Struct("<Q")


def varint(value: int) -> bytes:
    """Return a number of at most 64 bits; a negative one as its two's complement.

    Examples
    --------
    >>> varint(300).hex(), len(varint(-1))
    ('ac02', 10)
    """
    if 0 <= value <= 0x7F:
        return _SMALL[value]
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(256)
def _tag(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)


def number(field: int, value: int) -> bytes:
    """Return a field that holds a whole number, a truth or a choice; nothing if it is zero."""
    return _tag(field, _VARINT) + varint(value) if value else b""


def fixed64(field: int, value: int) -> bytes:
    """Return a field of eight bytes that holds a whole number of 0 or more."""
    return _tag(field, _FIXED64) + _UNSIGNED.pack(value)


def signed_fixed64(field: int, value: int) -> bytes:
    """Return a field of eight bytes that holds a whole number."""
    return _tag(field, _FIXED64) + struct.pack("<q", value)


def double(field: int, value: float) -> bytes:
    """Return a field that holds a number."""
    return _tag(field, _FIXED64) + struct.pack("<d", value)


def fixed32(field: int, value: int) -> bytes:
    """Return a field of four bytes that holds a whole number of 0 or more."""
    return _tag(field, _FIXED32) + struct.pack("<I", value)


def sized(field: int, value: bytes) -> bytes:
    """Return a field that holds bytes or a message, also an empty one."""
    return _tag(field, _BYTES) + varint(len(value)) + value


def text(field: int, value: str) -> bytes:
    """Return a field that holds a text; nothing if it is empty."""
    return sized(field, value.encode(errors="replace")) if value else b""


def packed(field: int, form: str, values: Iterable[float]) -> bytes:
    """Return a repeated field of numbers of eight bytes, each in a form of `struct`: ``Q`` or ``d``."""
    every = list(values)
    return sized(field, struct.pack(f"<{len(every)}{form}", *every))


def attributes(field: int, values: Mapping[str, Value]) -> bytes:
    """Return attributes as OTLP has them: a repeated field of keys and values."""
    return b"".join([sized(field, _key(key) + sized(2, _value(value))) for key, value in values.items()])


@lru_cache(256)
def _key(key: str) -> bytes:
    return text(1, key)


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return sized(1, value.encode(errors="replace"))
    if isinstance(value, bool):
        return _tag(2, _VARINT) + varint(value)
    if isinstance(value, int):
        return _tag(3, _VARINT) + varint(value)
    return double(4, value)


def first_number(message: bytes, *path: int) -> int:
    """Return the number in a field of a message in fields of messages; 0 if it is not there, or if that is
    no message.

    Examples
    --------
    >>> first_number(sized(1, number(1, 300) + text(2, "full")), 1, 1)
    300
    """
    try:
        for field in path[:-1]:
            found = dict(fields(message)).get(field)
            message = found if isinstance(found, bytes) else b""
        last = dict(fields(message)).get(path[-1], 0)
    except InvalidInput:
        return 0
    return last if isinstance(last, int) else 0
