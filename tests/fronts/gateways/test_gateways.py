"""Configurations of gateways: what they hold, what they may, and which requests they let through to whom."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import warnings
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Route
from tests.fronts.gateways import forms

from varv.fronts.access import Client
from varv.fronts.access.limits import rate_of
from varv.fronts.gateways import TARGETS, Traffic, Upstream, documents_in_yaml, upstream_of
from varv.fronts.gateways.istio import _percents
from varv.fronts.gateways.traffic import GRPC_SERVICES, ModelTraffic, bucket_of, require_alike
from varv.fronts.inference import Inference, create_inference
from varv.fronts.inference.rpc.messages import HEALTH_SERVICE, REFLECTION_SERVICES, SERVICE
from varv.kernel.errors import InvalidInput

GOLDEN = Path(__file__).with_name("golden")
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
PUBLISHED = os.environ.get("VARV_GATEWAY_SCHEMAS", "")
LATE, FRAUD = ModelTraffic("late-parcel", ((3, 0.95), (4, 0.05))), ModelTraffic("fraud_score")
SMALL = Traffic(models=(LATE,), upstreams=(Upstream("varv", 8480),))
LARGE = Traffic(
    models=(LATE, FRAUD),
    upstreams=(Upstream("blue", 8480, 80, True), Upstream("green.models", 8480, 20, True)),
    grpc_port=8481,
    hosts=("models.example.org",),
    clients=(
        Client(name="app", token="ab" * 32, rate=rate_of("1000/m")),
        Client(name="shop", token="cd" * 32, rate=rate_of("200/s")),
    ),
    timeout_s=5,
    namespace="serving",
    authority_file="/etc/varv/ca.pem",
    allowed_hosts=frozenset({"localhost"}),
)
EVERY = [(target, name) for target in TARGETS for name in ("small", "large")]


def written(target, name):
    """Return what is written of a traffic, as text."""
    return documents_in_yaml(*TARGETS[target]({"small": SMALL, "large": LARGE}[name]))


def documents(target, name):
    """Return it as whoever reads YAML reads it."""
    return list(yaml.safe_load_all(written(target, name)))


@pytest.mark.parametrize(("target", "name"), EVERY)
def test_what_is_written_is_what_was_written(target, name):
    """Set VARV_WRITE_GOLDEN to write anew what is compared here, and look at the difference."""
    place = GOLDEN / f"{target}-{name}.yaml"
    if os.environ.get("VARV_WRITE_GOLDEN"):
        place.write_text(written(target, name))
    assert written(target, name) == place.read_text()


@pytest.mark.parametrize(("target", "name"), EVERY)
def test_the_text_reads_as_the_documents(target, name):
    traffic = {"small": SMALL, "large": LARGE}[name]
    assert documents(target, name) == json.loads(json.dumps(TARGETS[target](traffic)[0]))


# What the gateways' own schemas say


def envoy_message(value, kind):
    """Return a message of Envoy's API; it refuses fields and values that the API does not have."""
    return kind.from_dict(_without_any(value))


def _without_any(value):
    """Look at each configuration that names its type, and leave it out of what holds it."""
    if isinstance(value, list):
        return [_without_any(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        if key == "typed_extension_protocol_options":
            for one in inner.values():
                _checked(one)
        elif isinstance(inner, dict) and "@type" in inner:
            _checked(inner)
        else:
            found[key] = _without_any(inner)
    return found


@functools.cache
def envoy_type(name):
    """Return a message of Envoy's API by its full name."""
    package, _, kind = name.rpartition(".")
    with warnings.catch_warnings():
        # Of the library that it is made with.
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(importlib.import_module(f"envoy_data_plane.{package}"), kind)


def _checked(value):
    kind = envoy_type(value["@type"].removeprefix("type.googleapis.com/"))
    envoy_message({key: inner for key, inner in value.items() if key != "@type"}, kind)


@pytest.mark.parametrize("name", ["small", "large"])
def test_envoys_api_has_all_that_is_written(name):
    [document] = documents("envoy", name)
    bootstrap = envoy_message(document, envoy_type(BOOTSTRAP))
    assert len(bootstrap.static_resources.clusters) == {"small": 1, "large": 4}[name]


@pytest.mark.parametrize("change", [{"bogus": 1}, {"lb_policy": "NONE_SUCH"}])
def test_envoys_api_refuses_what_it_has_not(change):
    [document] = documents("envoy", "small")
    document["static_resources"]["clusters"][0] |= change
    with pytest.raises((KeyError, ValueError)):
        envoy_message(document, envoy_type(BOOTSTRAP))


@pytest.mark.parametrize("name", ["small", "large"])
def test_kongs_form_is_kept(name):
    [document] = documents("kong", name)
    jsonschema.validate(document, forms.KONG)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("target", ["gateway-api", "istio"])
def test_the_forms_of_kubernetes_are_kept(target, name):
    schemas = forms.GATEWAY_API if target == "gateway-api" else forms.ISTIO
    found = documents(target, name)
    for one in found:
        jsonschema.validate(one, schemas[one["kind"]])
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len({*names}) == len(names)


@functools.cache
def published(file):
    return list(yaml.safe_load_all((Path(PUBLISHED) / file).read_text()))


@pytest.mark.skipif(not PUBLISHED, reason="VARV_GATEWAY_SCHEMAS names no folder")
@pytest.mark.parametrize(("target", "name"), [one for one in EVERY if one[0] != "envoy"])
def test_the_published_schemas_take_all_that_is_written(target, name):
    files = {"gateway-api": ["httproutes.yaml", "grpcroutes.yaml", "backendtlspolicies.yaml"]}
    for document in documents(target, name):
        if target == "kong":
            schema = published("kong.json")[0]
        else:
            definitions = [one for file in files.get(target, ["istio.yaml"]) for one in published(file)]
            schema = crd_schema(definitions, document)
        jsonschema.validate(document, schema)


def crd_schema(definitions, document):
    """Return what a custom resource's definition says of a document, where unknown fields are refused."""
    version = document["apiVersion"].rpartition("/")[2]
    [schema] = [
        of_version["schema"]["openAPIV3Schema"]
        for one in definitions
        if one and one["spec"]["names"]["kind"] == document["kind"]
        for of_version in one["spec"]["versions"]
        if of_version["name"] == version
    ]
    closed = _closed(schema)
    # What every document has is not said there.
    closed["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return closed


def _closed(schema):
    """Return a structural schema in which only what it names is allowed, as Kubernetes prunes the rest."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


# Which requests go where


def matches_of(target, name):
    """Return the routes of a configuration in order: a name, and whether it takes a path."""
    found = documents(target, name)
    if target == "envoy":
        [host] = found[0]["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
            "typed_config"
        ]["route_config"]["virtual_hosts"]
        return [(one["name"], _takes_in_envoy(one["match"])) for one in host["routes"]]
    if target == "kong":
        return [
            (route["name"].removeprefix("varv-model-").removeprefix("varv-"), _takes_in_kong(path))
            for service in found[0]["services"]
            for route in service["routes"]
            for path in route["paths"]
        ]
    if target == "istio":
        return [
            (rule["name"], _takes_uri(one["uri"]))
            for rule in found[0]["spec"]["http"]
            for one in rule["match"]
        ]
    return [
        (one["metadata"]["name"].removeprefix("varv-"), _takes_in_kubernetes(match["path"]))
        for one in found
        if one["kind"] == "HTTPRoute"
        for match in one["spec"]["rules"][0]["matches"]
    ]


def _within(path, prefix):
    return path == prefix or path.startswith(prefix + "/")


def _takes_in_envoy(match):
    if "path" in match:
        return lambda path: path == match["path"]
    return lambda path: _within(path, match["path_separated_prefix"])


def _takes_in_kong(pattern):
    assert pattern.startswith("~")
    return lambda path: re.match(pattern[1:], path) is not None


def _takes_uri(uri):
    if "exact" in uri:
        return lambda path: path == uri["exact"]
    return lambda path: path.startswith(uri["prefix"])


def _takes_in_kubernetes(match):
    if match["type"] == "Exact":
        return lambda path: path == match["value"]
    return lambda path: _within(path, match["value"])


def served_paths(model):
    """Return the paths of the application for one model, pages for people left out."""
    for route in create_inference(Inference()).routes:
        assert isinstance(route, Route)
        path = route.path.replace("{model}", model).replace("{version}", "3")
        if path != "/" and not path.startswith(("/docs", "/static")):
            yield path, model if "{model}" in route.path else "shared"


@pytest.mark.parametrize("target", TARGETS)
def test_all_that_is_served_goes_to_its_own_route(target):
    routes = matches_of(target, "large")
    for model in ("late-parcel", "fraud_score"):
        for path, owner in served_paths(model):
            names = {name.replace("_", "-") for name, takes in routes if takes(path)}
            assert names == {owner.replace("_", "-")}, path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/late-parcels",
        "/v1/models/late",
        "/api/v1/loop/rollback",
        "/metrics",
        "/",
        "/v2/repository",
    ],
)
def test_nothing_else_does(target, path):
    assert [name for name, takes in matches_of(target, "large") if takes(path)] == []


def test_every_service_over_grpc_is_let_through():
    assert {*GRPC_SERVICES} == {SERVICE, HEALTH_SERVICE, *REFLECTION_SERVICES}
    for target in TARGETS:
        assert all(one in written(target, "large").replace("\\", "") for one in GRPC_SERVICES)


def test_upstreams_have_their_shares():
    [virtual, *_] = documents("istio", "large")
    assert {one["weight"] for one in virtual["spec"]["http"][0]["route"]} == {80, 20}
    [kong] = documents("kong", "large")
    assert [one["weight"] for one in kong["upstreams"][0]["targets"]] == [80, 20]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=9).filter(any))
def test_percents_sum_to_a_hundred_and_stay_near(weights):
    upstreams = [Upstream(f"u{number}", 1, weight) for number, weight in enumerate(weights)]
    found = _percents(upstreams)
    assert sum(found) == 100
    for percent, weight in zip(found, weights, strict=True):
        assert abs(percent - 100 * weight / sum(weights)) < 1


def test_a_bound_for_a_token_is_never_below_its_rate():
    # Two homes, each with its own count; 1000 a minute may come at once, and 200 a second.
    assert bucket_of(LARGE) == (2000, 400)
    everybody = Client(name="any", token="ef" * 32)
    assert bucket_of(Traffic(models=(LATE,), upstreams=LARGE.upstreams, clients=(everybody,))) is None
    assert bucket_of(SMALL) is None


def test_notes_say_what_stays_with_varv_and_which_names_it_must_answer_to():
    for target, write in TARGETS.items():
        notes = "\n".join(write(LARGE)[1])
        assert f"varv export {target}" in notes
        assert "v3 95 %, v4 5 %" in notes
        assert "shop: 200/s rows" in notes
        assert "allowed_hosts to hold models.example.org" in notes


def test_clients_without_a_token_are_named_since_they_cannot_come_through():
    by_certificate = Client(name="inside", certificate="inside.internal")
    clients = (*LARGE.clients, by_certificate)
    traffic = msgspec.structs.replace(LARGE, clients=clients, asks_certificates=True)
    # What they may ask is no bound for who comes with a token.
    assert bucket_of(traffic) == bucket_of(LARGE)
    notes = TARGETS["kong"](traffic)[1]
    assert "  inside" in notes
    assert any("tls_client_authority" in line for line in notes)


@pytest.mark.parametrize(
    "text", ["", "blue", "ftp://blue:1", "blue:0", "blue:x", "blue:1=x", "blue:1=65536", "blue:1/x", "a@b:1"]
)
def test_an_upstream_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput, match="not understood"):
        upstream_of(text)


def test_upstreams_have_to_fit_together():
    blue, green = Upstream("blue", 1), Upstream("green", 1)
    require_alike([blue, green])
    for wrong in ([blue, Upstream("green", 1, 1, True)], [blue, blue], [Upstream("blue", 1, 0)]):
        with pytest.raises(InvalidInput, match="upstreams"):
            require_alike(wrong)


def test_an_address_is_no_service():
    with pytest.raises(InvalidInput, match=r"10\.0\.0\.5"):
        TARGETS["gateway-api"](Traffic(models=(LATE,), upstreams=(Upstream("10.0.0.5", 8480),)))


texts = st.text(max_size=8) | st.sampled_from(
    ["on", "No", "1e3", "0x1", "~", "null", "a: b", "- x", "# c", "1_0"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_whatever_is_written_is_read_again(document):
    text = documents_in_yaml([document, document])
    assert list(yaml.safe_load_all(text)) == [document, document]
