"""A home that stands at the cut-off of a training."""

from __future__ import annotations

from tests.loop.synthetic import declared, fit

from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.home.answers import PastIntake
from varv.home.feed import Feed
from varv.kernel.clock import DAY, Instant, VirtualClock, instant
from varv.loop.candidates import Candidates
from varv.loop.commands import TrainCandidate
from varv.pipelines import StepCache
from varv.project import plan_of
from varv.registry import open_package
from varv.training import DirectFits

START = instant("2024-03-01")
CUTOFF = Instant(START + 32 * DAY)
ASK = TrainCandidate("late-parcel", 1, CUTOFF, 7)


class TrainingHome:
    """A home in which everything before the cut-off has happened, and a count of the fits in it."""

    def __init__(self, folder, past=None, *, model=None, fitter=None, chosen=fit, **train):
        self.n_fits = 0

        def counted(given, params):
            self.n_fits += 1
            return chosen(given, params)

        model = model or declared(past).models[0]
        model.train.window, model.train.fit = None, counted
        for name, value in train.items():
            setattr(model.train, name, value)
        self.clock = VirtualClock(CUTOFF)
        self.home = open_home(folder, [plan_of(model)], self.clock, durability="process")
        [self.parts] = self.home.models.values()
        cache = StepCache(folder / "cache", self.home.blobs)
        runtimes = installed_runtimes()
        self.candidates = Candidates(
            self.home.datasets, self.home.blobs, cache, runtimes, fitter or DirectFits(runtimes)
        )
        self.home.engine.tell(facts=self.home.registered())
        self.feed, self.intake = Feed(model.datasets), PastIntake(self.home)
        self.lived_until = START
        self.live_until(CUTOFF)

    def live_until(self, when):
        """Let everything happen that happens before `when`."""
        rows = self.feed.between(self.lived_until, when)
        self.clock.move_to(when)
        lived = self.intake.live_through(rows, f"past-{when}")
        self.home.engine.tell(facts=lived.facts)
        self.lived_until = when

    def train(self, ask=None, champion=None):
        return self.candidates.train(self.parts, ask or ASK, champion)

    def package(self, digest):
        return open_package(self.home.blobs.get(digest))
