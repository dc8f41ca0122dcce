"""Two versions compared by the verb, with and without their profiles."""

from __future__ import annotations

import contextlib

import pytest
from tests.data.versioning.stores import Store, base, done

from varv.data.difference_verbs import DiffRequest, diff
from varv.data.profiling.keeping import kept_versions
from varv.data.versioning.verbs import VersionsDesk
from varv.kernel.errors import InvalidInput


@pytest.fixture
def desk(tmp_path):
    store = Store(tmp_path)
    for number, size in enumerate((1, 50)):
        rows = ((f"t{number}-{n}", 1 + n % 28, size + n % 7) for n in range(300))
        store.append("at", base(*rows), f"s{number}")
    store.append("done_at", done(("t0-1", 3, True)), "d0")
    return VersionsDesk(
        tmp_path,
        store.datasets,
        store.views,
        store.ledger,
        store.versions,
        lambda _, act: act(),
        contextlib.nullcontext(),
        flows=False,
    )


def test_profiles_are_compared_where_they_are_asked_for_and_else_not_made(desk, tmp_path):
    plain = diff(desk, DiffRequest(before="trips@1", after="trips@2"))
    assert [one.profile for one in plain.parts] == [None, None]
    assert kept_versions(tmp_path, "trips", "at") == []
    found = diff(desk, DiffRequest(before="trips@1", after="trips@2", profile=True)).parts[0].profile
    assert (found.n_before, found.n_after, found.only_after) == (300, 600, ())
    [size] = [one for one in found.columns if one.name == "size"]
    assert (size.drifted, size.mean.before < 5, size.mean.after > 20) == (True, True, True)
    assert kept_versions(tmp_path, "trips", "at") == [1, 2]


def test_profiles_compared_backwards_are_the_other_way_round(desk):
    found = diff(desk, DiffRequest(before="trips@3", after="trips@1", profile=True))
    assert [(one.profile.n_before, one.profile.n_after) for one in found.parts] == [(600, 300), (1, 0)]


def test_versions_of_two_datasets_are_not_compared(desk):
    with pytest.raises(InvalidInput, match="another dataset"):
        diff(desk, DiffRequest(before="trips@1", after="parcels@1"))
