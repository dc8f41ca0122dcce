"""The beat at which a running server publishes datasets as Delta tables, for those that are declared so."""

from __future__ import annotations

import logging

from varv.data.delta.tables import require_library
from varv.home.home import Home
from varv.kernel.clock import MINUTE, Instant
from varv.kernel.errors import VarvError
from varv.kernel.observe import log

_LOG = logging.getLogger(__name__)
AGAIN_AFTER = MINUTE
"""After a publication that failed."""


class PublicationBeat:
    """Publishes what is due; asked every few seconds, by whoever ingests."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._not_before: dict[str, Instant] = {}

    def require_ready(self) -> None:
        """Raise `FailedPrecondition` if a dataset is to be published and what that takes is not installed."""
        if any(dataset.publish_every is not None for dataset in self._home.declared):
            require_library()

    def publish_due(self) -> None:
        """Publish the datasets that are due. What fails is logged and tried again later: rows are ingested
        either way.
        """
        home, now = self._home, self._home.clock.now()
        for dataset in home.declared:
            if now < self._not_before.get(dataset.name, 0) or not home.publications.is_due(dataset):
                continue
            try:
                with home.lock:
                    home.publications.publish(dataset)
            except VarvError as error:
                self._not_before[dataset.name] = Instant(now + AGAIN_AFTER)
                log(_LOG, logging.ERROR, "publication.failed", dataset=dataset.name, why=str(error))
