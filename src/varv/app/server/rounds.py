"""What the threads of a server do, each over and over, to keep its home in the present."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from varv.app.desk import Desk
from varv.app.online import recorded_views
from varv.app.server.captured import Captured
from varv.app.server.labelling import keep_choosing
from varv.app.server.patience import Patience
from varv.app.server.present import Present
from varv.app.server.threads import IDLE_S
from varv.data.alarms import declaration_facts
from varv.data.ingestion.verbs import PullDesk
from varv.data.profiling.keeping import Profiles
from varv.data.profiling.rounds import BEAT_S as ROUND_S
from varv.data.profiling.rounds import WatchRounds
from varv.data.profiling.watching import Watch
from varv.data.tiers.rounds import BEAT_S as ARCHIVE_S
from varv.data.tiers.rounds import ArchiveRounds
from varv.features.reads import Reads
from varv.home.skew.correlations import CorrelationWatch
from varv.home.skew.reads import ReadsWatch
from varv.home.skew.watching import BEAT_S, SkewWatch
from varv.kernel.clock import Clock
from varv.kernel.errors import FailedPrecondition, StorageFull, VarvError
from varv.kernel.observe import log

_LOG = logging.getLogger(__name__)


class Rounds:
    """What is done for a home in the present, until it has ended.

    Parameters
    ----------
    desk
        Acts on this home.
    online_names
        The feature views that are served from the online store.
    every_s
        How often what was captured is taken in, and features online are brought up to it.
    reads
        Returns how fresh views were when they were read, since the server started.
    """

    def __init__(
        self,
        present: Present,
        desk: Desk,
        captured: Captured,
        clock: Clock,
        patience: Patience,
        *,
        stop: threading.Event,
        online_names: frozenset[str],
        every_s: float,
        reads: Callable[[], Mapping[str, Reads]],
    ) -> None:
        self._reads = reads
        self._present = present
        self._desk = desk
        self._captured = captured
        self._clock = clock
        self._patience = patience
        self._stop = stop
        self._online_names = online_names
        self._every_s = every_s

    def by_name(self) -> dict[str, Callable[[], None]]:
        """Return the rounds that must have ended before another home takes the place of this one."""
        pulls = self._desk.pulls
        assert pulls is not None, "verbs act on the home already"
        return {
            "timers": self._fire,
            "intake": self._take_in,
            "puller": lambda: self._pull(pulls),
            "labels": lambda: keep_choosing(lambda: self._desk.labelling, self._present.ended),
            "online": self._follow,
            "skew": self._watch_skew,
            "data": self._watch_data,
            "tiers": self._archive,
        }

    def run_commands(self, name: str) -> None:
        """Run one command after the other, as the thread of a name."""
        home = self._present.home
        while not (self._stop.is_set() or self._present.ended.is_set()):
            seen = home.ledger.head().version
            if not self._patience.until_done(lambda: home.engine.run_one(name)):
                home.ledger.wait(seen, IDLE_S)

    def _fire(self) -> None:
        while not self._present.ended.is_set():
            self._patience.until_done(self._present.home.engine.fire_due)
            self._present.ended.wait(IDLE_S)

    def _take_in(self) -> None:
        while not self._present.ended.wait(self._every_s):
            self._patience.until_done(lambda: self._captured.take(self._present.live))

    def _pull(self, pulls: PullDesk) -> None:
        while not self._present.ended.wait(IDLE_S):
            # Between two steps of a long pull it ends too; what is left comes with the next one.
            pulls.pull_due(self._clock.now(), self._present.ended.is_set)

    def _follow(self) -> None:
        """Keep features online up to what was ingested, and let go what no version reads any more."""
        desk = self._desk.require_online()
        unknown = self._online_names - {view.name for view in desk.declared()}
        if unknown:
            log(_LOG, logging.WARNING, "online.unknown_views", views=", ".join(sorted(unknown)))

        def tidy() -> None:
            home = self._present.home
            # Where a feature cannot be built again from what is on record, nobody knows what may go.
            with suppress(FailedPrecondition):
                named = recorded_views(home.views, home.ledger)
                desk.act(lambda writer: writer.drop_unnamed(named))

        works: list[Callable[[], None]] = [tidy, lambda: desk.follow(self._online_names)]
        while not self._present.ended.is_set():
            try:
                for work in works:
                    self._patience.until_done(work)
                works = works[-1:]
            except VarvError as error:
                if self._stop.is_set():
                    return
                # Predictions that need no view of it are answered meanwhile.
                log(_LOG, logging.ERROR, "online.failed", why=str(error))
            self._present.ended.wait(self._every_s)

    def _watch_skew(self) -> None:
        home, ended = self._present.home, self._present.ended
        watch = SkewWatch(self._desk.measuring, home.engine, home.views, self._clock)
        reads = ReadsWatch(self._reads, home.engine, self._clock)
        correlations = CorrelationWatch(self._desk.features, home.engine)
        while not ended.wait(BEAT_S):
            self._patience.until_done(lambda: watch.beat(ended.is_set))
            self._patience.until_done(reads.beat)
            self._patience.until_done(lambda: correlations.beat(ended.is_set))
        with suppress(StorageFull):
            reads.settle()

    def _watch_data(self) -> None:
        home, ended = self._present.home, self._present.ended
        watch = Watch(home.datasets, Profiles(home.datasets, home.folder), home.ledger, home.folder)
        rounds = WatchRounds(
            watch,
            home.datasets,
            lambda: home.declared,
            lambda names: declaration_facts(home.views, names),
            self._clock,
            lambda facts: home.engine.tell(facts=facts),
        )
        wait_s = BEAT_S
        while not ended.wait(wait_s):
            rounds.beat(ended.is_set)
            # The first look is soon, so that a server that is often started again looks at all.
            wait_s = ROUND_S

    def _archive(self) -> None:
        home, ended = self._present.home, self._present.ended
        rounds = ArchiveRounds(self._desk.require_tiers().tiers, home.declared, self._clock)
        wait_s = BEAT_S
        while not ended.wait(wait_s):
            rounds.beat(ended.is_set)
            wait_s = ARCHIVE_S
