"""Models whose calls take long hold up nobody else, and batches keep to what a call may take."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fronts.inference.test_hot import HOST, INFER, JSON, MATRIX, answering, infer, parsed

from varv.fronts.inference import Inference
from varv.fronts.inference.hot import HotCalls
from varv.fronts.inference.pace import BUDGET_S, MOST_ROWS, SLOW_S, Pace
from varv.fronts.inference.turns import MOST_WAITING
from varv.kernel.ids import ModelName
from varv.serving import Answering

OTHER = b"/v2/models/quick/infer"


class Served:
    """A model that waits until it is let go, beside one that does not."""

    def __init__(self, folder):
        self.inference = Inference()
        self.slow, self.quick = answering(folder / "one"), answering(folder / "two", "quick")
        self.inference.models = {ModelName("wide"): self.slow, ModelName("quick"): self.quick}
        self.hot = HotCalls(self.inference, None)
        self.go, self.asked, self.sizes = threading.Event(), threading.Semaphore(0), []
        answer = self.slow.answer_together

        def waits(several):
            self.sizes.append(len(several))
            self.asked.release()
            assert self.go.wait(30)
            return answer(several)

        self.slow.answer_together = waits

    def ask(self, target, number, found):
        body = infer([MATRIX], id=str(number))
        self.hot.calls[target].submit(
            [HOST, JSON], body, lambda head, told: found.append((target, *parsed(head, told)))
        )

    def is_known_to_be_slow(self):
        self.go.set()
        found = []

        async def once():
            self.ask(INFER, -1, found)
            await asyncio.sleep(0)

        asyncio.run(once())
        # Longer than a busy machine makes any call take: none that follows seems long for its rows.
        pace = self.hot.together._turns["wide"]._pace = Pace()
        pace.took(1, 60.0)
        self.go.clear()
        self.sizes.clear()
        assert self.asked.acquire(timeout=30)


@pytest.fixture
def served(tmp_path):
    return Served(tmp_path)


def test_a_slow_model_is_asked_in_a_thread_and_what_comes_meanwhile_is_its_next_call(served):
    served.is_known_to_be_slow()
    found = []

    async def ask():
        served.ask(INFER, 0, found)
        await asyncio.sleep(0)
        await asyncio.to_thread(served.asked.acquire)
        for number in range(1, 8):
            served.ask(INFER, number, found)
            served.ask(OTHER, number, found)
            await asyncio.sleep(0)
        # The quick model answered all of them while the slow one has answered nobody.
        assert [target for target, *_ in found] == [OTHER] * 7
        # Nor does a connection that sends another request ahead make the loop wait.
        served.hot.flush()
        served.go.set()
        while len(found) < 15:
            await asyncio.sleep(0.001)

    asyncio.run(ask())
    assert served.sizes == [1, 7]
    slow = [json.loads(body)["id"] for target, _, _, body in found if target == INFER]
    assert slow == [str(number) for number in range(8)]
    told = served.inference.statistics[ModelName("wide")].counts
    assert (told.n_answered, told.n_calls) == (9, 3)


def test_calls_of_a_model_that_waits_run_at_a_time_as_many_as_declared(served, monkeypatch):
    monkeypatch.setattr(Answering, "waits", True)
    monkeypatch.setattr(Answering, "instances", 2)
    found, both, answer = [], threading.Barrier(2), served.slow.answer_together
    under_way, most = [], []

    def meets(several):
        under_way.append(1)
        most.append(len(under_way))
        both.wait(60)
        told = answer(several)
        under_way.pop()
        return told

    served.slow.answer_together = meets
    served.go.set()

    async def ask():
        for number in range(6):
            served.ask(INFER, number, found)
        await asyncio.sleep(0)
        while len(found) < 6:
            await asyncio.sleep(0.001)

    asyncio.run(ask())
    assert [status for _, status, _, _ in found] == [200] * 6
    assert max(most) == 2
    assert served.sizes == [3, 3], "what has come is shared among them"
    assert served.inference.door.n_under_way == 0


def test_a_fault_in_a_thread_is_told_and_the_next_are_answered(served):
    served.is_known_to_be_slow()
    served.go.set()
    found, faults, answer = [], [], served.slow.answer_together
    served.slow.answer_together = lambda _: 1 / 0

    async def ask():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        served.ask(INFER, 0, found)
        while not found:
            await asyncio.sleep(0.001)
        served.slow.answer_together = answer
        served.ask(INFER, 1, found)
        while len(found) < 2:
            await asyncio.sleep(0.001)

    asyncio.run(ask())
    assert [status for _, status, _, _ in found] == [500, 200]


def test_so_many_wait_for_a_model_and_no_more(served, monkeypatch):
    monkeypatch.setattr("varv.fronts.inference.turns.MOST_WAITING", 3)
    assert MOST_WAITING == 10_000
    found = []
    served.go.set()

    async def ask():
        for number in range(5):
            served.ask(INFER, number, found)
        await asyncio.sleep(0.01)

    asyncio.run(ask())
    assert sorted(status for _, status, _, _ in found) == [200, 200, 200, 503, 503]
    refused = next(headers for _, status, headers, _ in found if status == 503)
    assert refused["retry-after"] == "1"


CALLS = st.lists(st.tuples(st.integers(1, MOST_ROWS), st.floats(0, 1)), max_size=60)


@given(CALLS)
def test_a_call_holds_one_row_at_least_and_so_many_at_most(calls):
    pace = Pace()
    for n_rows, seconds in calls:
        pace.took(n_rows, seconds)
        assert 1 <= pace.most_rows <= MOST_ROWS


@given(st.floats(1e-5, 0.5), st.floats(1e-6, 1e-3))
def test_batches_settle_where_a_call_takes_what_it_may_beside_that_of_one_row(once, a_row):
    pace, sizes = Pace(), []
    for _ in range(900):
        n_rows = pace.most_rows
        sizes.append(n_rows)
        pace.took(n_rows, once + n_rows * a_row)
    # What one row takes is learned from calls of one; before the first, all of a call counts.
    least = max(1, min(MOST_ROWS, int((BUDGET_S - once) / a_row) if once < BUDGET_S else 1))
    most = min(MOST_ROWS, int(BUDGET_S / a_row) + 2)
    assert max(sizes[-100:]) <= most + 1
    assert min(sizes[-100:]) >= int(least * 0.65)
    if once > BUDGET_S:
        assert max(sizes[-300:]) >= int(most * 0.65)


def test_a_model_is_slow_while_its_usual_call_is(served):
    pace = Pace()
    for _ in range(30):
        pace.took(1, 2 * SLOW_S)
    assert pace.is_slow
    pace.took(1, 0.8 * SLOW_S)
    assert pace.is_slow
    for _ in range(30):
        pace.took(1, 0.1 * SLOW_S)
    assert not pace.is_slow
