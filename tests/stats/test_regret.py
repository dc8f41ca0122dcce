from itertools import combinations

import numpy as np
import pytest

from varv.stats.regret import (
    LossMatrix,
    best_schedule,
    by_benefit,
    by_volume,
    calendars,
    cumulative_staleness,
    loss_of,
    luck,
    paid,
    require_matrix,
    scheduled,
)


def drawn(seed, *, n_versions=7, step=3, delay=0, n_days=None):
    rng = np.random.default_rng(seed)
    starts = np.arange(n_versions) * step
    n_days = n_days or n_versions * step
    n = rng.integers(20, 40, n_days).astype(float)
    losses = rng.uniform(0.3, 0.7, (n_versions, n_days)) * n
    losses[np.arange(n_days) < starts[:, None]] = np.nan
    return LossMatrix(losses, n, starts, 1000.0 + 50 * starts, delay=delay, lag=1)


def by_hand(matrix, schedule):
    """The loss of a schedule, a day at a time."""
    total = 0.0
    for day in range(matrix.n.size):
        serving = 0
        for version in schedule[1:]:
            if matrix.starts[version] + matrix.delay <= day:
                serving = version
        total += matrix.losses[serving, day]
    return total


def allowed(matrix):
    """Every schedule that has one candidate under way at a time."""
    rest = range(1, matrix.starts.size)
    for n in range(matrix.starts.size):
        for chosen in combinations(rest, n):
            gaps = np.diff(matrix.starts[list(chosen)])
            if np.all(gaps >= matrix.delay):
                yield (0, *chosen)


@pytest.mark.parametrize("delay", [0, 2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_schedule_is_the_best_of_all_there_are(seed, delay):
    matrix = drawn(seed, delay=delay)
    require_matrix(matrix)
    for price in (0.0, 3.0, 12.0, 500.0):
        costs = {one: by_hand(matrix, one) + price * (len(one) - 1) for one in allowed(matrix)}
        found = best_schedule(matrix, price)
        assert found in costs
        assert costs[found] == pytest.approx(min(costs.values()))
        assert paid(matrix, found, price) == pytest.approx(costs[found])


def test_a_higher_price_never_asks_for_more_trainings():
    for seed in range(20):
        matrix = drawn(seed, n_versions=12, delay=seed % 4)
        n_trained = [len(best_schedule(matrix, price)) for price in (0, 1, 3, 10, 30, 100)]
        assert n_trained == sorted(n_trained, reverse=True)


def test_a_calendar_begins_on_each_of_its_starts_and_waits_for_a_candidate_under_way():
    assert calendars(drawn(1), 1) == [(0, 1, 2, 3, 4, 5, 6)]
    assert calendars(drawn(1), 3) == [(0, 1, 4), (0, 2, 5), (0, 3, 6)]
    # Six days under way with a start every three: the next but one is the next that is free.
    assert calendars(drawn(1, delay=6), 1) == [(0, 1, 3, 5)]


def test_volume_counts_from_the_last_training():
    matrix = drawn(1)._replace(n_known=np.array([100.0, 110, 124, 126, 150, 160, 190]))
    assert by_volume(matrix, 0.25) == (0, 3, 5)


def test_cara_trains_once_staleness_has_summed_up():
    n_versions, n = 10, 100.0
    ages = np.maximum(np.arange(n_versions) - np.arange(n_versions)[:, None], 0)
    matrix = LossMatrix(
        n * (0.5 + 0.01 * ages), np.full(n_versions, n), np.arange(n_versions), np.ones(n_versions), lag=0
    )
    # Staleness of the first weeks: 0, 1, 2, 3; more than 2.5 once the third stale week is over.
    assert cumulative_staleness(matrix, 2.5)[:2] == (0, 3)
    assert cumulative_staleness(matrix, 1e9) == (0,)


@pytest.mark.parametrize(
    "policy",
    [
        lambda matrix: by_volume(matrix, 0.25),
        lambda matrix: cumulative_staleness(matrix, 2.0),
        lambda matrix: by_benefit(matrix, 2.0, certainty=0.8, rng=np.random.default_rng(1)),
    ],
)
def test_no_policy_looks_at_what_is_later(policy):
    matrix = drawn(3, n_versions=12)
    cut = 7
    later = matrix.losses.copy()
    later[:, matrix.starts[cut] :] *= 3.0
    changed = matrix._replace(losses=later, n_known=np.where(np.arange(12) > cut, 1e6, matrix.n_known))
    assert [one for one in policy(matrix) if one <= cut] == [one for one in policy(changed) if one <= cut]


def test_hindsight_is_lucky_where_versions_differ_by_chance_alone():
    rng = np.random.default_rng(4)
    chance = [drawn(1)._replace(losses=rng.normal(30, 3, (7, 21))) for _ in range(2)]
    assert luck(*chance, price=0.0) > 0
    assert luck(chance[0], chance[0], price=0.0) == 0.0


def test_shapes_and_times_are_checked():
    matrix = drawn(1)
    with pytest.raises(ValueError, match="in order"):
        require_matrix(matrix._replace(starts=matrix.starts[::-1]))
    with pytest.raises(ValueError, match="a start and n_known a row"):
        require_matrix(matrix._replace(n=matrix.n[1:]))
    with pytest.raises(ValueError, match="finite"):
        require_matrix(matrix._replace(losses=np.full_like(matrix.losses, np.nan)))


def test_a_schedule_costs_what_its_versions_cost_while_they_serve():
    matrix = drawn(2, delay=4)
    for schedule in ((0,), (0, 2), (0, 1, 3, 6)):
        assert loss_of(matrix, schedule) == pytest.approx(by_hand(matrix, schedule))
    assert scheduled(matrix, lambda *_: False) == (0,)
