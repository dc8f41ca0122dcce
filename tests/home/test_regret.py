"""Regret from the losses of a version a week: what is shown at each price, and what a user may sign."""

from __future__ import annotations

import numpy as np
import pytest

from varv.home.losses import WeeklyLosses
from varv.home.regret import BEST, Judged, Lived, price_text, regret
from varv.home.wording import regret_notes
from varv.kernel.clock import Instant
from varv.loop.weighing.model import Price
from varv.stats.regret import LossMatrix, best_schedule, loss_of


def losses(*, n_weeks=20, delay=0, seed=1) -> WeeklyLosses:
    """Versions that fall behind a fresh one by age, on two halves of 100 requests a day."""
    rng = np.random.default_rng(seed)
    days = np.arange(n_weeks * 7)
    starts = np.arange(n_weeks) * 7
    age = np.maximum(days - starts[:, None], 0) / 7
    hard = rng.normal(0.5, 0.05, days.size)

    def half() -> LossMatrix:
        noise = rng.normal(0, 0.002, (n_weeks, days.size))
        n_known = 1000.0 + 700 * np.arange(n_weeks)
        return LossMatrix(50 * (hard + 0.004 * age + noise), np.full(days.size, 50.0), starts, n_known, delay)

    return WeeklyLosses(Instant(0), half(), half())


def asked(price: Price | None) -> Judged:
    return Judged(price, 0.8, "as told", 1)


def test_hindsight_has_no_regret_and_no_policy_on_its_matrix_less():
    found = regret(losses(delay=3), [], asked(Price(10.0)))
    assert found.prices == (3.333, 10.0, 30.0)
    by_name = {one.name: one for one in found.policies}
    assert [one.regret for one in by_name[BEST].at] == [0.0, 0.0, 0.0]
    assert all(each.regret >= 0 for one in found.policies for each in one.at)
    assert list(by_name) == [
        *(BEST, "never", "every week", "every 2 weeks", "every 4 weeks", "every 8 weeks"),
        *("volume +25%", "volume +50%", "CARA cumulative", "benefit"),
    ]
    n_best = [one.n_trainings for one in by_name[BEST].at]
    assert n_best == sorted(n_best, reverse=True)
    assert by_name["never"].at[0].n_trainings == 0
    assert all(one >= 0 for one in found.luck)
    assert found.n == 14_000


def test_a_lived_policy_pays_for_each_training_and_is_held_against_the_same_best():
    both, price = losses(), 10.0
    matrix = both.both
    best = best_schedule(matrix, price)
    least = loss_of(matrix, best) + price * (len(best) - 1)
    lived = Lived("declared", least + 28.0, 4)
    [shown] = [one for one in regret(both, [lived], asked(Price(price))).policies if one.lived]
    assert shown.at[1].regret == pytest.approx((28.0 + 40.0) / 14_000 * 1000, abs=1e-3)
    assert shown.at[1].n_trainings == 4


def test_a_budget_is_the_price_at_which_hindsight_trains_no_more_often():
    both = losses()
    found = regret(both, [], asked(Price(a_year=13.0)))
    [best] = [one for one in found.policies if one.name == BEST]
    assert best.at[1].n_trainings <= 5 < best.at[0].n_trainings
    assert "13 trainings a year" in found.price_said
    unsaid = regret(both, [], asked(None))
    assert "no price is declared" in unsaid.price_said
    assert any("no price is declared" in note for note in regret_notes(unsaid))


def test_the_frontier_goes_from_many_trainings_to_none_and_is_to_be_signed():
    found = regret(losses(), [], asked(Price(10.0))).frontier
    prices = [row.price for row in found]
    assert prices == sorted(prices)
    assert all(float(price_text(price)) == price for price in prices)
    n_best = [row.n_best for row in found]
    assert n_best == sorted(n_best, reverse=True)
    assert n_best[0] >= 15
    assert n_best[-1] == 0
    lost = [row.loss_best for row in found]
    assert lost == sorted(lost)
