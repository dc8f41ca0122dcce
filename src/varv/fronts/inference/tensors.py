"""Tensors as bytes: the binary tensor data extension of the Open Inference Protocol.

Numbers are little-endian and row by row, truth values a byte each, and a text is its length in four bytes and
then its bytes. JSON has no form for half-precision numbers, so only here they have one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from varv.kernel.errors import InvalidInput

_NUMPY = {
    name: np.dtype(kind)
    for name, kind in {
        "BOOL": "u1",
        **{f"{sign}INT{8 * n}": f"<{'u' if sign else 'i'}{n}" for sign in ("", "U") for n in (1, 2, 4, 8)},
        "FP16": "<f2",
        "BF16": "<u2",
        "FP32": "<f4",
        "FP64": "<f8",
    }.items()
}
_LENGTH = struct.Struct("<I")
HALVES = {"FP16", "BF16"}
"""Datatypes of numbers that have no form in JSON."""


def values_of(name: str, datatype: str, data: memoryview) -> list[Any]:
    """Return the values of a tensor that came as bytes; a number that is none becomes None, as in JSON.

    Raises
    ------
    InvalidInput
        If the bytes are not those of such a tensor.

    Examples
    --------
    >>> values_of("x", "FP32", memoryview(bytes.fromhex("0000c03f 0000c07f")))
    [1.5, None]
    """
    if datatype == "BYTES":
        return _texts(name, data)
    array = array_of(name, datatype, data)
    if array.dtype.kind == "f" and np.isnan(array).any():
        return [None if value != value else value for value in array.tolist()]
    return array.tolist()


def array_of(name: str, datatype: str, data: memoryview) -> np.ndarray:
    """Return the numbers or truth values of a tensor that came as bytes; it raises as `values_of`."""
    dtype = _NUMPY.get(datatype)
    if dtype is None:
        raise _wrong(name, f"has the datatype {datatype[:20]!r}", f"use {', '.join(_NUMPY)} or BYTES")
    if len(data) % dtype.itemsize:
        raise _wrong(name, f"has {len(data)} bytes, no whole number of {datatype}", "send all of them")
    array = np.frombuffer(data, dtype)
    if datatype == "BOOL":
        if (array > 1).any():
            raise _wrong(name, "holds a byte that is no truth value", "send 0 or 1")
        return array.astype(np.bool_)
    if datatype == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def bytes_of(datatype: str, values: Sequence[Any]) -> bytes:
    """Return values of a datatype as bytes; None becomes a number that is none.

    Examples
    --------
    >>> bytes_of("BYTES", ["né"]).hex()
    '030000006ec3a9'
    """
    if datatype == "BYTES":
        encoded = [str(value).encode() for value in values]
        return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))
    return np.array(values, _NUMPY[datatype]).tobytes()


def _texts(name: str, data: memoryview) -> list[str]:
    found: list[str] = []
    at, end = 0, len(data)
    while at < end:
        start = at + _LENGTH.size
        size = _LENGTH.unpack_from(data, at)[0] if start <= end else end
        at = start + size
        if at > end:
            raise _wrong(name, "ends within a text", "send each as its length in four bytes and its bytes")
        try:
            found.append(str(data[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise _wrong(name, "holds a text that is not UTF-8", "send texts in UTF-8") from None
    return found


def _wrong(name: str, problem: str, hint: str) -> InvalidInput:
    return InvalidInput("column", name, problem, hint=hint)
