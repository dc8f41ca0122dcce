"""What a column touches, by declarations and by what versions in force still read."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace
from tests.home.live_home import LiveHome
from tests.loop.synthetic import declared

import varv
from varv.app.compose import open_runs, open_tracking
from varv.data.versions.model import DatasetPublished
from varv.features import FeatureDefinition, TrainingSetMade
from varv.features.bulk import Recipe
from varv.home.impact import ImpactRequest, impact
from varv.home.records import Records
from varv.home.tables import Tables
from varv.kernel.errors import NotFound
from varv.kernel.sagas import Fact
from varv.loop.views import LoopView
from varv.runs.model import DatasetInput


def records_of(home):
    own = home.home
    tables = Tables(own.folder, own.ledger, own.views, home.clock)
    return Records(
        home=own.folder, ledger=own.ledger, views=own.views, clock=home.clock, state="", tables=tables
    )


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    found = lived(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


def asked(home, what):
    return impact(records_of(home), ImpactRequest(what=what))


def test_an_outcome_touches_its_model_its_views_and_every_version_trained_towards_it(home):
    found = asked(home, "parcels.late")
    [model] = found.models
    [version] = found.versions
    assert (found.known_at, model.roles, model.views) == ("arrived_at", ("outcome", "feature"), ("recent",))
    assert (version.role, version.features) == ("champion", ("recent.late_mean_24h",))
    assert version.trained_on.startswith("parcels@")


def test_an_entity_touches_the_features_that_are_found_by_it(home):
    found = asked(home, "parcels.route")
    assert {one.feature: one.how for one in found.features} == {
        "route": "value",
        "recent.late_mean_24h": "entity",
    }


def test_a_column_that_nothing_reads_touches_nothing(home):
    found = asked(home, "parcels.delay")
    assert not (found.models)
    assert not (found.features)
    assert not (found.versions)


def test_all_of_a_dataset_touches_what_any_column_of_it_does(home):
    names = {one.feature for one in asked(home, "parcels").features}
    assert names == {"load", "heat", "route", "recent.late_mean_24h"}


def test_what_does_not_exist_is_refused_with_what_does(home):
    with pytest.raises(NotFound, match="parcels"):
        asked(home, "trains.late")
    with pytest.raises(NotFound, match="delay"):
        asked(home, "parcels.nothing")


def test_a_version_in_force_that_reads_an_older_definition_is_touched_by_its_column(lived, tmp_path):
    home = lived(tmp_path)
    with home.home.views.reading(LoopView) as loops:
        before = loops.loops["late-parcel"].declared
    # The features of the champion are declared no more, and computed for it alone.
    heat = FeatureDefinition(name="heat", kind="numeric", column="heat")
    now = replace(before, features=(heat,), kept=("load", "route", "recent.late_mean_24h"))
    home.home.engine.tell(facts=[Fact("loop/late-parcel", now)])
    found = asked(home, "parcels.load")
    [feature], [version] = found.features, found.versions
    assert (feature.feature, feature.state) == ("load", "kept")
    assert (version.version, version.role, version.features) == (1, "champion", ("load",))
    home.close()


def test_a_computed_feature_is_touched_through_the_view_that_it_reads(tmp_path):
    import polars as pl

    model = declared().models[0]
    view = model.features[-1]
    expression = pl.col("load") * pl.col("recent__late_mean_24h")
    model.features = ["heat", view, varv.derived("burden", expression)]
    home = LiveHome(tmp_path, model)
    assert {one.feature: one.how for one in asked(home, "parcels.late").features} == {
        "recent.late_mean_24h": "value",
        "burden": "through recent.late_mean_24h",
    }
    assert [one.feature for one in asked(home, "parcels.load").features] == ["burden"]
    home.close()


def test_a_training_set_is_touched_by_what_it_read_and_by_its_requests(lived, tmp_path):
    home = lived(tmp_path)
    facts = []
    read = {"parcels": ("late", "route", "arrived_at")}
    for name, requests, columns in (
        ("new", "rows:d1", read),
        ("old", "rows:d1", {}),
        ("own", "parcels@3", read),
    ):
        recipe = Recipe(requests=requests, at="at", features={}, datasets={"parcels": 3}, mode="known")
        made = TrainingSetMade(dataset=name, recipe=recipe, n_rows=1, columns=columns)
        facts.append(Fact(f"data/{name}", made))
    home.home.engine.tell(facts=facts)
    touched = {
        column: asked(home, f"parcels.{column}").training_sets for column in ("late", "route", "heat", "load")
    }
    # An older entry does not say what it read, so it may be any column.
    assert touched == {
        "late": ("new", "old", "own"),
        "route": ("new", "old", "own"),
        "heat": ("old", "own"),
        "load": ("old", "own"),
    }
    assert asked(home, "parcels").training_sets == ("new", "old", "own")
    home.close()


def test_what_was_made_of_a_dataset_is_touched_and_runs_that_read_either(lived, tmp_path):
    home = lived(tmp_path)
    recipe = Recipe(requests="parcels@3", at="asked_at", features={}, datasets={}, mode="known")
    made = TrainingSetMade(dataset="rows_of_may", recipe=recipe, n_rows=1)
    published = DatasetPublished(dataset="parcels", part="asked_at", version=3, delta_version=1, files=())
    facts = [Fact("data/rows_of_may", made), Fact("data/parcels", published)]
    home.home.engine.tell(facts=facts)
    desk = open_tracking(tmp_path, home.home.ledger, home.clock)
    do, runs = desk.recorder.do, desk.runs
    experiment = do(runs.experiments.create("trials"))
    read = {"parcels@3": '{"mlflow_colspec": [{"name": "heat"}]}', "rows_of_may": "", "parcelsize": ""}
    for name, schema in read.items():
        run = do(runs.create_run(experiment, name=f"of {name}"))
        given = DatasetInput(name=name, digest="d1", source_type="local", source="{}", schema=schema)
        do(runs.link(run, datasets=[given]))
    records = dataclasses.replace(records_of(home), that_read=open_runs(tmp_path).that_read)
    found = impact(records, ImpactRequest(what="parcels"))
    assert {one.name: one.input for one in found.runs} == {
        "of parcels@3": "parcels@3 d1",
        "of rows_of_may": "rows_of_may d1",
    }
    assert found.training_sets == ("rows_of_may",)
    assert [(one.part, one.version, one.delta_version) for one in found.tables] == [("asked_at", 3, 1)]
    outcome = impact(records, ImpactRequest(what="parcels.late"))
    assert ([one.name for one in outcome.runs], outcome.tables) == (["of rows_of_may"], ())
    assert len(impact(records, ImpactRequest(what="parcels.heat")).runs) == 2
    desk.close()
    home.close()
