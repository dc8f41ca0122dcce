"""Archiving what is declared to be, again and again, while a home is served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from varv.data.dataset import Dataset
from varv.data.tiers.archiving import Tiers
from varv.kernel.clock import Clock, Instant
from varv.kernel.errors import VarvError
from varv.kernel.observe import log

BEAT_S = 3600.0
"""How often whoever serves a home looks at its datasets."""
BY = "varv up"
_LOG = logging.getLogger(__name__)


class ArchiveRounds:
    """Looks at all datasets, again and again. One thread uses it.

    Parameters
    ----------
    tiers
        Move files.
    declared
        The datasets that are looked at; those that say when they are archived.
    """

    def __init__(self, tiers: Tiers, declared: Sequence[Dataset], clock: Clock) -> None:
        self._tiers, self._declared, self._clock = tiers, declared, clock

    def beat(self, ends: Callable[[], bool] = lambda: False) -> int:
        """Archive what is due, and return how many files went.

        Whatever hinders it is logged and tried again with the next beat.

        Parameters
        ----------
        ends
            Returns whether to leave the rest for another time.
        """
        n_files = 0
        for dataset in self._declared:
            if dataset.archive_after is None or ends():
                continue
            before = Instant(self._clock.now() - dataset.archive_after)
            try:
                moved = self._tiers.archive(dataset, before, by=BY, held_back=True, ends=ends)
            except (VarvError, OSError) as error:
                log(_LOG, logging.ERROR, "data.not_archived", dataset=dataset.name, why=str(error))
                continue
            n_files += moved.n_files
            if moved.n_files:
                about = {"n_files": moved.n_files, "n_rows": moved.n_rows, "n_bytes": moved.n_bytes}
                log(_LOG, logging.INFO, "data.archived", dataset=dataset.name, **about)
        return n_files
