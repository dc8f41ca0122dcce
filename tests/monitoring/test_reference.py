import polars as pl
import pytest

from varv import task
from varv.kernel.errors import Corrupt, InvalidInput
from varv.monitoring.reference import MOST_CATEGORIES, Reference, reference

from .streams import stream

FEATURES = ["load", "temperature", "carrier"]


def of(frame, features=FEATURES):
    return reference(frame, task=task.binary(), model="late", version=1, features=features)


def test_a_reference_survives_its_bytes_and_is_named_by_them():
    found = of(stream(1, n_days=30))
    assert Reference.from_bytes(found.to_bytes()) == found
    assert found.digest == of(stream(1, n_days=30)).digest != of(stream(2, n_days=30)).digest
    with pytest.raises(Corrupt, match="reference"):
        Reference.from_bytes(b"{}")


def test_the_order_of_the_rows_does_not_matter():
    frame = stream(3, n_days=20)
    assert of(frame.sample(fraction=1.0, shuffle=True, seed=1)).digest == of(frame).digest


def test_rows_without_a_score_count_for_features_only():
    frame = stream(4, n_days=30)
    held_out = pl.int_range(pl.len()) >= 20 * 60
    found = of(frame.with_columns(score=pl.when(held_out).then(pl.col("score"))))
    assert found.n_days == 10
    assert found.performance.n == 600
    assert {one.profile.n_days for one in found.features} == {30}
    assert found.features == of(frame).features


def test_rare_categories_are_other_and_missing_values_are_counted():
    words = pl.Series([f"plane-{k % 80:02d}" if k % 5 else None for k in range(30 * 60)])
    found = of(stream(5, n_days=30).with_columns(carrier=words), ["carrier"]).features[0]
    assert len(found.categories) == MOST_CATEGORIES
    assert found.counts[-1] == 30 * 60 // 5
    assert found.counts[-2] > 0
    assert sum(found.counts) == 30 * 60


@pytest.mark.parametrize(
    ("frame", "features", "named"),
    [
        (stream(6, n_days=4), FEATURES, "scored days"),
        (stream(6, n_days=30).with_columns(score=pl.lit(None, dtype=pl.Float64)), FEATURES, "no scored rows"),
        (stream(6, n_days=30), ["altitude"], "altitude"),
        (stream(6, n_days=30), ["requested_at"], "neither a number nor a text"),
        (stream(6, n_days=30, rows=10), FEATURES, "too few"),
    ],
)
def test_rows_that_make_no_reference_are_refused(frame, features, named):
    with pytest.raises(InvalidInput, match=named):
        of(frame, features)
