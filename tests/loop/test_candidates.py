"""A training reads mature outcomes only, is judged on rows that it has not seen, and serves a refit."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.loop.synthetic import declared, fit, parcels, zeros_late
from tests.loop.training_home import ASK, CUTOFF, START

import varv
from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.kernel.clock import DAY, HOUR, Instant, VirtualClock, wall_seconds
from varv.kernel.errors import FailedPrecondition, InvalidInput, UserCodeFailed
from varv.labels.counting import Counted
from varv.loop.candidate_rows import training_rows
from varv.loop.commands import TrainCandidate
from varv.project import plan_of, project_of
from varv.training import DirectFits, incremental, search
from varv.training.gates import judge


def speeds():
    """Return a model of three classes, with gates of every kind."""
    band = pl.when(pl.col("delay").is_null()).then(None).when(pl.col("delay") > 15).then(pl.lit("late"))
    band = band.when(pl.col("load") > 0).then(pl.lit("soon")).otherwise(pl.lit("now"))
    data = varv.Dataset(
        "parcels",
        source=varv.Frame(parcels().with_columns(speed=band)),
        key="parcel",
        event_time="asked_at",
        known_at={"arrived_at": ["late", "delay", "speed"]},
    )
    return varv.Model(
        "late-parcel",
        requests=data,
        features=["load", "heat", "route"],
        outcome=varv.Outcome("speed", known_at="arrived_at", mature="12h"),
        task=varv.task.multiclass(classes=["now", "soon", "late"]),
        train=varv.Train(fit, validate="6d", params={"C": 1.0}, min_rows=200),
        gates=[
            varv.gate.beats_champion("accuracy", slice=varv.slice("route", "west")),
            varv.gate.at_least("auc", 0.6, shown=True),
            varv.gate.calibrated(max_ece=0.3),
            varv.gate.latency(p99="1h"),
            varv.gate.size(max="20MB"),
            varv.gate.check(share_of_late, at_most=0.9),
            varv.behaviour.invariant("heat", change=colder, tolerance=0.3),
            varv.behaviour.direction("load", feature="load", by=1, prediction="down", output="now"),
            varv.behaviour.minimum("light", rows=[{"load": -3, "heat": 0, "route": "west"}], label="now"),
        ],
    )


def share_of_late(rows):
    return rows["score.late"]


def colder(rows):
    return rows.with_columns(heat=pl.col("heat") - 1)


def test_ones_that_are_known_early_do_not_bias_what_is_trained_on(home):
    here = home(zeros_late())
    rows = training_rows(here.parts, CUTOFF).drop_nulls("outcome")
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
    n_labelled = training_rows(here.parts, CUTOFF)["outcome"].count()
    assert made.n_rows == sibling.n_rows + sibling.n_held_out == n_labelled
    assert made.data_end == sibling.until
    assert sibling.until - sibling.since == here.parts.loop.train.validate
    assert here.package(made.package).n_rows == made.n_rows
    assert here.package(sibling.package).n_rows == sibling.n_rows


def test_the_rows_that_serve_are_handed_to_whoever_profiles_them(home):
    here, seen = home(origins=1), []
    here.candidates._trained_on = lambda model, version, rows: seen.append((version, pl.concat(rows)))
    made = here.train()
    [(version, rows)] = seen
    assert (version, rows.height, rows["outcome"].null_count()) == (made.version, made.n_rows, 0)
    assert rows.columns == ["load", "heat", "route", "recent.late_mean_24h", "outcome"]


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


def test_a_window_that_begins_after_the_last_outcome_holds_too_few_rows(home):
    here = home(window=20 * DAY)
    late = msgspec.structs.replace(ASK, cutoff=Instant(CUTOFF + 25 * DAY))
    with pytest.raises(FailedPrecondition, match=r"too few rows to train on .*n_fit=0"):
        here.train(late)


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


def test_a_model_of_several_classes_is_judged_by_all_it_predicts(home):
    model = speeds()
    project_of("test", [model]).validate()
    here = home(model=model)
    made = here.train()
    assert set(made.metrics) == {"log_loss", "accuracy", "auc", "ece"}
    rows = here.candidates.held_out(here.parts, made, made)
    assert rows.candidate.shape == rows.champion.shape == (made.n_validation, 3)
    assert rows.rows.columns == ["key", "requested_at", "load", "heat", "route"]
    np.testing.assert_allclose(rows.champion, rows.served.predict(rows.rows), atol=1e-6)
    results = judge(here.parts.loop.gates, as_unseen(rows))
    assert {one.gate: one.verdict for one in results} == {
        "beats_champion accuracy, route west": "not worse",
        "at_least auc": "within bounds",
        "calibrated": "within bounds",
        "latency p99": "not measured",
        "size": "within bounds",
        "check share_of_late": "within bounds",
        "invariant heat": "within bounds",
        "direction load": "within bounds",
        "minimum light": "within bounds",
    }
    assert judge(here.parts.loop.gates, as_unseen(rows)) == results


def as_unseen(rows):
    return dataclasses.replace(rows, unseen=np.ones(len(rows), dtype=bool))


def test_only_a_home_that_is_given_a_timer_measures_time(home, tmp_path):
    here = home(origins=1)
    made = here.train()
    assert here.candidates.held_out(here.parts, made, None).timer is None
    live = open_home(tmp_path / "live", [here.parts.plan], VirtualClock(CUTOFF), timer=wall_seconds)
    assert live.leaks._candidates._timer is wall_seconds
    live.close()


def test_other_code_of_a_check_is_another_declaration():
    gates = [[varv.gate.check(function, name="own", at_most=1)] for function in (share_of_late, colder)]
    digests = []
    for chosen in gates:
        model = declared().models[0]
        model.gates = chosen
        digests.append(plan_of(model).digest())
    assert digests[0] != digests[1]


LATER = Instant(START + 40 * DAY)


class Remembering(DirectFits):
    """Fits in this process, and remembers what was given to each fit."""

    def __init__(self):
        super().__init__(installed_runtimes())
        self.given = {}

    def fit(self, which, train, task, given):
        self.given[which.version, which.step] = given
        return super().fit(which, train, task, given)


def later_training(here, **more):
    """Train a first version, live on for eight days, and train a second one from it."""
    first = here.train()
    here.live_until(LATER)
    ask = TrainCandidate("late-parcel", 2, LATER, 7)
    return first, here.train(ask, first), ask


def test_a_warm_start_is_given_a_fit_that_has_not_seen_what_is_held_out(home):
    fitter = Remembering()
    here = home(fitter=fitter, origins=1, warm_start=True)
    first, second, _ = later_training(here)
    # Eight days later, the stretch of six days that is held out begins after all of the champion's rows.
    assert second.judged[0].since >= first.data_end
    assert fitter.given[2, "fit-1"].previous == here.home.blobs.get(first.package)
    assert fitter.given[2, "train"].previous == here.home.blobs.get(first.package)
    assert fitter.given[1, "train"].previous is None
    assert (first.parent, first.strategy) == (None, "full")
    assert (second.parent, second.strategy) == (1, "full")
    assert second.n_rows > first.n_rows


def test_the_champions_own_judged_fit_serves_where_the_champion_saw_too_much(home):
    fitter = Remembering()
    here = home(fitter=fitter, origins=1, warm_start=True)
    first = here.train()
    again = TrainCandidate("late-parcel", 2, Instant(CUTOFF + HOUR), 7)
    here.train(again, first)
    assert fitter.given[2, "fit-1"].previous is not None
    assert fitter.given[2, "fit-1"].previous != here.home.blobs.get(first.package)
    [sibling] = first.judged
    assert fitter.given[2, "fit-1"].previous == here.home.blobs.get(sibling.package)
    assert here.candidates.rows(here.parts, again, first).held[0].since >= sibling.since


def test_what_a_fit_goes_on_from_is_part_of_its_key(home):
    here = home(origins=1, warm_start=True)
    first, second, ask = later_training(here)
    n_fits = here.n_fits
    assert here.train(ask, first) == second
    assert here.n_fits == n_fits
    other = here.train(ask, None)
    assert here.n_fits == n_fits + 2
    assert other.parent is None


def test_an_incremental_fit_is_given_only_what_the_champion_has_not_seen(home):
    fitter = Remembering()
    here = home(fitter=fitter, origins=1, strategy=incremental(), min_rows=100)
    first, second, _ = later_training(here)
    assert (second.parent, second.strategy) == (1, "incremental")
    judged, refit = fitter.given[2, "fit-1"], fitter.given[2, "train"]
    assert times(judged.rows)[0] >= first.data_end
    assert times(judged.rows)[-1] < second.judged[0].since
    assert times(refit.rows)[0] >= first.data_end
    assert times(refit.rows)[-1] < second.data_end
    n_judged, n_refit = judged.rows["outcome"].count(), refit.rows["outcome"].count()
    assert second.n_rows == n_refit < first.n_rows
    assert second.trained_from >= first.data_end
    assert second.work == n_judged + n_refit
    assert refit.previous == here.home.blobs.get(first.package)


def test_too_few_new_rows_wait_for_more(home):
    here = home(origins=1, strategy=incremental(), min_rows=500)
    first = here.train()
    soon = TrainCandidate("late-parcel", 2, Instant(CUTOFF + HOUR), 7)
    with pytest.raises(FailedPrecondition, match="too few rows to train on"):
        here.train(soon, first)


def test_a_champion_of_other_features_is_not_gone_on_from(home):
    here = home(origins=1, strategy=incremental(), min_rows=100)
    first = here.train()
    other = msgspec.structs.replace(first, signature=(*first.signature, "colour"))
    here.live_until(LATER)
    made = here.train(TrainCandidate("late-parcel", 2, LATER, 7), other)
    assert (made.parent, made.strategy) == (None, "full")


def test_a_search_uses_the_best_parameters_for_every_fit_that_counts(home):
    fitter = Remembering()
    here = home(fitter=fitter, origins=1, search=search({"C": [1e-6, 0.5, 1.0]}, trials=3))
    made = here.train()
    assert made.trials[0].params == {"C": 1.0}
    assert {trial.params["C"] for trial in made.trials} == {1.0, 0.5, 1e-6}
    chosen = min(made.trials, key=lambda trial: trial.loss)
    assert chosen.params["C"] != 1e-6
    assert made.params["C"] == chosen.params["C"]
    assert fitter.given[1, "fit-1"].params == fitter.given[1, "train"].params == chosen.params
    assert here.n_fits == 5
    assert made.work == sum(one.work for one in (*made.trials, *made.judged)) + made.n_rows


def test_a_search_sees_nothing_of_what_judges(home):
    fitter = Remembering()
    made = home(fitter=fitter, origins=2, search=search({"C": (0.1, 1.0)}, trials=2)).train()
    assert len(made.judged) == 2
    for step in ("trial-1", "trial-2"):
        given = fitter.given[1, step]
        assert times(given.rows)[-1] < made.judged[-1].since - 6 * DAY
    assert all(trial.n_held_out > 50 for trial in made.trials)


def test_a_search_that_is_tried_again_fits_nothing_twice(home):
    here = home(origins=1, search=search({"C": (0.1, 1.0)}, trials=3))
    made = here.train()
    n_fits = here.n_fits
    assert here.train() == made
    assert here.n_fits == n_fits == 5


def test_a_trial_that_raises_names_its_parameters(home):
    def picky(given, params):
        if params["C"] < 1.0:
            raise ValueError("too small")
        return fit(given, params)

    with pytest.raises(UserCodeFailed, match=r"too small.*'C': 0.5"):
        home(chosen=picky, origins=1, search=search({"C": [1.0, 0.5]}, trials=3)).train()


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


def test_rows_are_weighed_by_the_probabilities_on_record_if_declared(home):
    watched = Watched()
    past = parcels()
    here = home(past, origins=1, refit=False, fit=watched, weights=varv.inverse_propensity(clip=4))
    rows = training_rows(here.parts, CUTOFF, keyed=True).drop_nulls("outcome")
    labelled = dict.fromkeys(rows["key"][:200].to_list(), 0.5)
    here.candidates._counted = lambda model, known_by: Counted(labelled, {rows["key"][300]: 9.0})
    made = here.train()
    [train] = watched.given
    assert train.weights.mean() == pytest.approx(1)
    assert sorted({round(w / train.weights.min(), 3) for w in train.weights}) == [1, 2, 4]
    assert made.effective_n == pytest.approx(train.weights.sum() ** 2 / (train.weights**2).sum())
    assert made.effective_n < len(train.weights)


def test_rows_that_are_worth_too_few_are_no_model(home):
    here = home(origins=1, weights=varv.inverse_propensity())
    keys = training_rows(here.parts, CUTOFF, keyed=True)["key"].to_list()
    here.candidates._counted = lambda model, known_by: Counted({}, dict.fromkeys(keys[5:], 1e-06))
    with pytest.raises(FailedPrecondition, match="too few rows"):
        here.train()


def test_a_column_of_weights_that_is_nowhere_is_refused(home):
    with pytest.raises(InvalidInput, match="weights 'tide' are no column of the rows"):
        home(weights="tide").train()


def test_what_a_fit_went_on_from_can_be_asked_and_is_recorded(home):
    watched = Watched()
    here = home(origins=1, fit=watched, warm_start=True)
    first, second, _ = later_training(here)
    judged, refit = watched.given[2:]
    assert refit.previous.version == judged.previous.version == 1
    assert judged.previous.predict(judged.frame).shape == (len(judged), 1)
    assert judged.previous.params == here.package(first.package).params
    assert here.package(second.package).started_from == 1


def test_without_a_warm_start_the_champion_is_not_given_and_changes_no_key(home):
    here = home(origins=1)
    first = here.train()
    assert here.train(ASK, first) == first
    assert here.n_fits == 2


def times(rows):
    return rows["requested_at"].to_physical().to_list()
