"""A month is what its days were, put together; "AUC" is pooled, "AUC within days" is not."""

import msgspec
import pytest

from varv import task
from varv.kernel.clock import DAY, Instant
from varv.monitoring.model import Window
from varv.monitoring.performance import measure_performance
from varv.monitoring.summary import by_month, summarised
from varv.monitoring.windows import cut
from varv.stats.calibration import log_losses
from varv.stats.ranking import auc

from .streams import START, day_instant, stream


def measured(frame, first, last=None, version=1):
    window = Window(day_instant(first), day_instant((first if last is None else last) + 1))
    part = cut(frame, window, known_by=Instant(window.end + DAY))
    return measure_performance(part, window, task=task.binary(), model="late", version=version)


def value(summary, name):
    return summary.number(name).value


@pytest.fixture(scope="module")
def rows():
    return stream(1, n_days=40, rows=300, storms=0.8)


@pytest.fixture(scope="module")
def days(rows):
    return [measured(rows, day) for day in range(40)]


def test_a_summary_of_days_equals_their_rows_measured_together(rows, days):
    found = summarised(days)
    y, p = rows["outcome"].to_numpy(), rows["score"].to_numpy()
    assert value(found, "auc") == pytest.approx(auc(y, p), abs=0.001)
    assert value(found, "log_loss") == pytest.approx(log_losses(y, p).mean())
    assert value(found, "bias") == pytest.approx((y - p).mean())
    assert (found.n_days, found.n, found.n_requests) == (40, 12_000, 12_000)
    assert (found.since, found.until) == (START, day_instant(40))


def test_auc_within_days_is_the_mean_of_the_days(days):
    assert value(summarised(days), "auc_within_days") == pytest.approx(sum(day.auc for day in days) / 40)


def test_knowing_the_day_raises_the_pooled_auc_only():
    calm, bad = stream(2, n_days=1, rows=2000), stream(3, n_days=2, rows=2000, bias=3.0, bias_from=0)
    raised = bad["score"] + (1 - bad["score"]) * 0.7
    pair = [measured(calm, 0), measured(bad.with_columns(score=raised), 1)]
    found = summarised(pair)
    assert value(found, "auc") > value(found, "auc_within_days") + 0.03


def test_intervals_of_a_summary_are_as_wide_as_days_differ(days):
    found = summarised(days)
    loss, ranking = found.number("log_loss"), found.number("auc")
    assert loss.low < loss.value < loss.high
    assert ranking.low < ranking.value < ranking.high
    hourly = max(day.log_loss_high - day.log_loss_low for day in days) / 40**0.5
    assert loss.high - loss.low > hourly


def test_two_versions_on_one_day_are_one_day(rows):
    noon = msgspec.structs.replace(measured(rows, 3), version=2)
    assert summarised([measured(rows, 3), noon]).n_days == 1


def test_nothing_measured_is_no_summary(rows):
    assert summarised([]) is None
    assert summarised([measured(rows.head(0), 0)]) is None


def test_days_of_before_counts_were_kept_have_no_pooled_auc(days):
    old = [msgspec.structs.replace(day, measured={}, scored=None, bias=None, bias_error=None) for day in days]
    found = summarised(old)
    assert found.number("auc") is None
    assert value(found, "auc_within_days") == pytest.approx(value(summarised(days), "auc_within_days"))
    assert value(found, "bias") == pytest.approx(value(summarised(days), "bias"))


def test_months_are_calendar_months(days):
    assert [(month, one.n_days) for month, one in by_month(days)] == [("2013-01", 31), ("2013-02", 9)]
