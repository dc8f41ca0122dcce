"""Rows that are replaced while a home is live: features and outcomes are as if they had been right."""

from __future__ import annotations

import polars as pl
import pytest
from tests.home.live_home import NOW, REQUEST, LiveHome

from varv.data.intake import Batch
from varv.features import FeatureEngine, FeatureStore
from varv.kernel.clock import DAY, HOUR, as_datetime
from varv.kernel.errors import InvalidInput


def corrected(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the same rows with other routes, and outcomes the other way round, of the last day."""
    recent = pl.col("asked_at") > as_datetime(NOW - 4 * DAY)
    route = pl.when(recent).then(pl.lit("west")).otherwise("route")
    base = rows.with_columns(route=route)
    told = rows.filter(recent & pl.col("late").is_not_null()).with_columns(late=~pl.col("late"))
    return base, told


def features(engine: FeatureEngine) -> pl.DataFrame:
    """Return the features of requests of every route now."""
    asked = {"load": [0.5] * 3, "heat": [0.1] * 3, "route": ["north", "south", "west"]}
    requests = pl.DataFrame(asked).with_columns(
        pl.lit(as_datetime(NOW + HOUR)).cast(pl.Datetime("us", "UTC")).alias("asked_at")
    )
    return engine.lookup(requests, "asked_at")


@pytest.mark.slow
def test_features_and_outcomes_are_as_if_rows_had_always_been_right(lived, tmp_path):
    home = lived(tmp_path)
    for number in range(6):
        home.answering.answer(REQUEST, f"r-{number}")
        home.accept_outcomes([{"parcel": f"r-{number}", "late": True}])
    home.ingest()
    data, datasets = home.parts.schema.requests, home.home.datasets
    before, rows = features(home.parts.features), datasets.read(data)
    version = datasets.version(data)
    base, told = corrected(rows)
    requests, outcomes = data.part(base, "asked_at"), data.part(told, "arrived_at")

    done = home.live.rewrite(data.name, lambda: datasets.merge(data, "asked_at", requests))
    assert done.n_changed > 10
    done = home.live.rewrite(data.name, lambda: datasets.merge(data, "arrived_at", outcomes))
    assert done.n_changed == told.height >= 6
    found = features(home.parts.features)
    assert not found.equals(before)

    from_the_start = FeatureStore()
    engine = FeatureEngine(home.parts.schema.features, data, from_the_start)
    right = base.update(told.select("parcel", "late"), on="parcel")
    for part in data.parts:
        from_the_start.rows_known(Batch(data, part, data.part(right, part)))
    assert found.equals(features(engine))
    matured = home.home.models[home.parts.name].predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert matured["outcome"].to_list() == [False] * 6
    assert datasets.read(data, version=version).equals(rows)
    home.close()

    again = LiveHome(tmp_path, capture="two")
    assert features(again.parts.features).equals(found)
    held = again.parts.predictions.matured(NOW, NOW + 1, known_by=NOW + DAY)
    assert held.equals(matured)
    # What comes next is observed beside what was replaced.
    again.answering.answer(REQUEST, "r-9")
    again.accept_outcomes([{"parcel": "r-9", "late": True}])
    assert again.ingest() == 1
    again.close()


@pytest.mark.slow
def test_a_rewrite_that_is_refused_leaves_a_live_home_as_it_was(lived, tmp_path):
    home = lived(tmp_path)
    data, datasets = home.parts.schema.requests, home.home.datasets
    before, version = features(home.parts.features), datasets.version(data)
    twice = datasets.read_part(data, "asked_at").head(2).with_columns(parcel=pl.lit("p"))
    with pytest.raises(InvalidInput, match="state a key twice"):
        home.live.rewrite(data.name, lambda: datasets.merge(data, "asked_at", twice))
    assert datasets.version(data) == version
    assert features(home.parts.features).equals(before)
    home.answering.answer(REQUEST, "r-1")
    assert home.ingest() == 1
    home.close()
