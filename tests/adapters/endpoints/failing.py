"""A real HTTP server that does to each connection what it is told to, in turn."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator

import numpy as np

METADATA = {
    "name": "m",
    "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}


class Asked:
    """One request as it came.

    Parameters
    ----------
    connection
        Where its answer goes.
    """

    def __init__(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        self.connection = connection
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.body = body

    def matrix(self) -> np.ndarray:
        """Return the rows of a binary tensor."""
        n = int(self.headers["inference-header-content-length"])
        [tensor] = json.loads(self.body[:n])["inputs"]
        return np.frombuffer(self.body[n:], "<f4").reshape(tensor["shape"])

    def reply(self, body: bytes, *more: str, status: str = "200 OK") -> None:
        """Answer."""
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *more]
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def sums(self) -> None:
        """Answer each row's sum as bytes."""
        self.tensor(self.matrix().sum(axis=1))

    def tensor(self, values: np.ndarray, shape: list[int] | None = None, name: str = "y") -> None:
        """Answer with a tensor as bytes."""
        data = values.astype("<f4").tobytes()
        output = {"name": name, "datatype": "FP32", "shape": list(values.shape) if shape is None else shape}
        head = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": len(data)}}]}).encode()
        self.reply(head + data, f"inference-header-content-length: {len(head)}")

    def reset(self) -> None:
        """End the connection at once."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Act = Callable[[Asked], object]


class Failing:
    """The server."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.asked: list[Asked] = []
        self.n_connections = 0
        self.closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of its model."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v2/models/m"

    def close(self) -> None:
        """Take no more connections."""
        self.closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.closing.is_set():
            # A connection may fail as it is made; without a listener each does.
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                self.n_connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        held = b""
        with contextlib.suppress(OSError, ValueError), connection:
            while not self.closing.is_set():
                while b"\r\n\r\n" not in held:
                    part = connection.recv(1 << 16)
                    if not part:
                        return
                    held += part
                head, _, held = held.partition(b"\r\n\r\n")
                asked = Asked(connection, head, b"")
                size = int(asked.headers.get("content-length", 0))
                while len(held) < size:
                    held += connection.recv(1 << 16)
                asked.body, held = held[:size], held[size:]
                self.asked.append(asked)
                self._act(asked)

    def _act(self, asked: Asked) -> None:
        if asked.method == "GET":
            is_model = asked.target.endswith("/m")
            asked.reply(json.dumps(METADATA if is_model else {"extensions": ["binary_tensor_data"]}).encode())
            return
        act = self.acts.pop(0) if self.acts else Asked.sums
        act(asked)


@contextlib.contextmanager
def failing() -> Generator[Failing]:
    """Serve."""
    made = Failing()
    try:
        yield made
    finally:
        made.close()


def drip(asked: Asked) -> None:
    """Answer a byte at a time, without end."""
    asked.connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(400):
        asked.connection.sendall(b"x")
        time.sleep(0.02)


def hang(asked: Asked) -> None:
    """Say nothing."""
    time.sleep(5)
