"""When what follows from the ledger is written to snapshots: read models, what was checked, and the keys of
datasets by their owner, feature state by those that answer.

It never happens in a replay, which has nothing to restart quickly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from varv.data.intake import Batch
from varv.home.home import Home
from varv.kernel.errors import Corrupt
from varv.kernel.ids import DatasetName, Version
from varv.kernel.observe import log
from varv.kernel.snapshots import Position

_LOG = logging.getLogger(__name__)
FEWEST_ROWS = 10_000
SHARE = 1 / 8
"""Of the rows that are stored: so many new ones are worth a snapshot, which takes as long as all of them."""
MOST_ROWS = 200_000
"""No start has to read more new ones than these: some two seconds."""

KeepFeatures = Callable[[Position, Mapping[DatasetName, Version]], None]


class Keeping:
    """Counts what came since the last snapshot, and has the next one written. One thread uses it.

    Parameters
    ----------
    home
        Of whose datasets.
    keep_features
        Lets feature state be written as of an entry of the ledger and versions of datasets, all of which were
        told before; nobody waits for it.
    """

    def __init__(self, home: Home, keep_features: KeepFeatures) -> None:
        self._home = home
        self._keep_features = keep_features
        self._n_new = 0
        self._n_stored: int | None = None

    def told(self, batches: Iterable[Batch]) -> None:
        """Count batches that became known."""
        self._n_new += sum(batch.rows.height for batch in batches)

    @property
    def is_due(self) -> bool:
        """Whether enough has come since the last snapshot."""
        if self._n_new < FEWEST_ROWS:
            return False
        if self._n_stored is None:
            self._n_stored = self._count()
        return self._n_new >= min(self._n_stored * SHARE, MOST_ROWS)

    def keep(self) -> None:
        """Have everything written, as far as there is anything new."""
        self._n_new, self._n_stored = 0, None
        self.keep_features()
        self.keep_own()

    def keep_features(self) -> None:
        """Have feature state written, as of now."""
        home = self._home
        # Nothing is ingested meanwhile, so all versions were told.
        with home.lock:
            versions = {dataset.name: home.datasets.version(dataset) for dataset in home.declared}
            self._keep_features(self._position(), versions)

    def keep_own(self) -> None:
        """Write what the owner of the home holds, as of now."""
        home = self._home
        try:
            home.save()
        except Corrupt as error:
            # Nothing is kept of what was edited; the next start, and whoever asks for it, is told.
            log(_LOG, logging.ERROR, "snapshot.refused", why=str(error))
            return
        with home.lock:
            position = self._position()
            writes = [home.datasets.keep_keys(dataset, position) for dataset in home.declared]
        for write in filter(None, writes):
            write()

    def _position(self) -> Position:
        head = self._home.ledger.head()
        return Position(head.version, head.hash)

    def _count(self) -> int:
        datasets = self._home.datasets
        parts = [(dataset, part) for dataset in self._home.declared for part in dataset.parts]
        return sum(one.n_rows for place in parts for one in datasets.extents(*place))
