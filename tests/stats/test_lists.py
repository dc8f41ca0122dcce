"""Lists are judged as scikit-learn judges them, and as all orders of equal scores do together."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from varv.stats.lists import ndcg, reciprocal_ranks

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=6)


def orders(relevance, score):
    """Return the relevance by place, in every order that the scores allow."""
    found = [order for order in permutations(range(len(score))) if all(np.diff(score[list(order)]) <= 0)]
    return [relevance[list(order)] for order in found]


@given(rows, st.integers(1, 6))
def test_a_list_has_the_gain_that_scikit_learn_gives_it(given_rows, at):
    relevance, score = np.array(given_rows, dtype=float).T
    [value] = ndcg(relevance, score, np.zeros(len(score)), at=at).value
    if relevance.any():
        assert value == pytest.approx(ndcg_score([relevance], [score], k=at))
    else:
        assert np.isnan(value)


@given(rows)
def test_the_reciprocal_rank_is_the_mean_over_all_orders(given_rows):
    relevance, score = np.array(given_rows, dtype=float).T
    [value] = reciprocal_ranks(relevance, score, np.zeros(len(score))).value
    if relevance.any():
        ranks = [1 / (1 + np.flatnonzero(places > 0)[0]) for places in orders(relevance, score)]
        assert value == pytest.approx(np.mean(ranks))
    else:
        assert np.isnan(value)


@pytest.mark.parametrize("judge", [ndcg, reciprocal_ranks])
def test_lists_do_not_touch_each_other(judge):
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 40, 600)
    relevance, score = rng.integers(0, 3, 600).astype(float), rng.integers(0, 5, 600) / 5
    together = judge(relevance, score, groups)
    for number, name in enumerate(np.unique(groups)):
        own = groups == name
        [alone] = judge(relevance[own], score[own], groups[own]).value
        assert together.value[number] == pytest.approx(alone)
        assert np.all(together.code[own] == number)
        assert own[together.first[number]]


@pytest.mark.parametrize("judge", [ndcg, reciprocal_ranks])
def test_long_lists_of_equal_scores_are_finite(judge):
    relevance = np.zeros(20_000)
    relevance[:3] = 1
    [value] = judge(relevance, np.zeros(20_000), np.zeros(20_000)).value
    assert 0 < value < 1


@pytest.mark.parametrize("judge", [ndcg, reciprocal_ranks])
def test_no_rows_are_no_lists(judge):
    assert judge([], [], []).value.size == 0
