"""A search draws the same trials each time, within its space, and chooses the best."""

from __future__ import annotations

import numpy as np
import pytest

from varv.kernel.errors import InvalidDeclaration
from varv.registry import Trial
from varv.tasks import task
from varv.training import search
from varv.training.search import best

SPACE = {"max_iter": [30, 60], "learning_rate": (0.01, 0.3), "depth": (2, 5)}
DECLARED = {"max_iter": 60, "learning_rate": 0.1, "kept": "as it is"}


def test_the_declared_parameters_are_the_first_trial():
    drawn = search(SPACE, trials=8).draws(DECLARED)
    assert drawn[0] == DECLARED
    assert len(drawn) == 8


def test_draws_depend_on_the_seed_only():
    one, again, other = (search(SPACE, trials=8, seed=seed).draws(DECLARED) for seed in (1, 1, 2))
    assert one == again
    assert one[1:] != other[1:]


def test_what_is_drawn_lies_in_the_space():
    drawn = search(SPACE, trials=200).draws(DECLARED)[1:]
    assert {trial["max_iter"] for trial in drawn} == {30, 60}
    assert {trial["depth"] for trial in drawn} == {2, 3, 4, 5}
    assert all(isinstance(trial["depth"], int) for trial in drawn)
    rates = np.array([trial["learning_rate"] for trial in drawn])
    assert ((rates >= 0.01) & (rates <= 0.3)).all()
    # On a logarithmic scale, half of them lie below the geometric mean.
    assert 0.35 < (rates < np.sqrt(0.01 * 0.3)).mean() < 0.65
    assert all(trial["kept"] == "as it is" for trial in drawn)


def test_a_small_space_is_tried_whole_and_nothing_twice():
    drawn = search({"max_iter": [30, 60], "depth": [2, 3]}, trials=12).draws({"max_iter": 30, "depth": 2})
    assert len(drawn) == 4
    assert len({tuple(sorted(trial.items())) for trial in drawn}) == 4


def trial(loss, **params):
    return Trial(params=params, loss=loss, n_rows=1, n_held_out=1, work=1)


def test_the_least_loss_is_best_and_of_equals_the_first():
    assert best([trial(None, n=0), trial(0.5, n=1), trial(0.4, n=2), trial(0.4, n=3)]).params == {"n": 2}
    assert best([trial(None, n=0), trial(None, n=1)]).params == {"n": 0}


def test_trials_are_judged_by_a_loss_or_by_a_metric():
    outcome, predicted = np.array([0, 1, 1]), np.array([[0.2], [0.7], [0.9]])
    loss = search(SPACE).loss(task.binary(), outcome, predicted, None)
    assert loss == pytest.approx(-np.mean(np.log([0.8, 0.7, 0.9])))
    assert search(SPACE, metric="auc").loss(task.binary(), outcome, predicted, None) == -1.0


@pytest.mark.parametrize(
    ("space", "more"),
    [
        ({}, {}),
        ([1], {}),
        ({"a": (3, 1)}, {}),
        ({"a": "text"}, {}),
        ({"a": []}, {}),
        ({"a": [object()]}, {}),
        ({"a": (0.1, float("inf"))}, {}),
        (SPACE, {"trials": 1}),
        (SPACE, {"trials": True}),
        (SPACE, {"seed": "x"}),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused(space, more):
    with pytest.raises(InvalidDeclaration, match="search"):
        search(space, **more)


def test_a_metric_that_the_task_lacks_is_refused():
    with pytest.raises(InvalidDeclaration, match="has no measure r2; choose one of log_loss"):
        search(SPACE, metric="r2").require_task(task.binary())
    search(SPACE).require_task(task.binary())
