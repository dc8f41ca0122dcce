"""The ONNX Runtime adapter answers as the port asks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from varv.adapters.onnx_runtime import OnnxRuntime
from varv.kernel.errors import FailedPrecondition
from varv.registry import Column, Signature, environment, open_package
from varv.serving import DataPlane
from varv.training import build_package


@pytest.fixture(scope="module")
def package():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    model = LogisticRegression().fit(x, x[:, 0] > 0)
    signature = Signature((Column("a", "number"), Column("b", "number")))
    made = build_package(model, signature, x, environment=environment(), params={}, seed=0, n_rows=200)
    return open_package(made)


@pytest.mark.parametrize("threads", [1, 2])
def test_scores_are_float32_one_a_row_and_do_not_depend_on_the_batch(package, threads):
    loaded = OnnxRuntime(threads=threads).load(package)
    rows = package.probe_matrix()
    together = loaded.predict(rows)
    assert together.dtype == np.float32
    assert together.shape == (len(rows),)
    alone = np.concatenate([loaded.predict(row.reshape(1, -1)) for row in rows])
    np.testing.assert_array_equal(together, alone)


def test_no_rows_have_no_scores(package):
    assert OnnxRuntime().load(package).predict(np.empty((0, 2), np.float32)).shape == (0,)


def test_a_package_that_says_other_than_it_did_never_becomes_warm(package):
    import msgspec

    other = msgspec.structs.replace(package, probe_scores=tuple(1 - score for score in package.probe_scores))
    with pytest.raises(FailedPrecondition, match="does not reproduce its probe scores"):
        DataPlane(OnnxRuntime()).warm(1, other)
