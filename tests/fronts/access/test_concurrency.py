from __future__ import annotations

import heapq
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varv.fronts.access.concurrency import GradientLimit

SAMPLES = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 3000)), max_size=200)


@given(SAMPLES)
def test_the_limit_stays_within_its_bounds_and_each_priority_has_what_is_below_it(samples):
    limit = GradientLimit(least=10, most=500)
    for took_s, n_under_way in samples:
        limit.sample(took_s, n_under_way)
        assert 10 <= limit.limit <= 500
        assert list(limit.most_of) == sorted(limit.most_of)
        assert limit.most_of[0] >= 5
        assert limit.most_of[9] == int(limit.limit)


@given(SAMPLES, st.integers(20, 2000))
def test_no_time_that_is_usual_lowers_the_limit(samples, n_under_way):
    limit = GradientLimit()
    for took_s, several in samples:
        limit.sample(took_s, several)
    before = limit.limit
    limit.sample(limit.usual_s, n_under_way)
    assert limit.limit >= before


def test_a_model_that_is_slow_by_itself_is_no_overload():
    limit = GradientLimit()
    for _ in range(10):
        limit.sample(0.4, 5)
    for _ in range(100):
        limit.sample(0.5, 100)
    assert limit.limit == 2000


def test_a_model_that_becomes_slower_is_usual_after_a_while():
    limit = GradientLimit()
    for _ in range(1000):
        limit.sample(0.01, 5)
    for _ in range(3000):
        limit.sample(0.4, 5)
    assert 0.35 < limit.usual_s < 0.4


class Simulated:
    """A worker under a virtual clock: requests come at random, wait in their order, and take their time.

    It answers as many as wait, up to `together`, in one go, as the hot path does.
    """

    def __init__(self, *, per_s, service_s, together=1, priorities=(5,), deadline_s=0.2, seed=1):
        self.limit = GradientLimit()
        self.random = random.Random(seed)
        self.per_s, self.service_s, self.together = per_s, service_s, together
        self.priorities, self.deadline_s = priorities, deadline_s
        self.waiting, self.n_under_way = deque(), 0
        self.refused, self.in_time, self.late, self.dropped = ([0] * 10 for _ in range(4))

    def run(self, seconds):
        events, now, is_busy = [(0.0, "comes", ())], 0.0, False
        while events[0][0] < seconds:
            now, what, batch = heapq.heappop(events)
            if what == "comes":
                self._come(now)
                heapq.heappush(events, (now + self.random.expovariate(self.per_s), "comes", ()))
            else:
                self._answered(now, batch)
                is_busy = False
            batch = () if is_busy else self._taken(now)
            if batch:
                is_busy = True
                took_s = sum(self.random.expovariate(1 / self.service_s) for _ in batch)
                heapq.heappush(events, (now + took_s, "done", batch))
        return self

    def _come(self, now):
        priority = self.random.choice(self.priorities)
        if self.n_under_way >= self.limit.most_of[priority]:
            self.refused[priority] += 1
        else:
            self.n_under_way += 1
            self.waiting.append((now, priority))

    def _taken(self, now):
        batch = []
        while self.waiting and len(batch) < self.together:
            came, priority = self.waiting.popleft()
            if now - came < self.deadline_s:
                batch.append((came, priority))
            else:
                self._let_go(now, [(came, priority)])
                self.dropped[priority] += 1
        return tuple(batch)

    def _answered(self, now, batch):
        self._let_go(now, batch)
        for came, priority in batch:
            (self.in_time if now - came <= self.deadline_s else self.late)[priority] += 1

    def _let_go(self, now, batch):
        self.limit.sample(sum(now - came for came, _ in batch) / len(batch), self.n_under_way)
        self.n_under_way -= len(batch)


@pytest.mark.parametrize(
    ("service_s", "together"), [(0.0025, 1), (0.001, 8), (0.0005, 64)], ids=["alone", "few", "many"]
)
def test_at_twice_the_capacity_nearly_all_of_it_is_answered_in_time_and_the_rest_refused(service_s, together):
    seconds, capacity = 30, 1 / service_s
    made = Simulated(per_s=2 * capacity, service_s=service_s, together=together).run(seconds)
    assert sum(made.in_time) >= 0.95 * capacity * seconds
    n_rest = sum(made.late) + sum(made.dropped)
    assert n_rest <= 0.02 * sum(made.refused)


@pytest.mark.slow
def test_a_lasting_overload_does_not_pass_for_usual():
    made = Simulated(per_s=800, service_s=0.0025).run(600)
    late_before = sum(made.late) + sum(made.dropped)
    assert late_before <= 0.005 * sum(made.refused)
    assert made.limit.usual_s < 0.06


def test_below_the_capacity_nobody_is_refused():
    made = Simulated(per_s=280, service_s=0.0025).run(60)
    assert sum(made.refused) == 0


def test_the_lowest_priority_is_refused_first():
    made = Simulated(per_s=800, service_s=0.0025, priorities=(0, 5, 9)).run(30)
    share = [made.in_time[p] / (made.in_time[p] + made.refused[p] + 1) for p in (0, 5, 9)]
    assert share[0] < share[1] < share[2]
    assert share[2] > 0.8
