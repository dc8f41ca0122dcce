"""How far two raters agree beyond chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from varv.stats.agreement import cohen_kappa


def test_the_published_example_comes_out():
    # Fleiss, Levin and Paik (2003), table 18.1: 100 subjects, three diagnoses.
    table = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
    pairs = [(row, column) for row in range(3) for column in range(3) for _ in range(table[row][column])]
    first, second = zip(*pairs, strict=True)
    found = cohen_kappa(first, second)
    assert (round(found.value, 2), found.n) == (0.68, 100)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.087, abs=0.003)


def test_raters_by_chance_have_a_kappa_of_about_zero():
    rng = np.random.default_rng(3)
    found = cohen_kappa(rng.integers(0, 2, 4000), rng.integers(0, 2, 4000))
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.1


def test_where_all_say_the_same_chance_explains_it():
    found = cohen_kappa(["a", "a"], ["a", "a"])
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-1.0, 1.0)
