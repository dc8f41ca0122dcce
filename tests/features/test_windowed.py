"""Statistics over windows: what brute force finds, in any order and portions, in bulk and one by one."""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from fractions import Fraction
from functools import reduce

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from varv.features import history as history_module
from varv.features import run as run_module
from varv.features import share, windows
from varv.features.history import History
from varv.features.run import merged
from varv.features.statistics import distinct, extremes, quantiles
from varv.features.windowed import WindowRows
from varv.kernel.clock import DAY, HOUR, MINUTE, Duration, Instant, instant
from varv.kernel.errors import InvalidDeclaration

START = instant("2024-03-30")
OF_NUMBERS = ["mean", "sum", "count", "std", "min", "max", "first", "last", "distinct", "p50", "p99.9"]
OF_TEXTS = ["count", "first", "last", "distinct"]
NUMBERS = windows("x", [*OF_NUMBERS, share(2.5), share(above=1)], over=["5m", "1h"])
TEXTS = windows("x", [*OF_TEXTS, share("a")], over=["5m", "1h"])
SESSIONS = windows("x", [*OF_NUMBERS, share(below=0)], gap="4m", longest="20m")
TUMBLING = windows("x", [*OF_NUMBERS, share(1)], every="10m", offset="3m")


@pytest.fixture(params=[False, True], ids=["in memory", "in files"])
def short(request, monkeypatch):
    """Let runs and blocks be so short that a few rows are many."""
    monkeypatch.setattr(history_module, "_RECENT", 3)
    monkeypatch.setattr(extremes, "_BLOCK", 2)
    for module, name, few in (
        (extremes, "_SHORT", 3),
        (quantiles, "_SHORT", 3),
        (distinct, "_SHORT", 2),
        (distinct, "_PAIRS", 5),
    ):
        monkeypatch.setattr(module, name, few)
    if request.param:
        monkeypatch.setattr(run_module, "ROWS_IN_MEMORY", 2)
        monkeypatch.setattr(run_module, "_STEP", 3)


def held(declared, rows, portions, *, is_text=False):
    """Return what finds the windows, and a history that took the rows in portions."""
    found = WindowRows(declared, is_text=is_text)
    history = History(found.columns)
    for some in portions:
        picked = [rows[place] for place in some]
        codes, times, values = zip(*picked, strict=True)
        frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.String if is_text else pl.Float64)})
        mask, columns = found.taken(frame)
        arrays = [np.array(codes, np.int64), np.array(times, np.int64), np.array(some, np.uint64)]
        history.add(*(each if mask is None else each[mask] for each in arrays), columns)
    return found, history


def stretches(declared, rows, code, at):
    """Return the values of each window by time and tie, row by row."""
    own = [(when, tie, x) for tie, (c, when, x) in enumerate(rows) if c == code and when <= at]
    own = sorted(row for row in own if row[2] is not None and row[2] == row[2])
    if declared is TUMBLING:
        end = next(t for t in range(at, 0, -MINUTE) if (t - START) % (10 * MINUTE) == 3 * MINUTE)
        return [[x for when, _, x in own if end - 10 * MINUTE <= when < end]]
    if declared is SESSIONS:
        begin = at
        for when, _, _ in reversed(own):
            begin = when if when >= begin - 4 * MINUTE else begin
        return [[x for when, _, x in own if when >= begin and when > at - 20 * MINUTE]]
    return [[x for when, _, x in own if when > at - span] for span in (5 * MINUTE, HOUR)]


def expected(statistic, values):
    """Return one statistic of values, in exact arithmetic where that is possible."""
    if not isinstance(statistic, str):
        holds = {"is": "__eq__", "above": "__gt__", "below": "__lt__"}[statistic.relation]
        return sum(getattr(x, holds)(statistic.value) for x in values) / len(values) if values else None
    if statistic in ("count", "distinct"):
        return len(values if statistic == "count" else set(values))
    if not values or (statistic == "std" and len(values) < 2):
        return None
    if statistic in ("first", "last"):
        return values[0 if statistic == "first" else -1]
    if statistic.startswith("p"):
        return sorted(values)[math.ceil(len(values) * Fraction(statistic[1:]) / 100) - 1]
    mean = Fraction(sum(map(Fraction, values))) / len(values)
    if statistic == "std":
        return math.sqrt(sum((Fraction(x) - mean) ** 2 for x in values) / (len(values) - 1))
    return {"min": min(values), "max": max(values), "sum": float(mean * len(values)), "mean": float(mean)}[
        statistic
    ]


VALUES = st.sampled_from([None, math.nan, -8.0e6, -0.25, 0.0, 1.0, 2.5, 7.75, 8.388607e6])
ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), VALUES), max_size=24)


def portions_of(n, order):
    places = list(range(n))
    order.shuffle(places)
    cuts = sorted(order.randrange(n + 1) for _ in range(3))
    parts = [places[a:b] for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    return [part for part in parts if part]


@pytest.mark.parametrize("declared", [NUMBERS, SESSIONS, TUMBLING], ids=["sliding", "session", "tumbling"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True)
@given(rows=ROWS, order=st.randoms(use_true_random=False), trimmed=st.booleans())
def test_statistics_are_those_of_brute_force_in_any_order_and_portions(short, declared, rows, order, trimmed):
    rows = [(code, START + at * MINUTE, x) for code, at, x in rows]
    found, history = held(declared, rows, portions_of(len(rows), order))
    if trimmed:
        history.trim(Instant(START + 25 * MINUTE), Duration(found.span))
    asked = [
        (code, START + at * MINUTE) for code in (0, 1, 3, -1) for at in range(25 if trimmed else 0, 50, 3)
    ]
    numbers = np.empty((len(declared.feature_names()), len(asked)), np.float32)
    codes, instants = (np.array(each, np.int64) for each in zip(*asked, strict=True))
    found.lookup(history, codes, instants, numbers)
    for place, (code, at) in enumerate(asked):
        wanted = [
            expected(statistic, values)
            for values in stretches(declared, rows, code, at)
            for statistic in declared.statistics
        ]
        singly: list[float] = []
        found.lookup_one(history, code, at, singly)
        bits = np.array(singly, np.float32)
        assert np.array_equal(bits, numbers[:, place], equal_nan=True)
        exact = np.array([math.nan if one is None else one for one in wanted], np.float64)
        np.testing.assert_allclose(bits, exact, rtol=3e-7, atol=1e-6)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from([None, "a", "b", "ü"])), max_size=20
    ),
    order=st.randoms(use_true_random=False),
)
def test_texts_have_counts_ends_distinct_values_and_shares(short, rows, order):
    rows = [(code, START + at * MINUTE, x) for code, at, x in rows]
    found, history = held(TEXTS, rows, portions_of(len(rows), order), is_text=True)
    asked = [(code, START + at * MINUTE) for code in (0, 1, 2) for at in range(0, 45, 3)]
    numbers = np.empty((6, len(asked)), np.float32)
    texts = found.lookup(history, *(np.array(each, np.int64) for each in zip(*asked, strict=True)), numbers)
    for place, (code, at) in enumerate(asked):
        wanted = [[expected(one, v) for one in TEXTS.statistics] for v in stretches(TEXTS, rows, code, at)]
        assert [each[place] for each in texts] == [
            v for count, first, last, *_ in wanted for v in (first, last)
        ]
        exact = [v for count, _, _, n, part in wanted for v in (count, n, math.nan if part is None else part)]
        np.testing.assert_allclose(numbers[:, place], exact, rtol=1e-7)
        singly: list[float] = []
        assert found.lookup_one(history, code, at, singly) == [each[place] for each in texts]
        assert np.array_equal(np.array(singly, np.float32), numbers[:, place], equal_nan=True)


def test_long_windows_of_many_runs_give_the_same_bits_in_bulk_and_singly():
    rng = np.random.default_rng(5)
    n = 6000
    rows = list(
        zip(
            rng.integers(0, 2, n),
            START + rng.integers(0, 40 * MINUTE, n),
            rng.normal(0, 99, n).round(1),
            strict=True,
        )
    )
    found, history = held(NUMBERS, rows, [range(5500), range(5500, 5800), range(5800, n)])
    assert sum(len(run) > 0 for run in history.runs) > 1
    asked = np.array([0, 1, 1]), START + np.array([39, 40, 12]) * MINUTE
    numbers = np.empty((len(NUMBERS.feature_names()), 3), np.float32)
    found.lookup(history, *asked, numbers)
    for place in range(3):
        singly: list[float] = []
        found.lookup_one(history, int(asked[0][place]), int(asked[1][place]), singly)
        assert np.array_equal(np.array(singly, np.float32), numbers[:, place])
    whole_run = reduce(merged, history.runs)
    again = np.empty_like(numbers)
    found.lookup(History.of(whole_run), *asked, again)
    assert np.array_equal(again, numbers)
    values = [x for c, at, x in rows if c == 0 and at <= asked[1][0]]
    whole = dict(zip(NUMBERS.feature_names(), numbers[:, 0], strict=True))
    for name, wanted in (
        ("x_distinct_1h", len(set(values))),
        ("x_p50_1h", np.quantile(values, 0.5, method="inverted_cdf")),
        ("x_min_1h", min(values)),
        ("x_max_1h", max(values)),
        ("x_std_1h", np.std(values, ddof=1)),
    ):
        assert whole[name] == pytest.approx(wanted, rel=1e-6), name


def test_deviations_of_large_values_close_together_do_not_cancel():
    declared = windows("x", "std", over="1h")
    values = [8388000.0, 8388000.5, 8388001.0] * 1000
    found, history = held(declared, [(0, START + i, x) for i, x in enumerate(values)], [range(3000)])
    singly: list[float] = []
    found.lookup_one(history, 0, START + HOUR // 2, singly)
    assert singly == [pytest.approx(np.std(np.array(values) - 8388000, ddof=1), rel=1e-15)]


def test_days_of_a_zone_are_its_own_also_when_clocks_change():
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    declared = windows("x", "count", every="1d", zone="Europe/Berlin", offset="6h")
    hours = [(0, START - 3 * DAY + i * HOUR, 1.0) for i in range(24 * 8)]
    found, history = held(declared, hours, [range(len(hours))])
    # Clocks go forward on 31 March 2024, so the day that begins on the 30th at 6 has 23 hours.
    for day, n in (
        ("2024-03-31T06:00", 23),
        ("2024-04-01T05:59", 23),
        ("2024-04-01T06:00", 24),
        ("2024-03-30T06:00", 24),
    ):
        at = round(dt.datetime.fromisoformat(day).replace(tzinfo=zone).timestamp() * 1e6)
        singly: list[float] = []
        found.lookup_one(history, 0, at, singly)
        numbers = np.empty((1, 1), np.float32)
        found.lookup(history, np.array([0]), np.array([at]), numbers)
        assert singly == [n] == numbers[0].tolist()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"statistics": "median"}, "no statistic 'median'.*mean, sum.*p95"),
        ({"statistics": ["mean", "mean"]}, "each statistic once"),
        ({"statistics": []}, "at least one"),
        ({"statistics": "p0"}, "no statistic 'p0'"),
        ({}, r"need one kind \(found \[\]\)"),
        ({"over": "3h", "gap": "5m"}, "need one kind"),
        ({"over": "3h", "zone": "UTC"}, "zone without every"),
        ({"every": "1d", "zone": "Mars/Olympus"}, "no zone 'Mars/Olympus'"),
        ({"every": "6h", "zone": "Europe/Berlin"}, "count in days"),
        ({"every": "1h", "offset": "2h"}, "offset of 2h in 1h"),
        ({"gap": "soon"}, "gap='soon', which is not understood"),
    ],
)
def test_what_windows_cannot_be_is_named(given, match):
    with pytest.raises(InvalidDeclaration, match=match):
        windows("late", given.pop("statistics", "mean"), **given)


def test_a_share_has_one_condition_and_a_name():
    assert [share(True).name, share(below=-0.5).name] == ["share_1", "share_below_minus_0_5"]
    for arguments, match in (
        ({}, "needs one condition"),
        ({"of": 1, "above": 2}, "needs one condition"),
        ({"above": "x"}, "compares a text"),
        ({"of": "!"}, "give it a name"),
    ):
        with pytest.raises(InvalidDeclaration, match=match):
            share(**arguments)
