"""A client of a running server, in a few lines of httpx: every verb by its name, errors as they were
raised.

What a server sends is not believed: answers have a largest size, and what is no answer of varv is an error.
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from varv.fronts.api import path_of
from varv.kernel.errors import Corrupt, InvalidInput, Unavailable, VarvError, tree

MOST_BYTES = 256 << 20
"""Of one answer: what ten thousand rows of a few hundred long texts take."""


class Client:
    """Calls the verbs of one server.

    Parameters
    ----------
    url
        Where its control plane listens, such as ``"http://127.0.0.1:8400"``.
    token
        Sent with every call, if given.
    timeout_s
        How long to wait for a connection, and for each part of an answer.
    verify
        Whom to trust over TLS; the system's authorities by default.
    http
        Used in place of a client made here.
    most_bytes
        Of one answer.

    Raises
    ------
    InvalidInput
        If the URL is not one of a server.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_s: float = 60.0,
        verify: ssl.SSLContext | None = None,
        http: httpx.Client | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.url = url if http is not None else _checked(url)
        self._most_bytes = most_bytes
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # The server is at a known address; a proxy that the environment names is not on the way to it.
        self._http = http or httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False, verify=verify or True
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, verb: str, /, **fields: Any) -> dict[str, Any]:
        """Return the result of a verb, such as ``client.call("model.rollback", model="late-arrival")``.

        Raises
        ------
        VarvError
            What the server raised, of the same class.
        Unavailable
            If the server cannot be reached.
        Corrupt
            If it does not answer as varv does.
        """
        return self.post(path_of(verb), fields)

    def post(self, path: str, body: object) -> dict[str, Any]:
        """Return what a path answers to a JSON document; errors as of `call`."""
        return self._answered("POST", path, msgspec.json.encode(body, enc_hook=_in_json))

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON document at a path; errors as of `call`."""
        return self._answered("GET", path, None)

    def verbs(self) -> dict[str, str]:
        """Return every verb that the server offers and what it does; errors as of `call`."""
        try:
            paths = self.get("/api/openapi.json")["paths"]
            return {str(path["post"]["operationId"]): str(path["post"]["summary"]) for path in paths.values()}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._strange(200, f"{type(error).__name__} in its description") from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _answered(self, method: str, path: str, content: bytes | None) -> dict[str, Any]:
        try:
            with self._http.stream(method, path, content=content, headers=_JSON) as answer:
                body = self._read(answer)
        except httpx.TimeoutException as error:
            hint = "wait longer with timeout, or ask for less; varv status says what it does"
            raise Unavailable(
                "server", self.url, "does not answer in time", why=str(error), hint=hint
            ) from None
        except httpx.HTTPError as error:
            hint = "is varv up running? varv status says where"
            raise Unavailable("server", self.url, "cannot be reached", why=str(error), hint=hint) from None
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise self._strange(answer.status_code, "no JSON") from None
        if not isinstance(found, dict):
            raise self._strange(answer.status_code, "no JSON object")
        if answer.is_success:
            return found
        raise self._raised(answer.status_code, found)

    def _read(self, answer: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > self._most_bytes:
                hint = "ask for fewer rows at a time"
                raise Corrupt("server", self.url, "answers more than was asked for", n_bytes=size, hint=hint)
            parts.append(part)
        return b"".join(parts)

    def _raised(self, status: int, said: dict[str, Any]) -> VarvError:
        # The control plane describes an error below "error", the data plane on the outside.
        inner = said.get("error")
        fields = inner if isinstance(inner, dict) else said
        try:
            told = msgspec.convert(fields, type=_Described)
        except msgspec.ValidationError as error:
            return self._strange(status, str(error))
        # Of those that share a code, the one that the code is of: parents come first, and those of one module
        # are for that module.
        general = [kind for kind in tree() if kind.__module__ == VarvError.__module__]
        kind = {kind.code: kind for kind in reversed(general)}.get(told.code, VarvError)
        facts = {name: value for name, value in told.facts.items() if name not in _OWN}
        return kind(told.kind, told.name, told.problem, hint=told.hint, **facts)

    def _strange(self, status: int, why: str) -> Corrupt:
        hint = "is it the control port of varv, of the same version?"
        return Corrupt("server", self.url, "does not answer as varv does", status=status, why=why, hint=hint)


class _Described(msgspec.Struct, frozen=True):
    """An error as a server describes it."""

    code: str
    kind: str
    name: str
    problem: str
    hint: str = ""
    facts: dict[str, Any] = {}


_JSON = {"content-type": "application/json"}
_OWN = frozenset({"self", "kind", "name", "problem", "hint"})


def _checked(url: str) -> str:
    """Return the address of a server, without a slash at its end.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    problem = ""
    try:
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem = "is not the address of a server"
        elif parts.username is not None or parts.password is not None:
            problem = "holds a password, which addresses are no place for"
        elif parts.query or parts.fragment or parts.path not in ("", "/"):
            problem = "names a page, not a server"
        _ = parts.port
    except ValueError:
        problem = "is not an address"
    if problem:
        # A password is not repeated into a message.
        shown = str(url).rpartition("@")[2][:80]
        raise InvalidInput("url", shown, problem, hint="write http://127.0.0.1:8400")
    return url.rstrip("/")


def _in_json(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)  # type: ignore[missing-attribute]
