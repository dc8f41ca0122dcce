"""Read model of serving: the routing table in force for each model, and how many requests each version
answered.
"""

from __future__ import annotations

from varv.kernel.clock import HOUR, Instant
from varv.kernel.codec import Digest, Event
from varv.kernel.ledger import Entry
from varv.serving.backfill import Backfilled
from varv.serving.model import AnswersUncaptured, RequestsBackfilled, RequestsServed, RoutingChanged
from varv.serving.routing import RoutingTable

_MOST_HOURS = 48


class RoutingView:
    """Routing tables, segments of predictions and counts by model."""

    def __init__(self) -> None:
        self.tables: dict[str, RoutingTable] = {}
        self.segments: dict[str, dict[str, Digest]] = {}
        """By model, the segments of predictions with the digests of their rows, in order."""
        self.n_requests: dict[str, dict[str, int]] = {}
        self.n_uncaptured: dict[str, int] = {}
        self.backfilled: dict[str, dict[str, list[Backfilled]]] = {}
        """By model and segment, where features are that were computed later."""
        self._hours: dict[str, dict[int, int]] = {}
        """By model, how many requests were put on record in each of its last hours."""

    def n_since(self, model: str, since: Instant) -> int:
        """Return how many requests of a model were put on record since an hour of its last days."""
        return sum(n for hour, n in self._hours.get(model, {}).items() if hour >= since // HOUR)

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
            self.segments.setdefault(event.model, {})[event.segment] = event.digest
            counts = self.n_requests.setdefault(event.model, {})
            for version, n in event.n_by_version.items():
                counts[version] = counts.get(version, 0) + n
            self._count(event, entry.at)

    def _count(self, event: RequestsServed, at: Instant) -> None:
        """Count answered requests by the hour; those of a time without a version were answered by nobody."""
        hours, hour = self._hours.setdefault(event.model, {}), at // HOUR
        hours[hour] = hours.get(hour, 0) + event.n_requests - event.n_by_version.get("0", 0)
        if len(hours) > _MOST_HOURS:
            del hours[min(hours)]
