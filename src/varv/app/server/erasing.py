"""Erasing somebody while a server answers: it holds still for the rows, and lets new workers take over.

Between two homes nobody ingests, decides or rewrites: what was captured is taken in, the rows go, and the
home is opened anew from what is left, with workers that never saw the rest. Those before answer until then.
Only after they have ended the files are searched and the proof is stated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from varv.home.erasure.carrying import Erasures
from varv.home.erasure.views import ErasureRecord
from varv.home.live import Live
from varv.kernel.observe import log

ROUNDS = 3
"""How often rows are erased of somebody who goes on asking, before that is said."""
_OURS = ("capture", "columns", "data", "labels", "online", "predictions", "quarantine", "snapshots")
_LOG = logging.getLogger(__name__)


class LiveErasures:
    """The erasures of a home that is served.

    Parameters
    ----------
    opened
        Returns what carries erasures out, with nothing in memory that rows were read into.
    exchange
        Opens the home anew, once what it is given was done with the one before, which holds still.
    take
        Ingests what was captured so far.
    """

    def __init__(
        self,
        opened: Callable[[], Erasures],
        exchange: Callable[[Callable[[Live], None]], None],
        take: Callable[[Live], None],
    ) -> None:
        self._opened, self._exchange, self._take = opened, exchange, take

    def erase(self, dataset: str, column: str, subject: str, by: str, why: str) -> ErasureRecord:
        """Erase a subject; return what the ledger says of it then."""
        erasures = self._opened()
        erasure = erasures.request(dataset, column, subject, by=by, why=why, is_served=True)
        [record] = self._carried(erasures, [erasure])
        return record

    def go_on(self) -> list[ErasureRecord]:
        """Carry on with all erasures that are not proven."""
        erasures = self._opened()
        return self._carried(erasures, erasures.under_way())

    def _carried(self, erasures: Erasures, names: Sequence[str]) -> list[ErasureRecord]:
        left = list(names)
        for _ in range(ROUNDS):
            if not left:
                break
            self._exchange(lambda live, several=tuple(left): self._between(erasures, several, live))
            left = [name for name in left if _is_ours(erasures.conclude(name))]
        found = [erasures.record(name) for name in names]
        for record in found:
            what = "erasure.proven" if record.proven is not None else "erasure.left"
            log(_LOG, logging.INFO, what, erasure=record.requested.erasure)
        return found

    def _between(self, erasures: Erasures, names: Sequence[str], live: Live) -> None:
        self._take(live)
        for name in names:
            record = erasures.record(name)
            erasures.erase(name, () if record.searched is None else tuple(record.searched.left))


def _is_ours(record: ErasureRecord) -> bool:
    """Return whether something is left that another round lets go."""
    left = () if record.proven is not None or record.searched is None else tuple(record.searched.left)
    return any(place.partition("/")[0] in _OURS for place in left)
