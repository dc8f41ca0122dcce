"""ONNX Runtime answers as the port asks, in either form, and refuses what is no model."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.training.samples import given, opened

from varv.adapters.runtimes import installed_runtimes
from varv.adapters.runtimes.onnx import MOST_FILES, OnnxRuntime
from varv.adapters.runtimes.ort_file import write_ort
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.registry import Surroundings
from varv.serving import DataPlane
from varv.tasks import task_of

RNG = np.random.default_rng(0)
ROWS = pl.DataFrame({"a": RNG.normal(size=200), "city": RNG.choice(["x", "y", "z"], 200)})
Y = (ROWS["a"].to_numpy() > 0).astype(np.int64)


@pytest.fixture(scope="module", params=["matrix", "columns"])
def package(request):
    train = given(ROWS, Y)
    if request.param == "matrix":
        return opened(LogisticRegression().fit(train.X, Y), train)
    cities = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    return opened(make_pipeline(cities, LogisticRegression()).fit(train.frame, Y), train)


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_are_float32_a_row_each_whatever_the_batch(package, threads):
    loaded = OnnxRuntime().load(package, threads=threads)
    together = loaded.predict(package.probe_rows())
    assert together.dtype == np.float32
    assert together.shape == (32, 1)
    alone = [loaded.predict(package.signature.rows([row])) for row in package.probe]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-6)


def test_no_rows_have_no_predictions(package):
    rows = package.signature.feed(ROWS.clear())
    assert OnnxRuntime().load(package).predict(rows).shape == (0, 1)


def test_a_package_that_says_other_than_it_did_never_becomes_warm(package):
    scores = tuple((1 - score,) for (score,) in package.probe_scores)
    other = msgspec.structs.replace(package, probe_scores=scores)
    plane = DataPlane(task_of(package.task), installed_runtimes())
    plane.warm(1, package)
    with pytest.raises(FailedPrecondition, match="does not reproduce its probe scores"):
        plane.warm(2, other)


@pytest.mark.parametrize("onnx", [b"", b"not a model", b"\x00" * 100, b"cos\nsystem\n(S'true'\ntR."])
def test_a_model_that_the_engine_refuses_is_corrupt(package, onnx):
    spoiled = msgspec.structs.replace(package, files={"model.onnx": onnx})
    with pytest.raises(Corrupt, match="is refused by the runtime"):
        OnnxRuntime().load(spoiled)


def test_rows_that_the_model_cannot_take_are_an_error_that_says_why(package):
    loaded = OnnxRuntime().load(package)
    with pytest.raises(Corrupt, match="fails in the runtime"):
        loaded.predict(np.zeros((2, 7), np.float32))


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr("varv.adapters.runtimes.onnx.LARGE_BYTES", 0)


def test_a_large_model_lies_in_one_file_and_says_the_same(package, tmp_path, large):
    folder = tmp_path / "runtimes"
    rows = package.probe_rows()
    expected = OnnxRuntime().load(package).predict(rows)
    for _ in range(2):
        assert np.array_equal(
            OnnxRuntime().load_in(package, Surroundings(mapped=folder)).predict(rows), expected
        )
        [path] = folder.iterdir()
        assert path.suffix == ".ort"
    assert folder.stat().st_mode & 0o077 == 0


def test_workers_that_load_a_model_at_the_same_time_make_one_file(package, tmp_path, large, monkeypatch):
    made = []

    def counted(onnx, file):
        made.append(file)
        write_ort(onnx, file)

    monkeypatch.setattr("varv.adapters.runtimes.onnx.write_ort", counted)
    # Each opens the folder for itself, as processes do.
    with ThreadPoolExecutor(3) as workers:
        list(workers.map(lambda _: OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path)), range(3)))
    assert len(made) == 1


def test_a_file_that_cannot_be_made_says_why(tmp_path):
    with pytest.raises(Corrupt, match=r"cannot be written in the form of the runtime .*INVALID_PROTOBUF"):
        write_ort(b"not a model", tmp_path / "model.ort")
    assert not list(tmp_path.iterdir())


def test_a_small_model_is_not_written(package, tmp_path):
    OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path / "runtimes"))
    assert not (tmp_path / "runtimes").exists()


@pytest.mark.parametrize("left", [b"", b"not the engine's"])
def test_a_file_that_is_broken_is_made_again(package, tmp_path, large, left):
    OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path))
    [path] = tmp_path.iterdir()
    path.write_bytes(left)
    rows = package.probe_rows()
    assert OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path)).predict(rows).shape == (32, 1)
    OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path))
    assert path.stat().st_size > 100


def test_of_files_that_nobody_asks_for_the_oldest_go(package, tmp_path, large):
    for number in range(20):
        (tmp_path / f"{number}.ort").write_bytes(b"old")
        os.utime(tmp_path / f"{number}.ort", (number, number))
    OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path))
    left = {path.stem for path in tmp_path.iterdir()}
    assert len(left) == MOST_FILES
    assert {str(number) for number in range(5, 20)} <= left


def test_without_room_for_the_file_a_large_model_is_in_memory(package, tmp_path, large, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    rows = package.probe_rows()
    assert OnnxRuntime().load_in(package, Surroundings(mapped=tmp_path)).predict(rows).shape == (32, 1)
    assert not list(tmp_path.iterdir())
