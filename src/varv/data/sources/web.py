"""The web as a source: one file behind an address, fetched whole when it has changed.

An address is the author's, what it redirects to somebody else's: unless the source says ``inside``, no host
is asked that has an address which is not public. A secret in a header goes to the first host alone.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import polars as pl

from varv.data.sources.files import Scanned, format_of, guessed, unguessed
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.addresses import dialled
from varv.kernel.clock import SECOND, duration, wall_seconds
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound, Unavailable
from varv.kernel.scratch import Scratch
from varv.kernel.sizes import size_bytes
from varv.kernel.variables import filled_in, names_in, scrubbed

MARK = "etag"
"""The place of the cursor that holds what the server calls this state of the file."""
MOST_HOPS = 5
MOST_TRIES = 5
_PIECE = 1 << 20
_SECRET = re.compile(r"authorization|cookie|token|key|secret", re.IGNORECASE)


@dataclass(frozen=True)
class Http(Scanned):
    """A file of CSV, Parquet or JSON lines behind ``https://``.

    Parameters
    ----------
    url
        Where it is; ``${NAME}`` is a variable of the environment, as in `headers`.
    format
        ``"csv"``, ``"parquet"`` or ``"jsonl"``; by the end of the address unless it is said.
    headers
        Sent to the first host: ``{"authorization": "Bearer ${SHOP_TOKEN}"}``.
    most
        The most bytes that are taken.
    within
        How long a fetch may take, such as ``"10m"``.
    inside
        Whether hosts of this network may be asked, by plain HTTP too.

    Raises
    ------
    InvalidDeclaration
        If one of these is not valid, or the address or a header holds a secret.
    """

    url: str
    format: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    most: str = "2GB"
    within: str = "10m"
    inside: bool = False
    _kept: dict[str, _Fetched] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            size_bytes(self.most)
            duration(self.within)
        except (ValueError, InvalidInput) as error:
            raise InvalidDeclaration("source", "Http", f"is not valid: {error}") from None
        self._require_allowed(self.url)
        if parts.password or parts.username:
            hint = 'say headers={"authorization": "Bearer ${TOKEN}"}'
            raise InvalidDeclaration("source", "Http", "holds who reads it in the address", hint=hint)
        for name, value in self.headers.items():
            if _SECRET.search(name) and not names_in(value):
                hint = "name a variable of the environment: ${SHOP_TOKEN}"
                raise InvalidDeclaration("source", "Http", f"holds a secret in header {name!r}", hint=hint)
        format_of(parts.path, self.format)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"http {self.url}"

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return format_of(self.url, self.format) != "parquet"

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield all rows, if the file has changed."""
        known = asked.cursor.get(MARK, "")
        fetched = self._fetched("" if "+" in known else known)
        if fetched is None:
            return
        kind = format_of(self.url, self.format)
        yield from file_steps(
            {MARK: fetched.mark},
            asked,
            lambda name, skip: unguessed(fetched.path, kind, asked.types, skip),
        )

    def _scan(self) -> pl.LazyFrame:
        # What was declared and what is read next are mostly asked for within a moment.
        known = self._kept.get("file")
        fetched = self._fetched("" if known is None else known.mark) or known
        assert fetched is not None, "what is not known is fetched"
        self._kept["file"] = fetched
        return guessed(fetched.path, format_of(self.url, self.format))

    def _fetched(self, known: str) -> _Fetched | None:
        """Return the file as it is now; None if that is as it was known."""
        until = wall_seconds() + duration(self.within) / SECOND
        scratch, reached = Scratch("fetch"), _Reached("", 0)
        place = scratch.path / "file"
        place.touch()
        for attempt in range(MOST_TRIES):
            try:
                mark = self._fetch(place, known, reached, until)
            except (OSError, http.client.HTTPException) as error:
                # What came so far stays; the server says whether it still is the beginning.
                if (
                    attempt + 1 < MOST_TRIES
                    and wall_seconds() < until
                    and not isinstance(error, PermissionError)
                ):
                    continue
                why = scrubbed(str(error)[:200], [self.url, *self.headers.values()])
                raise Unavailable("source", self.identity, "cannot be fetched", why=why) from None
            return None if mark is None else _Fetched(place, mark, scratch)
        raise AssertionError("the last try returns or raises")

    def _fetch(self, place: Path, known: str, reached: _Reached, until: float) -> str | None:
        url, hops = filled_in(self.url, kind="source", name=self.identity, in_address=True), 0
        headers = {
            name: filled_in(value, kind="source", name=self.identity) for name, value in self.headers.items()
        }
        while True:
            with closing(self._connected(url, until)) as connection:
                parts = urlsplit(url)
                target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
                asked = {"accept-encoding": "identity", "user-agent": "varv", **headers}
                connection.request("GET", target, headers={**asked, **reached.as_headers(known)})
                answer = connection.getresponse()
                if answer.status in (301, 302, 303, 307, 308):
                    url, hops = urljoin(url, answer.getheader("location", "")), hops + 1
                    if urlsplit(url).netloc != parts.netloc:
                        headers.clear()
                    if hops > MOST_HOPS:
                        raise Unavailable("source", self.identity, "redirects without end")
                    self._require_allowed(url)
                    continue
                return self._taken(answer, place, reached, until)

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

    def _taken(
        self, answer: http.client.HTTPResponse, place: Path, reached: _Reached, until: float
    ) -> str | None:
        """Return what the file is called now, once it is all here; None if it is as it was."""
        if answer.status == 304:
            return None
        if answer.status == 404:
            raise NotFound("source", self.identity, "is not there (404)", hint="check the address")
        if answer.status >= 500 or answer.status in (408, 429):
            raise Unavailable("source", self.identity, f"answers {answer.status}")
        if answer.status not in (200, 206):
            hint = "check the address and its headers"
            raise InvalidInput("source", self.identity, f"answers {answer.status}", hint=hint)
        if answer.status == 206 and not answer.getheader("content-range", "").startswith(
            f"bytes {reached.n_bytes}-"
        ):
            raise Unavailable("source", self.identity, "answers with another piece than was asked for")
        mark = answer.getheader("etag") or answer.getheader("last-modified") or ""
        most = size_bytes(self.most)
        with place.open("ab" if answer.status == 206 else "wb") as file:
            reached.mark, reached.n_bytes = mark, file.tell()
            while piece := answer.read(_PIECE):
                reached.n_bytes += file.write(piece)
                if reached.n_bytes > most:
                    raise InvalidInput(
                        "source", self.identity, f"is larger than {self.most}", hint="say most="
                    )
                if wall_seconds() > until:
                    raise Unavailable("source", self.identity, f"takes longer than {self.within}")
        if answer.length:
            # A connection that ends early is no error to the library once a size is asked for.
            raise http.client.IncompleteRead(b"", answer.length)
        return _plain(mark or _digest(place))

    def _require_allowed(self, url: str) -> None:
        parts = urlsplit(url)
        schemes = ("https", "http") if self.inside else ("https",)
        if parts.scheme not in schemes or not parts.hostname:
            hint = f"begin it with {' or '.join(f'{scheme}://' for scheme in schemes)}; see inside="
            raise InvalidDeclaration("source", "Http", f"leads to {url[:80]!r}", hint=hint)


class _Reached:
    """How much of which state of a file has come."""

    def __init__(self, mark: str, n_bytes: int) -> None:
        self.mark, self.n_bytes = mark, n_bytes

    def as_headers(self, known: str) -> dict[str, str]:
        # A weak tag does not vouch for bytes, and without any nobody knows what follows.
        if self.n_bytes and self.mark and not self.mark.startswith("W/"):
            return {"range": f"bytes={self.n_bytes}-", "if-range": self.mark}
        if '"' in known:
            return {"if-none-match": known}
        return {"if-modified-since": known} if known.endswith("GMT") else {}


class _Fetched(NamedTuple):
    path: Path
    mark: str
    scratch: Scratch
    """Holds the file as long as somebody has this."""


def _plain(mark: str) -> str:
    # A plus sign at the end of a mark counts rows.
    return mark.replace("+", "%2B") if "+" in mark else mark


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
