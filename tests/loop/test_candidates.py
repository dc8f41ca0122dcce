"""A training reads mature outcomes only, is judged on rows that it has not seen, and serves a refit."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.loop.synthetic import declared, fit, parcels, zeros_late

from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.home.answers import PastIntake
from varv.home.feed import Feed
from varv.kernel.clock import DAY, HOUR, Instant, VirtualClock, instant
from varv.kernel.errors import FailedPrecondition, InvalidInput
from varv.loop.candidates import Candidates, labelled_rows
from varv.loop.model import TrainCandidate
from varv.project import plan_of
from varv.registry import open_package
from varv.training import StepCache

START = instant("2024-03-01")
CUTOFF = Instant(START + 32 * DAY)
ASK = TrainCandidate("late-parcel", 1, CUTOFF, 7)


class TrainingHome:
    """A home in which everything before the cut-off has happened, and a count of the fits in it."""

    def __init__(self, folder, past=None, **train):
        self.n_fits = 0

        def counted(given, params):
            self.n_fits += 1
            return fit(given, params)

        model = declared(past).models[0]
        model.train.window, model.train.fit = None, counted
        for name, value in train.items():
            setattr(model.train, name, value)
        clock = VirtualClock(CUTOFF)
        self.home = open_home(folder, [plan_of(model)], clock, durability="process")
        [self.parts] = self.home.models.values()
        cache = StepCache(folder / "cache", self.home.blobs)
        self.candidates = Candidates(self.home.datasets, self.home.blobs, cache, installed_runtimes())
        self.home.engine.tell(facts=self.home.registered())
        lived = PastIntake(self.home).live_through(Feed(model.datasets).between(START, CUTOFF), "past")
        self.home.engine.tell(facts=lived.facts)

    def train(self, ask=None):
        return self.candidates.train(self.parts, ask or ASK)

    def package(self, digest):
        return open_package(self.home.blobs.get(digest))


@pytest.fixture
def home(tmp_path):
    made: list[TrainingHome] = []

    def made_home(past=None, **train):
        made.append(TrainingHome(tmp_path / str(len(made)), past, **train))
        return made[-1]

    yield made_home
    for one in made:
        one.home.close()


def test_ones_that_are_known_early_do_not_bias_what_is_trained_on(home):
    here = home(zeros_late())
    rows = labelled_rows(here.parts, CUTOFF)
    last = Instant(int(rows["requested_at"].to_physical()[-1]))
    assert CUTOFF - 13 * HOUR < last < CUTOFF - 12 * HOUR
    early = here.parts.predictions.labelled(Instant(CUTOFF - 10 * HOUR), CUTOFF, known_by=CUTOFF)
    assert early["outcome"].mean() == 1.0
    everything = parcels().filter(pl.col("asked_at").dt.epoch("us") < CUTOFF - 12 * HOUR)
    assert rows["outcome"].mean() == pytest.approx(everything["late"].mean())


def test_what_serves_is_fitted_on_all_mature_rows_and_judged_by_its_sibling(home):
    here = home(origins=1)
    made = here.train()
    assert made.is_refit
    [sibling] = made.judged
    assert made.n_rows == sibling.n_rows + sibling.n_held_out == labelled_rows(here.parts, CUTOFF).height
    assert made.data_end == sibling.until
    assert sibling.until - sibling.since == here.parts.loop.train.validate
    assert here.package(made.package).n_rows == made.n_rows
    assert here.package(sibling.package).n_rows == sibling.n_rows


def test_without_a_refit_what_was_judged_is_what_serves(home):
    here = home(origins=1, refit=False)
    made = here.train()
    assert not made.is_refit
    assert made.package == made.judged[0].package
    assert made.data_end == made.judged[0].since == made.held_out_from
    assert here.n_fits == 1


def test_each_origin_is_judged_on_the_stretch_after_its_own_rows(home):
    here = home(origins=3)
    made = here.train()
    assert len(made.judged) == 3
    for later, earlier in pairwise(made.judged):
        assert earlier.until == later.since
        assert earlier.n_rows + earlier.n_held_out == later.n_rows
    assert made.held_out_from == made.judged[-1].since
    assert made.n_validation == sum(one.n_held_out for one in made.judged)


def test_there_are_as_many_origins_as_there_are_rows_for(home):
    made = home(origins=12).train()
    assert 2 <= len(made.judged) < 12
    assert made.judged[-1].n_rows >= 200


def test_too_few_rows_for_one_origin_is_told_with_the_counts(home):
    with pytest.raises(FailedPrecondition, match=r"too few rows to train on .*n_fit=.*n_held_out="):
        home(min_rows=100_000).train()


@pytest.mark.parametrize(("origins", "refit", "n_fits"), [(1, False, 1), (1, True, 2), (3, True, 4)])
def test_the_work_of_every_fit_is_counted(home, origins, refit, n_fits):
    here = home(origins=origins, refit=refit)
    made = here.train()
    assert here.n_fits == n_fits
    assert made.work == sum(one.n_rows for one in made.judged) + (made.n_rows if refit else 0)


def test_a_training_that_is_tried_again_fits_nothing_twice(home):
    here = home(origins=2)
    made = here.train()
    n_fits = here.n_fits
    assert here.train() == made
    assert here.n_fits == n_fits


def test_rows_that_the_champion_was_refitted_on_are_marked_as_seen(home):
    here = home(origins=2)
    made = here.train()
    own = here.candidates.held_out(here.parts, made, made)
    assert not own.unseen.any()
    judged = msgspec.structs.replace(made, fitted_until=made.judged[0].since)
    half = here.candidates.held_out(here.parts, made, judged)
    assert half.unseen.sum() == made.judged[0].n_held_out
    assert here.candidates.held_out(here.parts, made, None).champion is None


class Watched:
    """A training function that notes what it is given."""

    def __init__(self):
        self.given = []

    def __call__(self, train, params):
        self.given.append(train)
        return fit(train, params)


def test_rows_are_weighed_by_a_column_of_the_requests_that_is_no_feature(home):
    watched = Watched()
    past = parcels().with_columns(worth=pl.col("load").abs() + 1)
    home(past, origins=1, refit=False, fit=watched, weights="worth").train()
    [train] = watched.given
    assert train.weights.dtype == np.float64
    np.testing.assert_allclose(train.weights, np.abs(train.X[:, 0]) + 1, rtol=1e-6)
    assert "worth" not in train.columns


def test_a_column_of_weights_that_is_nowhere_is_refused(home):
    with pytest.raises(InvalidInput, match="weights 'tide' are no column of the rows"):
        home(weights="tide").train()


def test_a_warm_start_is_given_the_champion_unless_it_knows_the_held_out_rows(home):
    watched = Watched()
    here = home(origins=1, fit=watched, warm_start=True)
    first = here.train()
    assert [train.previous for train in watched.given] == [None, None]
    knowing = here.candidates.train(here.parts, msgspec.structs.replace(ASK, version=2), first)
    judged, refit = watched.given[2:]
    assert judged.previous is None
    assert refit.previous.version == 1
    assert here.package(knowing.package).started_from == 1
    unknowing = msgspec.structs.replace(first, fitted_until=first.judged[0].since)
    here.candidates.train(here.parts, msgspec.structs.replace(ASK, version=3), unknowing)
    judged, _ = watched.given[4:]
    scores = judged.previous.predict(judged.frame)
    assert scores.shape == (len(judged), 1)
    assert judged.previous.params == here.package(first.package).params


def test_without_a_warm_start_the_champion_is_not_given_and_changes_no_key(home):
    here = home(origins=1)
    first = here.train()
    assert here.candidates.train(here.parts, ASK, first) == first
    assert here.n_fits == 2
