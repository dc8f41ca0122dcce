"""A study asks the same for the same seed, stops what does badly, and knows what the value depends on."""

from __future__ import annotations

import math

import pytest

import varv
from varv.kernel.errors import InvalidDeclaration
from varv.tuning import Study, Trial

OPTIONS = {"space": {"x": (-5.0, 5.0), "depth": (1, 6), "kind": ["a", ["b", 2]]}}


@varv.step
def rows() -> list[int]:
    return [1, 2]


@varv.step
def scored(values: list[int], x: float, depth: int, kind: str | list[str | int] = "a") -> float:
    return x * x + depth


@varv.step
def told(value: float) -> str:
    return str(value)


def tune(**options):
    of = scored.bind(rows.bind(), x=0.5, depth=3)
    return varv.Tune("depths", of, **{**OPTIONS, "trials": 20, "seed": 1, **options})


def value_of(params):
    return (params["scored.x"] - 2) ** 2 + 0.1 * params["scored.depth"]


def told_of(trial, **said):
    said = {"state": "COMPLETE", "value": value_of(trial.params), **said}
    return Trial(number=trial.number, params=trial.params, **said)


def lived(study, n, before=()):
    """Ask and tell `n` trials, one after the other."""
    trials = list(before)
    for _ in range(n):
        trials.append(told_of(study.ask()))
        study.tell(trials[-1])
    return trials


def test_the_declared_values_are_the_first_trial():
    assert Study(tune()).ask().params == {"scored.x": 0.5, "scored.depth": 3, "scored.kind": "a"}
    outside = tune(space={"x": (1.0, 5.0)})
    assert outside.first is None
    assert 1.0 <= Study(outside).ask().params["scored.x"] <= 5.0


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_equal_seeds_ask_equal_trials_and_others_do_not(sampler):
    one, again, other = (lived(Study(tune(sampler=sampler, seed=seed)), 14) for seed in (1, 1, 2))
    assert one == again
    assert one[1:] != other[1:]


def test_a_study_that_goes_on_asks_what_it_would_have_asked():
    whole = lived(Study(tune()), 16)
    for cut in (1, 7, 13):
        assert lived(Study(tune(), whole[:cut]), 16 - cut, whole[:cut]) == whole


def test_a_trial_that_was_cut_short_is_told_as_failed_and_asked_again():
    whole = lived(Study(tune()), 12)
    study = Study(tune(), [*whole[:10], Trial(number=10, params=whole[10].params)])
    again = study.ask()
    assert (again.number, again.params) == (11, whole[10].params)
    study.tell(told_of(again))
    # What follows is what would have followed.
    assert study.ask().params == whole[11].params


def test_trials_side_by_side_do_not_depend_on_which_ends_first():
    asked = []
    for order in ((0, 1, 2), (2, 1, 0)):
        study = Study(tune(pruner="median"), lived(Study(tune()), 12))
        beside = [study.ask() for _ in range(3)]
        for place in order:
            study.report(beside[place].number, 0, value_of(beside[place].params))
        for trial in beside:
            study.tell(told_of(trial))
        asked.append(study.ask())
    assert asked[0] == asked[1]


def test_a_trial_worse_than_the_median_at_its_step_is_stopped():
    before = [
        Trial(number=n, params=tune().first, state="COMPLETE", value=1.0, points={0: 10.0, 1: float(n)})
        for n in range(5)
    ]
    study = Study(tune(pruner="median"), before)
    trial = study.ask()
    assert not study.report(trial.number, 0, 10.0)
    assert not study.report(trial.number, 1, 1.5)
    other = study.ask()
    assert study.report(other.number, 1, 2.5)
    assert study.points(other.number) == {1: 2.5}


def test_nothing_is_stopped_before_a_median_says_something_or_without_a_pruner():
    before = [
        Trial(number=n, params=tune().first, state="COMPLETE", value=1.0, points={0: 0.0}) for n in range(8)
    ]
    for declared, known in ((tune(pruner="median"), before[:4]), (tune(), before)):
        study = Study(declared, known)
        assert not study.report(study.ask().number, 0, 99.0)


def test_what_the_value_depends_on_adds_up_and_is_found():
    study = Study(tune())
    trials = lived(study, 40)
    shares = study.importance()
    assert math.isclose(sum(shares.values()), 1.0)
    assert max(shares, key=shares.get) == "scored.x"
    assert Study(tune(), trials).importance() == shares
    assert Study(tune(), trials[:1]).importance() == {}


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda: tune(space={}), "is not a dict of parameters"),
        (lambda: tune(space={"y": (0, 1)}), "'y' is no parameter of its steps; the parameters are scored.x"),
        (lambda: tune(space={"values": [[1]]}), "is no parameter"),
        (lambda: tune(space={"depth": (0.5, 2.5)}), "study 'scored.depth' is given a float 0.5 for 'depth'"),
        (lambda: tune(space={"depth": [1, "many"]}), "is given a str 'many'"),
        (lambda: tune(trials=0), "study 'trials' is not allowed"),
        (lambda: tune(direction="up"), "study 'direction' does not exist"),
        (lambda: tune(sampler="grid"), "choose one of 'tpe', 'random'"),
        (lambda: tune(pruner="best"), "choose one of None, 'median'"),
        (lambda: tune(seed=True), "'seed' is not a whole number"),
        (lambda: varv.Tune("s", told.bind(1.0), space={"value": (0.0, 1.0)}), "is judged by a str"),
        (lambda: varv.Tune("s", scored, space={"x": (0.0, 1.0)}), "study 's' judges no pipeline"),
    ],
)
def test_a_study_that_cannot_run_is_refused_when_declared(declare, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        declare()


def test_a_parameter_of_several_steps_needs_the_name_of_its_step():
    start = rows.bind()
    one = scored.bind(start, x=0.0, depth=1).named("one")
    two = scored.bind(start, x=0.0, depth=1).named("two").after(one)
    with pytest.raises(InvalidDeclaration, match="'x' is a parameter of several steps"):
        varv.Tune("s", two, space={"x": (0.0, 1.0)})
    assert list(varv.Tune("s", two, space={"one.x": (0.0, 1.0)}).space) == ["one.x"]


def test_more_trials_are_the_same_study_and_another_space_is_another():
    assert tune(trials=5).digest == tune(trials=50).digest
    assert tune(space={"x": (0.0, 1.0)}).digest != tune().digest
