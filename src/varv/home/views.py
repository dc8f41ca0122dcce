"""Read model of a home as a whole: how far its replay has come."""

from __future__ import annotations

import msgspec

from varv.home.model import ReplayAdvanced, ReplayFinished
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry


class HomeView(msgspec.Struct):
    """How far a replay has come; neither is set where none was begun."""

    replayed_through: Instant | None = None
    replay_finished: bool = False

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, ReplayAdvanced):
            self.replayed_through = event.through
        elif isinstance(event, ReplayFinished):
            self.replay_finished = True
