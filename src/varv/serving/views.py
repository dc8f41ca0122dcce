"""Read model of serving: the routing table in force for each model, and how many requests each version
answered.
"""

from __future__ import annotations

from varv.kernel.codec import Digest, Event
from varv.kernel.ledger import Entry
from varv.serving.model import AnswersUncaptured, RequestsServed, RoutingChanged
from varv.serving.routing import RoutingTable


class RoutingView:
    """Routing tables, segments of predictions and counts by model."""

    def __init__(self) -> None:
        self.tables: dict[str, RoutingTable] = {}
        self.segments: dict[str, dict[str, Digest]] = {}
        """By model, the segments of predictions with the digests of their rows, in order."""
        self.n_requests: dict[str, dict[str, int]] = {}
        self.n_uncaptured: dict[str, int] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, RoutingChanged):
            held = self.tables.get(event.model)
            if held is None or event.table.epoch > held.epoch:
                self.tables[event.model] = event.table
        elif isinstance(event, AnswersUncaptured):
            self.n_uncaptured[event.model] = self.n_uncaptured.get(event.model, 0) + event.n_requests
        elif isinstance(event, RequestsServed):
            self.segments.setdefault(event.model, {})[event.segment] = event.digest
            counts = self.n_requests.setdefault(event.model, {})
            for version, n in event.n_by_version.items():
                counts[version] = counts.get(version, 0) + n
