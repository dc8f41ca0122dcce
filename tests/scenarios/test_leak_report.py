"""The leak report on the real flights: what came later is named everywhere, what is honest nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.loop.synthetic import declared, entries_of, parcels, quietly
from tests.scenarios.flights_replay import flights, prepare, replay

import varv
from varv.app.cli import main
from varv.app.replaying import run_replay
from varv.loop.leaking.model import LeakNoticed, LeaksExamined
from varv.project import load_project

pytestmark = pytest.mark.slow

UNTIL = "2013-02-11T05:00:00Z"
EXAMPLE = Path(__file__).parents[2] / "examples" / "flights" / "flights.py"


def examined(home):
    [event] = [entry.event for entry in entries_of(home) if isinstance(entry.event, LeaksExamined)]
    return event


def test_no_honest_feature_of_the_flights_is_named(tmp_path):
    project = load_project(str(EXAMPLE))
    project.validate()
    short = varv.Replay(
        *project.models, since="2013-01-01T00:00:00Z", train_at="2013-02-01T05:00:00Z", until=UNTIL, seed=2013
    )
    [found] = run_replay(short, tmp_path, quietly, declared_only=True).models
    event = examined(tmp_path)
    assert len(event.features) == 28
    assert event.findings == found.leaks == ()
    assert not any(isinstance(entry.event, LeakNoticed) for entry in entries_of(tmp_path))


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A column that is filled in on arrival, and a source that takes the mean over the whole day."""
    folder = tmp_path_factory.mktemp("leaky")
    rows = flights().with_columns(
        arrival_note=pl.col("arr_delay").fill_null(0) + (pl.col("sched_minute") % 7),
        airport_day=pl.col("origin") + pl.col("requested_at").dt.strftime("-%Y-%m-%d"),
    )
    data = prepare(folder / "data", rows.drop("airport_day"))
    day = pl.col("requested_at").dt.truncate("1d")
    daily = rows.group_by("origin", day=day).agg(
        late_today=pl.col("late").cast(pl.Float64).mean(), airport_day=pl.col("airport_day").first()
    )
    source = varv.Dataset("daily", source=varv.Frame(daily.drop_nulls()), key="airport_day", event_time="day")
    today = varv.FeatureView("today", source=source, entity="origin", ttl="24h", features=["late_today"])
    honest = replay(data, until=UNTIL).models[0]
    model = varv.Model(
        honest.name,
        requests=honest.requests,
        features=[*honest.features, "arrival_note", today],
        outcome=honest.outcome,
        train=honest.train,
        gates=honest.gates,
        rollout=honest.rollout,
        monitors=honest.monitors,
        retrain=honest.retrain,
    )
    short = varv.Replay(
        model, since="2013-01-01T00:00:00Z", train_at="2013-02-01T05:00:00Z", until=UNTIL, seed=2013
    )
    home = folder / "home"
    return home, run_replay(short, home, quietly, declared_only=True)


def test_both_leaks_of_the_flights_are_named_with_their_numbers(leaky):
    home, found = leaky
    named = {one.subject: one for one in examined(home).findings}
    assert {name: one.kind for name, one in named.items()} == {
        "arrival_note": "predicts alone",
        "today.late_today": "holds its own outcomes",
    }
    assert named["arrival_note"].evidence["low"] > 0.9
    assert named["today.late_today"].evidence["high"] < 0.5
    [comparison] = found.models
    assert comparison.leaks == examined(home).findings


@pytest.mark.parametrize("command", [("status",), ("why", "late-arrival")])
def test_leaks_are_shown_wherever_one_looks(leaky, command, capsys):
    home, _ = leaky
    assert main(["--home", str(home), *command]) == 0
    out = capsys.readouterr().out
    assert "arrival_note predicts alone" in out
    assert "today.late_today holds its own outcomes" in out


def test_rows_that_a_source_states_otherwise_at_the_next_replay_are_noticed(tmp_path):
    until = "2024-03-28T00:00:00Z"
    run_replay(declared(until=until), tmp_path, quietly, declared_only=True)
    filled = parcels().with_columns(load=pl.when(pl.col("late")).then(9.0).otherwise(pl.col("load")))
    for _ in range(2):
        [found] = run_replay(declared(filled, until=until), tmp_path, quietly, declared_only=True).models
        [noticed] = [entry.event for entry in entries_of(tmp_path) if isinstance(entry.event, LeakNoticed)]
        assert (noticed.finding.subject, noticed.finding.kind) == ("parcels.load", "past rows changed")
        assert noticed.finding in found.leaks


def test_the_report_and_the_comparison_name_the_leaks(leaky):
    home, _ = leaky
    assert "held what a request cannot know" in (home / "report.html").read_text()
    [comparison] = json.loads((home / "comparison.json").read_text())["models"]
    assert [one["subject"] for one in comparison["leaks"]] == ["arrival_note", "today.late_today"]
