"""The runtime of LightGBM's own text format, which holds numbers only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.registry import Package, Rows, n_rows


class LightGbmRuntime:
    """Loads packages into LightGBM."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> LightGbmModel:
        """Bring a package into memory; raises `Corrupt` if LightGBM refuses it."""
        lightgbm = required("lightgbm", kind="runtime", name="lightgbm", extra="lightgbm")
        try:
            text = package.file("model.txt").decode()
            booster = lightgbm.Booster(model_str=text)
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError, ValueError) as error:
            raise Corrupt("package", "lightgbm", "is refused by the runtime", why=str(error)[:200]) from None
        return LightGbmModel(booster, package.width, threads)


class LightGbmModel:
    """A booster in memory.

    Parameters
    ----------
    booster
        LightGBM's.
    width
        How many numbers a prediction has.
    threads
        How many a call may use.
    """

    def __init__(self, booster: Any, width: int, threads: int) -> None:
        self._booster = booster
        self._width = width
        self._threads = threads

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        if not isinstance(rows, np.ndarray):
            raise InvalidInput("rows", "", "are columns, where LightGBM reads a matrix")
        if not n_rows(rows):
            return np.empty((0, self._width), dtype=np.float32)
        found = self._booster.predict(rows, num_threads=self._threads)
        return as_predictions(found, len(rows), self._width)
