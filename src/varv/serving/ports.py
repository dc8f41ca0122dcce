"""Ports of serving: what a runtime must do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from varv.registry import Package


class LoadedModel(Protocol):
    """A model in memory."""

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of class 1 for each row; float32 of shape (n,) from float32 (n, d)."""
        ...


class Runtime(Protocol):
    """Loads packages; one for each engine that can run them."""

    def load(self, package: Package) -> LoadedModel:
        """Bring a package into memory, ready to answer.

        Raises
        ------
        Corrupt
            If the engine refuses the model.
        """
        ...
