"""What the owner of a job and its runner write to each other: a header in JSON, then raw bytes.

Both ways go through a file on disk. The owner's is written before the runner is told to begin, the runner's
is read after it has ended; so nobody waits for the other, half a gigabyte passes without being held twice,
and the size of a result is known before it is read. A pipe would need a thread at each end, and a runner that
is killed in the middle would leave half a result. What the runner wrote is distrusted: every length is
checked first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import msgspec

from varv.kernel.errors import UserCodeFailed, VarvError, tree

MOST_HEADER = 1 << 20
"""Bytes of a header that are read."""
MOST_TEXT = 16_000
"""Characters of a text in an error that are sent."""
MOST_FACT = 1000

_MOST_PLACES = 1 << 16
_FIRST = "(most recent call first):"
_CALL = re.compile(r'^  File "(.{1,4096})", line (\d{1,9}) in (.+)$', re.MULTILINE)

_LENGTH = 8
_MOST_AT_ONCE = 1 << 30  # a single read of Linux gives 2 GiB at most


Fact = str | int | float | bool | None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the runner is to do; followed by the encoded job."""

    entry: str
    subject: tuple[str, str]
    path: list[str]
    """Where the owner's interpreter looks for modules, so that the runner finds the same ones."""
    memory_bytes: int
    n_processes: int
    result_bytes: int


class Raised(msgspec.Struct, frozen=True):
    """An error, with all that it says but not its class."""

    code: str
    kind: str
    name: str
    problem: str
    hint: str
    facts: dict[str, Fact]
    trace: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True):
    """What came of a job; followed by its result, of `n_bytes`, if it raised nothing."""

    n_bytes: int = 0
    too_large: int = 0
    """The size of a result that was not written because it is larger than allowed."""
    raised: Raised | None = None


class Garbage(Exception):
    """What was read is not what `write` writes; the message says why."""


def write(handle: int, header: msgspec.Struct, body: bytes = b"") -> None:
    """Write a header and what follows it as the whole content of a file."""
    text = msgspec.json.encode(header)
    position = 0
    os.ftruncate(handle, 0)
    for part in (len(text).to_bytes(_LENGTH) + text, body):
        left = memoryview(part)
        while left:
            written = os.pwrite(handle, left[:_MOST_AT_ONCE], position)
            position, left = position + written, left[written:]


def read_order(handle: int) -> tuple[Order, bytes]:
    """Return what the owner wrote."""
    text, position = _header(handle)
    size = os.fstat(handle).st_size - position
    return msgspec.json.decode(text, type=Order), _read(handle, position, size)


def read_answer(handle: int, result_bytes: int) -> tuple[Answer, bytes]:
    """Return what the runner wrote.

    Raises
    ------
    Garbage
        If it is no whole answer, or its result is larger than `result_bytes`.
    """
    try:
        text, position = _header(handle)
        answer = msgspec.json.decode(text, type=Answer)
    except msgspec.MsgspecError as error:
        raise Garbage(str(error)) from None
    size = os.fstat(handle).st_size - position
    if size != answer.n_bytes or size > result_bytes:
        raise Garbage(f"a result of {answer.n_bytes} bytes is announced, {size} follow")
    return answer, _read(handle, position, size)


def read_places(handle: int) -> tuple[tuple[str, int, str], ...]:
    """Return what Python's fault handler wrote last: file, line and function of each call, the outermost
    first.
    """
    size = os.fstat(handle).st_size
    start = max(0, size - _MOST_PLACES)
    text = _read(handle, start, size - start).decode(errors="replace")
    calls = _CALL.findall(text.rpartition(_FIRST)[2])
    return tuple((file, int(line), name[:MOST_FACT]) for file, line, name in reversed(calls))


def flattened(error: VarvError) -> Raised:
    """Return an error as it is sent; texts of any length or content become texts that can be."""
    facts = {str(key)[:100]: _fact(value) for key, value in list(error.facts.items())[:50]}
    trace: tuple[str, ...] = getattr(error, "trace", ())
    return Raised(
        code=error.code,
        kind=_text(error.kind),
        name=_text(error.name),
        problem=_text(error.problem),
        hint=_text(error.hint),
        facts=facts,
        trace=tuple(_text(line, MOST_FACT) for line in trace[:50]),
    )


def raised(sent: Raised) -> VarvError:
    """Return the error that was sent; one of an unknown code is the author's."""
    kind = _classes().get(sent.code, UserCodeFailed)
    error = kind(sent.kind, sent.name, sent.problem, hint=sent.hint, **_allowed(sent.facts))
    if isinstance(error, UserCodeFailed):
        error.trace = sent.trace
    return error


def _classes() -> Mapping[str, type[VarvError]]:
    """Return the class of each code; of several with one code, the one nearest the root."""
    return {kind.code: kind for kind in reversed(tree())}


def _allowed(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {name: value for name, value in facts.items() if name not in _ARGUMENTS}


_ARGUMENTS = {"self", "kind", "name", "problem", "hint"}


def _fact(value: object) -> Fact:
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)[:MOST_FACT]
    return _text(value, MOST_FACT)


def _text(value: object, most: int = MOST_TEXT) -> str:
    # Lone surrogates have no form in JSON.
    return str(value)[:most].encode(errors="backslashreplace").decode()


def _header(handle: int) -> tuple[bytes, int]:
    length = int.from_bytes(os.pread(handle, _LENGTH, 0))
    if not 0 < length <= MOST_HEADER:
        raise Garbage(f"its header has {length} bytes")
    return os.pread(handle, length, _LENGTH), _LENGTH + length


def _read(handle: int, position: int, size: int) -> bytes:
    """Return part of a file; in one piece where the system gives it in one, so that it is held once."""
    parts = []
    while size > 0 and (part := os.pread(handle, size, position)):
        parts.append(part)
        position, size = position + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
