import math

import msgspec
import numpy as np
import polars as pl
import pytest

from varv import task
from varv.kernel.clock import Instant
from varv.kernel.codec import canonical, decode_event
from varv.kernel.errors import InvalidInput
from varv.monitoring.model import Window
from varv.monitoring.performance import measure_performance
from varv.monitoring.windows import cut

from .streams import START, day_instant, stream

DAY_ONE = Window(START, day_instant(1))


def measured(frame, window=DAY_ONE):
    part = cut(frame, window, known_by=Instant(window.end + window.end - window.start))
    return measure_performance(part, window, task=task.binary(), model="late", version=3)


def test_numbers_come_with_limits_around_them():
    found = measured(stream(2, n_days=1, rows=800))
    for name in ("log_loss", "excess_loss", "bias", "auc"):
        assert getattr(found, f"{name}_low") < getattr(found, name) < getattr(found, f"{name}_high")
    assert found.n == found.n_requests == 800
    assert 0.6 < found.auc < 0.8
    assert found.base_rate == pytest.approx(found.mean_score, abs=0.06)
    assert decode_event(found.event_name, 1, canonical(found)) == found


def test_an_error_from_rows_alone_is_how_much_calibrated_days_scatter():
    days = [measured(stream(seed, n_days=1, rows=300, storms=0.0)) for seed in range(80)]
    for name in ("excess_loss", "bias", "auc"):
        values = np.array([day.watched()[name] for day in days])
        assert values[:, 0].std() == pytest.approx(values[:, 1].mean(), rel=0.25)


def test_scores_are_counted_by_outcome():
    found = measured(stream(9, n_days=1, rows=400))
    assert sum(found.scored.positives) == round(400 * found.base_rate)
    assert sum(found.scored.positives) + sum(found.scored.negatives) == 400


def test_a_measurement_of_before_errors_were_kept_can_be_read_and_watched():
    kept = {
        "model": "late", "version": 3, "window": {"start": 0, "end": 86_400_000_000}, "n_requests": 9, "n": 9,
        "missing_share": 0.0, "excess_loss": 0.1, "auc": 0.7, "base_rate": 0.3, "mean_score": 0.2,
    }  # fmt: skip
    found = decode_event("monitoring.performance_measured", 1, canonical(kept))
    assert found.role == "champion"
    assert found.watched() == {
        "excess_loss": (0.1, 0.0), "auc": (0.7, 0.0), "bias": (pytest.approx(0.1), 0.0)
    }  # fmt: skip


def test_outcomes_that_never_came_are_a_share_and_not_an_error():
    found = measured(stream(3, n_days=1, rows=500, missing=0.3))
    assert found.n_requests == 500
    assert found.missing_share == pytest.approx(0.3, abs=0.06)
    assert found.n == round(500 * (1 - found.missing_share))


def test_a_request_without_an_answer_has_no_quality():
    frame = stream(4, n_days=1, rows=100).with_columns(
        score=pl.when(pl.int_range(pl.len()) >= 40).then(pl.col("score"))
    )
    assert measured(frame).n == 60


def test_what_cannot_be_computed_is_none_and_never_nan():
    empty = measured(stream(5, n_days=1).head(0))
    assert (empty.n, empty.missing_share, empty.log_loss, empty.auc) == (0, None, None, None)
    one_class = measured(stream(5, n_days=1).filter(pl.col("outcome") == 0).head(1))
    assert one_class.auc is None
    assert one_class.log_loss_low is None
    assert one_class.watched().keys() == {"excess_loss", "bias"}
    numbers = [value for value in msgspec.structs.astuple(one_class) if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)


@pytest.mark.parametrize("broken", [{"outcome": 2}, {"score": 1.5}, {"score": float("nan")}])
def test_outcomes_and_scores_out_of_range_are_refused(broken):
    frame = stream(6, n_days=1).with_columns(**{name: pl.lit(value) for name, value in broken.items()})
    with pytest.raises(InvalidInput, match="late"):
        measured(frame)
