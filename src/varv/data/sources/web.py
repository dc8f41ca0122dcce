"""The web as a source: one file behind an address, fetched whole when it has changed.

How an address is asked is for `sources.asking` to say; what comes page by page is read by `sources.rest`.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import polars as pl

from varv.data.sources.asking import Asking, require_askable
from varv.data.sources.files import Scanned, format_of, guessed, unguessed
from varv.data.sources.steps import Asked, Step, file_steps
from varv.kernel.clock import SECOND, duration, wall_seconds
from varv.kernel.errors import InvalidInput, Unavailable
from varv.kernel.scratch import Scratch
from varv.kernel.sizes import size_bytes

MARK = "etag"
"""The place of the cursor that holds what the server calls this state of the file."""
_PIECE = 1 << 20


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
        spans = (self.within,)
        require_askable("Http", self.url, self.headers, most=self.most, spans=spans, inside=self.inside)
        format_of(urlsplit(self.url).path, self.format)

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

        def fetch() -> str | None:
            # What came so far stays; the server says whether it still is the beginning.
            with self._asking.answer(until, reached.as_headers(known)) as answer:
                return self._taken(answer, place, reached, until)

        mark = self._asking.tried(until, fetch)
        return None if mark is None else _Fetched(place, mark, scratch)

    @property
    def _asking(self) -> Asking:
        return Asking(self.identity, self.url, self.headers, inside=self.inside)

    def _taken(
        self, answer: http.client.HTTPResponse, place: Path, reached: _Reached, until: float
    ) -> str | None:
        """Return what the file is called now, once it is all here; None if it is as it was."""
        if answer.status == 304:
            return None
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
