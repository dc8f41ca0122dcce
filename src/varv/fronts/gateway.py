"""What stands in front of both servers' applications: which names they answer to, how much is received at a
time, and what becomes of a caller that hangs up.

Deadlines and connections are the protocol's, in `app.server.protocol`; what a request may say is its front's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from varv.fronts.problems import TooLarge, TooMuchUnderWay, json_response
from varv.kernel.errors import InvalidInput, PermissionDenied, VarvError

SMALL_BYTES = 64 << 10
"""Bodies up to this size are received however many are under way; the number of connections bounds them."""
EVERYWHERE = ("0.0.0.0", "::")
PROBED = frozenset({"/health", "/version"})
"""Answered whatever the server is called: who looks whether it is there may know only its address."""


class Gateway:
    """Passes requests on to an application if they are meant for this server.

    Parameters
    ----------
    app
        Answers them.
    hosts
        The names that a request may call this server by, without ports; None allows any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._hosts is not None and scope["path"] not in PROBED:
            named = next((value for name, value in scope["headers"] if name == b"host"), b"")
            if not is_meant(named, self._hosts):
                told = {"error": unknown_host(named).described()}
                await json_response(told, status=403)(scope, receive, send)
                return
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is there to be answered


def allowed_hosts(host: str, more: str) -> frozenset[str] | None:
    """Return the names by which a server on the address `host` may be called; None if any will do.

    A name that somebody points at this machine, to have a browser talk to it, is not one of them. A server on
    every address is meant to be found by names that it cannot know.

    Parameters
    ----------
    more
        Further names, with commas between them.

    Examples
    --------
    >>> sorted(allowed_hosts("127.0.0.1", "models.example.org"))
    ['127.0.0.1', '::1', 'localhost', 'models.example.org']
    """
    named = {name.strip().lower() for name in more.split(",") if name.strip()}
    if host in EVERYWHERE and not named:
        return None
    own = set() if host in EVERYWHERE else {host.lower()}
    return frozenset({"127.0.0.1", "localhost", "::1", *own, *named})


def host_name(header: str) -> str:
    """Return the name in a ``Host`` header, without the port.

    Examples
    --------
    >>> host_name("[::1]:8480"), host_name("LocalHost:8400"), host_name("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def is_meant(named: bytes, hosts: frozenset[str] | None) -> bool:
    """Return whether a ``Host`` header names one of `hosts`; None are all of them."""
    return hosts is None or host_name(named.decode("latin-1")) in hosts


def unknown_host(named: bytes) -> VarvError:
    """Return the refusal of a request that calls the server by a name that is none of its own."""
    hint = "call the server by its address, or set allowed_hosts"
    return PermissionDenied("host", named.decode("latin-1")[:80], "is not a name of this server", hint=hint)


def require_own_site(request: Request, others: Container[bytes] = ()) -> None:
    """Refuse what a browser sends on behalf of a page of another site.

    Parameters
    ----------
    others
        Origins of other sites whose pages may.

    Raises
    ------
    PermissionDenied
        If a header says so that no page can change; programs send neither.
    """
    fetched, origin, host = b"none", None, b""
    # One pass: on the way of every prediction.
    for name, value in request.scope["headers"]:
        if name == b"sec-fetch-site":
            fetched = value
        elif name == b"origin":
            origin = value
        elif name == b"host":
            host = value
    require_same_site(request.url.path, fetched, origin, host, others)


def require_same_site(
    path: str, fetched: bytes, origin: bytes | None, host: bytes, others: Container[bytes] = ()
) -> None:
    """Refuse what a browser says that a page of another site sends; it raises as `require_own_site`.

    Parameters
    ----------
    fetched, origin, host
        The headers ``Sec-Fetch-Site``, "none" if it is absent, ``Origin``, and ``Host``.
    others
        Origins of other sites whose pages may.
    """
    # Browsers leave the first header out where the connection is not secure.
    is_own = origin is None or origin.lower().partition(b"://")[2] == host.lower()
    is_allowed = origin is not None and origin in others
    if not is_allowed and (not is_own or fetched not in (b"none", b"same-origin")):
        hint = "call the server from its own pages, or from a program"
        raise PermissionDenied("request", path, "comes from a page of another site", hint=hint)


def form_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form that was sent, without those that are empty.

    Raises
    ------
    InvalidInput
        If it is no form.
    """
    try:
        found = parse_qs(body.decode(), strict_parsing=bool(body), max_num_fields=10_000)
    except ValueError as error:
        raise InvalidInput("request", "body", "is no form", why=str(error)[:100]) from None
    return {name: values[-1] for name, values in found.items()}


class Bodies:
    """Receives bodies, of which only so many bytes may be in memory at a time.

    Parameters
    ----------
    most_bytes
        Of one body.
    most_bytes_together
        Of all bodies above `SMALL_BYTES`, from their first byte until their requests are answered.
    """

    def __init__(self, most_bytes: int, most_bytes_together: int) -> None:
        self.most_bytes = most_bytes
        self._left = most_bytes_together

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncGenerator[bytes]:
        """Give the body of a request; it counts as under way until the block ends.

        Raises
        ------
        TooLarge
            If it is larger than allowed; at once if it says so.
        TooMuchUnderWay
            If too much is under way already.
        """
        said = request.headers.get("content-length", "")
        if said.isdecimal() and (len(said) > 18 or int(said) > self.most_bytes):
            raise self._too_large(request)
        chunks: list[bytes] = []
        size = taken = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > self.most_bytes:
                    raise self._too_large(request)
                if size > SMALL_BYTES:
                    self._take(request, size - taken)
                    taken = size
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._left += taken

    def _take(self, request: Request, n_bytes: int) -> None:
        if n_bytes > self._left:
            hint = "try again in a moment, or send it in parts"
            raise TooMuchUnderWay("request", request.url.path, "comes while too much is received", hint=hint)
        self._left -= n_bytes

    def _too_large(self, request: Request) -> TooLarge:
        hint = "send it in parts"
        return TooLarge("request", request.url.path, "is too large", most_bytes=self.most_bytes, hint=hint)
