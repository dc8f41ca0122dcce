"""Which requests are chosen, with which probability, and what that says of all of them."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import varv
from varv.kernel.clock import Instant
from varv.labels.choosing import Candidates, choose, points_of, uncertainty
from varv.labels.policy import LabellingPolicy
from varv.labels.rules import chances
from varv.labels.views import Item, Label
from varv.stats.recalibration import Recalibration
from varv.stats.sampling import inverse_probability_mean
from varv.tasks import task_of

POLICY = LabellingPolicy(budget=40)
NOON = Instant(0)
JFK, LGA = varv.slice("origin", "JFK"), varv.slice("origin", "LGA")


def population(n=500, seed=1, **more):
    rng = np.random.default_rng(seed)
    made = {
        "keys": [f"k{number}" for number in range(n)],
        "requested_at": np.arange(n),
        "unsure": rng.random(n),
        "features": pl.DataFrame(rng.normal(0, 1, (n, 3)), schema=["x", "y", "z"]),
        "parts": np.full(n, -1),
        "worst": [-1],
        "held_back": np.zeros(n, bool),
    }
    return Candidates(**(made | more))


def causes(chosen):
    return [one.cause for one in chosen]


def test_means_over_what_was_chosen_equal_the_truth_on_average():
    found = population(800)
    loss = found.unsure**2
    number = {key: row for row, key in enumerate(found.keys)}
    means, plain = [], []
    for window in range(300):
        chosen = choose(found, POLICY, f"w{window}")
        rows = [number[one.key] for one in chosen]
        means.append(inverse_probability_mean(loss[rows], [one.probability for one in chosen]).value)
        plain.append(loss[rows].mean())
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - loss.mean()) < 3 * error
    assert np.mean(plain) > loss.mean() + 0.2


def test_of_a_queue_half_done_the_labelled_stand_for_all():
    found = population(400)
    loss = found.unsure**2
    number = {key: row for row, key in enumerate(found.keys)}
    means = []
    for window in range(300):
        chosen = choose(found, POLICY, f"w{window}")
        items = [Item(one.key, NOON, one.cause, one.probability, 1, "") for one in chosen]
        for item in items[: len(items) // 2]:
            item.settled = Label("ana", 1, "1", NOON)
        p = {key: one for key, one in chances(items, []).items() if one}
        means.append(inverse_probability_mean(loss[[number[key] for key in p]], list(p.values())).value)
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - loss.mean()) < 3 * error + 0.005, "a ratio of so few has a bias of 1 / n"


@given(
    st.integers(0, 120),
    st.integers(1, 60),
    st.floats(0.1, 1.0),
    st.floats(0.0, 1.0),
    st.integers(0, 5),
)
def test_the_budget_holds_and_a_tenth_at_least_is_drawn(n, budget, random, diverse, n_held):
    policy = LabellingPolicy(budget=budget, random=random, diverse=diverse)
    held = np.zeros(n, bool)
    held[:n_held] = True
    chosen = choose(population(n, held_back=held), policy, "w")
    keys = [one.key for one in chosen]
    n_held = int(held.sum())
    assert len(keys) == len(set(keys)) == min(n, budget + n_held)
    drawn = [one for one in chosen if one.cause == "random"]
    assert len(drawn) >= min(0.1 * budget, n - n_held - len(chosen) + len(drawn)) - 1e-9
    rest = n - (len(chosen) - len(drawn))
    assert all(one.probability == pytest.approx(min(1, policy.n_random / rest)) for one in drawn)
    assert all(one.probability == 1 for one in chosen if one.cause != "random")


def test_the_worst_slice_is_dealt_to_first_and_each_gets_its_share():
    parts = np.repeat([0, 1, -1], [100, 100, 300])
    policy = msgspec.structs.replace(POLICY, slices=(JFK, LGA), diverse=0.0)
    chosen = choose(population(parts=parts, worst=[1, 0, -1]), policy, "w")
    unsure = [one.part for one in chosen if one.cause == "unsure"]
    counts = [unsure.count(part) for part in (LGA.label, JFK.label, "")]
    assert counts == [11, 11, 10]


def test_what_lies_alone_is_chosen_for_it_and_causes_alternate():
    rows = np.random.default_rng(2).normal(0, 1, (500, 3))
    rows[321] = 50.0
    features = pl.DataFrame(rows, schema=["x", "y", "z"])
    chosen = choose(population(features=features, unsure=-np.arange(500.0)), POLICY, "w")
    assert [one.cause for one in chosen if one.key == "k321"] == ["diverse"]
    assert set(causes(chosen)[:9]) == {"unsure", "diverse", "random"}


def test_the_same_window_gives_the_same_and_another_draws_anew():
    found = population()
    assert choose(found, POLICY, "w") == choose(found, POLICY, "w")
    drawn = [{one.key for one in choose(found, POLICY, w) if one.cause == "random"} for w in "ab"]
    assert drawn[0] != drawn[1]
    twice = msgspec.structs.replace(POLICY, double=1.0)
    assert {one.n_labels for one in choose(found, twice, "w")} == {2}


def test_unsure_goes_by_calibrated_probabilities():
    binary = task_of("binary")
    predicted = np.array([[0.5], [0.8], [0.95]])
    plain = uncertainty(binary, predicted, "entropy", None)
    shifted = Recalibration(1.0, np.array([np.log(4.0), 0.0]))
    calibrated = uncertainty(binary, predicted, "entropy", shifted)
    assert plain.argmax() == 0
    assert calibrated.argmax() == 1
    assert uncertainty(binary, predicted, "margin", shifted)[1] == pytest.approx(1.0)
    quantiles = varv.task.quantiles(levels=[0.1, 0.9])
    assert uncertainty(quantiles, np.array([[1.0, 4.0]]), "interval", None).tolist() == [3.0]
    assert uncertainty(varv.task.regression(), predicted, "entropy", None) is None


def test_features_of_any_kind_become_points_on_one_scale():
    frame = pl.DataFrame(
        {
            "far": [1e9, 3e9, None],
            "same": [1, 1, 1],
            "origin": ["JFK", None, "JFK"],
            "ok": [True, False, True],
        }
    )
    points = points_of(frame)
    assert points.shape == (3, 3)
    assert np.isfinite(points).all()
    assert np.abs(points).max() < 3
    assert points_of(frame.select("same")).shape == (3, 1)
