"""Requests to a tracking server elsewhere: with its credentials, tried again where that helps, and answers
bounded in size.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from varv.kernel.blobs import CHUNK_BYTES
from varv.kernel.errors import Corrupt, InvalidInput, NotFound, PermissionDenied, Unavailable

TOKEN, USER, PASSWORD = (f"MLFLOW_TRACKING_{name}" for name in ("TOKEN", "USERNAME", "PASSWORD"))
"""Variables that MLflow's own client reads its credentials from."""
TIMEOUT_S = 120.0
MOST_TRIES = 5
FIRST_RETRY_S = 0.5
LARGEST_ANSWER = 512 << 20
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class Asking:
    """What asks one server; from several threads.

    Parameters
    ----------
    url
        ``https://host:port``, with a path if the server is below one.
    token
        Of bearer authentication; nothing for none.
    basic
        Name and password; None for none.

    Raises
    ------
    InvalidInput
        If the address is none, or holds a password.
    """

    def __init__(self, url: str, *, token: str = "", basic: tuple[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidInput(
                "url", url[:80], "is not the address of a server", hint="write https://HOST:PORT"
            )
        if parts.username is not None or parts.password is not None:
            problem, hint = (
                "holds a password, which addresses are no place for",
                f"set {USER} and {PASSWORD}",
            )
            raise InvalidInput("url", url.rpartition("@")[2][:80], problem, hint=hint)
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # What a proxy's variables say is meant for browsers, and would carry the token elsewhere.
        self._client = httpx.Client(
            base_url=self.url, headers=headers, auth=basic, timeout=TIMEOUT_S, trust_env=False
        )
        self._ended = threading.Event()

    def json(self, method: str, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the server answers.

        Raises
        ------
        NotFound
            If it knows no such thing, or no such path.
        PermissionDenied
            If it refuses whoever asks.
        Unavailable
            If it does not answer, or fails however often it is asked.
        Corrupt
            If its answer is no JSON object, or is too large.
        """
        given = {"params": asked} if method == "GET" else {"json": asked}
        data = b"".join(self._answered(method, path, given, most=LARGEST_ANSWER))
        try:
            # Of the standard library, since some answers hold NaN, which is no JSON.
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Corrupt("server", self.url, "answers no JSON", path=path, why=str(error)[:100]) from None
        if not isinstance(answer, dict):
            raise Corrupt("server", self.url, "answers no object", path=path)
        return answer

    def chunks(self, path: str, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the bytes that the server answers, of any number; errors as of `json`."""
        return self._answered("GET", path, {"params": asked}, most=None)

    def close(self) -> None:
        """Close the connections; what waits to be tried again is not."""
        self._ended.set()
        self._client.close()

    def _answered(
        self, method: str, path: str, given: dict[str, Any], *, most: int | None
    ) -> Iterator[bytes]:
        why = ""
        for attempt in range(MOST_TRIES):
            if attempt and self._ended.wait(FIRST_RETRY_S * 2 ** (attempt - 1)):
                break
            try:
                with self._client.stream(method, path, **given) as answer:
                    if answer.status_code in _AGAIN:
                        why = f"status {answer.status_code}"
                        continue
                    self._require(answer, path)
                    yield from self._bounded(answer, path, most)
                    return
            except httpx.TransportError as error:
                why = f"{type(error).__name__}: {error}"
        raise Unavailable("server", self.url, "does not answer", path=path, why=why[:200])

    def _bounded(self, answer: httpx.Response, path: str, most: int | None) -> Iterator[bytes]:
        size = 0
        try:
            for data in answer.iter_bytes(CHUNK_BYTES):
                size += len(data)
                if most is not None and size > most:
                    raise Corrupt("server", self.url, "answers too much", path=path, most=most)
                yield data
        except httpx.TransportError as error:
            # What was handed on cannot be taken back: whoever reads begins anew.
            raise Unavailable("server", self.url, "broke off its answer", path=path, why=str(error)) from None

    def _require(self, answer: httpx.Response, path: str) -> None:
        if answer.is_success:
            return
        said = answer.read()[:300].decode(errors="replace")
        match answer.status_code:
            case 404:
                raise NotFound("path", path, "is not known to the server", said=said)
            case 401 | 403:
                hint = f"set {TOKEN}, or {USER} and {PASSWORD}"
                raise PermissionDenied("server", self.url, "refuses whoever asks", path=path, hint=hint)
            case status:
                raise InvalidInput("request", path, "is refused by the server", status=status, said=said)
