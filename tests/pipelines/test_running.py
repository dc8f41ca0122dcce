"""Graphs run side by side, are tried again, stop at gates, and end in order when something fails."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import varv
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import Interrupted, InvalidInput, UserCodeFailed
from varv.pipelines import Graph, PipelineStep, StepCache, Watch, run_graph
from varv.pipelines.graph import within_run


class Heard(Watch):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []

    def began(self, step, key, missed_for):
        self.lines.append(("began", step.name))

    def retries(self, step, attempt, error, wait_s):
        self.lines.append(("retries", step.name, attempt, wait_s))

    def ended(self, result):
        self.lines.append(("hit" if result.hit else "ran", result.step.name))

    def failed(self, step, error):
        self.lines.append(("failed", step.name))

    def skipped(self, step, gate, reason):
        self.lines.append(("skipped", step.name, gate, reason))


@pytest.fixture
def cache(tmp_path):
    return StepCache(tmp_path / "cache", FolderBlobs(tmp_path / "blobs"))


def step(name, run, **options):
    return PipelineStep(name=name, run=run, **options)


def run(cache, *steps, n_at_once=1, **options):
    heard = Heard()
    try:
        run_graph(Graph(steps), cache, n_at_once=n_at_once, watch=heard, **options)
    except UserCodeFailed as error:
        heard.lines.append(("raised", error.name))
    return heard.lines


MET = {"left": threading.Event(), "right": threading.Event()}


def left() -> bytes:
    MET["left"].set()
    return b"met" if MET["right"].wait(60) else b"alone"


def right() -> bytes:
    MET["right"].set()
    return b"met" if MET["left"].wait(60) else b"alone"


def both(one: bytes, two: bytes) -> bytes:
    return one + two


def test_branches_run_side_by_side(cache):
    for event in MET.values():
        event.clear()
    joined = step("both", both, needs={"one": "left", "two": "right"})
    results = run_graph(Graph((step("left", left), step("right", right), joined)), cache, n_at_once=2)
    assert results["both"].value == b"metmet"
    assert list(results) == ["left", "right", "both"]


COUNTED = []


def counted() -> bytes:
    COUNTED.append(1)
    return b"counted"


def test_equal_work_is_done_once_also_side_by_side(cache):
    COUNTED.clear()
    steps = [step(f"counted-{number}", counted, group="counted") for number in range(4)]
    lines = run(cache, *steps, n_at_once=4)
    assert len(COUNTED) == 1
    assert sorted(line[0] for line in lines) == ["began", "hit", "hit", "hit", "ran"]


FAILS = []


def flaky() -> bytes:
    if FAILS:
        raise OSError(FAILS.pop())
    return b"at last"


def test_a_step_that_fails_waits_longer_each_time_and_is_tried_again(cache):
    FAILS[:] = ["third", "second", "first"]
    waits = []
    lines = run(cache, step("flaky", flaky, retries=3, backoff_s=2.0), pause=waits.append)
    assert waits == [2.0, 4.0, 8.0]
    assert [line[0] for line in lines] == ["began", "retries", "retries", "retries", "ran"]


def test_a_step_gives_up_after_its_retries_and_says_the_last_reason(cache):
    FAILS[:] = ["third", "second", "first"]
    with pytest.raises(UserCodeFailed, match="step 'flaky' raised OSError: second"):
        run_graph(Graph((step("flaky", flaky, retries=1),)), cache, pause=lambda wait_s: None)


def test_a_result_of_a_wrong_type_is_not_tried_again(cache):
    with pytest.raises(InvalidInput, match="did not return a int"):
        run_graph(Graph((step("flaky", lambda: "text", produces=int, retries=3),)), cache, pause=pytest.fail)


def test_what_is_cancelled_while_it_waits_is_not_tried_again(cache):
    FAILS[:] = ["second", "first"]
    cancelled = threading.Event()
    graph = Graph((step("flaky", flaky, retries=3),))
    with pytest.raises(Interrupted, match="step 'flaky' was cancelled"):
        run_graph(graph, cache, cancelled=cancelled, pause=lambda wait_s: cancelled.set())
    assert FAILS == ["second"]


def test_a_value_that_cannot_be_stored_is_the_authors_error(cache):
    odd = step("odd", lambda: np.array([object()]), produces=np.ndarray)
    with pytest.raises(UserCodeFailed, match="step 'odd' raised ValueError: Object arrays cannot be saved"):
        run_graph(Graph((odd,)), cache)


def failing() -> bytes:
    raise ValueError("no")


def test_nothing_begins_after_a_failure_and_what_ran_is_kept(cache):
    steps = (step("counted", counted), step("failing", failing), step("later", left))
    assert run(cache, *steps) == [
        ("began", "counted"),
        ("ran", "counted"),
        ("began", "failing"),
        ("failed", "failing"),
        ("raised", "failing"),
    ]
    assert run(cache, *steps)[0] == ("hit", "counted")


def shut() -> varv.Stop | None:
    return varv.Stop("too few rows")


def ajar() -> varv.Stop | None:
    return None


def test_a_shut_gate_stops_what_comes_after_it_and_nothing_else(cache):
    steps = (
        step("gate", shut, produces=varv.Stop | None),
        step("after", counted, after=("gate",)),
        step("later", both, needs={"one": "after", "two": "after"}),
        step("beside", counted, group="beside"),
    )
    for _ in range(2):
        lines = run(cache, *steps)
        assert ("skipped", "after", "gate", "too few rows") in lines
        assert ("skipped", "later", "gate", "too few rows") in lines
    assert ("hit", "beside") in lines


def test_an_open_gate_lets_everything_through(cache):
    lines = run(cache, step("gate", ajar, produces=varv.Stop | None), step("after", counted, after=("gate",)))
    assert lines[-1] == ("ran", "after")


def test_a_cancelled_run_begins_nothing_more(cache):
    cancelled = threading.Event()

    def cancelling() -> bytes:
        cancelled.set()
        return b""

    with pytest.raises(Interrupted, match="step 'counted' was cancelled"):
        run_graph(Graph((step("a", cancelling), step("counted", counted))), cache, cancelled=cancelled)


def test_what_is_never_cached_is_found_again_within_one_run(cache):
    graph = Graph((step("counted", counted, cached=False),))
    assert not run_graph(within_run(graph, "monday"), cache)["counted"].hit
    assert run_graph(within_run(graph, "monday"), cache)["counted"].hit
    assert not run_graph(within_run(graph, "tuesday"), cache)["counted"].hit


def test_the_outlook_says_what_would_run_and_why_without_running_it(cache):
    joined = step("both", both, needs={"one": "a", "two": "b"})
    graph = Graph((step("a", counted), step("b", counted, seed=1), joined))
    run_graph(graph.up_to("a"), cache)
    COUNTED.clear()
    seen = graph.outlook(cache)
    assert (seen["a"].hit, seen["b"].missed_for, seen["both"].waits_for) == (True, ("first run",), ("b",))
    assert COUNTED == []


def test_only_what_a_step_needs_is_run_up_to_it():
    graph = Graph((step("a", counted), step("b", counted), step("c", both, needs={"one": "a", "two": "a"})))
    assert [one.name for one in graph.up_to("c").steps] == ["a", "c"]
    with pytest.raises(InvalidInput, match="step 'd' is not in the pipeline; the steps are a, b, c"):
        graph.up_to("d")
