"""The ONNX Runtime adapter of the serving port `Runtime`."""

from __future__ import annotations

from typing import Any

import numpy as np

from varv.registry import Package
from varv.registry.package import scores, session


class OnnxRuntime:
    """Loads packages into ONNX Runtime on the processor.

    Parameters
    ----------
    threads
        Threads that one call may use; more help only with large batches.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads

    def load(self, package: Package) -> OnnxModel:
        """Bring a package into memory; raises `Corrupt` if the engine refuses it."""
        return OnnxModel(session(package.onnx, threads=self._threads))


class OnnxModel:
    """A model that ONNX Runtime holds."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of class 1 for each row; float32 of shape (n,) from float32 (n, d)."""
        return scores(self._loaded, matrix)
