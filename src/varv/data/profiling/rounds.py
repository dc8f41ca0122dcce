"""Judging every dataset of a home by its own past while the home is served.

What `varv data watch` does once for one part, with its defaults. A part of which no further window is over is
not judged again: then only the time since its last rows is looked at. No later window clears alarms of a
dataset that is not declared any more, so the ledger says that it is not, and they are left out until it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import polars as pl

from varv.data.dataset import Dataset
from varv.data.profiling.watching import Alarm, Watch, alarms
from varv.data.service import Datasets
from varv.kernel.clock import DAY, Clock, Duration
from varv.kernel.errors import VarvError
from varv.kernel.observe import log
from varv.kernel.sagas import Fact

EVERY = DAY
FALSE_ALARM_EVERY = Duration(365 * DAY)
BEAT_S = 3600.0
"""How often whoever serves a home looks at its datasets."""
_LOG = logging.getLogger(__name__)


class WatchRounds:
    """Looks at all datasets, again and again. One thread uses it.

    Parameters
    ----------
    watch
        Judges.
    datasets, clock
        Of the home.
    declared
        Returns the datasets that are looked at, which change while a home is served.
    declarations
        Returns what is to be put on record of datasets with alarms, by the names of those that are declared.
    commit
        Puts facts on record.
    """

    def __init__(
        self,
        watch: Watch,
        datasets: Datasets,
        declared: Callable[[], Sequence[Dataset]],
        declarations: Callable[[Iterable[str]], list[Fact]],
        clock: Clock,
        commit: Callable[[Sequence[Fact]], object],
    ) -> None:
        self._watch, self._datasets, self._declared = watch, datasets, declared
        self._declarations, self._clock, self._commit = declarations, clock, commit
        self._judged: dict[tuple[str, str], tuple[object, ...]] = {}

    def beat(self, ends: Callable[[], bool] = lambda: False) -> int:
        """Look at every part of every dataset, and return how many facts were put on record.

        Whatever hinders it is logged and tried again with the next beat.

        Parameters
        ----------
        ends
            Returns whether to leave the rest for another time.
        """
        declared = self._declared()
        facts = self._declarations(str(dataset.name) for dataset in declared)
        if facts:
            self._commit(facts)
        n = len(facts)
        for dataset in declared:
            for part in dataset.parts:
                if ends():
                    return n
                try:
                    n += self._look(dataset, part, ends)
                except (VarvError, OSError, pl.exceptions.PolarsError) as error:
                    if not ends():
                        about = {"dataset": str(dataset.name), "part": part, "why": str(error)}
                        log(_LOG, logging.WARNING, "data.not_watched", **about)
        return n

    def _look(self, dataset: Dataset, part: str, ends: Callable[[], bool]) -> int:
        extents = self._datasets.extents(dataset, part)
        last = max((one.last for one in extents if one.last is not None), default=None)
        if last is None:
            return 0
        place, upto = (str(dataset.name), part), (last // EVERY, *dataset.columns(part))
        events: list[Alarm] = []
        if self._judged.get(place) != upto:
            limits = {"every": EVERY, "false_alarm_every": FALSE_ALARM_EVERY}
            events += alarms(dataset, part, self._watch.judged(dataset, part, **limits, ends=ends), **limits)
        now = self._clock.now()
        fresh = self._watch.freshness(dataset, part, now)
        if fresh is not None:
            events += self._watch.late(dataset, part, fresh, now, FALSE_ALARM_EVERY)
        if facts := self._watch.facts(dataset, part, events):
            self._commit(facts)
        self._judged[place] = upto
        return len(facts)
