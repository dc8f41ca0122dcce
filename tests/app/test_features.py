"""`varv features` and `varv data impact` on a home, and what a model declares of how fresh features are."""

from __future__ import annotations

import json

import pytest
from tests.home.live_home import NOW, REQUEST
from tests.loop.synthetic import declared

import varv
from varv.app.cli import main
from varv.app.server.measures import of_skew
from varv.data import DatasetsView
from varv.features.skew import FeatureSkew
from varv.home.skew.health import HealthRequest, health
from varv.home.skew.model import SkewMeasured, stream_of
from varv.kernel.clock import HOUR, MINUTE, iso
from varv.kernel.codec import Digest
from varv.kernel.errors import InvalidDeclaration
from varv.kernel.ids import ModelName
from varv.kernel.sagas import Fact
from varv.monitoring.model import Window
from varv.project import project_of
from varv.project.declared import declared_fact
from varv.project.wording import settings_of

FEATURE = "recent.late_mean_24h"


@pytest.fixture(scope="module")
def home(lived, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    found = lived(folder)
    for number in range(4):
        found.clock.move_to(found.clock.now() + 10 * MINUTE)
        found.answering.answer(REQUEST, f"r-{number}")
    found.ingest()
    measured = FeatureSkew(name=FEATURE, n=4, different=1, other_entity=1, fresh=HOUR, in_time=3)
    event = SkewMeasured(
        model=ModelName("late-parcel"),
        window=Window(NOW, NOW + HOUR),
        n_requests=4,
        n_compared=4,
        features=(measured,),
    )
    found.home.engine.tell(facts=[Fact(stream_of("late-parcel"), event)])
    yield found
    found.close()


def told(capsys, home, *arguments):
    assert main([*arguments, "--home", str(home.home.folder)]) == 0
    return capsys.readouterr().out


def test_what_is_on_record_is_shown_with_shares_limits_and_what_it_looks_like(home, capsys):
    text = told(capsys, home, "features", "skew")
    assert "late-parcel: 4 requests compared" in text
    assert "75 %" in text
    assert "75 % within 1h" in text
    assert "1 right for another entity" in text
    found = json.loads(told(capsys, home, "features", "skew", "--json"))
    assert found["features"][0]["different"] == 1


def test_a_window_is_compared_anew_and_nothing_put_on_record(home, capsys):
    before = home.home.ledger.head().version
    window = ("--since", iso(NOW), "--until", iso(NOW + HOUR))
    found = json.loads(told(capsys, home, "features", "skew", *window, "--json"))
    assert (found["n_compared"], [one["name"] for one in found["features"]]) == (4, [FEATURE])
    assert found["features"][0]["different"] == 0
    assert home.home.ledger.head().version == before
    assert main(["features", "skew", "--since", iso(NOW), "--home", str(home.home.folder)]) == 1
    assert "give both" in capsys.readouterr().err


def test_how_each_feature_does_is_shown(home, capsys):
    assert "recent.late_mean_24h" in told(capsys, home, "features", "show")


def test_missing_values_and_the_age_of_a_source_are_told_feature_by_feature(home):
    from varv.home.records import Records
    from varv.home.skew.desk import FeatureDesk
    from varv.home.skew.measuring import Measuring
    from varv.home.tables import Tables

    own = home.home
    tables = Tables(own.folder, own.ledger, own.views, home.clock)
    records = Records(
        home=own.folder, ledger=own.ledger, views=own.views, clock=home.clock, state="", tables=tables
    )
    desk = FeatureDesk(records=records, measuring=Measuring(tables, tables.datasets, own.views))
    found = {one.name: one for one in health(desk, HealthRequest()).features}
    with own.views.reading(DatasetsView) as view:
        newest = view.catalogue("parcels", "arrived_at").span()[1]
    assert found[FEATURE].source == "parcels/arrived_at"
    assert found[FEATURE].newest == iso(newest)
    # Nothing became known in the day before the four requests.
    assert 0 < found[FEATURE].missing < 0.02
    assert found["load"].missing == 0
    assert found[FEATURE].skew is not None
    assert found["load"].skew is None


def test_skew_is_among_the_metrics(home):
    shares, compared, in_time = of_skew(home.home.views)
    assert {sample.labels["class"]: sample.value for sample in shares.samples}["different"] == 0.25
    assert [sample.value for sample in (*compared.samples, *in_time.samples)] == [4, 0.75]


def test_a_column_is_traced_from_the_command_line(home, capsys):
    text = told(capsys, home, "data", "impact", "parcels.late")
    assert "late-parcel v1  champion" in text
    assert (
        json.loads(told(capsys, home, "data", "impact", "parcels.late", "--json"))["known_at"] == "arrived_at"
    )
    assert "nothing on record reads it" in told(capsys, home, "data", "impact", "parcels.delay")


def test_how_fresh_a_view_is_declared_is_put_on_record_and_part_of_the_settings():
    model = declared().models[0]
    view = model.features[-1]
    over = varv.windows("late", "mean", over=["24h"])
    options = {"source": view.source, "entity": "route", "features": over}
    model.features = [*model.features[:-1], varv.FeatureView("recent", fresh="1h", **options)]
    [plan] = project_of("test", [model]).plans()
    assert settings_of(plan)["freshness"] == "recent 1h"
    assert declared_fact(plan, Digest("0" * 64)).event.fresh == {"recent": HOUR}
    with pytest.raises(InvalidDeclaration, match="fresh"):
        varv.FeatureView("recent", fresh="soon", **options)
