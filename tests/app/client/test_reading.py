"""What is read of a home is the same from its folder and from a server."""

from __future__ import annotations

import copy
import datetime as dt
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import varv
from varv.app.client.homes import ReadableHome
from varv.home.model_status import ModelStatus
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound

from .reading import DATASET, MODEL, answered, opened


@pytest.fixture(scope="module")
def folder(lived, tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("home")
    answered(lived(found))
    return found


@pytest.fixture(scope="module")
def both(folder):
    local, remote, source = opened(folder)
    yield {"folder": local, "server": remote}
    local.close()
    remote.close()
    source.close()


@pytest.fixture(params=["folder", "server"])
def home(request, both) -> ReadableHome:
    return both[request.param]


def test_models_are_found_by_name_and_the_only_one_by_none(home):
    assert list(home.models) == [MODEL]
    assert home.model(MODEL).name == home.model().name == home.models[MODEL].name
    assert home.model().champion == 1
    assert isinstance(home.model().status, ModelStatus)
    assert "champion v1" in repr(home.model())
    with pytest.raises(NotFound, match=f"there are {MODEL}"):
        home.model("none")
    with pytest.raises(KeyError):
        home.models["none"]


def test_versions_are_a_frame_with_the_metrics_of_the_task(home):
    versions = home.model().versions
    assert versions["version"].to_list() == [1]
    assert versions["aliases"].to_list()[0].split(", ")[-1] == "champion"
    assert {"log_loss", "auc"} <= set(versions.columns)


def test_a_window_of_predictions_has_its_requests_in_order_with_their_outcomes(home):
    rows = home.model().predictions("2024-04-01", dt.date(2024, 4, 3))
    at = rows["requested_at"]
    assert rows.height == pytest.approx(240, abs=60)
    assert (at.min().day, at.max().day, at.is_sorted()) == (1, 2, True)
    assert {"score", "version", "load", "outcome", "known_at"} <= set(rows.columns)
    known = rows.drop_nulls("outcome")
    assert (known["known_at"] >= known["requested_at"]).all()
    assert 0 < rows["outcome"].null_count() < 30


def test_predictions_can_be_asked_for_with_or_without_an_outcome(home):
    window = "2024-04-01", "2024-04-08"
    every = home.model().predictions(*window)
    known = home.model().predictions(*window, labelled=True)
    unknown = home.model().predictions(*window, labelled=False)
    assert known["outcome"].null_count() == 0
    assert (known.height + unknown.height, unknown["outcome"].null_count()) == (every.height, unknown.height)


def test_the_first_rows_are_those_that_a_limit_leaves(home):
    every = home.model().predictions("2024-04-01")
    assert home.model().predictions("2024-04-01", limit=700).equals(every.head(700))
    assert home.model().predictions("2024-04-01", limit=0).height == 0


def test_a_request_that_was_answered_live_is_there_with_its_outcome(home):
    row = home.model().predictions().filter(pl.col("key") == "asked-1").to_dicts()[0]
    assert (row["version"], row["arm"], row["outcome"], row["route"]) == (1, "champion", 1, "north")


def test_days_alarms_and_rollouts_are_frames(home):
    days = home.model().performance()
    assert days["since"].is_sorted()
    assert {"log_loss", "log_loss_low", "log_loss_high", "n", "role"} <= set(days.columns)
    rollouts = home.model().rollouts()
    assert rollouts["outcome"].to_list() == ["promoted"]
    assert home.model().alarms().columns[:3] == ["seq", "raised_at", "cleared_at"]


def test_decisions_and_entries_are_lines_of_the_ledger(home):
    decided = home.decisions()
    assert "rollout.version_promoted" in decided["event"].to_list()
    assert decided.equals(home.model().decisions())
    entries = home.entries(limit=10)
    assert entries["seq"].to_list() == list(range(1, 11))
    promoted = home.entries(event="rollout.version_promoted")
    assert promoted["stream"].to_list() == [f"rollout/{MODEL}/1"]
    assert home.entries(stream="nowhere").height == 0
    with pytest.raises(NotFound, match="is not registered"):
        home.decisions("none")


def test_why_and_verify_answer_as_the_command_line_does(home):
    found = home.why(MODEL, "v1")
    assert found.kind == "version"
    assert found.chain[-1].event == "loop.started"
    assert "v1" in repr(found)
    assert home.model().why(1).value.lineage == found.lineage
    assert home.model().why("asked-1").prediction.version == 1
    assert home.verify().ok
    assert home.verify(quick=True).n_entries == home.status().n_entries
    with pytest.raises(NotFound, match="matches no model"):
        home.why("nothing")


def test_a_dataset_is_read_as_of_any_version_and_instant(home):
    data = home.dataset(DATASET)
    assert (data.status.key, data.status.event_time) == (("parcel",), "asked_at")
    versions = data.versions
    assert versions["version"].to_list() == list(range(1, versions.height + 1))
    window = {"since": "2024-04-01", "until": "2024-04-02"}
    rows = data.read(**window)
    before = data.read(known_at="2024-04-01T06:00:00Z", **window)
    assert rows.height == pytest.approx(120, abs=40)
    assert (rows["asked_at"].is_sorted(), rows["late"].null_count() < 15) == (True, True)
    assert before["late"].null_count() > before.height // 2
    assert data.read(version=0, **window).height == 0
    assert data.read(**window, limit=3).equals(rows.head(3))
    with pytest.raises(NotFound, match="has no version 99"):
        data.read(version=99)
    assert data.quarantine().columns == ["segment", "row", "reason"]
    assert list(home.datasets) == [DATASET]


def test_both_say_the_same(both):
    local, remote = both.values()
    reads: list[Callable[[ReadableHome], pl.DataFrame]] = [
        lambda home: home.model().versions,
        lambda home: home.model().predictions("2024-04-01", "2024-04-20"),
        lambda home: home.model().rollouts(),
        lambda home: home.entries(),
        lambda home: home.decisions(),
        lambda home: home.dataset().versions,
        lambda home: home.dataset().read(since="2024-04-01"),
    ]
    for read in reads:
        here, there = read(local), read(remote)
        assert here.height > 0
        assert here.schema == there.schema
        assert here.equals(there)
    assert local.model().performance().equals(remote.model().performance())
    for answer in (
        lambda home: home.why(MODEL),
        lambda home: home.why("asked-1"),
        lambda home: home.verify(),
        lambda home: home.model().logs(),
    ):
        assert answer(local) == answer(remote)


def test_every_verb_is_a_function_with_its_text_and_its_fields(home):
    assert {"status", "predictions", "retrain", "rollback"} <= set(dir(home.model))
    assert "quarantine" in dir(home)
    assert home.quarantine.list().n_rows == 0
    assert home.ledger.why(MODEL).kind == "model"
    assert home.ledger.entries(limit=3).height == 3
    assert home.model.retrain.__doc__.startswith("Ask for a new candidate")
    assert str(home.model.retrain.__signature__) == "(model: str, reason: str = '', by: str = 'operator')"
    with pytest.raises(AttributeError, match="its acts are"):
        _ = home.model.fly
    with pytest.raises(AttributeError, match="has no attribute 'fly'"):
        _ = home.fly
    with pytest.raises(InvalidInput, match=r"call ledger\.why\(subject: str\)"):
        home.ledger.why(who=1)


def test_a_home_without_a_replay_has_no_comparison(home):
    with pytest.raises(NotFound, match="has not been finished in this home"):
        home.comparison()


def test_an_answer_is_plain_values_too_and_can_be_copied(home):
    found = home.status()
    assert copy.copy(found) == found
    assert found.to_dict()["models"][0]["champion"] == found.models[0].champion
    assert "models" in dir(found)
    with pytest.raises(AttributeError):
        _ = found.nothing


def test_nonsense_is_refused_as_by_every_front(home):
    for since in ("yesterday", "2024-13-01", 5, object()):
        with pytest.raises(InvalidInput):
            home.model().predictions(since)
    with pytest.raises(InvalidInput, match="names no page"):
        home._source.ask("model.predictions", {"after": "x"})
    with pytest.raises(InvalidInput, match="is not a number of rows"):
        home._source.ask("ledger.entries", {"limit": -1})


def test_everything_shows_itself(home):
    shown = [
        *(home, home.models, home.model(), home.datasets, home.dataset(), home.status()),
        *(home.why(MODEL), home.why("asked-1"), home.verify(), home.model().logs(), home.quarantine.list()),
    ]
    for one in shown:
        html = one._repr_html_()
        assert html.startswith('<div class="varv"><style>')
        assert "<script" not in html
    assert MODEL in home.models._repr_html_()
    assert "asked_at" in home.dataset()._repr_html_()


def test_a_server_bounds_what_one_answer_holds(both):
    for asked in ({}, {"limit": 501}, {"limit": 10**9}):
        page = both["server"]._source.ask("model.predictions", asked)
        assert (page.rows.height, page.after != "") == (500, True)


def test_a_home_is_only_read_and_says_so(folder):
    with varv.open(folder) as home, pytest.raises(FailedPrecondition, match=r"varv\.connect"):
        home.model.retrain(MODEL)


def test_a_closed_home_says_so_and_a_forgotten_one_gives_its_ledger_back(folder):
    home = varv.open(str(folder))
    assert home.model().champion == 1
    home.close()
    home.close()
    with pytest.raises(FailedPrecondition, match="is closed; open it again"):
        home.status()
    source = varv.open(folder)._source
    given_back, gone = source._close, weakref.ref(source)
    del source
    gc.collect()
    assert gone() is None
    assert not given_back.alive


def test_a_folder_without_a_home_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"is not there.*varv replay"):
        varv.open(tmp_path / "none")
    with pytest.raises(InvalidInput, match="is no folder"):
        varv.open(5)
