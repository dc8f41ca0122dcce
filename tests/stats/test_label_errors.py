"""Labels that are probably wrong."""

from __future__ import annotations

import numpy as np
import pytest

from varv.stats.label_errors import confident_errors


def planted(seed=5, n=3000, share=0.05):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    scores = rng.normal(0, 1, (n, 3))
    scores[np.arange(n), truth] += 4
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = rng.random(n) < share
    return np.where(wrong, (truth + 1) % 3, truth), p, wrong, truth


def test_planted_errors_are_found_and_come_first():
    labels, p, wrong, truth = planted()
    found = confident_errors(labels, p)
    recall = wrong[found.rows].sum() / wrong.sum()
    assert recall > 0.8
    assert wrong[found.rows[:50]].mean() > 0.95
    right = wrong[found.rows]
    assert (found.likelier[right] == truth[found.rows][right]).mean() > 0.95
    assert (np.diff(found.margin) <= 0).all()


def test_a_timid_class_has_a_threshold_of_its_own():
    p = [[0.7, 0.3]] * 8 + [[0.62, 0.38]] * 3 + [[0.61, 0.39]]
    labels = [0] * 8 + [1] * 3 + [0]
    assert confident_errors(labels, p).rows.tolist() == [11]


def test_nothing_labelled_gives_nothing_and_a_wrong_code_is_refused():
    assert not confident_errors([], np.zeros((0, 2))).rows.size
    with pytest.raises(ValueError, match="codes from 0 to 1"):
        confident_errors([2], [[0.5, 0.5]])
