"""Read model of erasures: how far each has come."""

from __future__ import annotations

import msgspec

from varv.home.erasure.model import ErasureFound, ErasureProven, ErasureRequested, ErasureSearched
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry


class ErasureRecord(msgspec.Struct):
    """What the ledger says of one erasure."""

    requested: ErasureRequested
    at: Instant
    found: ErasureFound | None = None
    searched: ErasureSearched | None = None
    """The last search."""
    proven: ErasureProven | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the last search found nothing."""
        return self.searched is not None and not self.searched.left


class ErasuresView(msgspec.Struct):
    """The erasures of a home, in the order in which they were asked for."""

    of: dict[str, ErasureRecord] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold the next entry."""
        match event:
            case ErasureRequested():
                self.of[event.erasure] = ErasureRecord(event, entry.at)
            case ErasureFound():
                self.of[event.erasure].found = event
            case ErasureSearched():
                self.of[event.erasure].searched = event
            case ErasureProven():
                self.of[event.erasure].proven = event
            case _:
                pass

    def open(self) -> list[str]:
        """Return the erasures that are not proven."""
        return [name for name, record in self.of.items() if record.proven is None]
