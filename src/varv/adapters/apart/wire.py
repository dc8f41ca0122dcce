"""What a worker and the process of a model write to each other, over a socket that only these two have: a
head of fixed size, a message in JSON, and the raw bytes of arrays.

Nothing is pickled in either direction. One asks and the other answers, so there is never more under way than
one message. What comes from the model's process is distrusted: every length is checked before it is read.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import msgspec
import numpy as np

from varv.adapters.jobs.wire import Raised
from varv.kernel.clock import wall_seconds
from varv.registry import Rows
from varv.registry.ports import Device

MOST_TEXT = 4 << 20
"""Bytes of a message without its arrays."""
_HEAD = struct.Struct("<QQ")
_ALIGNED = 8
_BUFFER = 64 << 10
_MOST_PARTS = 512  # that the system takes at once are 1024
_LEAST_WAIT_S = 1e-4
_TEXT = "text"


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Where values lie in what follows a message: as numpy has them, or texts as a list in JSON."""

    name: str
    """Of a column; nothing for a matrix."""
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load the package that an open file holds, and let it answer its probe rows."""

    package: int
    """File descriptor."""
    threads: int
    device: Device
    memory_bytes: int
    path: list[str]
    """Where the worker's interpreter looks for modules."""


class LoadFunction(msgspec.Struct, frozen=True, tag=True):
    """Load the function whose source an open file holds."""

    source: int
    """File descriptor."""
    memory_bytes: int
    path: list[str]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is in memory and has answered its probe rows, or the function is there."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Predict rows, which follow."""

    parts: tuple[Part, ...]


class Scores(msgspec.Struct, frozen=True, tag=True):
    """Predictions, which follow as float32."""

    shape: tuple[int, int]


class Call(msgspec.Struct, frozen=True, tag=True):
    """Call the function with columns, which follow in JSON."""


class Returned(msgspec.Struct, frozen=True, tag=True):
    """What it returned: columns, which follow in JSON."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The model or the function raised; it can be asked again."""

    raised: Raised


Message = Load | LoadFunction | Ready | Ask | Scores | Call | Returned | Failed
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Message)


class Garbage(Exception):
    """What was read is no message; the text says why."""


class Channel:
    """One end of the socket.

    Parameters
    ----------
    end
        The socket; closed with this.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._buffer = bytearray(_BUFFER)

    def send(
        self, message: Message, parts: Sequence[memoryview | bytes] = (), *, until: float | None = None
    ) -> None:
        """Send a message and what follows it.

        Parameters
        ----------
        until
            As `wall_seconds` reads; None waits for ever.

        Raises
        ------
        TimeoutError
            If the other end has not taken it by then.
        OSError
            If the other end is gone.
        """
        text = _ENCODER.encode(message)
        text += b" " * (-len(text) % _ALIGNED)
        head = _HEAD.pack(len(text), sum(map(len, parts))) + text
        left: list[memoryview | bytes] = [head, *filter(len, parts)]
        while left:
            self._give_until(until)
            n_sent = self._end.sendmsg(left[:_MOST_PARTS])
            while left and n_sent >= len(left[0]):
                n_sent -= len(left.pop(0))
            if n_sent:
                left[0] = memoryview(left[0])[n_sent:]

    def receive(self, most_bytes: int, *, until: float | None = None) -> tuple[Message, memoryview]:
        """Return the next message and what follows it, of at most `most_bytes`, in memory of its own.

        Raises
        ------
        TimeoutError
            If it is not there by `until`.
        EOFError, OSError
            If the other end is gone.
        Garbage
            If it is no message, or longer than allowed.
        """
        view, n_there = memoryview(self._buffer), 0
        while n_there < _HEAD.size:
            n_there += self._more(view[n_there:], until)
        n_text, n_bytes = _HEAD.unpack_from(view)
        if n_text > MOST_TEXT or n_bytes > most_bytes:
            raise Garbage(f"a message of {n_text} and {n_bytes} bytes")
        end = _HEAD.size + n_text + n_bytes
        if n_there > end:
            raise Garbage(f"{n_there - end} bytes that nobody asked for")
        whole = memoryview(bytearray(end))
        whole[:n_there] = view[:n_there]
        while n_there < end:
            n_there += self._more(whole[n_there:], until)
        start = _HEAD.size + n_text
        try:
            return _DECODER.decode(whole[_HEAD.size : start]), whole[start:]
        except msgspec.MsgspecError as error:
            raise Garbage(str(error)[:200]) from None

    def close(self) -> None:
        """Let go of the socket."""
        self._end.close()

    def _more(self, into: memoryview, until: float | None) -> int:
        self._give_until(until)
        n_more = self._end.recv_into(into)
        if not n_more:
            raise EOFError
        return n_more

    def _give_until(self, until: float | None) -> None:
        if until is not None:
            # Nothing at all would mean not to wait, and to raise something else.
            self._end.settimeout(max(until - wall_seconds(), _LEAST_WAIT_S))


def asked(rows: Rows) -> tuple[Ask, list[memoryview | bytes]]:
    """Return rows that a model is to be fed as a message, and what follows it."""
    if isinstance(rows, np.ndarray):
        part, data = _written("", rows)
        return Ask((part,)), [data]
    written = [_written(name, values) for name, values in rows.items()]
    return Ask(tuple(part for part, _ in written)), [data for _, data in written]


def rows_of(ask: Ask, data: memoryview) -> Rows:
    """Return the rows that a message brought."""
    columns: dict[str, np.ndarray] = {}
    start = 0
    for part in ask.parts:
        given = data[start : start + part.n_bytes]
        start += part.n_bytes
        if part.dtype == _TEXT:
            columns[part.name] = np.array(msgspec.json.decode(given, type=list[str]), dtype=object)
        elif not part.name:
            return np.frombuffer(given, part.dtype).reshape(part.shape)
        else:
            # A copy, since what follows a text begins anywhere.
            columns[part.name] = np.frombuffer(given, part.dtype).reshape(part.shape).copy()
    return columns


def _written(name: str, values: np.ndarray) -> tuple[Part, memoryview | bytes]:
    if values.dtype.kind in "OU":
        texts = _ENCODER.encode(values.tolist())
        return Part(name, _TEXT, values.shape, len(texts)), texts
    whole = np.ascontiguousarray(values)
    return Part(name, whole.dtype.str, whole.shape, whole.nbytes), whole.data.cast("B")
