"""What steps hand to each other: types, and values of them as bytes.

A result is stored as bytes, so that it has a digest and can go to another process: bytes as they are, arrays
of NumPy as ``.npy``, frames of Polars as Parquet, everything else as canonical JSON of its type. Nothing is
pickled.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidDeclaration, InvalidInput

CARRIED = "bytes, numbers, texts, lists, dicts, msgspec structs, dataclasses, np.ndarray, pl.DataFrame"


class _Format(NamedTuple):
    extension: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def encode(step: str, value: object, kind: Any) -> bytes:
    """Return a value of a type as bytes.

    Raises
    ------
    InvalidInput
        If the value is not of the type.
    """
    known = _FORMATS.get(_name(kind))
    if known is None:
        data = canonical(value)
        decode(step, data, kind)
        return data
    if _name(type(value)) != _name(kind):
        problem = f"did not return {'bytes' if kind is bytes else kind.__name__}"
        raise InvalidInput("step", step, problem, got=type(value).__name__)
    return known.encode(value)


def decode(step: str, data: bytes, kind: Any) -> Any:
    """Return the value that `encode` wrote.

    Raises
    ------
    InvalidInput
        If the bytes hold no value of the type.
    """
    known = _FORMATS.get(_name(kind))
    try:
        return msgspec.json.decode(data, type=kind) if known is None else known.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput("step", step, f"did not return a {shown(kind)}", why=str(error)) from None


def extension(kind: Any) -> str:
    """Return how the name of a file ends that holds a value of the type: ``"npy"``."""
    known = _FORMATS.get(_name(kind))
    return "json" if known is None else known.extension


def shown(kind: Any) -> str:
    """Return a type as it is written: ``"list[int]"``."""
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__
    return str(kind).replace("typing.", "")


def classes_in(kind: Any) -> tuple[Any, ...]:
    """Return the classes that an annotation is made of, in order; bytes is none."""
    return tuple(one for one in _classes(kind) if one is not bytes)


def require_carried(step: str, what: str, kind: Any) -> None:
    """Check that values of a type can go from step to step.

    Raises
    ------
    InvalidDeclaration
        If they cannot be written as bytes and read back.
    """
    for one in _classes(kind):
        if _name(one) in _FORMATS:
            fits = one is kind
        elif one is Any:
            fits = True
        else:
            fits = not isinstance(msgspec.inspect.type_info(one), msgspec.inspect.CustomType)
        if not fits:
            problem = f"has type {shown(kind)} for {what}, which cannot be stored"
            raise InvalidDeclaration("step", step, problem, hint=f"use {CARRIED}")


def accepts(expected: Any, given: Any) -> bool:
    """Return whether a value of one type is one of another.

    Examples
    --------
    >>> accepts(float, int), accepts(list[int], list[str]), accepts(str | None, str)
    (True, False, True)
    """
    if expected is Any or expected == given or (expected is float and given is int):
        return True
    if _is_union(given):
        return all(accepts(expected, one) for one in get_args(given))
    if _is_union(expected):
        return any(accepts(one, given) for one in get_args(expected))
    wide, narrow = get_origin(expected) or expected, get_origin(given) or given
    if not (isinstance(wide, type) and isinstance(narrow, type) and issubclass(narrow, wide)):
        return False
    pairs = zip(get_args(expected), get_args(given), strict=False)
    return not get_args(expected) or (bool(get_args(given)) and all(accepts(one, two) for one, two in pairs))


def _classes(kind: Any) -> Iterator[Any]:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        yield from dict.fromkeys(type(value) for value in inner)
        return
    if not inner:
        yield type(None) if kind is None else kind
    for one in inner:
        if one is not ...:
            yield from _classes(one)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _name(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"


def _array_bytes(array: Any) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _array(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def _frame_bytes(frame: Any) -> bytes:
    # Not Arrow's own format, which also writes what happens to stand in memory where a value is null.
    stream = io.BytesIO()
    frame.rechunk().write_parquet(stream, statistics=False)
    return stream.getvalue()


def _frame(data: bytes) -> Any:
    import polars as pl

    return pl.read_parquet(io.BytesIO(data))


# By name, so that what a pipeline does not use is not imported.
_FORMATS = {
    "builtins.bytes": _Format("bin", bytes, bytes),
    "numpy.ndarray": _Format("npy", _array_bytes, _array),
    "polars.dataframe.frame.DataFrame": _Format("parquet", _frame_bytes, _frame),
}
