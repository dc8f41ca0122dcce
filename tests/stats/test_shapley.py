"""What features contribute adds up, is fair, and is as sure as it says."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varv.stats.shapley import MOST_COUNTED_OUT, shapley_values


def rng():
    return np.random.default_rng(5)


def table_game(d, seed):
    """Return a game whose coalitions are worth anything, and a table of it."""
    worth = np.random.default_rng(seed).normal(size=(1 << d, 2))

    def game(inside):
        return worth[inside @ (1 << np.arange(d))]

    return game, worth


def by_definition(worth, d):
    found = np.zeros((d, worth.shape[1]))
    orders = list(permutations(range(d)))
    for order in orders:
        coalition = 0
        for feature in order:
            found[feature] += worth[coalition | 1 << feature] - worth[coalition]
            coalition |= 1 << feature
    return found / len(orders)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(0, 999))
def test_few_features_are_counted_out(d, seed):
    game, worth = table_game(d, seed)
    found = shapley_values(game, d, rng())
    assert found.is_exact
    np.testing.assert_allclose(found.values, by_definition(worth, d), atol=1e-12)
    np.testing.assert_allclose(found.base + found.values.sum(axis=0), worth[-1])


@settings(max_examples=25, deadline=None)
@given(st.integers(MOST_COUNTED_OUT + 1, 30), st.integers(0, 999))
def test_what_is_sampled_adds_up_exactly(d, seed):
    made = np.random.default_rng(seed)
    one, two = made.normal(size=d), made.normal(size=(d, d))

    def game(inside):
        given = inside.astype(float)
        return np.column_stack([given @ one, np.einsum("ni,ij,nj->n", given, two, given)])

    found = shapley_values(game, d, rng(), n_pairs=3)
    assert not found.is_exact
    np.testing.assert_allclose(found.base + found.values.sum(axis=0), game(np.ones((1, d), bool))[0])
    # What only adds up is known without error; so are pairs, by the reverse of each order.
    np.testing.assert_allclose(found.values[:, 0], one)
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)
    np.testing.assert_allclose(
        found.values[:, 1], np.diag(two) + (two + two.T - 2 * np.diag(np.diag(two))).sum(1) / 2
    )


def test_an_error_is_as_large_as_it_says():
    d = MOST_COUNTED_OUT + 1
    game, worth = table_game(d, 3)
    exact = np.zeros((d, 2))
    exact += shapley_values(game, d, rng(), n_pairs=4000).values
    off = []
    for seed in range(60):
        found = shapley_values(game, d, np.random.default_rng(seed), n_pairs=16)
        off.append((found.values - exact) / found.errors)
    # Student's t of 15 degrees of freedom is beyond 2.13 one time in twenty.
    share = float((np.abs(off) > 2.13).mean())
    assert 0.02 < share < 0.09
    assert worth.shape == (1 << d, 2)


def test_a_game_without_players_is_refused():
    with pytest.raises(ValueError, match="a feature"):
        shapley_values(lambda inside: inside, 0, rng())
