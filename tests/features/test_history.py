"""Sorted rows and exact sums."""

from __future__ import annotations

import numpy as np
import pytest

from varv.features import run as run_module
from varv.features.history import History
from varv.features.statistics.totals import fixed_point, totals
from varv.kernel.clock import DAY, HOUR, Duration, Instant, instant
from varv.kernel.errors import InvalidInput


def ints(*values):
    return np.array(values, np.int64)


def ties(n):
    return np.zeros(n, np.uint64)


@pytest.fixture(params=[False, True], ids=["in memory", "in files"], autouse=True)
def filed(request, monkeypatch):
    """Let runs of more than a few rows lie in files, and files be made seven rows at a time."""
    if request.param:
        monkeypatch.setattr(run_module, "ROWS_IN_MEMORY", 3)
        monkeypatch.setattr(run_module, "_STEP", 7)


def filled(n=5000, seed=3):
    rng = np.random.default_rng(seed)
    codes, times = rng.integers(0, 20, n), rng.integers(0, 10 * DAY, n)
    return codes, times, rng.integers(-(2**40), 2**40, n)


def sums(history, codes, instants, spans):
    lows = instants - spans[:, None]
    return totals("x", history.pieces(codes, lows, instants), lows.shape)


def test_sums_do_not_depend_on_the_order_and_portions_in_which_rows_arrive():
    codes, times, values = filled()
    asked = ints(*range(21)), np.linspace(0, 11 * DAY, 21).astype(np.int64)
    spans = ints(HOUR, DAY, 100 * DAY)
    found = []
    for seed, portion in ((0, 5000), (1, 7), (2, 600)):
        order = np.random.default_rng(seed).permutation(len(codes))
        history = History({"x": np.int64})
        for start in range(0, len(order), portion):
            part = order[start : start + portion]
            history.add(codes[part], times[part], ties(len(part)), {"x": values[part]})
        assert len(history) == 5000
        found.append(sums(history, *asked, spans))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    code, when = 4, int(asked[1][4])
    mask = (codes == code) & (times <= when) & (times > when - DAY)
    assert found[0][1, 4] == values[mask].sum()


def test_trimming_changes_nothing_that_can_still_be_asked():
    codes, times, values = filled()
    history = History({"x": np.int64})
    history.add(codes, times, ties(5000), {"x": values})
    asked = ints(*range(20)), np.full(20, 8 * DAY)
    before = sums(history, *asked, ints(HOUR, DAY))
    history.trim(Instant(8 * DAY), Duration(DAY))
    assert len(history) < 2000
    assert (sums(history, *asked, ints(HOUR, DAY)) == before).all()


def test_trimming_without_a_limit_of_age_keeps_the_last_row_of_each_entity():
    history = History({"x": np.float64})
    history.add(ints(0, 0, 1, 1), ints(1, 5, 2, 9), ties(4), {"x": np.array([1.0, 2.0, 3.0, 4.0])})
    history.trim(Instant(7), None)
    assert len(history) == 3
    found, values = history.latest(ints(0, 1, 2), ints(7, 7, 7), None)
    assert found.tolist() == [True, True, False]
    assert values["x"][:2].tolist() == [2.0, 3.0]


def test_trimming_keeps_what_lies_strictly_before_the_first_request():
    history = History({"x": np.float64})
    history.add(ints(0, 0, 0), ints(1, 5, 7), ties(3), {"x": np.array([1.0, 2.0, 3.0])})
    history.trim(Instant(7), None)
    assert len(history) == 2
    assert history.latest(ints(0), ints(7), None, strictly=True)[1]["x"].tolist() == [2.0]
    assert history.latest_at(0, 7, None, strictly=True) == [2.0]
    assert history.latest_at(0, 7, 1, strictly=True) is None
    assert history.latest_at(0, 7, None) == [3.0]


def test_the_greater_tie_decides_between_rows_of_one_instant_in_any_order():
    for order in ([0, 1], [1, 0]):
        history = History({"x": np.float64})
        for i in order:
            history.add(ints(0), ints(5), np.array([[7, 9][i]], np.uint64), {"x": np.array([[1.0, 2.0][i]])})
        assert history.latest(ints(0), ints(5), None)[1]["x"].tolist() == [2.0]


def test_a_row_exactly_as_old_as_the_ttl_still_counts():
    history = History({"x": np.float64})
    history.add(ints(0), ints(100), ties(1), {"x": np.array([1.0])})
    found, _ = history.latest(ints(0, 0, 0, 0), ints(99, 100, 110, 111), Duration(10))
    assert found.tolist() == [False, True, True, False]
    found_singly = [history.latest_at(0, at, 10) for at in (99, 100, 110, 111)]
    assert found_singly == [None, [1.0], [1.0], None]


def test_values_too_large_for_exact_sums_are_refused():
    steps = fixed_point(np.array([0.5, -1.25]), "x")
    assert steps.tolist() == [2**19, -(2**20) - 2**18]
    with pytest.raises(InvalidInput, match="too large"):
        fixed_point(np.array([2.0**23]), "x")


def test_many_entities_over_centuries_are_found_to_the_microsecond():
    rng = np.random.default_rng(4)
    first, last = instant("1900-01-01"), instant("2200-01-01")
    beyond = 2**40
    # Times come in clusters of neighbours, which lie within one step of the keys.
    centres = rng.integers(first, last, 60)
    codes = rng.choice(rng.integers(0, beyond, 12), 400)
    times = rng.choice(centres, 400) + rng.integers(-3, 4, 400)
    history = History({"x": np.int64})
    for some in np.array_split(np.arange(400), 7):
        history.add(codes[some], times[some], some.astype(np.uint64), {"x": some})
    asked = np.append(rng.choice(codes, 500), [0, beyond])
    when = np.append(rng.choice(centres, 500) + rng.integers(-4, 5, 500), [first - 1, last + 1])
    spans = np.array([2, 9, (last - first) // 3])
    found = sums(history, asked, when, spans)
    for row, span in enumerate(spans.tolist()):
        for i in range(len(asked)):
            inside = (codes == asked[i]) & (times > when[i] - span) & (times <= when[i])
            assert found[row, i] == np.flatnonzero(inside).sum()
    has, values = history.latest(asked, when, None)
    for i in range(len(asked)):
        own = np.flatnonzero((codes == asked[i]) & (times <= when[i]))
        assert has[i] == bool(len(own))
        if len(own):
            assert values["x"][i] == max(own, key=lambda row: (times[row], row))
            assert history.latest_at(int(asked[i]), int(when[i]), None) == [values["x"][i]]
