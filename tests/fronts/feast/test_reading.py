"""Features in Feast's shape: columns, statuses, times and refusals, as its own clients read them."""

from __future__ import annotations

import json

import pytest
from tests.features.online.homes import VIEWS, OnlineHome, base, moment

from varv.fronts.access import Door
from varv.fronts.access.door import NOBODY, Caller
from varv.fronts.feast.reading import answer, read_request, refused, services_of
from varv.fronts.inference.online import OnlineFeatures
from varv.kernel.errors import InvalidInput, NotFound

EPOCH = "1970-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    home = OnlineHome(tmp_path_factory.mktemp("online"))
    rows = [(1, 5000, "ann", 1, 2.5, "red"), (2, 5010, "bob", 2, None, None), (3, 100, "eve", 3, 1.5, "red")]
    home.append("at", base(rows))
    for view in VIEWS:
        home.materialiser.materialise(view)
    return home.reader()


def asked(reader, **request):
    body = json.dumps(request).encode()
    services = services_of({"model": VIEWS[:1]})
    return json.loads(answer(reader, services, read_request(body), moment(5020)))


def test_each_name_has_a_column_entities_first(reader):
    found = asked(
        reader, entities={"who": ["ann", "bob", "eve", "nobody"]}, features=["last:size", "last:kind"]
    )
    assert found["metadata"] == {"feature_names": ["who", "size", "kind"]}
    whose, size, kind = found["results"]
    assert whose["values"] == ["ann", "bob", "eve", "nobody"]
    assert whose["statuses"] == ["PRESENT"] * 4
    assert size["values"] == [2.5, None, None, None]
    assert size["statuses"] == ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert size["event_timestamps"] == [
        "2013-01-04T11:20:00Z", "2013-01-04T11:30:00Z", "2013-01-01T01:40:00Z", EPOCH
    ]  # fmt: skip
    assert kind["values"] == [1, 2, None, None]


def test_a_model_is_a_feature_service(reader):
    found = asked(reader, entities={"who": ["ann"]}, feature_service="model", full_feature_names=True)
    assert found["metadata"]["feature_names"] == ["who", "last__size", "last__kind"]


def test_versions_are_told_on_request(reader):
    found = asked(
        reader,
        entities={"who": ["ann"]},
        features=["last:size"],
        include_feature_view_version_metadata=True,
    )
    assert found["metadata"]["feature_view_metadata"] == [{"name": "last", "version": 1}]


def test_entities_may_be_rows(reader):
    found = asked(
        reader, entities=[{"who": "ann", "kind": 1}, {"who": "bob", "kind": 2}], features=["colors:color"]
    )
    assert found["results"][2]["values"] == ["red", None]


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"entities": {"who": ["ann"]}, "features": ["gone:size"]}, NotFound),
        ({"entities": {"who": ["ann"]}, "features": ["last:gone"]}, NotFound),
        ({"entities": {"who": ["ann"]}, "feature_service": "gone"}, NotFound),
        ({"entities": {"who": ["ann"]}, "features": []}, InvalidInput),
        ({"entities": {"who": [1]}, "features": ["last:size"]}, InvalidInput),
        ({"entities": {"who": [None]}, "features": ["last:size"]}, InvalidInput),
        ({"entities": {"kind": [1]}, "features": ["last:size"]}, InvalidInput),
        ({"entities": {"who": ["ann"], "kind": [1, 2]}, "features": ["last:size"]}, InvalidInput),
        ({"entities": {"who": ["ann"]}, "features": ["last:size", "colors:size"]}, InvalidInput),
    ],
)
def test_what_cannot_be_answered_is_refused(reader, request_, kind):
    with pytest.raises(kind):
        asked(reader, **request_)


def test_an_error_is_a_text_of_json_that_clients_of_feast_raise(reader):
    with pytest.raises(NotFound) as caught:
        asked(reader, entities={"who": ["ann"]}, features=["gone:size"])
    body, status = refused(caught.value)
    said = json.loads(json.loads(body))
    assert (status, said["module"], said["class"]) == (404, "feast.errors", "FeatureViewNotFoundException")
    assert "gone" in said["message"]


@pytest.mark.parametrize(("models", "status"), [(None, 200), ({"mine"}, 200), ({"other"}, 403), (set(), 403)])
def test_a_client_of_some_models_reads_the_views_of_these(reader, models, status):
    features = OnlineFeatures(reader, {"mine": VIEWS[:1], "other": VIEWS[1:]}, Door())
    caller = Caller("shop", models=None if models is None else frozenset(models))
    body = json.dumps({"entities": {"who": ["ann"]}, "features": ["last:size"]}).encode()
    assert features.reply(caller, body).status == status


def test_nobody_reads_where_clients_are_declared(reader):
    door = Door()
    features = OnlineFeatures(reader, {"mine": VIEWS[:1]}, door)
    body = json.dumps({"entities": {"who": ["ann"]}, "features": ["last:size"]}).encode()
    assert features.reply(NOBODY, body).status == 401
    assert door.n_under_way == 0
