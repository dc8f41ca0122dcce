"""The data plane: only warm versions answer, tables only go forward, and a broken candidate costs nobody."""

from __future__ import annotations

import threading

import msgspec
import polars as pl
import pytest
from tests.serving.samples import Constants, package, table

from varv.kernel.errors import Conflict, FailedPrecondition, InvalidInput, Unavailable, UserCodeFailed
from varv.serving import DataPlane, RoutingShare, RoutingTable
from varv.serving.scores import answer_schema
from varv.tasks import task_of

BINARY = task_of("binary")
ANSWER_SCHEMA = answer_schema(BINARY)
KEYS = [f"k{number}" for number in range(400)]
ROWS = pl.DataFrame({"x": [1.0] * len(KEYS)})


@pytest.fixture
def plane():
    made = DataPlane(BINARY, Constants())
    made.warm(1, package(0.25))
    made.swap(table(1))
    return made


def test_before_the_first_table_there_is_no_answer():
    with pytest.raises(Unavailable, match="has no champion yet; wait for the first training"):
        DataPlane(BINARY, Constants()).infer(["a"], pl.DataFrame({"x": [1.0]}))


def test_the_champion_answers_and_says_so(plane):
    answers = plane.infer(KEYS, ROWS)
    assert answers.schema == ANSWER_SCHEMA
    assert answers.select("version", "arm", "share", "epoch", "score").unique().rows() == [
        (1, "champion", 0.0, 1, 0.25)
    ]
    assert answers["candidate"].null_count() == answers["candidate_score"].null_count() == len(KEYS)


def test_no_requests_get_no_answers(plane):
    assert plane.infer([], ROWS.clear()).shape == (0, len(ANSWER_SCHEMA))


def test_in_shadow_the_candidate_scores_everything_and_answers_nothing(plane):
    plane.warm(2, package(0.75))
    plane.swap(table(2, candidate=2, shadow=True))
    answers = plane.infer(KEYS, ROWS)
    assert answers["version"].unique().to_list() == [1]
    assert answers["candidate"].unique().to_list() == [2]
    assert answers["candidate_score"].unique().to_list() == [0.75]
    assert answers["share"].unique().to_list() == [0.0]


def test_in_canary_each_arm_gets_its_own_score_and_the_coin_is_on_record(plane):
    plane.warm(2, package(0.75))
    plane.swap(table(2, candidate=2, share=0.25))
    answers = plane.infer(KEYS, ROWS)
    chosen = answers.filter(pl.col("arm") == "candidate")
    assert 60 < chosen.height < 140
    assert chosen["version"].unique().to_list() == [2]
    assert chosen["score"].unique().to_list() == [0.75]
    assert answers.filter(pl.col("arm") == "champion")["score"].unique().to_list() == [0.25]
    assert answers["share"].unique().to_list() == [0.25]
    assert answers["candidate_score"].unique().to_list() == [0.75]


@pytest.mark.parametrize("broken", [package(-1.0, probe_score=-1.0), package(0.75, column="gone")])
def test_a_candidate_that_fails_costs_nobody_an_answer_and_is_recorded_as_missing(plane, broken):
    plane.warm(2, broken)
    plane.swap(table(2, candidate=2, share=0.5))
    answers = plane.infer(KEYS, ROWS)
    assert answers["score"].to_list() == [0.25] * len(KEYS)
    chosen = answers.filter(pl.col("arm") == "candidate")
    assert chosen.height > 100
    assert chosen["version"].unique().to_list() == [2]
    assert answers["candidate"].null_count() == 0
    assert answers["candidate_score"].null_count() == len(KEYS)


def test_a_champion_that_fails_is_an_error(plane):
    plane.warm(2, package(-1.0, probe_score=-1.0))
    plane.swap(table(2, champion=2))
    with pytest.raises((UserCodeFailed, RuntimeError), match="the model broke"):
        plane.infer(KEYS, ROWS)


def test_a_request_without_a_column_of_the_champion_is_refused(plane):
    with pytest.raises(InvalidInput, match="column 'x' is missing"):
        plane.infer(["a"], pl.DataFrame({"y": [1.0]}))


def test_a_cold_version_gets_no_traffic(plane):
    with pytest.raises(FailedPrecondition, match="version '2' is not warm; warm it"):
        plane.swap(table(2, candidate=2, share=0.1))
    with pytest.raises(FailedPrecondition, match="version '2' is not warm"):
        plane.swap(table(2, candidate=2, shadow=True))
    assert plane.table == table(1)


def test_a_lower_epoch_never_applies_after_a_higher(plane):
    plane.warm(2, package(0.75))
    plane.swap(table(5, candidate=2, share=0.1))
    with pytest.raises(Conflict, match="routing table '4' is older than the one in force"):
        plane.swap(table(4))
    assert plane.table.epoch == 5


def test_the_same_table_again_changes_nothing_and_another_one_of_its_epoch_is_refused(plane):
    assert plane.swap(table(1)) == 1
    plane.warm(2, package(0.75))
    with pytest.raises(Conflict):
        plane.swap(table(1, champion=2))


def test_a_version_with_traffic_is_not_unloaded_and_one_without_is(plane):
    plane.warm(2, package(0.75))
    with pytest.raises(FailedPrecondition, match="version '1' has traffic; route away"):
        plane.unload(1)
    plane.unload(2)
    plane.unload(2)
    assert plane.warm_versions == {1}


@pytest.mark.parametrize("said", [0.76, 0.7501001 + 1e-4, float("nan")])
def test_a_version_that_does_not_reproduce_its_probe_scores_never_becomes_warm(plane, said):
    with pytest.raises(FailedPrecondition, match="version '2' does not reproduce its probe scores"):
        plane.warm(2, package(0.75, probe_score=said))
    assert plane.warm_versions == {1}


def test_warming_a_warm_version_changes_nothing(plane):
    plane.warm(1, package(0.9))
    assert plane.infer(["a"], ROWS.head(1))["score"].to_list() == [0.25]


def test_a_call_keeps_the_snapshot_it_began_with(plane):
    """A model that is swapped out and unloaded in the middle of a call still finishes it."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def predict(self, matrix):
            begun.set()
            assert go_on.wait(10)
            return Constants().load(package(0.25)).predict(matrix)

    class SlowRuntime:
        def load(self, given):
            return Slow() if given.seed == 1 else Constants().load(given)

    slow = DataPlane(BINARY, SlowRuntime())
    go_on.set()
    import msgspec

    slow.warm(1, msgspec.structs.replace(package(0.25), seed=1))
    slow.warm(2, package(0.75))
    slow.swap(table(1))
    begun.clear()
    go_on.clear()
    found = []
    call = threading.Thread(target=lambda: found.append(slow.infer(["a"], ROWS.head(1))))
    call.start()
    assert begun.wait(10)
    slow.swap(table(2, champion=2))
    slow.unload(1)
    go_on.set()
    call.join(10)
    assert found[0].select("version", "epoch", "score").rows() == [(1, 1, 0.25)]
    assert slow.infer(["a"], ROWS.head(1)).select("version", "epoch", "score").rows() == [(2, 2, 0.75)]


def test_under_concurrent_swaps_every_answer_is_of_one_table(plane):
    """Version n says n/100 and comes in force with epoch n: an answer that mixes tables would show."""
    last = 60
    for version in range(2, last + 1):
        plane.warm(version, package(version / 100))
    plane.swap(table(1))
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append(plane.infer(KEYS[:3], ROWS.head(3)).select("epoch", "version", "score").unique())

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for version in range(2, last + 1):
        plane.swap(table(version, champion=version))
        plane.unload(version - 1)
    while len(seen) < 20:
        pass
    stop.set()
    for asker in askers:
        asker.join()
    for answer in seen:
        [(epoch, version, score)] = answer.rows()
        assert epoch == version
        assert score == pytest.approx(0.25 if version == 1 else version / 100)


@pytest.mark.parametrize("measured", [True, False])
def test_what_scoring_took_is_on_record_once_a_call_where_it_is_measured(measured):
    seconds = iter((10.0, 10.002, 10.005))
    plane = DataPlane(BINARY, Constants(), timer=(lambda: next(seconds)) if measured else None)
    for version in (1, 2):
        plane.warm(version, package(0.25))
    plane.swap(table(2, candidate=2, shadow=True))
    answers = plane.infer(KEYS[:3], ROWS.head(3))
    expected = [2.0, 3.0] if measured else [None, None]
    taken = answers.select("champion_ms", "candidate_ms")
    assert [None if ms is None else round(ms, 3) for ms in taken.row(0)] == expected
    assert taken.tail(2).null_count().row(0) == (2, 2)


def test_the_champion_before_scores_along_in_a_probation(plane):
    plane.warm(2, package(0.75))
    plane.swap(RoutingTable(epoch=2, shares=(RoutingShare(2, 1.0),), former=1, salt="r"))
    answers = plane.infer(KEYS, ROWS)
    assert answers.select("version", "score", "former", "former_score").unique().rows() == [
        (2, 0.75, 1, 0.25)
    ]
    assert answers["candidate"].null_count() == len(KEYS)
    with pytest.raises(FailedPrecondition, match="has traffic"):
        plane.unload(1)


class Doubling:
    """A runtime whose models double what they are fed, in place, and say its first column."""

    def load(self, package):
        return self

    def predict(self, rows):
        rows *= 2
        return rows[:, :1] / 10


def test_versions_that_read_alike_do_not_meet_what_another_did_to_its_rows():
    plane = DataPlane(BINARY, Doubling())
    for version in (1, 2):
        made = msgspec.structs.replace(package(0.0), probe=((1.0,),), probe_scores=((0.2,),))
        plane.warm(version, made)
    plane.swap(table(2, candidate=2, shadow=True))
    answers = plane.infer(KEYS, ROWS)
    said = answers.select("champion_score", "candidate_score").unique().row(0)
    assert said == pytest.approx((0.2, 0.2))
    assert ROWS["x"].unique().to_list() == [1.0]
