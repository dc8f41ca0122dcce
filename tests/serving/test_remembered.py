"""What a version said before is given again while it is fresh, and asked for anew when it is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from varv.serving.remembered import Remembered


class Asked:
    """A model that doubles, and counts what it was asked; time is told to it."""

    def __init__(self):
        self.rows = []
        self.at = 0.0

    def __call__(self, rows):
        values = rows if isinstance(rows, np.ndarray) else rows["x"].reshape(-1, 1)
        self.rows += values[:, 0].tolist()
        return (2 * values[:, :1]).astype(np.float32)

    def remembered(self, fresh_s, **options):
        return Remembered(fresh_s, now=lambda: self.at, **options)


def matrix(*values):
    return np.array(values, np.float32).reshape(-1, 1)


def test_only_what_is_new_is_asked():
    model = Asked()
    kept = model.remembered(10)
    assert kept.scores(matrix(1, 2), model).tolist() == [[2], [4]]
    assert kept.scores(matrix(2, 3, 1), model).tolist() == [[4], [6], [2]]
    assert model.rows == [1, 2, 3]
    assert (kept.n_hits, kept.n_misses) == (2, 3)


def test_what_is_too_old_is_asked_again():
    model = Asked()
    kept = model.remembered(10)
    kept.scores(matrix(1), model)
    model.at = 10.5
    kept.scores(matrix(1), model)
    assert model.rows == [1, 1]


def test_what_was_said_is_there_for_who_falls_back_on_it():
    model = Asked()
    kept = model.remembered(0)
    for _ in range(2):
        kept.scores(matrix(1, 2), model)
    assert model.rows == [1, 2, 1, 2], "without a cache a version is always asked"
    model.at = 60.0
    assert kept.said_before(matrix(2, 3), 60, 1)[0].tolist() == [4]
    assert np.isnan(kept.said_before(matrix(2, 3), 60, 1)[1]).all()
    assert np.isnan(kept.said_before(matrix(2), 59, 1)).all()


def test_what_was_asked_for_longest_ago_goes_first():
    model = Asked()
    kept = model.remembered(100, most_rows=2)
    kept.scores(matrix(1, 2), model)
    kept.scores(matrix(1), model)
    kept.scores(matrix(3), model)
    assert np.isnan(kept.said_before(matrix(1, 2, 3), 100, 1)[:, 0]).tolist() == [False, True, False]


def test_an_answer_is_not_changed_by_who_gets_it():
    model = Asked()
    kept = model.remembered(100)
    first = kept.scores(matrix(1), model)
    first[:] = 7
    kept.scores(matrix(1), model)[:] = 9
    assert kept.scores(matrix(1), model).tolist() == [[2]]


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=1, max_size=5, unique=True))
def test_texts_of_neighbours_do_not_run_into_each_other(pairs):
    n = len(pairs)
    columns = {name: np.array([pair[place] for pair in pairs], object) for place, name in enumerate("ab")}
    kept = Remembered(100, now=lambda: 0.0)
    kept.scores(columns, lambda rows: np.arange(n, dtype=np.float32).reshape(-1, 1))
    assert kept.said_before(columns, 100, 1)[:, 0].tolist() == list(range(n))
