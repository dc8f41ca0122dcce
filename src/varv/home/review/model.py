"""What people decide of answers that a model did not give itself."""

from __future__ import annotations

from varv.kernel.clock import Instant
from varv.kernel.codec import Event, event
from varv.kernel.ids import ModelName


@event("review.decided")
class ReviewDecided(Event, frozen=True, kw_only=True):
    """A person decided what a request is to be answered. It is no outcome: what turned out is told by
    data.
    """

    model: ModelName
    key: str
    requested_at: Instant
    decision: str
    by: str
    note: str = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        note = f": {self.note}" if self.note else ""
        return f"{self.key} is {self.decision}, by {self.by}{note}"


def stream_of(model: str) -> str:
    """Return the stream of what people decide of a model's requests."""
    return f"reviews/{model}"
