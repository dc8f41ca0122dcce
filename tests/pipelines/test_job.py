"""A step as a job takes its inputs by their digests, and refuses to be another one."""

from __future__ import annotations

import threading

import pytest

from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import FailedPrecondition, InvalidDeclaration, NotFound
from varv.kernel.executor import InProcess
from varv.pipelines import StepCache, run_graph
from varv.pipelines.job import StepJob, in_processes, load_pipeline

FILE = """
import msgspec
import numpy as np
import varv

class Range(msgspec.Struct):
    low: int
    high: int

@varv.step
def numbers(within: Range, name: str = "x") -> np.ndarray:
    return np.arange(within.low, within.high)

@varv.step(effect=True)
def total(values: np.ndarray, idempotency_key: str, report: varv.Report, scale: float = 1.0) -> list[float]:
    report(0, 1.0)
    return [float(values.sum()) * scale, len(idempotency_key)]

sums = varv.Pipeline("sums", total.bind(numbers.bind(within={"low": 1, "high": 5}), scale=2))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sums.py"
    path.write_text(FILE)
    return path


def test_steps_run_as_jobs_and_hand_each_other_values(file, tmp_path):
    pipeline, place = load_pipeline(str(file))
    assert place == f"{file}:sums"
    cache = StepCache(tmp_path / "cache", FolderBlobs(tmp_path / "blobs"))
    runner = in_processes(InProcess(), pipeline, place, tmp_path / "blobs", threading.Event())
    results = run_graph(pipeline.graph(), cache, runner=runner)
    assert results["total"].value == [20.0, 64.0]
    assert results["numbers"].value.tolist() == [1, 2, 3, 4]


def test_a_job_comes_back_from_its_bytes_and_refuses_other_code(file, tmp_path):
    place = load_pipeline(str(file))[1]
    asked = {"place": place, "step": "numbers", "blobs": str(tmp_path), "results": {}}
    job = StepJob(**asked, code="0" * 64, constants={"within": b'{"low":0,"high":1}', "name": b'"x"'})
    assert StepJob.decode(job.encode()) == job
    with pytest.raises(FailedPrecondition, match="'numbers' has changed since the pipeline began"):
        job.run()


@pytest.mark.parametrize(
    ("text", "name", "error", "problem"),
    [
        ("import varv", "", InvalidDeclaration, "declares no pipeline"),
        (
            FILE + "\nother = varv.Pipeline('other', total.bind([1]))".replace("[1]", "sums.nodes[0]"),
            "",
            InvalidDeclaration,
            "declares several: sums, other; name one of them as FILE.py:name",
        ),
        (FILE, "products", NotFound, "pipeline 'products' is not declared in sums.py; it declares sums"),
        (FILE, "numbers", NotFound, "is not declared"),
    ],
)
def test_a_file_without_one_pipeline_says_what_it_declares(file, text, name, error, problem):
    file.write_text(text)
    with pytest.raises(error, match=problem):
        load_pipeline(f"{file}:{name}" if name else str(file))


def test_two_names_of_one_pipeline_are_no_question(file):
    file.write_text(FILE + "\nagain = sums\n")
    assert load_pipeline(str(file))[0].name == "sums"
