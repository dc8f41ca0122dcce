"""Events of serving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from varv.kernel.clock import Instant, iso
from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName
from varv.kernel.wording import count, percent
from varv.serving.routing import RoutingTable


@event("serving.routing_changed")
class RoutingChanged(Event, frozen=True, kw_only=True):
    """A routing table came into force."""

    model: ModelName
    table: RoutingTable

    def line(self) -> str:
        """Return one line on what this event states."""
        shares = ", ".join(f"v{part.version} {percent(part.share)}" for part in self.table.shares)
        return f"epoch {self.table.epoch}: {shares}"


_WORDS = {
    "fallback": "by the champion before",
    "cached": "by what was said before",
    "default": "by the declared default",
    "abstained": "held back",
}


def otherwise_in_words(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return how requests were answered that were not answered by the version whose turn it was, in words,
    and how many there were.
    """
    return [(_WORDS.get(mark, mark), n) for mark, n in sorted(counts.items()) if n]


def _without_digest(fields: dict[str, Any]) -> dict[str, Any]:
    # What version 1 had depended on the version of a library and told no order of rows.
    return {**fields, "digest": ""}


@event("serving.requests_served", version=2, upcast={1: _without_digest})
class RequestsServed(Event, frozen=True, kw_only=True):
    """A batch of requests was answered and its predictions kept; versions as texts, 0 for none.

    `digest` is that of the rows as they are stored (`kernel.content`); empty in entries of version 1.
    """

    model: ModelName
    segment: str
    n_requests: int
    n_by_version: dict[str, int]
    digest: Digest
    first: Instant | None = None
    """When the earliest of them was made; None in older entries."""
    last: Instant | None = None
    n_otherwise: dict[str, int] = msgspec.field(default_factory=dict)
    """Of them, those that were not answered by the version whose turn it was, by how they were."""

    def line(self) -> str:
        """Return one line on what this event states."""
        otherwise = "".join(f", {count(n)} {words}" for words, n in otherwise_in_words(self.n_otherwise))
        return f"{count(self.n_requests)} requests of {self.segment}{otherwise}"


@event("serving.requests_compacted")
class RequestsCompacted(Event, frozen=True, kw_only=True):
    """Segments of predictions lie in one file from now on, in this order; their rows are what they were.

    `first` and `last` are when the earliest and the latest of their requests were made.
    """

    model: ModelName
    file: str
    segments: tuple[str, ...]
    first: Instant
    last: Instant

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.segments))} batches of requests stored together"


@event("serving.requests_forgotten")
class RequestsForgotten(Event, frozen=True, kw_only=True):
    """Stored predictions of requests that were made before an instant count no more, as their model's
    retention declares; their files, `extents`, are removed.
    """

    model: ModelName
    before: Instant
    extents: tuple[str, ...]
    segments: tuple[str, ...]
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n_requests)} stored requests of before {iso(self.before)} given up"


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that holds what is left of an extent of predictions."""

    name: str
    n_rows: int
    digest: Digest
    first: Instant | None = None
    last: Instant | None = None


@event("serving.requests_erased")
class RequestsErased(Event, frozen=True, kw_only=True):
    """Stored predictions of a subject were erased: in the place of each extent in `remains` is what is left
    of it, or nothing. All that its `segments` had of features that were computed later lies there too.
    """

    model: ModelName
    erasure: str
    remains: dict[str, Remains | None]
    segments: tuple[str, ...]
    later: tuple[str, ...]
    """The tables of these features, of which nothing counts any more."""
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n_requests)} stored requests erased ({self.erasure})"


@event("serving.answers_uncaptured")
class AnswersUncaptured(Event, frozen=True, kw_only=True):
    """Requests were answered without being captured, since the disk had no room; written once it had."""

    model: ModelName
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n_requests)} requests answered without capture: the disk was full"


@event("serving.requests_backfilled")
class RequestsBackfilled(Event, frozen=True, kw_only=True):
    """Features that are new were computed for stored requests, each as of its own instant.

    ``segments`` are those of predictions; their rows have the values of ``columns`` in the segments of the
    same names of ``table``, in the same order, with the digests that are given.
    """

    model: ModelName
    table: str
    columns: tuple[str, ...]
    segments: dict[str, Digest]
    n_requests: int

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{', '.join(self.columns)} computed for {count(self.n_requests)} stored requests"
