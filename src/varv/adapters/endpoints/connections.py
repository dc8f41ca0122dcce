"""Connections to one host that are kept open, and hold to the deadline of the call that has one.

Nobody is redirected, certificates are verified, nothing is unpacked, and no more of an answer is read than is
allowed, however slowly it comes.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from varv.kernel.clock import wall_seconds

MOST_IDLE = 8
_PIECE = 64 << 10
_LEAST_WAIT_S = 1e-3


Dial = Callable[[tuple[str, int], float], socket.socket]
"""Connects to a host and a port within some seconds."""


class Reply(NamedTuple):
    """What an endpoint answered."""

    status: int
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: bytes


class Unreached(Exception):
    """No answer came; the text says why.

    Parameters
    ----------
    is_late
        Whether it is for the deadline.
    """

    def __init__(self, why: str, *, is_late: bool = False) -> None:
        super().__init__(why)
        self.is_late = is_late


class Overlong(Exception):
    """An answer is longer than allowed, or in a form that was not asked for."""


class Connections:
    """Connections to the host of one address.

    Parameters
    ----------
    url
        The address.
    dial
        Connects to it.
    """

    def __init__(self, url: str, dial: Dial = socket.create_connection) -> None:
        parts = urlsplit(url)
        self._dial = dial
        self._host = parts.hostname or ""
        self._is_secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_secure else 80)
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        most_bytes: int,
        until: float,
    ) -> Reply:
        """Return the answer to a request.

        Parameters
        ----------
        most_bytes
            Of its body.
        until
            The deadline, as `wall_seconds` reads.

        Raises
        ------
        Unreached
            If none came in time.
        Overlong
            If it is longer than allowed.
        """
        kept = self._taken()
        if kept is not None:
            # One that was kept may be closed at the other end by now, which says nothing of the endpoint.
            try:
                return self._asked(kept, method, path, headers, body, most_bytes, until)
            except _Stale:
                pass
        try:
            return self._asked(self._connected(until), method, path, headers, body, most_bytes, until)
        except _Stale as stale:
            raise Unreached(str(stale)) from None

    def close(self) -> None:
        """Close those that nobody uses."""
        _close(self._idle)

    def _taken(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connected(self, until: float) -> http.client.HTTPConnection:
        left_s = max(until - wall_seconds(), _LEAST_WAIT_S)
        try:
            found = self._dial((self._host, self._port), left_s)
        except OSError as error:
            raise _unreached(error) from None
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_secure:
                found = _tls().wrap_socket(found, server_hostname=self._host)
        except OSError as error:
            found.close()
            raise _unreached(error) from None
        made = http.client.HTTPConnection(self._host, self._port)
        made.default_port = 443 if self._is_secure else 80  # what is left out of the header Host
        # From here on each step takes what is left of its call.
        made.sock = _TimedSocket(found)
        return made

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        most_bytes: int,
        until: float,
    ) -> Reply:
        timed: Any = connection.sock
        timed.until = until
        is_kept = False
        try:
            try:
                connection.request(method, path, body=body, headers=dict(headers))
                answer = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                raise _Stale(_text(error)) from None
            with closing(answer):
                named = {name.lower(): value for name, value in answer.getheaders()}
                found = Reply(answer.status, named, _read(answer, most_bytes))
            is_kept = not answer.will_close
            return found
        except (OSError, http.client.HTTPException) as error:
            raise _unreached(error) from None
        finally:
            self._give_back(connection, is_kept=is_kept)

    def _give_back(self, connection: http.client.HTTPConnection, *, is_kept: bool) -> None:
        with self._lock:
            if is_kept and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _close(idle: deque[http.client.HTTPConnection]) -> None:
    while True:
        try:
            idle.pop().close()
        except IndexError:
            return


class _Stale(Exception):
    """The other end closed before it said anything."""


class _TimedSocket:
    """A socket each of whose steps takes no longer than until a deadline, so that all of them together do."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self._n_files = 0
        self._is_closed = False
        self.until = 0.0

    def sendall(self, data: Any) -> None:
        self._wait_until()
        self._socket.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        self._wait_until()
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._n_files += 1
        return io.BufferedReader(_Raw(self))

    def close(self) -> None:
        """Close it once no answer is read from it any more, as a socket of the library does."""
        self._is_closed = True
        if not self._n_files:
            self._socket.close()

    def file_closed(self) -> None:
        self._n_files -= 1
        if self._is_closed:
            self.close()

    def _wait_until(self) -> None:
        left_s = self.until - wall_seconds()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(max(left_s, _LEAST_WAIT_S))


class _Raw(io.RawIOBase):
    def __init__(self, made: _TimedSocket) -> None:
        self._made = made

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._made.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._made.file_closed()


def _read(answer: http.client.HTTPResponse, most_bytes: int) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Overlong("it is compressed, which was not asked for")
    announced = answer.length or 0
    parts: list[bytes] = []
    size = 0
    while size <= most_bytes and announced <= most_bytes and (part := answer.read1(_PIECE)):
        size += len(part)
        parts.append(part)
    if max(size, announced) > most_bytes:
        raise Overlong(f"it has more than {most_bytes} bytes")
    if answer.length:
        raise Unreached("the connection was closed within the answer")
    return b"".join(parts)


def _unreached(error: Exception) -> Unreached:
    if isinstance(error, TimeoutError):
        return Unreached("it took too long", is_late=True)
    return Unreached(_text(error))


def _text(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {told}"[:200] if told else type(error).__name__


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
