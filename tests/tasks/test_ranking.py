"""The ranking task: the loss of a list, carried by each of its rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from varv import task
from varv.kernel.errors import InvalidDeclaration

SEARCH = task.ranking(group="query", at=2)
LOSS = SEARCH.losses["ndcg_loss"]
RELEVANCE = np.array([1.0, 0, 0, 1, 0, 0])
GROUPS = np.array(["a", "a", "a", "b", "b", "b"], dtype=object)


def scores(*values):
    return np.array(values)[:, None]


def test_every_row_carries_the_loss_of_its_list():
    found = LOSS.of(RELEVANCE, scores(0.9, 0.5, 0.1, 0.5, 0.9, 0.1), GROUPS)
    assert found == pytest.approx([0, 0, 0, *[1 - 1 / np.log2(3)] * 3])


def test_a_missing_score_spoils_its_list_and_no_other():
    found = LOSS.of(RELEVANCE, scores(0.9, np.nan, 0.1, 0.9, 0.5, 0.1), GROUPS)
    assert found.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_list_without_a_relevant_row_loses_nothing_and_is_in_no_metric():
    relevance = np.array([1.0, 0, 0, 0, 0, 0])
    given = scores(0.9, 0.5, 0.1, 0.5, 0.9, 0.1)
    assert LOSS.of(relevance, given, GROUPS).tolist() == [0.0] * 6
    assert SEARCH.metrics["ndcg"].estimate(relevance, given, np.arange(6), GROUPS).n == 1
    nothing = SEARCH.metrics["mrr"].estimate(np.zeros(6), given, np.arange(6), GROUPS)
    assert (np.isnan(nothing.value), nothing.low, nothing.high) == (True, 0.0, 1.0)
    assert SEARCH.validation(np.zeros(6), given, GROUPS) == {"ndcg_loss": 0.0, "ndcg": None, "mrr": None}


def test_equal_scores_share_their_places_whatever_the_order_of_rows():
    given = scores(0.5, 0.5, 0.5, 0.9, 0.5, 0.1)
    order = np.array([2, 0, 1, 3, 4, 5])
    moved = LOSS.of(RELEVANCE[order], given[order], GROUPS[order])
    assert moved == pytest.approx(LOSS.of(RELEVANCE, given, GROUPS)[order])
    assert LOSS.of(RELEVANCE, given, GROUPS)[0] == pytest.approx(1 - (1 + 1 / np.log2(3)) / 3)


def test_groups_of_texts_and_of_numbers_are_alike():
    given = scores(0.9, 0.5, 0.1, 0.5, 0.9, 0.1)
    numbers = np.array([7, 7, 7, 3, 3, 3])
    assert np.array_equal(LOSS.of(RELEVANCE, given, GROUPS), LOSS.of(RELEVANCE, given, numbers))


def test_without_groups_nothing_is_judged():
    with pytest.raises(ValueError, match="groups are needed"):
        LOSS.of(RELEVANCE, scores(*range(6)), None)


def test_few_lists_of_a_day_have_no_error():
    [signal] = SEARCH.signals
    assert signal.error(RELEVANCE, scores(*range(6)), GROUPS) is None


def test_relevance_is_a_number_of_at_least_0():
    read = SEARCH.read(pl.Series("clicks", [0, 2, -1, None]))
    assert read.to_list() == [0.0, 2.0, None, None]
    assert SEARCH.rule().lowest == 0.0


def test_a_history_of_negative_or_no_relevance_is_refused():
    SEARCH.require_history(pl.Series([0, 1] * 500 + [-1]), "clicks")
    with pytest.raises(InvalidDeclaration, match=r"is negative in 33.33% of rows"):
        SEARCH.require_history(pl.Series([0, 1, -1] * 100), "clicks")
    with pytest.raises(InvalidDeclaration, match="holds no relevance above 0"):
        SEARCH.require_history(pl.Series([0.0] * 100), "clicks")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"group": ""}, "bad group"),
        ({"group": 3}, "bad group"),
        ({"group": "query", "at": 0}, "bad at"),
        ({"group": "query", "at": True}, "bad at"),
        ({"group": "query", "at": 2.5}, "bad at"),
    ],
)
def test_what_cannot_be_declared_is_refused(options, problem):
    with pytest.raises(InvalidDeclaration, match=problem):
        task.ranking(**options)
