"""Pages of tables: what one holds, and where the next one begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import polars as pl

from varv.kernel.clock import Instant
from varv.kernel.errors import InvalidInput


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table; there are more if `after` is not empty: ask again with it."""

    rows: pl.DataFrame
    after: str = ""


class Span(NamedTuple):
    """When the requests of a segment were made, and how many there are."""

    first: int
    last: int
    n_rows: int


def page_of(rows: pl.DataFrame, *, after: str = "", limit: int | None = None) -> Table:
    """Return a page of rows that are all there."""
    first = number_of(after)
    page = rows.slice(first, limit)
    more = first + page.height < rows.height
    return Table(rows=page, after=str(first + page.height) if more else "")


def enough(spans: Sequence[Span], taken: int, most: int | None) -> int:
    """Return up to which span to read on for `most` rows more."""
    n = 0
    for number in range(taken, len(spans)):
        n += spans[number].n_rows
        if most is not None and n >= most:
            return number + 1
    return len(spans)


def end_of(spans: Sequence[Span], most: int, start: Instant, until: Instant) -> int:
    """Return an instant up to which spans, in order, hold some `most` rows, after `start`."""
    n = 0
    for span, following in pairwise(spans):
        n += span.n_rows
        if n >= most and following.first > start:
            return following.first
    return until


def cut_page(rows: pl.DataFrame, time: str, n_seen: int, limit: int | None, end: int, until: int) -> Table:
    """Return a page of rows in their order, all of those before `end`; `n_seen` were on the page before."""
    if limit is None:
        return Table(rows=rows)
    page = rows.slice(n_seen, limit)
    if n_seen + page.height == rows.height:
        return Table(rows=page, after=f"{end}.0" if end < until else "")
    last = page[time].to_physical()[-1]
    n_equal = int((rows[: n_seen + page.height][time].to_physical() == last).sum())
    return Table(rows=page, after=f"{last}.{n_equal}")


def plus(limit: int | None, n: int) -> int | None:
    """Return a limit of rows and `n` more."""
    return None if limit is None else limit + n


def place_of(after: str, since: Instant) -> tuple[Instant, int]:
    """Return where a page begins: an instant, and how many rows of that instant were given before."""
    at, _, n_seen = after.partition(".")
    return (Instant(number_of(at)), number_of(n_seen)) if after else (since, 0)


def number_of(text: str) -> int:
    """Return a number out of a caller's `after`.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    digits = text.removeprefix("-")
    if text and not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        hint = "give what the page before said, or nothing for the first"
        raise InvalidInput("field", "after", "names no page", given=text[:40], hint=hint)
    return int(text or 0)
