"""Asking an address over HTTP: where it may lead, what goes along, and when it is asked again.

An address is the author's, what it redirects to somebody else's: unless the source says ``inside``, no host
is asked that has an address which is not public. A secret in a header goes to the first host alone.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from varv.kernel.addresses import dialled
from varv.kernel.clock import duration, wall_seconds
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound, Unavailable
from varv.kernel.sizes import size_bytes
from varv.kernel.variables import filled_in, names_in, scrubbed

MOST_HOPS = 5
MOST_TRIES = 5
_FIRST_WAIT_S = 0.05
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_SECRET = re.compile(r"authorization|cookie|token|key|secret", re.IGNORECASE)
T = TypeVar("T")


class _Busy(Exception):
    """A server that asks to be asked later."""

    def __init__(self, status: int, after_s: float | None) -> None:
        super().__init__(f"answers {status}")
        self.after_s = after_s


def require_askable(
    kind: str, url: str, headers: Mapping[str, str], *, most: str, spans: Iterable[str], inside: bool
) -> None:
    """Raise `InvalidDeclaration` if an address may not be asked, it or a header holds a secret, or a size or
    spans of time are not valid.
    """
    try:
        urlsplit(url)
        size_bytes(most)
        for span in spans:
            duration(span)
    except (ValueError, InvalidInput) as error:
        raise InvalidDeclaration("source", kind, f"is not valid: {error}") from None
    require_allowed(kind, url, inside=inside)
    parts = urlsplit(url)
    if parts.password or parts.username:
        hint = 'say headers={"authorization": "Bearer ${TOKEN}"}'
        raise InvalidDeclaration("source", kind, "holds who reads it in the address", hint=hint)
    for name, value in headers.items():
        if _SECRET.search(name) and not names_in(value):
            hint = "name a variable of the environment: ${SHOP_TOKEN}"
            raise InvalidDeclaration("source", kind, f"holds a secret in header {name!r}", hint=hint)


def require_allowed(kind: str, url: str, *, inside: bool) -> None:
    """Raise `InvalidDeclaration` if an address is of a scheme that is not asked."""
    parts = urlsplit(url)
    schemes = ("https", "http") if inside else ("https",)
    if parts.scheme not in schemes or not parts.hostname:
        hint = f"begin it with {' or '.join(f'{scheme}://' for scheme in schemes)}; see inside="
        raise InvalidDeclaration("source", kind, f"leads to {url[:80]!r}", hint=hint)


@dataclass(frozen=True)
class Asking:
    """An address and what is sent to it; both name their secrets."""

    identity: str
    url: str
    headers: Mapping[str, str]
    inside: bool = False

    def tried(self, until: float, act: Callable[[], T]) -> T:
        """Return what a function does with answers; it is called again while a server is busy, as soon as
        that says, and while connections break off.

        Raises
        ------
        Unavailable
            If that does not end, or would not before `until`.
        """
        for attempt in range(MOST_TRIES):
            wait_s = _FIRST_WAIT_S * 2**attempt
            try:
                return act()
            except _Busy as busy:
                why: Exception = busy
                wait_s = wait_s if busy.after_s is None else busy.after_s
            except (OSError, http.client.HTTPException) as error:
                why = error
            is_last = attempt + 1 == MOST_TRIES or wall_seconds() + wait_s > until
            if is_last or isinstance(why, PermissionError):
                said = scrubbed(str(why)[:200], [self.url, *self.headers.values()])
                raise Unavailable("source", self.identity, "cannot be fetched", why=said) from None
            threading.Event().wait(wait_s)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def answer(
        self, until: float, more: Mapping[str, str], url: str = ""
    ) -> Iterator[http.client.HTTPResponse]:
        """Give the answer of the address, or of another one of the same host, wherever it redirects to.

        Raises
        ------
        NotFound
            If it says that nothing is there.
        InvalidInput
            If it refuses.
        Unavailable
            If it redirects without end.
        """
        kind, name = "source", self.identity
        url, hops = filled_in(url or self.url, kind=kind, name=name, in_address=True), 0
        headers = {key: filled_in(value, kind=kind, name=name) for key, value in self.headers.items()}
        while True:
            with closing(self._connected(url, until)) as connection:
                parts = urlsplit(url)
                target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
                asked = {"accept-encoding": "identity", "user-agent": "varv", **headers}
                connection.request("GET", target, headers={**asked, **more})
                # An answer that was not read to its end keeps the socket.
                with closing(connection.getresponse()) as answer:
                    if answer.status not in (301, 302, 303, 307, 308):
                        self._require_sound(answer)
                        yield answer
                        return
                    url, hops = urljoin(url, answer.getheader("location", "")), hops + 1
            if urlsplit(url).netloc != parts.netloc:
                headers.clear()
            if hops > MOST_HOPS:
                raise Unavailable("source", self.identity, "redirects without end")
            require_allowed("Http", url, inside=self.inside)

    def _require_sound(self, answer: http.client.HTTPResponse) -> None:
        if answer.status in _BUSY:
            raise _Busy(answer.status, _seconds(answer.getheader("retry-after") or ""))
        if answer.status in (404, 410):
            problem = f"is not there ({answer.status})"
            raise NotFound("source", self.identity, problem, hint="check the address")
        if answer.status not in (200, 206, 304):
            hint = "check the address and its headers"
            problem = f"answers {answer.status}"
            raise InvalidInput("source", self.identity, problem, status=answer.status, hint=hint)

    def _connected(self, url: str, until: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        is_secure, host = parts.scheme == "https", parts.hostname or ""
        left_s = max(until - wall_seconds(), 0.001)
        dialled_socket = dialled(
            (host, parts.port or (443 if is_secure else 80)), min(left_s, 30.0), inside=self.inside
        )
        dialled_socket.settimeout(min(left_s, 60.0))
        if is_secure:
            dialled_socket = ssl.create_default_context().wrap_socket(dialled_socket, server_hostname=host)
        connection = http.client.HTTPConnection(host, parts.port)
        connection.default_port = 443 if is_secure else 80
        connection.sock = dialled_socket
        return connection


def _seconds(said: str) -> float | None:
    """Return how long a server asks to be left alone, in seconds or until a date; None if it does not."""
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - wall_seconds())
    except (TypeError, ValueError):
        return None
