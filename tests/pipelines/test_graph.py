"""Steps are found by their content; a crash costs only what was under way."""

from __future__ import annotations

import msgspec
import pytest

from varv.kernel.blobs import FolderBlobs
from varv.kernel.codec import digest
from varv.kernel.errors import InvalidInput, UserCodeFailed
from varv.pipelines import Graph, Input, PipelineStep, StepCache, run_graph


class Total(msgspec.Struct, frozen=True):
    value: float


class Bench:
    """A cache in a folder, and a record of which steps ran."""

    def __init__(self, folder):
        self.folder = folder
        self.blobs = FolderBlobs(folder / "blobs")
        self.cache = StepCache(folder / "cache", self.blobs)

    def run(self, *steps):
        RAN.clear()
        return run_graph(Graph(steps), self.cache)


RAN: list[str] = []


def doubled(data: bytes) -> bytes:
    RAN.append("double")
    return data + data


def counted(text: bytes) -> Total:
    RAN.append("count")
    return Total(float(len(text)))


def failing(text: bytes) -> Total:
    RAN.append("count")
    return Total(1 / 0)


def given(data: bytes = b"abc", loads: list[str] | None = None) -> Input:
    def load() -> bytes:
        if loads is not None:
            loads.append("load")
        return data

    return Input(digest(data), load)


def double(data: bytes = b"abc", **options) -> PipelineStep:
    return PipelineStep(name="double", run=doubled, needs={"data": given(data)}, **options)


def count(run=counted, **options) -> PipelineStep:
    return PipelineStep(name="count", run=run, produces=Total, needs={"text": "double"}, **options)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_the_first_run_runs_every_step_and_hands_results_on(bench):
    results = bench.run(double(), count())
    assert RAN == ["double", "count"]
    assert results["count"].value == Total(6.0)
    assert results["double"].missed_for == ("first run",)


def test_the_second_run_runs_nothing_and_loads_nothing(bench):
    first = bench.run(double(), count())
    loads: list[str] = []
    step = PipelineStep(name="double", run=doubled, needs={"data": given(b"abc", loads)})
    second = bench.run(step, count())
    assert RAN == []
    assert loads == []
    assert all(result.hit for result in second.values())
    assert {n: r.digest for n, r in first.items()} == {n: r.digest for n, r in second.items()}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data": b"abcd"}, "input data"),
        ({"params": {"depth": 3}}, "parameter depth"),
        ({"seed": 1}, "seed"),
        ({"code": (failing,)}, "code"),
    ],
)
def test_a_miss_says_what_changed(bench, options, reason):
    bench.run(double(), count())
    results = bench.run(double(**options))
    assert RAN == ["double"]
    assert any(part.startswith(reason) for part in results["double"].missed_for)


def test_a_miss_is_explained_by_the_nearest_earlier_run(bench):
    bench.run(double(params={"a": 1, "b": 1}))
    bench.run(double(params={"a": 2, "b": 2}))
    results = bench.run(double(params={"a": 2, "b": 3}))
    assert results["double"].missed_for == ("parameter b",)


def test_a_changed_step_that_gives_the_same_result_leaves_the_next_one_a_hit(bench):
    bench.run(double(), count())
    results = bench.run(double(seed=5), count())
    assert RAN == ["double"]
    assert results["count"].hit


def test_after_a_failure_the_steps_before_it_are_hits(bench):
    with pytest.raises(UserCodeFailed):
        bench.run(double(), count(failing))
    assert RAN == ["double", "count"]
    bench.run(double(), count())
    assert RAN == ["count"]


def test_what_the_authors_code_raises_names_the_step_the_error_and_the_line(bench):
    with pytest.raises(UserCodeFailed, match=r"step 'count' raised ZeroDivisionError.*test_graph") as caught:
        bench.run(double(), count(failing))
    line = failing.__code__.co_firstlineno + 2
    assert caught.value.facts["where"] == f"test_graph.py:{line} in failing"


def test_an_error_inside_a_library_names_the_authors_own_line(bench):
    def unreadable(text: bytes) -> Total:
        return msgspec.json.decode(msgspec.json.encode(__import__("json").loads("{")), type=Total)

    with pytest.raises(UserCodeFailed) as caught:
        bench.run(double(), count(unreadable))
    assert str(caught.value.facts["where"]).endswith("unreadable")


@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
def test_a_damaged_result_is_made_again(bench, damage):
    results = bench.run(double(), count())
    place = bench.blobs.path(results["double"].digest)
    place.chmod(0o600)
    if damage == "gone":
        place.unlink()
    else:
        place.write_bytes(b"abcabX" if damage == "changed" else b"")
    again = bench.run(double(), count())
    assert RAN == ["double"]
    assert again["double"].digest == results["double"].digest
    assert bench.blobs.get(results["double"].digest) == b"abcabc"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"result":1}'])
def test_a_damaged_record_is_a_miss_and_is_written_anew(bench, content):
    results = bench.run(double())
    record = bench.folder / "cache" / "double" / results["double"].key
    record.write_bytes(content)
    assert not bench.run(double())["double"].hit
    assert bench.run(double())["double"].hit


def test_a_crash_before_the_record_is_in_place_leaves_only_a_draft_that_is_ignored(bench):
    results = bench.run(double())
    record = bench.folder / "cache" / "double" / results["double"].key
    record.rename(record.with_name(f".{record.name}.123"))
    assert not bench.run(double())["double"].hit


class Amount(msgspec.Struct, frozen=True):
    amount: float


def test_a_result_of_another_type_is_no_hit_and_one_that_does_not_fit_is_refused(bench):
    bench.run(double(), count())
    other = PipelineStep(name="count", run=counted, produces=Amount, needs={"text": "double"})
    with pytest.raises(InvalidInput, match="step 'count' did not return a Amount"):
        bench.run(double(), other)
    assert RAN == ["count"]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (lambda: (double(), double()), "'double' is there twice"),
        (lambda: (count(), double()), "'count' needs 'double', which does not come before it"),
        (lambda: (PipelineStep(name="a", run=counted, needs={"text": "a"}),), "'a' needs 'a'"),
        (lambda: (PipelineStep(name="../up", run=counted),), "'../up' is not a valid name"),
        (lambda: (PipelineStep(name="", run=counted),), "is not a valid name"),
    ],
)
def test_a_pipeline_that_cannot_run_is_refused_before_it_runs(steps, problem):
    with pytest.raises(InvalidInput, match=problem):
        Graph(steps())


def test_a_step_that_does_not_return_what_it_says_is_refused(bench):
    wrong = PipelineStep(name="double", run=lambda: "text", produces=bytes)
    with pytest.raises(InvalidInput, match="did not return bytes"):
        bench.run(wrong)


def test_what_is_handed_on_is_what_a_hit_hands_on(bench):
    def rounded(text: bytes) -> Total:
        return Total(0.1 + 0.2)

    first = bench.run(double(), count(rounded))["count"].value
    second = bench.run(double(), count(rounded))["count"].value
    assert first == second
