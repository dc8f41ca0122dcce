"""Logged models: what they may be given, and what is known of them."""

from __future__ import annotations

import pytest
from tests.home.tracking.registry_home import RegistryHome

from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound


@pytest.fixture
def home(tmp_path):
    made = RegistryHome(tmp_path)
    yield made
    made.close()


def test_a_param_of_a_logged_model_never_changes(home):
    model = home.log_model(name="m", params={"depth": "3"})
    home.do(home.desk.logged.log_params(model, {"depth": "3", "rate": "0.1"}))
    with pytest.raises(InvalidInput, match="not allowed"):
        home.do(home.desk.logged.log_params(model, {"depth": "4", "more": "1"}))
    assert home.logged(model).params == {"depth": "3", "rate": "0.1"}


def test_a_deleted_model_is_shown_only_to_who_asks_for_deleted_ones(home):
    model = home.log_model(name="m")
    home.do(home.desk.logged.delete(model))
    home.do(home.desk.logged.delete(model))
    assert home.logged_names() == []
    assert home.logged(model, deleted_too=True).deleted
    for write in (home.desk.logged.tag(model, {"a": "b"}), home.desk.logged.finalize(model, "READY")):
        with pytest.raises(NotFound):
            home.do(write)


def test_a_model_keeps_the_latest_point_of_each_metric_by_step(home):
    run = home.begin()
    one, other = home.log_model(name="one"), home.log_model(name="other")
    home.measure(run, ("loss", 0.2, 2, 7, one), ("loss", 0.9, 9, 1, one), ("loss", 0.4, 3, 8, other))
    home.measure(run, ("loss", float("nan"), 2, 7, one))
    found = home.reopened().logged(one).metrics
    assert [(metric.name, metric.value, metric.step, metric.run) for metric in found] == [
        ("loss", 0.2, 7, run)
    ]
    assert [metric.value for metric in home.logged(other).metrics] == [0.4]


def test_a_metric_of_a_model_that_does_not_exist_is_refused(home):
    run = home.begin()
    with pytest.raises(InvalidInput, match="does not exist"):
        home.measure(run, ("loss", 0.2, 2, 7, f"m-{'0' * 32}"))


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a.b", "a%b", 'a"b', "a\nb", "n" * 501])
def test_a_name_that_could_be_a_path_is_refused(home, name):
    with pytest.raises(InvalidInput):
        home.log_model(name=name)


def test_a_model_needs_an_experiment_that_is_not_deleted(home):
    experiment = home.do(home.desk.runs.experiments.create("e"))
    home.do(home.desk.runs.experiments.move(experiment, deleted=True))
    with pytest.raises(FailedPrecondition):
        home.do(home.desk.logged.create(experiment, name="m"))
    with pytest.raises(NotFound):
        home.do(home.desk.logged.create("17", name="m"))
