"""Read model of reviews: what was decided of which request."""

from __future__ import annotations

import msgspec

from varv.home.review.model import ReviewDecided
from varv.kernel.clock import DAY, Duration, Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry

WAITS_FOR = Duration(30 * DAY)
"""Requests that are older wait for nobody any more."""
_TIDIED_EVERY = 1000


class Decided(msgspec.Struct, frozen=True):
    """What was decided of a request."""

    requested_at: Instant
    decision: str
    by: str
    note: str
    at: Instant


class ReviewsView(msgspec.Struct):
    """By model and key, what was decided of requests that are not too old to wait."""

    decided: dict[str, dict[str, Decided]] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if not isinstance(event, ReviewDecided):
            return
        of_model = self.decided.setdefault(event.model, {})
        of_model[event.key] = Decided(
            event.requested_at, event.decision, event.by, event.note, Instant(entry.at)
        )
        if len(of_model) % _TIDIED_EVERY == 0:
            since = entry.at - WAITS_FOR
            self.decided[event.model] = {
                key: one for key, one in of_model.items() if one.requested_at >= since
            }
