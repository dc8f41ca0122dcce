"""A score without a truth: there is nothing to lose, and that is said."""

from __future__ import annotations

import numpy as np
import polars as pl

from varv import task

SCORE = task.score()


def test_a_score_has_no_outcome_no_loss_and_no_alarm():
    assert not SCORE.has_outcome
    assert (SCORE.losses, SCORE.default_loss, SCORE.loss, SCORE.guards) == ({}, None, None, ())
    assert (SCORE.metrics, SCORE.signals) == ({}, ())
    assert SCORE.validation(np.empty(0), np.empty((0, 1))) == {}


def test_a_column_is_refused_and_read_as_nothing():
    assert "has no outcome" in SCORE.accepts(pl.Int8())
    assert SCORE.read(pl.Series("y", [1, 2])).to_list() == [None, None]


def test_any_finite_number_is_a_score():
    assert SCORE.valid(np.array([[-1e6], [np.nan], [np.inf]])).tolist() == [True, False, False]
    assert SCORE.said(np.array([-0.48213])) == "-0.4821"
