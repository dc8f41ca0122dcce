"""Jobs that do what functions of authors do, for the contract of executors.

In a module of their own, since where they run nobody needs pytest.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NoReturn, Self

import msgspec

from varv.kernel.errors import Conflict, FailedPrecondition
from varv.kernel.executor import MIB


class Act(msgspec.Struct, frozen=True):
    """A job that does one of the things that functions of authors do.

    Parameters
    ----------
    what
        Which: a name in `ACTS`.
    given
        What it is done with.
    """

    entry: ClassVar[str] = "varv.testing.jobs:Act"
    what: str
    given: bytes = b""

    @property
    def subject(self) -> tuple[str, str]:
        """The kind and name of what runs."""
        return "function", self.what

    def encode(self) -> bytes:
        """Return the job as bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, /) -> Self:
        """Return the job that `encode` wrote."""
        return msgspec.msgpack.decode(data, type=cls)

    def run(self) -> bytes:
        """Do it."""
        return ACTS[self.what](self.given)


class NoBytes(Act, frozen=True):
    """A job that returns something else than bytes."""

    entry: ClassVar[str] = "varv.testing.jobs:NoBytes"

    def run(self) -> bytes:
        """Return a text."""
        return "a text"  # type: ignore[bad-return]


class _Shy(Exception):
    def __str__(self) -> str:
        raise ValueError("no message for you")


_left_behind: list[bytes] = []


def _prints(given: bytes) -> bytes:
    print("to standard output")
    print("to standard error", file=sys.stderr)
    os.write(1, b"past Python\n")
    return given


def _prints_much(given: bytes) -> bytes:
    print("the first line")
    for number in range(200_000):
        print(f"line {number}")
    print("the last line")
    return given


def _raises(given: bytes) -> NoReturn:
    raise ValueError(f"cannot fit {given.decode()}")


def _raises_ours(given: bytes) -> NoReturn:
    raise Conflict("table", given.decode(), "has other columns", hint="read it again", n_columns=7, of="a")


def _raises_without_end(given: bytes) -> NoReturn:
    n = 1_000_000
    raise FailedPrecondition("x" * n, "y" * n, "z" * n, much=given * n)


def _raises_shyly(given: bytes) -> NoReturn:
    raise _Shy(given)


def _exits(given: bytes) -> NoReturn:
    sys.exit(given.decode())


def _loops(given: bytes) -> bytes:
    print("round and round")
    while True:
        given = given[::-1]


def _sleeps(given: bytes) -> bytes:
    time.sleep(3600)
    return given


def _leaks(given: bytes) -> bytes:
    held = []
    while True:
        held.append(given * MIB)


def _crashes(given: bytes) -> bytes:
    print("about to read address 0", flush=True)
    return ctypes.string_at(0) + given


def _ends_its_process(given: bytes) -> NoReturn:
    os._exit(int(given))


def _leaves_traces(given: bytes) -> bytes:
    os.chdir("/")
    sys.path.insert(0, "/nowhere")
    threading.Thread(target=time.sleep, args=(3600,)).start()
    _left_behind.append(given)
    return given


def _finds_traces(given: bytes) -> bytes:
    traces = [Path.cwd() == Path("/"), "/nowhere" in sys.path, bool(_left_behind)]
    return given if not any(traces) else repr(traces).encode()


ACTS: dict[str, Callable[[bytes], bytes]] = {
    "echoes": lambda given: given,
    "multiplies": lambda given: b"x" * int(given),
    "prints": _prints,
    "prints_much": _prints_much,
    "raises": _raises,
    "raises_ours": _raises_ours,
    "raises_without_end": _raises_without_end,
    "raises_shyly": _raises_shyly,
    "exits": _exits,
    "loops": _loops,
    "sleeps": _sleeps,
    "leaks": _leaks,
    "crashes": _crashes,
    "ends_its_process": _ends_its_process,
    "leaves_traces": _leaves_traces,
    "finds_traces": _finds_traces,
}
