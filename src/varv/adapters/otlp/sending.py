"""Requests to a collector: compressed, over one connection, and tried again where that helps.

Source: OpenTelemetry Protocol, OTLP/HTTP: which statuses are retried, and that a collector may refuse a part.
"""

from __future__ import annotations

import gzip
import http.client
import ssl
import threading
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from varv.adapters.otlp.protobuf import first_number

FIRST_RETRY_S = 1.0
MOST_TRIES = 4
LONGEST_RETRY_S = 30.0
_MOST_ANSWER_BYTES = 64 << 10
_AGAIN = (429, 502, 503, 504)


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """Where telemetry goes."""

    url: str
    """Without the path of a signal."""
    headers: dict[str, str] = {}
    timeout_s: float = 10.0
    certificate: str = ""
    """The file of the authorities that a collector's certificate may be from; the system's if it is empty."""


class Outcome(NamedTuple):
    """What became of a request."""

    is_taken: bool
    n_rejected: int = 0
    """Of what was in it."""
    why: str = ""


class Sender:
    """Sends requests one after the other; used by one thread.

    Parameters
    ----------
    collector
        Takes them.
    stopping
        Set once nothing is to be waited for any more.
    """

    def __init__(self, collector: Collector, stopping: threading.Event) -> None:
        self._collector = collector
        self._stopping = stopping
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, message: bytes) -> Outcome:
        """Send a message, again if it may be taken later; it takes as long as that takes."""
        body = gzip.compress(message, 1)
        found = Outcome(False)
        for number in range(MOST_TRIES):
            found, again_s = self._tried(path, body, FIRST_RETRY_S * 2**number)
            if again_s is None or self._stopping.wait(again_s):
                break
        return found

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tried(self, path: str, body: bytes, usual_s: float) -> tuple[Outcome, float | None]:
        """Return what became of one try, and after how many seconds another may help."""
        try:
            status, headers, answer = self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Outcome(False, why=str(error) or type(error).__name__), usual_s
        if 200 <= status < 300:
            return Outcome(True, max(first_number(answer, 1, 1), 0)), None
        why = f"status {status}"
        if status not in _AGAIN:
            return Outcome(False, why=why), None
        said = headers.get("retry-after", "")
        return Outcome(False, why=why), min(float(said), LONGEST_RETRY_S) if said.isdecimal() else usual_s

    def _exchange(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        if self._connection is None:
            self._connection = self._opened()
        headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            "user-agent": "varv-otlp",
            **self._collector.headers,
        }
        place = urlsplit(self._collector.url).path + path
        self._connection.request("POST", place, body, headers)
        answer = self._connection.getresponse()
        read = answer.read(_MOST_ANSWER_BYTES)
        if not answer.isclosed():
            # The rest of an answer of such a length would pass for the next one.
            self.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, read

    def _opened(self) -> http.client.HTTPConnection:
        found, timeout_s = urlsplit(self._collector.url), self._collector.timeout_s
        assert found.hostname is not None, "the endpoint was looked at"
        if found.scheme == "http":
            return http.client.HTTPConnection(found.hostname, found.port, timeout=timeout_s)
        trusted = ssl.create_default_context(cafile=self._collector.certificate or None)
        return http.client.HTTPSConnection(found.hostname, found.port, timeout=timeout_s, context=trusted)
