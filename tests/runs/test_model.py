"""What is declared of training is checked when it is declared."""

from __future__ import annotations

from functools import partial

import pytest

import varv
from varv.kernel.clock import DAY
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, UserCodeFailed
from varv.runs import UserCode


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
        ({"min_rows": 1}, "'min_rows' is not a whole number of at least 10"),
        ({"min_rows": True}, "'min_rows' is not a whole number"),
        ({"min_rows": "many"}, "'min_rows' is not a whole number"),
    ],
)
def test_a_training_that_cannot_work_is_refused(arguments, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        varv.Train(**({"fit": fit} | arguments))


def test_user_code_passes_our_own_errors_and_interrupts_through():
    with pytest.raises(FailedPrecondition), UserCode("step", "train"):
        raise FailedPrecondition("model", "m", "is not ready")
    with pytest.raises(KeyboardInterrupt), UserCode("step", "train"):
        raise KeyboardInterrupt


def test_a_message_is_kept_whole_up_to_a_bound():
    with pytest.raises(UserCodeFailed) as caught, UserCode("step", "train"):
        raise ValueError("x" * 10_000 + " the end")
    assert "x the end" in str(caught.value)
    with pytest.raises(UserCodeFailed) as caught, UserCode("step", "train"):
        raise ValueError("x" * 100_000)
    assert len(caught.value.whole) < 20_000


def breaks(n: int) -> None:
    import json

    if n:
        breaks(n - 1)
    json.loads("{")


def test_the_whole_message_has_the_authors_lines_and_where_it_was_raised():
    with pytest.raises(UserCodeFailed) as caught, UserCode("function", "fit"):
        breaks(1)
    first, *lines = caught.value.whole.splitlines()
    assert "function 'fit' raised JSONDecodeError" in first
    assert [line.partition(" in ")[2] for line in lines[1:3]] == [
        "breaks: breaks(n - 1)",
        'breaks: json.loads("{")',
    ]
    assert "decoder.py" in lines[3]
    assert "/" not in "".join(line.partition(" in ")[0] for line in lines)


def test_an_endless_recursion_shows_its_last_lines():
    with pytest.raises(UserCodeFailed) as caught, UserCode("function", "fit"):
        breaks(10**9)
    assert len(caught.value.trace) == 20
