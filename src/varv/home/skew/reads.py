"""Reads of feature views on record: an hour at a time, kept as sums of days.

What was counted since the last hour is lost if the server is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from varv.features.reads import Reads, added
from varv.home.skew.model import EVERY, ReadsCounted
from varv.kernel.clock import DAY, Clock, Instant, spoken
from varv.kernel.codec import Event
from varv.kernel.engine import Engine
from varv.kernel.ledger import Entry
from varv.kernel.sagas import Fact
from varv.kernel.views import Views
from varv.monitoring.model import Window

STREAM = "reads"
SHOWN_DAYS = 7
_DAYS_KEPT = 35


class ReadsView(msgspec.Struct):
    """Reads of views by the start of the day; folded from the ledger."""

    days: dict[int, dict[str, Reads]] = {}

    def apply(self, entry: Entry, event: Event) -> None:
        """Take in the next entry."""
        if not isinstance(event, ReadsCounted):
            return
        day = event.window.start - event.window.start % DAY
        self.days[day] = added([self.days.get(day, {}), event.views])
        for old in [one for one in self.days if one < day - _DAYS_KEPT * DAY]:
            del self.days[old]

    def since(self, start: int) -> dict[str, Reads]:
        """Return the reads of all days that begin from an instant on, by view."""
        return added(self.days[day] for day in sorted(self.days) if day >= start)

    def latest(self, now: int, n_days: int = SHOWN_DAYS) -> dict[str, Reads]:
        """Return the reads of the last days up to now."""
        return self.since(now - now % DAY - (n_days - 1) * DAY)


class ShownReads(msgspec.Struct, frozen=True, kw_only=True):
    """How fresh a view was when it was read, in the last seven days."""

    view: str
    n: int
    n_fresh: int
    share: float
    fresh: str
    """The declared age."""


def shown_reads(views: Views, now: Instant) -> tuple[ShownReads, ...]:
    """Return the reads of the last days by view."""
    with views.reading(ReadsView) as view:
        found = view.latest(now)
    return tuple(
        ShownReads(view=name, n=one.n, n_fresh=one.n_fresh, share=one.share, fresh=spoken(one.fresh))
        for name, one in sorted(found.items())
    )


class ReadsWatch:
    """Puts the reads of each hour on record. One thread uses it.

    Parameters
    ----------
    totals
        Returns what was counted since the server started.
    engine, clock
        Of the home.
    """

    def __init__(self, totals: Callable[[], Mapping[str, Reads]], engine: Engine, clock: Clock) -> None:
        self._totals, self._engine, self._clock = totals, engine, clock
        # A watch before this one, of the same server, has put on record what was counted until now.
        self._told: dict[str, Reads] = dict(totals())
        self._since = clock.now()

    def beat(self) -> None:
        """Put an hour on record that has ended since the last one was."""
        now = self._clock.now()
        if now // EVERY > self._since // EVERY:
            self.settle(now)

    def settle(self, now: Instant | None = None) -> None:
        """Put on record what was counted since."""
        now = self._clock.now() if now is None else now
        totals = dict(self._totals())
        told = {name: self._told.get(name, Reads(one.fresh)) for name, one in totals.items()}
        more = {name: one.minus(told[name]) for name, one in totals.items() if one.n > told[name].n}
        if more:
            event = ReadsCounted(window=Window(self._since, now), views=more)
            self._engine.tell(facts=[Fact(STREAM, event)])
        self._told, self._since = totals, now
