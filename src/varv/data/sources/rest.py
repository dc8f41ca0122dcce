"""REST interfaces as sources: records of JSON, page by page, and only what is new if they can say so.

Each page moves the cursor, so a pull that ends goes on there. The watermark moves when the last page has
come, since nobody promises the order of pages. How an address is asked is for `sources.asking` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

import msgspec
import polars as pl

from varv.data.sources.asking import Asking, require_askable
from varv.data.sources.files import guessed, in_batches, unguessed
from varv.data.sources.steps import Asked, Step, pieces, with_last
from varv.data.sources.watermarks import as_text, before, from_text, later
from varv.kernel.clock import SECOND, duration, wall_seconds
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound, Unavailable
from varv.kernel.scratch import Scratch
from varv.kernel.sizes import size_bytes
from varv.kernel.variables import named_again

Pages = Literal["", "link", "next", "cursor", "page", "offset"]
AT, SEEN, PAGE = "at", "seen", "page"
"""The places of the cursor: the watermark of the last whole pull, the greatest of this one, and the page that
is next.
"""
_PIECE = 1 << 20
_NEXT = re.compile(r'<([^>]*)>[^,]*;\s*rel="?next"?', re.IGNORECASE)


class _Page(NamedTuple):
    records: list[Any]
    next: str
    """Of the next one, as `pages` names it; empty if there is none."""


@dataclass(frozen=True)
class Rest:
    """Records that an interface of HTTP gives as JSON.

    Parameters
    ----------
    url
        Such as ``"https://shop.example/v1/orders?limit=500"``; ``${NAME}`` is a variable of the environment,
        as in `headers`, or the content of the file that ``NAME_FILE`` names.
    rows
        Where in an answer the list of records is, such as ``"data.orders"``; the answer itself by default.
    pages
        How the next page is found: ``"link"`` by the header Link, ``"next"`` by its address in the answer,
        ``"cursor"`` by a text in the answer that goes into a parameter, ``"page"`` by a parameter that counts
        pages from 1 or what the address says, ``"offset"`` by one that counts records; the last two until a
        page is empty. By default there is one page.
    next
        Where in an answer that address or text is, such as ``"meta.next"``.
    parameter
        Of the cursor, page or offset; called like that by default.
    watermark
        A field of records that never falls as they are written or changed, such as ``"updated_at"``.
    since
        The parameter by which only records from a watermark on are asked for, such as ``"updated_since"``.
    lag
        How long a record may be given after its watermark says: ``"10m"`` of that are asked for again.
    headers
        Sent to this host alone: ``{"authorization": "Bearer ${SHOP_TOKEN}"}``.
    most
        The most bytes of one answer.
    within
        How long one page may take, with all that a busy server asks to wait.
    inside
        Whether hosts of this network may be asked, by plain HTTP too.

    Raises
    ------
    InvalidDeclaration
        If one of these is not valid, or the address or a header holds a secret.
    """

    url: str
    rows: str = ""
    pages: Pages = ""
    next: str = "next"
    parameter: str = ""
    watermark: str = ""
    since: str = ""
    lag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    most: str = "256MB"
    within: str = "10m"
    inside: bool = False

    def __post_init__(self) -> None:
        spans = (self.within, self.lag) if self.lag else (self.within,)
        require_askable("Rest", self.url, self.headers, most=self.most, spans=spans, inside=self.inside)
        if self.pages not in get_args(Pages):
            hint = f"choose one of {', '.join(filter(None, get_args(Pages)))}"
            raise InvalidDeclaration("source", "Rest", f"has pages {str(self.pages)[:40]!r}", hint=hint)
        if bool(self.watermark) != bool(self.since) or (self.lag and not self.watermark):
            problem = "names only one of watermark= and since=, or lag= without them"
            hint = 'write watermark="updated_at", since="updated_since"'
            raise InvalidDeclaration("source", "Rest", problem, hint=hint)

    @property
    def identity(self) -> str:
        """What the source is."""
        return f"rest {self.url}" + (f" {self.rows}" if self.rows else "")

    @property
    def guesses(self) -> bool:
        """Whether types are what rows suggest."""
        return True

    @property
    def technical(self) -> tuple[str, ...]:
        """Columns that say nothing of what a row is about."""
        return (self.watermark,) if self.watermark else ()

    def types(self) -> Mapping[str, pl.DataType]:
        """Return the columns and their types, as the first page suggests."""
        scratch = Scratch("rest")
        file = self._written(scratch, self._page(self.url, "").records)
        return guessed(file, "jsonl").collect_schema()

    def load(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(list(self.batches()))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield all rows, some hundred thousand at a time, in the types that the first 10,000 suggest."""
        scratch = Scratch("rest")
        file = scratch.path / "all.jsonl"
        with file.open("wb") as whole:
            for page in self._given(self.url, ""):
                whole.write(_lines(page.records))
        yield from in_batches(guessed(file, "jsonl"), columns)

    def keys(self, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
        """Yield the columns of the key of all rows that there are."""
        yield from self.batches(columns)

    def steps(self, asked: Asked) -> Iterator[Step]:
        """Yield page by page what is new by the watermark; everything if there is none."""
        wanted = dict(asked.types)
        if self.watermark:
            wanted.setdefault(self.watermark, pl.String())
        at, seen = asked.cursor.get(AT, ""), asked.cursor.get(SEEN, "")
        url = self._since(at)
        for page in self._resumed(url, asked.cursor.get(PAGE, "")):
            for record in page.records if self.watermark else ():
                value = record.get(self.watermark) if isinstance(record, dict) else None
                seen = seen if value is None else later(seen, as_text(value))
            moved = {PAGE: page.next, SEEN: seen} if page.next else {PAGE: "", SEEN: ""}
            if not page.next and seen:
                moved[AT] = later(at, seen)
            yield from self._rows(page.records, wanted, moved)

    def _rows(
        self, records: Sequence[Any], types: Mapping[str, pl.DataType], moved: Mapping[str, str]
    ) -> Iterator[Step]:
        if not records:
            yield Step(pl.DataFrame(), moved)
            return
        scratch = Scratch("rest")
        file = self._written(scratch, records)
        for piece, is_last in with_last(pieces(unguessed(file, "jsonl", types))):
            yield Step(piece, moved if is_last else {})

    def _since(self, at: str) -> str:
        if not at:
            return self.url
        return _with(self.url, self.since, str(before(from_text(at), self.lag)))

    def _resumed(self, url: str, reached: str) -> Iterator[_Page]:
        """Yield the pages from one on; all of them if that one is not there any more."""
        pages = self._given(url, reached)
        if reached:
            try:
                first = next(pages)
            except (InvalidInput, NotFound):
                # Marks of pages are forgotten after a while by many; what comes again is known by its key.
                pages = self._given(url, "")
            else:
                yield first
        yield from pages

    def _given(self, url: str, reached: str) -> Iterator[_Page]:
        """Yield the pages of an address from one on.

        Raises
        ------
        Unavailable
            If a page is its own next.
        """
        before_it: list[Any] = []
        while True:
            page = self._page(url, reached)
            is_counted = self.pages in ("page", "offset")
            if page.next and (page.next == reached or (is_counted and page.records == before_it)):
                raise Unavailable("source", self.identity, "gives the same page again", page=reached[:80])
            yield page
            if not page.next:
                return
            reached, before_it = page.next, page.records

    def _page(self, url: str, reached: str) -> _Page:
        """Fetch one page, the first if none was reached."""
        place = url
        if reached:
            is_address = self.pages in ("link", "next")
            place = reached if is_address else _with(url, self.parameter or self.pages, reached)
        until = wall_seconds() + duration(self.within) / SECOND
        asking = Asking(self.identity, self.url, self.headers, inside=self.inside)

        def fetch() -> tuple[bytes, str]:
            with asking.answer(until, {"accept": "application/json"}, place) as answer:
                return self._body(answer, until), answer.getheader("link") or ""

        body, link = asking.tried(until, fetch)
        try:
            found = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise InvalidInput("source", self.identity, "answers no JSON", why=str(error)[:200]) from None
        records = _inside(found, self.rows)
        if not isinstance(records, list):
            hint = "say where the list of records is: rows="
            raise InvalidInput("source", self.identity, "gives no list of records", rows=self.rows, hint=hint)
        return _Page(records, self._next(place, reached, found, link, len(records)))

    def _next(self, place: str, reached: str, found: Any, link: str, n_records: int) -> str:
        """Return what names the next page."""
        match self.pages:
            case "link":
                said = _NEXT.search(link)
                return self._address(place, said[1] if said else "")
            case "next":
                return self._address(place, str(_inside(found, self.next) or ""))
            case "cursor":
                told = _inside(found, self.next)
                return "" if told is None else str(told)
            case "page":
                return str(int(reached or self._first(1)) + 1) if n_records else ""
            case "offset":
                return str(int(reached or self._first(0)) + n_records) if n_records else ""
            case _:
                return ""

    def _first(self, default: int) -> int:
        """Return where an interface begins to count."""
        said = dict(parse_qsl(urlsplit(self.url).query)).get(self.parameter or self.pages, "")
        return int(said) if said.isdigit() else default

    def _address(self, place: str, said: str) -> str:
        if not said:
            return ""
        parts = urlsplit(urljoin(place, said))
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        query = "&".join(f"{self._kept(name)}={self._kept(value)}" for name, value in pairs)
        found = urlunsplit(
            parts._replace(path=self._kept(unquote(parts.path), "/"), query=query, fragment="")
        )
        own, other = urlsplit(self.url), urlsplit(found)
        if (own.scheme, own.netloc) != (other.scheme, other.netloc):
            problem = f"leads to another host, {other.netloc[:80]}"
            raise Unavailable("source", self.identity, problem, hint="its secrets are for this host alone")
        return found

    def _kept(self, said: str, safe: str = "") -> str:
        """Return a piece of an address as it goes on record: where it repeats a secret of ours, that is named
        again, and what else it says names no variable.
        """
        named = named_again(said.replace("$", "\0"), [self.url])
        return quote(named, safe=f"{safe}${{}}").replace("%00", "%24")

    def _body(self, answer: Any, until: float) -> bytes:
        most, body = size_bytes(self.most), bytearray()
        while piece := answer.read(_PIECE):
            body += piece
            if len(body) > most:
                hint = "ask for fewer records a page, or say most="
                raise InvalidInput(
                    "source", self.identity, f"gives a page larger than {self.most}", hint=hint
                )
            if wall_seconds() > until:
                raise Unavailable("source", self.identity, f"takes longer than {self.within}")
        return bytes(body)

    def _written(self, scratch: Scratch, records: Sequence[Any]) -> Path:
        if not records:
            raise NotFound("source", self.identity, "gives no record", hint="it must when it is first read")
        file = scratch.path / "page.jsonl"
        file.write_bytes(_lines(records))
        return file


def _lines(records: Sequence[Any]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in records)


def _inside(found: Any, path: str) -> Any:
    """Return what lies at a path of names; None if nothing does."""
    for name in filter(None, path.split(".")):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _with(url: str, parameter: str, value: str) -> str:
    """Return an address with a parameter of this value, in which nothing names a variable."""
    parts = urlsplit(url)
    others = [one for one in parts.query.split("&") if one and one.partition("=")[0] != parameter]
    query = "&".join([*others, f"{quote(parameter, safe='')}={quote(value, safe='')}"])
    return urlunsplit(parts._replace(query=query))
