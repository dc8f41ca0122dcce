"""A training reads mature outcomes only, is judged on rows that it has not seen, and serves a refit."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import polars as pl
import pytest
from tests.loop.synthetic import declared, fit, parcels, zeros_late

from varv.app.compose import open_world
from varv.kernel.clock import DAY, HOUR, Instant, VirtualClock, instant
from varv.kernel.errors import FailedPrecondition
from varv.loop.feed import Feed
from varv.loop.intake import Intake
from varv.loop.model import TrainCandidate
from varv.loop.training import held_out, labelled_rows, train_candidate
from varv.registry import open_package

START = instant("2024-03-01")
CUTOFF = Instant(START + 32 * DAY)
ASK = TrainCandidate("late-parcel", 1, CUTOFF, 7)


class TrainingHome:
    """A world in which everything before the cut-off has happened, and a count of the fits in it."""

    def __init__(self, folder, past=None, **train):
        self.n_fits = 0

        def counted(given, params):
            self.n_fits += 1
            return fit(given, params)

        model = declared(past).model
        model.train.window, model.train.fit = None, counted
        for name, value in train.items():
            setattr(model.train, name, value)
        clock = VirtualClock(CUTOFF)
        self.world = open_world(folder, model, clock, durability="process")
        register = [fact for data in model.datasets for fact in self.world.datasets.register(data)]
        self.world.engine.tell(facts=register)
        taken = Intake(self.world).take_in(Feed(model.datasets).between(START, CUTOFF), "past")
        self.world.engine.tell(facts=taken.facts)

    def package(self, digest):
        return open_package(self.world.blobs.get(digest))


@pytest.fixture
def home(tmp_path):
    made: list[TrainingHome] = []

    def open_home(past=None, **train):
        made.append(TrainingHome(tmp_path / str(len(made)), past, **train))
        return made[-1]

    yield open_home
    for one in made:
        one.world.close()


def test_ones_that_are_known_early_do_not_bias_what_is_trained_on(home):
    world = home(zeros_late()).world
    rows = labelled_rows(world, CUTOFF)
    last = Instant(int(rows["requested_at"].to_physical()[-1]))
    assert CUTOFF - 13 * HOUR < last < CUTOFF - 12 * HOUR
    early = world.telemetry.labelled(Instant(CUTOFF - 10 * HOUR), CUTOFF, known_by=CUTOFF)
    assert early["outcome"].mean() == 1.0
    everything = parcels().filter(pl.col("asked_at").dt.epoch("us") < CUTOFF - 12 * HOUR)
    assert rows["outcome"].mean() == pytest.approx(everything["late"].mean())


def test_what_serves_is_fitted_on_all_mature_rows_and_judged_by_its_sibling(home):
    here = home(origins=1)
    made = train_candidate(here.world, ASK)
    assert made.is_refit
    [sibling] = made.judged
    assert made.n_rows == sibling.n_rows + sibling.n_held_out == labelled_rows(here.world, CUTOFF).height
    assert made.data_end == sibling.until
    assert sibling.until - sibling.since == here.world.model.train.validate
    assert here.package(made.package).n_rows == made.n_rows
    assert here.package(sibling.package).n_rows == sibling.n_rows


def test_without_a_refit_what_was_judged_is_what_serves(home):
    here = home(origins=1, refit=False)
    made = train_candidate(here.world, ASK)
    assert not made.is_refit
    assert made.package == made.judged[0].package
    assert made.data_end == made.judged[0].since == made.held_out_from
    assert here.n_fits == 1


def test_each_origin_is_judged_on_the_stretch_after_its_own_rows(home):
    here = home(origins=3)
    made = train_candidate(here.world, ASK)
    assert len(made.judged) == 3
    for later, earlier in pairwise(made.judged):
        assert earlier.until == later.since
        assert earlier.n_rows + earlier.n_held_out == later.n_rows
    assert made.held_out_from == made.judged[-1].since
    assert made.n_validation == sum(one.n_held_out for one in made.judged)


def test_there_are_as_many_origins_as_there_are_rows_for(home):
    made = train_candidate(home(origins=12).world, ASK)
    assert 2 <= len(made.judged) < 12
    assert made.judged[-1].n_rows >= 200


def test_too_few_rows_for_one_origin_is_told_with_the_counts(home):
    with pytest.raises(FailedPrecondition, match=r"too few rows to train on .*n_fit=.*n_held_out="):
        train_candidate(home(min_rows=100_000).world, ASK)


@pytest.mark.parametrize(("origins", "refit", "n_fits"), [(1, False, 1), (1, True, 2), (3, True, 4)])
def test_the_work_of_every_fit_is_counted(home, origins, refit, n_fits):
    here = home(origins=origins, refit=refit)
    made = train_candidate(here.world, ASK)
    assert here.n_fits == n_fits
    assert made.work == sum(one.n_rows for one in made.judged) + (made.n_rows if refit else 0)


def test_a_training_that_is_tried_again_fits_nothing_twice(home):
    here = home(origins=2)
    made = train_candidate(here.world, ASK)
    n_fits = here.n_fits
    assert train_candidate(here.world, ASK) == made
    assert here.n_fits == n_fits


def test_rows_that_the_champion_was_refitted_on_are_marked_as_seen(home):
    here = home(origins=2)
    made = train_candidate(here.world, ASK)
    own = held_out(here.world, made, made)
    assert not own.unseen.any()
    judged = msgspec.structs.replace(made, fitted_until=made.judged[0].since)
    half = held_out(here.world, made, judged)
    assert half.unseen.sum() == made.judged[0].n_held_out
    assert held_out(here.world, made, None).champion is None
