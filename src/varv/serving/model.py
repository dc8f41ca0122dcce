"""Events of serving."""

from __future__ import annotations

from varv.kernel.codec import Digest, Event, event
from varv.kernel.ids import ModelName
from varv.serving.routing import RoutingTable


@event("serving.routing_changed")
class RoutingChanged(Event, frozen=True, kw_only=True):
    """A routing table came into force."""

    model: ModelName
    table: RoutingTable


@event("serving.requests_served")
class RequestsServed(Event, frozen=True, kw_only=True):
    """A batch of requests was answered and its predictions kept; versions as texts, 0 for none."""

    model: ModelName
    segment: str
    n_requests: int
    n_by_version: dict[str, int]
    digest: Digest


@event("serving.answers_uncaptured")
class AnswersUncaptured(Event, frozen=True, kw_only=True):
    """Requests were answered without being captured, since the disk had no room; written once it had."""

    model: ModelName
    n_requests: int
