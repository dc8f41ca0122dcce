"""Messages of protobuf taken apart: the numbers and values of their fields, without a schema or a library.

What a field means, and which kind of value it must have, is the reader's affair; a message that ends within a
field, or has a kind of field that the encoding no longer knows, is refused.

Source: Protocol Buffers, Encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from varv.kernel.errors import InvalidInput

Field = int | bytes
"""Of a varint or a fixed size the number, without a sign; else the bytes."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_BITS = (1 << 64) - 1


def fields(message: bytes) -> Iterator[tuple[int, Field]]:
    """Yield the number and the value of each field of a message, in its order.

    Raises
    ------
    InvalidInput
        If it is no message.

    Examples
    --------
    >>> list(fields(bytes.fromhex("08ac02120178")))
    [(1, 300), (2, b'x')]
    """
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        else:
            size = _SIZES.get(kind, -1)
        if size < 0 or size > end - place:
            raise _broken("has a field that is cut, or of a kind that does not exist", place)
        found = message[place : place + size]
        yield key >> 3, found if kind == _BYTES else int.from_bytes(found, "little")
        place += size


def signed(number: int) -> int:
    """Return a number of 64 bits as it is with a sign.

    Examples
    --------
    >>> signed((1 << 64) - 1)
    -1
    """
    return number - (1 << 64) if number >> 63 else number


def as_double(number: int) -> float:
    """Return the floating-point number that 64 bits are.

    Examples
    --------
    >>> as_double(0x3FE0000000000000)
    0.5
    """
    return struct.unpack("<d", number.to_bytes(8, "little"))[0]


def text(value: Field) -> str:
    """Return a field that is a text."""
    try:
        return part(value).decode()
    except UnicodeDecodeError as error:
        raise _broken("has a text that is not UTF-8", error.start) from None


def part(value: Field) -> bytes:
    """Return a field that is bytes, or a message."""
    if not isinstance(value, bytes):
        raise _broken("has a number in the place of bytes", 0)
    return value


def number(value: Field) -> int:
    """Return a field that is a number, without a sign."""
    if isinstance(value, bytes):
        raise _broken("has bytes in the place of a number", 0)
    return value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(place, min(place + _LONGEST_VARINT, len(message))):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _BITS, at + 1
        shift += 7
    raise _broken("has a number that does not end", place)


def _broken(problem: str, place: int) -> InvalidInput:
    return InvalidInput("protobuf message", "", problem, place=place)
