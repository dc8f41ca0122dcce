"""The event of this package: an entry of the ledger like any other, with a line of its own."""

from __future__ import annotations

from varv.kernel.codec import Event, event


@event("counts.surge_expected")
class SurgeExpected(Event, frozen=True, kw_only=True):
    """A person knows that more than usual is to come."""

    by: str
    reason: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"more than usual is to come, says {self.by}: {self.reason}"
