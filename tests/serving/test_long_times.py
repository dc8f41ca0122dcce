"""Years are read in little memory, and say what a window says."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from varv.kernel.clock import DAY
from varv.serving import long_times
from varv.serving.long_times import long_matured
from varv.serving.truths import hashes_of

from .test_predictions import DELAYS, Kept, at, outcomes, predictions, unmerged  # noqa: F401


@pytest.mark.parametrize("most_held", [1, 100])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DELAYS)
def test_it_is_what_is_seen_in_one_window(tmp_path_factory, monkeypatch, unmerged, most_held, rows):  # noqa: F811
    monkeypatch.setattr(long_times, "STRETCH", DAY)
    kept = Kept(tmp_path_factory.mktemp("columns"))
    telemetry = kept.predictions(most_held)
    keyed = [(f"k{number}", *row) for number, row in enumerate(sorted(rows))]
    for number, (key, asked, _, _) in enumerate(keyed):
        telemetry.predicted(f"s{number}", predictions((key, asked)))
        kept.count(f"s{number}", predictions((key, asked)))
    known = outcomes(*sorted(((k, t, a + d) for k, a, d, t in keyed), key=lambda one: one[2]))
    telemetry.known(known)
    kept.known = known
    since, until, by = at(DAY), at(4 * DAY), at(6 * DAY)
    expected = telemetry.matured(since, until, known_by=by, columns=("score",)).drop("known_at")
    found = long_matured(telemetry, since, until, known_by=by, columns=("score",))
    keys = telemetry.matured(since, until, known_by=by, columns=("key",))["key"]
    assert found["key"].to_list() == hashes_of(keys).tolist()
    assert found.select("score", "outcome").equals(expected.select("score", "outcome"))


def test_of_nothing_it_is_empty_with_every_column(tmp_path):
    found = long_matured(Kept(tmp_path).predictions(), at(0), at(0), known_by=at(0), columns=("score",))
    assert found.is_empty()
    assert found.schema["key"] == pl.UInt64
    assert found.columns == ["key", "requested_at", "score", "outcome"]
