"""On a GPU where one is asked for and there; a machine without one says so."""

from __future__ import annotations

import numpy as np
import pytest
from tests.adapters.runtimes.test_onnx import ROWS, Y
from tests.training.samples import given, opened

from varv.adapters.runtimes.onnx import OnnxRuntime, _options, _session_on_gpu
from varv.kernel.errors import FailedPrecondition
from varv.registry import Surroundings
from varv.registry.package import PROBE_TOLERANCE


@pytest.fixture(scope="module")
def package():
    from sklearn.linear_model import LogisticRegression

    train = given(ROWS, Y)
    return opened(LogisticRegression().fit(train.X, Y), train)


@pytest.fixture(scope="module")
def has_gpu(package):
    return _session_on_gpu(package.file("model.onnx"), _options(1)) is not None


def test_a_gpu_that_is_not_there_is_an_error_only_where_it_must_be_there(package, has_gpu):
    if has_gpu:
        pytest.skip("there is one")
    rows = package.probe_rows()
    with pytest.raises(FailedPrecondition, match="finds no GPU, which the setting device asks for"):
        OnnxRuntime().load_in(package, Surroundings(device="cuda"))
    found = OnnxRuntime().load_in(package, Surroundings(device="auto")).predict(rows)
    assert np.array_equal(found, OnnxRuntime().load(package).predict(rows))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_says_what_the_processor_says(package, has_gpu, device):
    if not has_gpu:
        pytest.skip("there is none that ONNX Runtime can use")
    loaded = OnnxRuntime().load_in(package, Surroundings(device=device))
    assert package.difference(loaded.predict(package.probe_rows())) <= PROBE_TOLERANCE


def test_pytorch_asks_for_its_own(package):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    from varv.adapters.runtimes.torch import TorchRuntime

    with pytest.raises(FailedPrecondition, match="install PyTorch with CUDA"):
        TorchRuntime().load_in(package, Surroundings(device="cuda"))
