"""A fit that fails: what its author is told, when the loop stops trying, and what makes it try again."""

from __future__ import annotations

import json

import pytest
from tests.loop.synthetic import declared, entries_of, fit, quietly, replayed

from varv.app.cli import main
from varv.app.compose import open_ledger, open_views
from varv.app.replaying import run_replay
from varv.fronts.web.page import reading
from varv.fronts.web.pages.models import model_page, version_page
from varv.home.status import status_report
from varv.kernel.clock import SystemClock
from varv.kernel.errors import FailedPrecondition
from varv.loop.model import RetrainTriggered, TrainingSuspended

pytestmark = pytest.mark.slow

LONG = "the window has another shape; " + "x" * 900 + " and that is the end of the message"


def broken(train, params):
    raise ValueError(f"{LONG} ({len(train)} rows)")


def replay_with(chosen_fit, **given):
    replay = declared(**given)
    replay.models[0].train.fit = chosen_fit
    return replay


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A replay in which no training ever succeeded."""
    folder = tmp_path_factory.mktemp("broken")
    with pytest.raises(
        FailedPrecondition, match=r"answered nothing that has an outcome.*varv why late-parcel"
    ):
        replayed(replay_with(broken, until="2024-04-05T00:00:00Z"), folder)
    return folder


def asked(home, *arguments, capsys):
    status = main(["--home", str(home), *arguments])
    return status, capsys.readouterr().out


def of_kind(home, kind):
    return [entry.event for entry in entries_of(home) if isinstance(entry.event, kind)]


def test_after_three_equal_failures_nothing_is_tried_any_more(home):
    assert len(of_kind(home, RetrainTriggered)) == 3
    [suspended] = of_kind(home, TrainingSuspended)
    assert (suspended.version, suspended.n_failures) == (3, 3)


def test_why_names_the_model_before_there_is_a_version_and_answers_first(home, capsys):
    status, out = asked(home, "why", "late-parcel", capsys=capsys)
    assert status == 0
    lines = out.splitlines()
    assert lines[1].startswith("  No version serves yet. v3, trained for first training, was rejected")
    assert "Training is waiting for a changed declaration: 3 failures in a row were alike." in lines[1]
    assert "that is the end of the message" in out
    assert "in broken: raise ValueError" in out
    before, _, after = out.partition("timers on the way")
    assert "saga.timer_fired" not in before
    assert "timer train" in after


def test_why_of_an_attempt_that_never_became_a_version_tells_it_whole(home, capsys):
    found = json.loads(asked(home, "why", "late-parcel v2", "--json", capsys=capsys)[1])
    assert (found["kind"], found["lineage"]) == ("version", None)
    assert "that is the end of the message" in found["detail"]


def test_status_shows_the_state_and_the_message(home, capsys):
    out = asked(home, "status", capsys=capsys)[1]
    assert "waiting for a changed declaration, after 3 equal failures" in out
    assert "that is the end of the message" in out


def test_the_console_shows_the_state_and_the_message(home):
    ledger = open_ledger(home, read_only=True)
    with reading(open_views(ledger)) as now:
        page, version = model_page(now, "late-parcel", {}), version_page(now, "late-parcel", 3)
    ledger.close()
    assert page.data["suspended"].n_failures == 3
    assert "that is the end" in page.data["failure"].detail
    assert "that is the end" in version.data["line"].detail


def test_a_changed_declaration_is_another_replay_and_trains(home):
    run_replay(replay_with(fit, until="2024-04-05T00:00:00Z"), home, quietly, declared_only=True)
    ledger = open_ledger(home, read_only=True)
    found = status_report(open_views(ledger), ledger, SystemClock().now())
    ledger.close()
    [model] = found.models
    assert (model.champion, model.suspended, model.failure) == (1, "", "")
    assert len(list((home / "replays").iterdir())) == 1
