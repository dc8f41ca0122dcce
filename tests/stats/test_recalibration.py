"""Probabilities brought to what has turned out."""

from __future__ import annotations

import numpy as np

from varv.stats.classes import class_log_losses
from varv.stats.recalibration import fitted, unchanged


def test_overconfident_probabilities_are_brought_back():
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 1, (5000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in p])
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    found = fitted(labels, sharp)
    assert abs(found.slope - 1 / 3) < 0.03
    assert class_log_losses(labels, found(sharp)).mean() < class_log_losses(labels, sharp).mean()


def test_few_rows_change_little_and_no_ranking_is_turned_round():
    p = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert np.abs(fitted([0], p[:1])(p) - p).max() < 0.1
    turned = fitted([1, 0] * 200, np.tile(p, (200, 1)))(p)
    assert turned[0, 0] > turned[1, 0]
    assert np.allclose(unchanged(2)(p), p)
