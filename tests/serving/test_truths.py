"""Truths at positions, against a plain dictionary."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from varv.serving.truths import Truths

KEYS = st.lists(st.sampled_from([f"k{number}" for number in range(12)]), min_size=1, max_size=6)


class Plain(RuleBasedStateMachine):
    """Keys that are asked about again, stated again, stated first, and forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.truths = Truths(pl.Int8())
        self.asked: list[str] = []
        self.first = 0
        self.at: dict[int, tuple[int, int]] = {}
        self.ahead: dict[str, tuple[int, int]] = {}
        self.now = 100

    @rule(keys=KEYS)
    def expect(self, keys: list[str]) -> None:
        start = self.truths.expect(pl.Series("key", keys))
        assert start == len(self.asked)
        for key in keys:
            held = [place for place in range(self.first, len(self.asked)) if self.asked[place] == key]
            truth = self.at.get(held[-1]) if held else self.ahead.pop(key, None)
            self.asked.append(key)
            if truth is not None:
                self.at[len(self.asked) - 1] = truth

    @rule(keys=KEYS, outcome=st.integers(0, 1))
    def learn(self, keys: list[str], outcome: int) -> None:
        self.now += 1
        times = np.full(len(keys), self.now)
        fresh = self.truths.learn(pl.Series("key", keys), np.full(len(keys), outcome, np.int8), times)
        expected = []
        for key in keys:
            held = [place for place in range(self.first, len(self.asked)) if self.asked[place] == key]
            known = self.at.get(held[-1]) if held else self.ahead.get(key)
            expected.append(known is None)
            if known is None and held:
                self.at.update(dict.fromkeys(held, (outcome, self.now)))
            elif known is None:
                self.ahead[key] = (outcome, self.now)
        assert fresh.tolist() == expected

    @rule(share=st.floats(0, 1))
    def forget(self, share: float) -> None:
        self.first += int(share * (len(self.asked) - self.first))
        self.truths.forget(self.first)
        self.at = {place: truth for place, truth in self.at.items() if place >= self.first}

    @rule(most=st.integers(0, 5))
    def forget_ahead(self, most: int) -> None:
        self.truths.forget_ahead(most)
        self.ahead = dict(list(self.ahead.items())[max(0, len(self.ahead) - most) :])

    @invariant()
    def every_position_has_its_truth(self) -> None:
        places = np.arange(self.first, len(self.asked))
        assert len(self.truths) == len(places)
        outcome, known_at = self.truths.at(places, np.zeros(len(places), np.int64), self.now)
        held = [self.at.get(place, (None, None)) for place in places.tolist()]
        assert outcome.to_list() == [one for one, _ in held]
        assert known_at.cast(pl.Int64).to_list() == [at for _, at in held]


def test_whatever_comes_in_whatever_order_each_position_has_its_truth():
    run_state_machine_as_test(
        Plain, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def test_what_was_known_too_early_or_too_late_is_null():
    truths = Truths(pl.Float64())
    start = truths.expect(pl.Series("key", ["a", "b", "c"]))
    truths.learn(pl.Series("key", ["a", "b", "c"]), np.array([1.5, 2.5, 3.5]), np.array([10, 20, 30]))
    outcome, known_at = truths.at(np.arange(start, start + 3), np.array([11, 0, 0]), 29)
    assert outcome.to_list() == [None, 2.5, None]
    assert known_at.null_count() == 2
