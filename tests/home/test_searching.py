"""A search in order of time: what is chosen before a cut is judged after it."""

from __future__ import annotations

import numpy as np
import pytest

from varv.home.searching import Daily, searched
from varv.kernel.clock import DAY, Instant
from varv.kernel.errors import FailedPrecondition

N_DAYS = 120
N = np.full(N_DAYS, 100.0)


def run(name: str, mean: np.ndarray, *, trainings=(), seed=1) -> Daily:
    """A policy with a mean loss each day, and days on which it trains."""
    hard = np.random.default_rng(0).normal(0.5, 0.1, N_DAYS)
    noise = np.random.default_rng(seed).normal(0, 0.005, N_DAYS)
    trained = np.bincount(np.array(trainings, dtype=int), minlength=N_DAYS).astype(float)
    return Daily(name, f"text of {name}", 100 * (hard + mean + noise), trained, len(trainings), 1000)


def found(*runs: Daily, price=None):
    return searched(runs, N, since=Instant(0), price=price, seed=3)


def test_what_was_good_before_the_cut_and_bad_after_it_is_shown_to_be_so():
    flat = np.zeros(N_DAYS)
    turns = np.where(np.arange(N_DAYS) < 80, -0.02, 0.05)
    shown = found(run("declared", flat), run("turns", turns, seed=2))
    assert [one.chosen for one in shown.cuts] == ["turns"] * 3
    assert all(one.gain_before > 0.01 for one in shown.cuts)
    assert shown.cuts[-1].at == Instant(80 * DAY)
    assert shown.cuts[-1].high < 0
    assert not shown.is_shown
    assert shown.paste == "text of turns"


def test_what_is_better_throughout_is_chosen_at_every_cut_and_shown():
    flat = np.zeros(N_DAYS)
    worse, better = run("worse", flat + 0.03, seed=2), run("better", flat - 0.03, seed=4)
    shown = found(run("declared", flat), worse, better)
    assert [one.chosen for one in shown.cuts] == ["better"] * 3
    assert shown.is_shown
    assert [one.name for one in shown.tried] == ["declared", "worse", "better"]
    assert shown.tried[1].high < 0 < shown.tried[2].low
    assert shown.tried[0].gain == shown.tried[0].low == shown.tried[0].high == 0.0


def test_trainings_are_paid_where_a_price_is_declared():
    flat = np.zeros(N_DAYS)
    often = run("often", flat - 0.001, trainings=range(0, N_DAYS, 2), seed=2)
    assert found(run("declared", flat), often).tried[1].gain > 0
    paid = found(run("declared", flat), often, price=10.0)
    assert paid.chosen == "declared"
    assert paid.tried[1].gain == pytest.approx(0.001 - 0.05, abs=0.002)


def test_luck_alone_is_not_shown_to_be_better():
    flat = np.zeros(N_DAYS)
    shown = found(run("declared", flat), *(run(f"same-{k}", flat, seed=k) for k in range(2, 12)))
    assert not shown.is_shown
    assert all(one.gain_before >= 0 for one in shown.cuts)


def test_a_past_of_few_days_is_refused():
    with pytest.raises(FailedPrecondition, match="too few days"):
        searched([run("declared", np.zeros(N_DAYS))], N[:41], since=Instant(0), price=None, seed=1)
