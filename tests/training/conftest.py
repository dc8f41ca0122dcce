"""What tests of training share: a month of flights, and ONNX models outside packages."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="session")
def january() -> pl.DataFrame:
    """Return the flights of January 2013 that arrived, with features of every type and their outcomes."""
    sys.path.insert(0, str(FLIGHTS))
    try:
        import nyc
    finally:
        sys.path.remove(str(FLIGHTS))
    known = nyc.flights().filter(pl.col("requested_at").dt.month() == 1, pl.col("arr_delay").is_not_null())
    return known.with_columns(evening=pl.col("sched_hour") >= 17)


@pytest.fixture(scope="session")
def session():
    """Return a function that runs an ONNX model on a matrix and returns its last output."""

    def run(onnx: bytes, matrix: np.ndarray) -> np.ndarray:
        model = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        return model.run(None, {"X": matrix.astype(np.float32)})[-1]

    return run
