"""The runtime that answers from the weights of a log-linear model."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Package, Rows
from varv_counts.estimator import FILE, Weights


class LogLinearRuntime:
    """Loads packages whose model is a `Weights`."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> LogLinearModel:
        """Bring a package into memory; raises `Corrupt` if its file is none of ours."""
        try:
            weights = msgspec.json.decode(package.file(FILE), type=Weights)
        except msgspec.MsgspecError as error:
            raise Corrupt(
                "package", "log-linear", "is refused by the runtime", why=str(error)[:200]
            ) from None
        if len(weights.slopes) != len(package.signature.names):
            why = f"{len(weights.slopes)} slopes for {len(package.signature.names)} columns"
            raise Corrupt("package", "log-linear", "is refused by the runtime", why=why)
        return LogLinearModel(weights)


class LogLinearModel:
    """Weights in memory."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def predict(self, rows: Rows) -> np.ndarray:
        """Return mean counts, float32 of shape (n, 1)."""
        if not isinstance(rows, np.ndarray):
            raise InvalidInput("rows", "", "are columns, where weights are for a matrix")
        return self._weights.means(rows).astype(np.float32)[:, None]
