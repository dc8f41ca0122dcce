"""Read model of serving: the routing table in force for each model, and how many requests each version
answered.
"""

from __future__ import annotations

import msgspec

from varv.kernel.catalogue import Catalogue, Compacted, Extent
from varv.kernel.clock import HOUR, Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry, Ledger, entries_of
from varv.kernel.views import Views
from varv.serving.backfill import Backfilled
from varv.serving.model import (
    AnswersUncaptured,
    RequestsBackfilled,
    RequestsCompacted,
    RequestsErased,
    RequestsForgotten,
    RequestsServed,
    RoutingChanged,
)
from varv.serving.routing import RoutingTable

_MOST_HOURS = 48


class Gone(msgspec.Struct, frozen=True):
    """Extents of predictions that were given up, the segments that they held, and the tables of what was
    computed for these later.
    """

    extents: tuple[str, ...]
    segments: tuple[str, ...]
    later: set[str]


def stream_of(model: str) -> str:
    """Return the stream of what is put on record of a model's requests."""
    return f"requests/{model}"


class RoutingView(msgspec.Struct):
    """Routing tables, stored predictions and counts by model."""

    tables: dict[str, RoutingTable] = {}
    stored: dict[str, Catalogue] = {}
    """By model, where its predictions are."""
    n_requests: dict[str, dict[str, int]] = {}
    n_uncaptured: dict[str, int] = {}
    n_otherwise: dict[str, dict[str, int]] = {}
    """By model, how many requests were not answered by the version whose turn it was, by how they were."""
    backfilled: dict[str, dict[str, list[Backfilled]]] = {}
    """By model and segment, where features are that were computed later."""
    gone: dict[str, Gone] = {}
    """By model, what was given up last, and whose files may still be there."""
    emptied: dict[str, set[str]] = {}
    """By model, tables of features computed later that an erasure emptied, and whose files may still be
    there.
    """
    hours: dict[str, dict[int, int]] = {}
    """By model, how many requests were put on record in each of its last hours."""

    def catalogue(self, model: str) -> Catalogue:
        """Return where the predictions of a model are; an empty one if there are none."""
        return self.stored.get(model) or Catalogue()

    def n_since(self, model: str, since: Instant) -> int:
        """Return how many requests of a model were put on record since an hour of its last days."""
        return sum(n for hour, n in self.hours.get(model, {}).items() if hour >= since // HOUR)

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, RoutingChanged):
            held = self.tables.get(event.model)
            if held is None or event.table.epoch > held.epoch:
                self.tables[event.model] = event.table
        elif isinstance(event, RequestsBackfilled):
            places = self.backfilled.setdefault(event.model, {})
            for segment, digest in event.segments.items():
                places.setdefault(segment, []).append(Backfilled(event.table, digest, event.columns))
        elif isinstance(event, AnswersUncaptured):
            self.n_uncaptured[event.model] = self.n_uncaptured.get(event.model, 0) + event.n_requests
        elif isinstance(event, RequestsServed):
            self._add(event, entry.at)
            counts = self.n_requests.setdefault(event.model, {})
            for version, n in event.n_by_version.items():
                counts[version] = counts.get(version, 0) + n
            for mark, n in event.n_otherwise.items():
                otherwise = self.n_otherwise.setdefault(event.model, {})
                otherwise[mark] = otherwise.get(mark, 0) + n
            self._count(event, entry.at)
        elif isinstance(event, RequestsCompacted):
            made = Compacted(file=event.file, segments=event.segments)
            self.stored[event.model].compacted(made, event.first, event.last)
        elif isinstance(event, RequestsForgotten):
            self._forget(event)
        elif isinstance(event, RequestsErased):
            self._erase(event)

    def _forget(self, event: RequestsForgotten) -> None:
        places = self.backfilled.get(event.model, {})
        later = [one for segment in event.segments for one in places.pop(segment, ())]
        self.gone[event.model] = Gone(event.extents, event.segments, {one.table for one in later})
        self.stored[event.model].forget(event.extents, event.segments)

    def _erase(self, event: RequestsErased) -> None:
        places = self.backfilled.get(event.model, {})
        for segment in event.segments:
            places.pop(segment, None)
        self.emptied.setdefault(event.model, set()).update(event.later)
        put = {
            name: None
            if one is None
            else Extent(
                name=one.name, digest=one.digest, n_rows=one.n_rows, first=one.first, last=one.last, number=0
            )
            for name, one in event.remains.items()
        }
        self.stored[event.model].swap(put, event.segments)

    def _add(self, event: RequestsServed, at: Instant) -> None:
        held = self.stored.setdefault(event.model, Catalogue())
        held.add(
            Extent(
                name=event.segment,
                digest=event.digest,
                n_rows=event.n_requests,
                first=event.first,
                last=event.last,
                number=held.n + 1,
                at=at,
            )
        )

    def _count(self, event: RequestsServed, at: Instant) -> None:
        """Count answered requests by the hour; those of a time without a version were answered by nobody."""
        hours, hour = self.hours.setdefault(event.model, {}), at // HOUR
        hours[hour] = hours.get(hour, 0) + event.n_requests - event.n_by_version.get("0", 0)
        if len(hours) > _MOST_HOURS:
            del hours[min(hours)]


def was_served(views: Views, ledger: Ledger, model: str, segment: str) -> bool:
    """Return whether a segment of a model's predictions is on record."""
    with views.reading(RoutingView) as routing:
        held = routing.catalogue(model)
        if segment in held.alone or not held.may_lie_in_files(segment):
            return segment in held.alone
    entries = (one for one in entries_of(ledger, stream_of(model)) if one.name == RequestsServed.event_name)
    return any(isinstance(one.event, RequestsServed) and one.event.segment == segment for one in entries)
