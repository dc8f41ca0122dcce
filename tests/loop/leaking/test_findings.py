"""What was filled in later leaves traces that are found, and honest features are left in peace."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from varv.kernel.clock import DAY
from varv.loop.leaking.findings import changed_rows, examine, worse_live
from varv.tasks import task_of
from varv.training.gates import Judgement

START = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
DAYS, PER_DAY = 35, 200
FEATURES = ("strong", "weak", "route")
BINARY = task_of("binary")


def past(seed: int = 0, *, base: float = -1.0, day_sd: float = 0.7) -> pl.DataFrame:
    """Return labelled requests whose chance depends on two numbers, a route, and the luck of the day."""
    rng = np.random.default_rng(seed)
    n = DAYS * PER_DAY
    day = np.repeat(np.arange(DAYS), PER_DAY)
    seconds = day * 86_400 + np.sort(rng.integers(0, 86_400, n).reshape(DAYS, -1), axis=1).ravel()
    strong, weak, route = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 4, n)
    luck = rng.normal(0, day_sd, DAYS)[day] + rng.normal(0, 0.3, (DAYS, 4))[day, route]
    p = 1 / (1 + np.exp(-(base + 1.2 * strong + 0.3 * weak + luck)))
    frame = pl.DataFrame(
        {
            "requested_at": [START + dt.timedelta(seconds=int(one)) for one in seconds],
            "day": day,
            "strong": strong,
            "weak": weak,
            "route": np.array(["a", "b", "c", "d"])[route],
            "outcome": (rng.random(n) < p).astype(np.int8),
        }
    )
    return frame.with_columns(pl.col("requested_at").cast(pl.Datetime("us", "UTC")))


def found(frame: pl.DataFrame, *features: str) -> dict[str, str]:
    """Return what is said of each feature when the last week is held out."""
    held = frame["day"] >= DAYS - 7
    names = (*FEATURES, *features)
    return {one.subject: one.kind for one in examine(frame.filter(~held), frame.filter(held), names, BINARY)}


OUTCOME = pl.col("outcome").cast(pl.Float64)


@pytest.mark.parametrize("base", [-4.0, -1.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_honest_features_are_left_in_peace(seed, base):
    frame = past(seed, base=base)
    before = (
        frame.group_by("day", "route")
        .agg(yesterday=OUTCOME.mean(), count_before=OUTCOME.sum())
        .with_columns(day=pl.col("day") + 1)
    )
    frame = frame.join(before, on=["day", "route"], how="left", maintain_order="left").with_columns(
        weekday=(pl.col("day") % 7).cast(pl.Int8),
        scarce=pl.when(pl.col("weak") > 0.5).then(pl.col("weak")),
    )
    assert found(frame, "yesterday", "count_before", "weekday", "scarce") == {}


def test_a_column_that_is_filled_in_with_the_outcome_predicts_too_well_alone():
    rng = np.random.default_rng(1)
    frame = past().with_columns(delay=pl.col("outcome") * 30 + pl.Series(rng.normal(0, 8, DAYS * PER_DAY)))
    assert found(frame, "delay") == {"delay": "predicts alone"}


def test_a_feature_far_better_than_all_others_is_named_with_its_interval():
    rng = np.random.default_rng(1)
    frame = past().with_columns(hint=pl.col("outcome") * 2 + pl.Series(rng.normal(0, 1.2, DAYS * PER_DAY)))
    held = frame["day"] >= DAYS - 7
    [one] = examine(frame.filter(~held), frame.filter(held), ("weak", "route", "hint"), BINARY)
    assert (one.subject, one.kind) == ("hint", "predicts alone")
    assert 0.85 < one.evidence["low"] < one.evidence["auc"] < one.evidence["high"] < 0.9
    assert f"{one.evidence['next_best']:.3f}" in one.text


@pytest.mark.parametrize("base", [-3.0, -1.0])
@pytest.mark.parametrize("over", [["day"], ["day", "route"]])
def test_a_mean_over_the_whole_day_holds_its_own_outcomes(over, base):
    frame = past(base=base).with_columns(same_day=OUTCOME.mean().over(over))
    assert found(frame, "same_day") == {"same_day": "holds its own outcomes"}


def test_nulls_that_follow_the_outcome_are_told_with_both_shares():
    rng = np.random.default_rng(1)
    seldom = pl.Series(rng.random(DAYS * PER_DAY) < 0.1)
    given = pl.when((pl.col("outcome") == 1) | seldom).then(pl.lit(7.0))
    frame = past().with_columns(claim=given)
    held = frame["day"] >= DAYS - 7
    findings = examine(frame.filter(~held), frame.filter(held), (*FEATURES, "claim"), BINARY)
    [one] = [one for one in findings if one.kind == "nulls follow the outcome"]
    assert one.evidence["null_share_of_ones"] == 0.0
    assert one.evidence["null_share_of_zeros"] == pytest.approx(0.9, abs=0.02)


def test_rows_that_read_otherwise_now_are_counted_by_column():
    before = pl.DataFrame({"key": ["a", "b", "c"], "x": [1.0, 2.0, None], "y": ["p", "q", "r"]})
    after = pl.DataFrame({"key": ["c", "b", "a", "d"], "x": [3.0, 2.0, 1.0, 9.0], "y": ["r", "q", "p", "s"]})
    [one] = changed_rows("parcels", ["key"], before, after)
    assert (one.subject, one.kind) == ("parcels.x", "past rows changed")
    assert (one.evidence["n_changed"], one.evidence["n_rows"]) == (1.0, 3.0)
    assert changed_rows("parcels", ["key"], before, after, keyed=["x"]) == []
    assert changed_rows("parcels", ["key"], before, before) == []
    assert changed_rows("parcels", ["key"], before, after.filter(pl.col("key") == "d")) == []


def live_week(*, sharper: float) -> tuple[Judgement, pl.DataFrame]:
    """Return held-out rows of a good score, and a week in which the score knows as much as `sharper` says."""
    frame = past(day_sd=0.2)
    logit = -1.0 + 1.2 * frame["strong"].to_numpy() + 0.3 * frame["weak"].to_numpy()
    held, live = frame["day"].to_numpy() < 7, frame["day"].to_numpy() >= DAYS - 7
    score = 1 / (1 + np.exp(-logit))
    held_out = Judgement(
        task=BINARY,
        outcome=frame["outcome"].to_numpy()[held],
        candidate=score[held][:, None],
        at=frame["day"].to_numpy()[held] * DAY,
    )
    noisy = 1 / (1 + np.exp(-np.random.default_rng(2).permutation(logit)))
    shown = sharper * score + (1 - sharper) * noisy
    return held_out, frame.with_columns(champion_score=pl.Series(shown)).filter(pl.Series(live))


def test_a_first_week_that_is_worse_than_promised_is_noticed_with_its_interval():
    held_out, live = live_week(sharper=0.0)
    one = worse_live(held_out, live, 1)
    assert one is not None
    assert 0 < one.evidence["low"] < one.evidence["difference"] < one.evidence["high"]
    assert one.evidence["auc_live"] < 0.6 < one.evidence["auc_held_out"]


def test_a_first_week_as_good_as_promised_is_no_news():
    held_out, live = live_week(sharper=1.0)
    assert worse_live(held_out, live, 1) is None
    assert worse_live(held_out, live.clear(), 1) is None
