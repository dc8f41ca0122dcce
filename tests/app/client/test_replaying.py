"""A replay from Python: what it takes, what it shows, and what becomes of its folder."""

from __future__ import annotations

import gc

import polars as pl
import pytest
from tests.loop.synthetic import declared, parcels

import varv
from varv.app.client.replaying import _declared
from varv.kernel.clock import iso
from varv.kernel.errors import InvalidDeclaration, InvalidInput, NotFound

from .reading import served

SHORT = "2024-03-23T00:00:00Z"


def short(**options) -> varv.Replay:
    return declared(until=SHORT, **options)


@pytest.fixture(scope="module")
def result():
    found = varv.replay(short(references=("never",)), progress=False)
    yield found
    found.close()


@pytest.mark.slow
def test_policies_gains_and_months_are_frames(result):
    policies = result.policies
    assert policies["policy"].to_list() == ["declared", "never"]
    assert {"loss", "loss_low", "loss_high", "auc", "n_retrains", "work"} <= set(policies.columns)
    assert policies["loss"][0] == result.comparison.policies[0].loss
    gains = result.gains
    assert set(zip(gains["policy"], gains["over"], strict=True)) == {
        ("declared", "never"),
        ("never", "declared"),
    }
    assert result.rows["n_used"].sum() > 0
    assert result.warnings == ()
    assert "declared 0." in repr(result)


@pytest.mark.slow
def test_predictions_of_every_policy_have_their_outcomes(result):
    mine, never = result.predictions(), result.predictions("never")
    assert mine["key"].to_list() == never["key"].to_list()
    scored = mine.filter(pl.col("requested_at") >= result.train_at).drop_nulls(["score", "outcome"])
    assert scored.height >= result.policies["n"][0]
    assert result.predictions(labelled=True, limit=5).height == 5
    with pytest.raises(NotFound, match="the policies are declared, never"):
        result.predictions("weekly")


@pytest.mark.slow
def test_what_was_decided_is_in_lines_and_the_home_goes_on(result):
    assert "rollout.version_promoted" in result.decisions()["event"].to_list()
    assert result.decisions("never").height > 0
    assert result.home.model().champion == 1
    assert result.home.why("late-parcel").kind == "model"


@pytest.mark.slow
def test_a_replayed_home_gives_the_same_from_its_folder_and_from_a_server(result):
    with varv.open(result.folder) as home:
        assert home.replay.comparison().value == result.comparisons
        here = home.comparison()
        assert here.policies.equals(result.policies)
        assert here.predictions("never").equals(result.predictions("never"))
        assert here._repr_html_() == result._repr_html_()
        with pytest.raises(NotFound, match="does not exist in this home"):
            home.comparison("other")
        there = served(home._source.desk).comparison()
        assert there.gains.equals(result.gains)
        assert there.predictions().equals(result.predictions())
        assert "Replay of late-parcel" in there._repr_html_()
        with pytest.raises(NotFound, match=r"varv\.open"):
            there.predictions("never")


@pytest.mark.slow
def test_the_report_is_displayed_and_saved(result, tmp_path):
    html = result._repr_html_()
    assert "Replay of late-parcel" in html
    assert result["late-parcel"]._repr_html_() == html
    saved = result.save(tmp_path / "report.html")
    assert saved.read_text().startswith("<!doctype html>")
    with pytest.raises(NotFound, match="make it first"):
        result.save(tmp_path / "none" / "report.html")
    with pytest.raises(NotFound, match="was not replayed"):
        result.save(tmp_path / "report.html", "other")


@pytest.mark.slow
def test_a_temporary_folder_lives_as_long_as_somebody_reads_there():
    found = varv.replay(short(), declared_only=True, progress=False)
    folder = found.folder
    model = found["late-parcel"].of_policy()
    del found
    gc.collect()
    assert model.champion == 1
    del model
    gc.collect()
    assert not folder.exists()


@pytest.mark.slow
def test_a_replay_in_a_home_is_shown_again_and_stays(tmp_path, capsys):
    first = varv.replay(short(), home=tmp_path / "home", declared_only=True)
    told = capsys.readouterr()
    again = varv.replay(short(), home=str(tmp_path / "home"), declared_only=True)
    assert (told.out, "v1 promoted" in told.err) == ("", True)
    assert again.policies.drop("cpu_s", strict=False).equals(first.policies.drop("cpu_s"))
    first.close()
    again.close()
    assert (tmp_path / "home" / "report.html").exists()


def model(past: pl.DataFrame | None = None) -> varv.Model:
    return declared(past).models[0]


def times(*what, **given) -> tuple[str, str, str]:
    found = _declared(what, given, None)
    return tuple(iso(at)[:10] for at in (found.since, found.train_at, found.until))


def test_a_model_is_replayed_over_all_its_requests():
    assert times(model()) == ("2024-03-01", "2024-03-21", "2024-04-30")
    assert times(model(), train_at="2024-03-10") == ("2024-03-01", "2024-03-10", "2024-04-30")
    year = parcels().with_columns(pl.col("asked_at", "arrived_at") + (pl.col("asked_at") - FIRST) * 9)
    since, train_at, until = times(model(year))
    assert (since, train_at, until[:7]) == ("2024-03-01", "2024-04-20", "2025-10")


FIRST = pl.datetime(2024, 3, 1, time_zone="UTC")


def test_times_that_are_given_take_the_place_of_those_declared():
    assert times(short()) == ("2024-03-07", "2024-03-21", "2024-03-23")
    assert times(short(), until="2024-03-25") == ("2024-03-07", "2024-03-21", "2024-03-25")
    assert _declared([short()], {}, ["weekly"]).references == ("weekly",)
    replay = short(plants=(varv.Plant("leaky", at="2024-03-22", column="delay"),))
    assert _declared([replay], {"until": "2024-03-24"}, None).plants == replay.plants
    with pytest.raises(InvalidDeclaration, match="out of order"):
        varv.replay(short(), until="2024-03-01")


def test_what_cannot_be_replayed_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="nothing that can be replayed"):
        varv.replay(5)
    with pytest.raises(NotFound, match="varv init"):
        varv.replay(tmp_path / "none.py")
    with pytest.raises(InvalidInput, match="'since' is no time"):
        varv.replay(short(), since=5)
    with pytest.raises(InvalidDeclaration, match="declares no model"):
        varv.replay()
    with pytest.raises(InvalidDeclaration, match="has no requests to replay"):
        varv.replay(model(parcels().clear()))
