"""Read model of a home as a whole: how far its replay has come, and what its training sets are made of."""

from __future__ import annotations

import msgspec

from varv.features import TrainingSetMade
from varv.home.model import ReplayAdvanced, ReplayFinished
from varv.kernel.clock import Instant
from varv.kernel.codec import Event
from varv.kernel.ledger import Entry


class HomeView(msgspec.Struct):
    """How far a replay has come, neither is set where none was begun; and which versions of datasets training
    sets are made of.
    """

    replayed_through: Instant | None = None
    replay_finished: bool = False
    training_sets: dict[str, list[tuple[str, int]]] = {}
    """By name, the datasets that were read, each with the version."""
    columns_of: dict[str, dict[str, tuple[str, ...]]] = {}
    """By training set, what its views read of each dataset, as far as its entry says it."""
    requests_of: dict[str, str] = {}
    """By training set, the dataset whose rows are its requests, if these were rows of one."""

    def apply(self, entry: Entry, event: Event) -> None:
        """Fold one entry in."""
        if isinstance(event, ReplayAdvanced):
            self.replayed_through = event.through
        elif isinstance(event, ReplayFinished):
            self.replay_finished = True
        elif isinstance(event, TrainingSetMade):
            self.training_sets[event.dataset] = event.recipe.reads
            self.columns_of[event.dataset] = {str(name): read for name, read in event.columns.items()}
            if event.recipe.requests_dataset:
                self.requests_of[event.dataset] = event.recipe.requests_dataset
