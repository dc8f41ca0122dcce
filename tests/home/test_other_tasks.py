"""Models of other tasks through the whole loop: numbers, and scores that no outcome ever judges."""

from __future__ import annotations

import json

import pytest
from tests.loop.other_tasks import DELAYS, delays, oddities, replay_of
from tests.loop.synthetic import entries_of, replayed

from varv.app.cli import main
from varv.app.cli.comparison_blocks import comparison_blocks
from varv.app.cli.rendering import text
from varv.app.replaying import report_of
from varv.loop.model import LoopStarted
from varv.registry import VersionRegistered

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def delayed(tmp_path_factory):
    home = tmp_path_factory.mktemp("delay") / "home"
    return home, replayed(replay_of(delays()), home)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    home = tmp_path_factory.mktemp("oddity") / "home"
    return home, replayed(replay_of(oddities()), home)


@pytest.fixture
def told(capsys):
    """Return what a command says of a home."""

    def run(home, *arguments):
        assert main(["--home", str(home), *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_a_model_of_numbers_is_trained_again_and_compared_by_its_loss(delayed):
    home, found = delayed
    [declared] = found.policies
    assert found.task == DELAYS.spec
    assert declared.n_retrains >= 1
    assert 5 < declared.loss < 20
    assert declared.metrics["rmse"].value > declared.loss
    assert declared.log_loss is None
    events = [entry.event for entry in entries_of(home)]
    assert next(one for one in events if isinstance(one, LoopStarted)).task == DELAYS.spec
    registered = [one for one in events if isinstance(one, VersionRegistered)]
    assert registered[0].metrics.keys() == {"absolute", "rmse", "r2", "bias"}


def test_what_a_model_of_numbers_showed_is_said_in_its_own_words(delayed):
    home, found = delayed
    shown = text(comparison_blocks(found))
    assert "mean absolute error [95 %]" in shown
    assert "R² [95 %]" in shown
    assert "log-loss" not in shown
    report = report_of(home, "delay").read_text()
    assert "reached a mean absolute error of" in report
    assert "in the outcome&#39;s unit" in report
    assert "og-loss" not in report.partition("</style>")[2].partition('id="candidates"')[0]


def test_a_prediction_of_a_number_is_said_as_a_number(delayed, told):
    home, _ = delayed
    found = json.loads(told(home, "why", "p-03500", "--json"))["prediction"]
    assert found["features"].keys() == {"load", "heat", "route"}
    assert found["scores"] == [found["score"]]
    assert found["said"] == f"{found['score']:.1f}"
    assert f"It was answered {found['said']} by v" in told(home, "why", "p-03500")
    assert "mean absolute error" in told(home, "status", "delay")


def test_a_model_without_an_outcome_runs_to_the_end_of_its_replay(odd, told):
    home, found = odd
    [declared] = found.policies
    assert found.task.name == "score"
    assert declared.n == found.n_requests > 2000
    assert declared.n_trainings >= 2
    assert declared.loss is None
    assert not declared.metrics
    shown = text(comparison_blocks(found))
    assert "requests answered" in shown
    assert "a score has no outcome" in shown
    report = report_of(home, "oddity").read_text()
    assert "nothing can be said of how good the answers were" in report
    assert "no outcome" in told(home, "status", "oddity")
