"""A registry of Feast is read as data, whatever it is written in."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.features.moving.recorded import DUMP, REGISTRY

from varv.features.moving.messages import decoded
from varv.features.moving.registry import items_of, registry_in_dump, registry_of
from varv.kernel.clock import HOUR
from varv.kernel.errors import InvalidInput

DATA = REGISTRY.read_bytes()


@pytest.fixture(scope="module")
def registry():
    return registry_of(items_of(DATA), "rides")


def test_a_file_and_a_dump_say_the_same_of_what_both_have(registry):
    dump = registry_in_dump(DUMP.read_bytes(), "rides")
    for kind in ("views", "on_demand", "services"):
        of_file = {one.name: one for one in getattr(registry, kind)}
        assert getattr(dump, kind)
        assert all(of_file[one.name] == one for one in getattr(dump, kind))


def test_views_have_entities_features_ttl_and_source(registry):
    views = {one.name: one for one in registry.views}
    assert list(views) == [
        "Driver_Fresh",
        "customer_profile",
        "customer_trips",
        "driver_hourly_stats",
        "trips",
        "weather",
    ]
    trips = views["trips"]
    assert (trips.join_keys, trips.ttl) == (("driver_id", "customer_id"), None)
    assert [one.kind for one in trips.features] == ["DOUBLE", "STRING", "FLOAT_LIST", "UNIX_TIMESTAMP"]
    assert (views["weather"].join_keys, views["weather"].ttl) == ((), 3 * HOUR)
    assert views["driver_hourly_stats"].source.created == "created"
    assert views["Driver_Fresh"].stream.kind == "PUSH_SOURCE"
    assert [one.window for one in views["customer_trips"].aggregations] == [3 * HOUR] * 2


def test_every_field_that_feast_writes_is_known(registry):
    assert registry.n_unknown == 0


def test_unknown_fields_are_counted_and_passed_over():
    # A field 100 of the registry, and a field 99 of a view's specification.
    later = DATA + bytes.fromhex("a20601ff")
    assert registry_of(items_of(later), "rides").n_unknown == 1
    unknown = Counter()
    assert decoded(bytes.fromhex("0a089a060561" + "62636465"), "view", unknown) == {"spec": {}}
    assert unknown == {"view spec 99": 1}


def test_other_projects_are_left_alone():
    found = registry_of(items_of(DATA), "another")
    assert (found.views, found.on_demand, found.services) == ((), (), ())


@given(st.integers(0, len(DATA) - 1), st.integers(0, 255))
def test_a_broken_registry_is_refused_or_read_and_nothing_else(place, byte):
    broken = DATA[:place] + bytes([byte]) + DATA[place + 1 :]
    for data in (broken, DATA[:place]):
        with suppress(InvalidInput):
            registry_of(items_of(data), "rides")


def test_a_registry_that_nests_without_end_is_refused():
    message = b""
    for _ in range(40):
        message = b"\xd2\x01" + _sized(message)  # the batch source of a source
    with pytest.raises(InvalidInput, match="nested"):
        decoded(message, "source", Counter())


@pytest.mark.parametrize("text", ["[]", "", '{"featureViews": 3}', '{"featureViews": [3]}'])
def test_what_is_no_dump_is_refused(text):
    with pytest.raises(InvalidInput, match="dump"):
        registry_in_dump(text.encode(), "rides")


def test_a_dump_may_follow_warnings():
    text = b"warning: deprecated\n" + json.dumps({"project": "rides"}).encode()
    assert registry_in_dump(text, "rides").views == ()


def _sized(message):
    size, found = len(message), bytearray()
    while size > 127:
        found.append(size & 127 | 128)
        size >>= 7
    return bytes([*found, size]) + message
