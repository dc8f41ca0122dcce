"""What is declared of training is checked when it is declared."""

from __future__ import annotations

from functools import partial

import pytest

import varv
from varv.kernel.clock import DAY
from varv.kernel.errors import InvalidDeclaration


def fit(train, params):
    return None


class Fitter:
    def __call__(self, train, params):
        return None


@pytest.mark.parametrize(
    "given", [fit, lambda train, params: None, Fitter(), partial(fit), Fitter().__call__]
)
def test_anything_that_can_be_called_with_rows_and_parameters_is_a_training_function(given):
    assert varv.Train(given).fit is given


def test_durations_and_parameters_are_kept_as_declared():
    train = varv.Train(fit, window="60d", validate="7d", params={"depth": 3, "grid": [1, 2.5, None]})
    assert train.window == 60 * DAY
    assert train.validate == 7 * DAY
    assert train.params == {"depth": 3, "grid": [1, 2.5, None]}


def test_the_parameters_are_a_copy():
    params = {"depth": [3]}
    train = varv.Train(fit, params=params)
    params["depth"].append(4)
    assert train.params == {"depth": [3]}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"fit": "fit"}, "train \"'fit'\" is not a function; pass"),
        ({"fit": None}, "is not a function"),
        ({"fit": lambda train: None}, "does not take \\(train, params\\); add"),
        ({"fit": lambda: None}, "does not take"),
        ({"fit": lambda a, b, c: None}, "does not take"),
        ({"window": "2 months"}, "'window' is not understood"),
        ({"window": 0}, "'window' is not between"),
        ({"window": "3d", "validate": "7d"}, "'window' is not longer than validate"),
        ({"validate": "soon"}, "'validate' is not understood.*write a number and a unit"),
        ({"validate": "1d"}, "'validate' is too short.*hold out 5 days"),
        ({"validate": None}, "'validate' is not a text"),
        ({"params": {"depth": float("nan")}}, "'params' cannot be written as JSON"),
        ({"params": {"depth": float("inf")}}, "'params' cannot be written as JSON"),
        ({"params": {"model": object()}}, "'params' cannot be written as JSON"),
        ({"params": 5}, "'params' cannot be written as JSON"),
        ({"origins": 0}, "'origins' is not allowed.*1 to 12; each costs a fit"),
        ({"origins": True}, "'origins' is not allowed"),
        ({"origins": 13}, "'origins' is not allowed"),
        ({"refit": 1}, "'refit' is not a truth value"),
        ({"warm_start": "yes"}, "'warm_start' is not a truth value .*write warm_start=True or"),
        ({"weights": 2.0}, "'weights' is no name and no function; name a column, or pass a function"),
        ({"weights": lambda: 1}, "'weights' does not take one frame"),
        ({"min_rows": 1}, "'min_rows' is not a whole number of at least 10"),
        ({"min_rows": True}, "'min_rows' is not a whole number"),
        ({"min_rows": "many"}, "'min_rows' is not a whole number"),
    ],
)
def test_a_training_that_cannot_work_is_refused(arguments, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        varv.Train(**({"fit": fit} | arguments))


def test_what_one_fit_may_take_is_declared_in_words():
    train = varv.Train(fit, time="2h", memory="8GB")
    assert (train.time_s, train.memory_bytes) == (7200, 8_000_000_000)
    assert (varv.Train(fit).time_s, varv.Train(fit).memory_bytes) == (None, None)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("time", "soon"),
        ("memory", "much"),
        ("memory", "0GB"),
        ("memory", 8),
        ("warm_start", "yes"),
        ("strategy", "incremental"),
        ("search", {"C": [1]}),
    ],
)
def test_an_argument_that_is_not_understood_is_refused_by_its_name(argument, value):
    with pytest.raises(InvalidDeclaration, match=f"train '{argument}'"):
        varv.Train(fit, **{argument: value})


def test_a_search_needs_more_than_the_new_rows():
    with pytest.raises(InvalidDeclaration, match="needs more than the new rows"):
        varv.Train(fit, strategy=varv.incremental(), search=varv.search({"C": [1, 2]}))


def test_limits_are_no_part_of_what_is_trained_and_older_recipes_keep_theirs():
    plain = varv.Train(fit).definition()
    assert len(plain) == 6
    assert varv.Train(fit, time="2h", memory="8GB").definition() == plain
    assert varv.Train(fit, warm_start=True).definition() != plain
    one, other = (varv.search({"C": [1, 2]}, seed=seed) for seed in (1, 2))
    assert varv.Train(fit, search=one).definition() != varv.Train(fit, search=other).definition()
