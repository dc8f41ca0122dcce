"""Read model of a home as a whole: how far its replay has come."""

from __future__ import annotations

from varv.home.model import ReplayAdvanced, ReplayFinished
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry


class HomeView:
    """How far a replay has come; neither is set where none was begun."""

    def __init__(self) -> None:
        self.replayed_through: Instant | None = None
        self.replay_finished = False

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, ReplayAdvanced):
            self.replayed_through = event.through
        elif isinstance(event, ReplayFinished):
            self.replay_finished = True
