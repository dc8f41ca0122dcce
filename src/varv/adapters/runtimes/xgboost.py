"""The runtime of XGBoost's own binary JSON, which holds numbers only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.registry import Package, Rows, n_rows


class XgBoostRuntime:
    """Loads packages into XGBoost."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> XgBoostModel:
        """Bring a package into memory; raises `Corrupt` if XGBoost refuses it."""
        xgboost = required("xgboost", kind="runtime", name="xgboost", extra="xgboost")
        try:
            model = bytearray(package.file("model.ubj"))
            booster = xgboost.Booster(params={"nthread": threads}, model_file=model)
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise Corrupt("package", "xgboost", "is refused by the runtime", why=str(error)[:200]) from None
        return XgBoostModel(xgboost, booster, package.width)


class XgBoostModel:
    """A booster in memory.

    Parameters
    ----------
    xgboost
        The library.
    booster
        XGBoost's.
    width
        How many numbers a prediction has.
    """

    def __init__(self, xgboost: Any, booster: Any, width: int) -> None:
        self._xgboost = xgboost
        self._booster = booster
        self._width = width

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width)."""
        if not isinstance(rows, np.ndarray):
            raise InvalidInput("rows", "", "are columns, where XGBoost reads a matrix")
        if not n_rows(rows):
            return np.empty((0, self._width), dtype=np.float32)
        names, types = self._booster.feature_names, self._booster.feature_types
        data = self._xgboost.DMatrix(rows, feature_names=names, feature_types=types, enable_categorical=True)
        return as_predictions(self._booster.predict(data), len(rows), self._width)
