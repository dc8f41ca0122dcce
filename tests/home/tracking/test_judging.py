"""A logged run beside a baseline: what is better, how surely, and what tolerances make of it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.runs.conftest import TrackedHome

from varv.fronts.ci import MARKER, run_junit, run_markdown
from varv.home.tracking.judging import champions_run, compared_runs, tolerance_of
from varv.kernel.errors import InvalidInput, NotFound

BEFORE = {"loss": [0.50], "auc": [0.80], "size": [10.0], "fold_auc": [0.80, 0.82, 0.81, 0.79]}


class Beside(TrackedHome):
    def logged(self, name, status="FINISHED", **metrics):
        run = self.begin(name=name)
        points = [
            (metric, value, 1000 + step, step)
            for metric, some in metrics.items()
            for step, value in enumerate(some)
        ]
        self.log(run, *points, params={"depth": name})
        if status != "RUNNING":
            self.do(self.tracking.update_run(run, status=status, ended_ms=1))
        return run

    def compared(self, run, *tolerances, folds=()):
        desk, declared = self.desk.runs_read(), [tolerance_of(one) for one in tolerances]
        return compared_runs(desk, run, self.baseline, declared, folds)

    def metric(self, run, name, *tolerances, folds=()):
        [found] = [one for one in self.compared(run, *tolerances, folds=folds).metrics if one.name == name]
        return found


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    made = Beside(tmp_path_factory.mktemp("home"))
    made.baseline = made.logged("before", **BEFORE)
    yield made
    made.close()


def test_a_gain_is_how_much_better_whichever_way_that_is(beside):
    run = beside.logged("a", loss=[0.45], auc=[0.78], size=[12.0])
    gains = {one.name: one.gain for one in beside.compared(run).metrics}
    assert gains["loss"] == pytest.approx(0.05)
    assert gains["auc"] == pytest.approx(-0.02)
    assert gains["size"] == pytest.approx(2.0)
    assert gains["fold_auc"] is None


@pytest.mark.parametrize(
    ("tolerances", "standing"),
    [
        (("loss=0.02", "auc=0.03"), "passed"),
        (("loss=0.02", "auc=0.01"), "failed"),
        (("loss=0.02", "missing:min=1"), "unjudged"),
        (("auc=0.01", "missing:min=1"), "failed"),
        (("size:min=1",), "failed"),
        ((), "unjudged"),
    ],
)
def test_a_run_stands_by_what_was_declared(beside, tolerances, standing):
    run = beside.logged("b", loss=[0.51], auc=[0.78], size=[12.0])
    assert beside.compared(run, *tolerances).standing == standing


def test_folds_are_paired_and_give_an_interval(beside):
    run = beside.logged("c", fold_auc=[0.78, 0.81, 0.79, 0.78])
    found = beside.metric(run, "fold_auc", "fold_auc=0.03", folds=["fold_auc"])
    # Differences -.02, -.01, -.02, -.01: mean -.015, standard error .00289, Student's t of 3 degrees 3.182.
    assert found.gain == pytest.approx(-0.015)
    assert found.interval == pytest.approx((-0.02419, -0.00581), abs=1e-5)
    assert (found.n_folds, found.standing) == (4, "passed")
    assert beside.metric(run, "fold_auc", "fold_auc=0.02", folds=["fold_auc"]).standing == "passed"
    assert beside.metric(run, "fold_auc", "fold_auc=0.005", folds=["fold_auc"]).standing == "failed"


def test_points_that_nobody_calls_folds_are_a_curve_with_one_last_number(beside):
    run = beside.logged("d", fold_auc=[0.1, 0.2, 0.3, 0.79])
    found = beside.metric(run, "fold_auc", "fold_auc=0")
    assert (found.gain, found.interval, found.standing) == (0.0, None, "passed")
    assert found.why == "one number each"


def test_too_few_folds_are_not_judged(beside):
    run = beside.logged("e", fold_auc=[0.8, float("nan"), 0.8])
    found = beside.metric(run, "fold_auc", "fold_auc=0.01", folds=["fold_auc"])
    assert (found.standing, found.interval) == ("unjudged", None)


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_a_run_that_has_not_finished_is_not_judged(beside, status):
    run = beside.logged("f", status, loss=[0.1])
    found = beside.compared(run, "loss=0.1")
    assert (found.standing, found.reason) == ("unjudged", f"the run is {status}")


@pytest.mark.parametrize("text", ["loss", "loss=", "loss=-1", "=1", "loss=nan", "loss=inf", "epoch=1"])
def test_a_tolerance_that_says_nothing_is_refused(text):
    with pytest.raises(InvalidInput):
        tolerance_of(text)


def test_what_differs_and_what_is_not_known_is_said_in_the_comment(beside):
    run = beside.logged("<img> @ana", loss=[0.40], auc=[0.5])
    found = beside.compared(run, "loss=0", "auc=0.1")
    text = run_markdown(found)
    assert text.startswith(f"{MARKER}\n### ❌")
    assert "<img>" not in text
    assert "chance is not told apart" in text
    assert "What differs" in text
    assert "depth" in text
    suite = ElementTree.fromstring(run_junit(found))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")


def test_the_champions_run_is_the_baseline_of_a_model(beside):
    models = beside.desk.models
    beside.do(models.create("flights"))
    with pytest.raises(NotFound, match="no champion"):
        champions_run(beside.desk.runs_read(), "flights")
