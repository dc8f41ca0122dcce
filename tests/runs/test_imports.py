"""A run may be brought in any parts, any number of times: in the end it has each point once."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runs.conftest import TrackedHome

from varv.kernel.errors import Conflict, NotFound
from varv.runs import Point
from varv.runs.histories import points_of
from varv.runs.imports import SourceExperiment, SourceRun

EXPERIMENT = SourceExperiment(id="7", name="late", created_ms=5, updated_ms=6)
NUMBERS = itertools.count()
POINTS = st.lists(
    st.builds(
        Point,
        st.sampled_from(["loss", "auc"]),
        st.sampled_from([0.5, -0.0, 0.0, math.nan, math.inf, 1e-300]),
        st.integers(0, 3),
        st.integers(-1, 2),
        st.sampled_from(["", "m-" + "0" * 32]),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory):
    home = TrackedHome(tmp_path_factory.mktemp("home"))
    home.do(home.desk.imports.take_experiment(EXPERIMENT, "there", "mlflow-artifacts:/7"))
    yield home
    home.close()


def run_named(id, **said):
    return SourceRun(id=id, experiment="7", name="fit", user="ana", status="FINISHED", started_ms=1, **said)


def shown(points):
    return {(at, step, repr(min(value, 1.7976931348623157e308))) for _, value, at, step, *_ in points}


@settings(max_examples=60, deadline=None)
@given(points=POINTS, cut=st.integers(0, 30))
def test_parts_in_any_cut_give_the_whole_once(module_home, points, cut):
    home, run = module_home, run_named(f"r{next(NUMBERS)}")
    imports = home.desk.imports
    home.do(imports.take_run(run, points[:cut], "there", is_last=False))
    home.do(imports.take_run(run, points, "there"))
    assert home.do(imports.take_run(run, points, "there")) == "same"
    with home.tracking.recorder.reading() as db:
        for name in ("loss", "auc"):
            found = points_of(db, run.id, name)
            wanted = shown(point for point in points if point.name == name)
            assert len(found) == len(wanted)
            assert {
                (at, step, repr(value)) for at, step, value in found[["at", "step", "value"]].tolist()
            } == wanted


def test_a_run_without_its_experiment_is_refused(module_home):
    stray = SourceRun(id="stray", experiment="99", name="x", user="", status="FINISHED", started_ms=1)
    with pytest.raises(NotFound, match="99"):
        module_home.do(module_home.desk.imports.take_run(stray, [], "there"))


def test_a_parameter_of_another_value_is_a_conflict(module_home):
    imports = module_home.desk.imports
    module_home.do(imports.take_run(run_named("p1", params={"lr": "1"}), [], "there"))
    module_home.do(imports.take_run(run_named("p1", params={"lr": "1", "depth": "2"}), [], "there"))
    assert module_home.run("p1").params == {"lr": "1", "depth": "2"}
    with pytest.raises(Conflict, match="lr"):
        module_home.do(imports.take_run(run_named("p1", params={"lr": "2"}), [], "there"))


def test_a_new_experiment_gets_an_id_that_no_moved_one_has(module_home):
    for id in ("2", "3"):
        one = SourceExperiment(id=id, name=f"moved {id}", created_ms=1, updated_ms=1)
        module_home.do(module_home.desk.imports.take_experiment(one, "there", f"mlflow-artifacts:/{id}"))
    made = [module_home.do(module_home.tracking.experiments.create(f"new {n}")) for n in range(4)]
    assert len(set(made)) == 4
    assert not {"0", "2", "3", "7"} & set(made)
