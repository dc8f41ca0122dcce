"""The champion before, as a training function may start from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import Version
from varv.registry import Package, Runtimes
from varv.training.state import STATE_FILE, restored_state


class Previous:
    """A version that was served, to start a training from.

    Parameters
    ----------
    package
        Its package.
    version
        Its number.
    runtimes
        What may run it.
    """

    def __init__(self, package: Package, version: Version, runtimes: Runtimes) -> None:
        self._package = package
        self._runtimes = runtimes
        self.version = version

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that it was trained with."""
        return self._package.params

    @property
    def files(self) -> Mapping[str, bytes]:
        """Its files, such as ``model.txt`` of LightGBM, which is for ``init_model``."""
        return self._package.files

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Return its predictions of rows with the features that it reads, float32 of shape (n, width).

        Raises
        ------
        InvalidInput
            If it reads a column that `frame` lacks.
        """
        return self._runtimes.load(self._package).predict(self._package.signature.feed(frame))

    def estimator(self) -> Any:
        """Return the estimator of scikit-learn itself, to go on with ``partial_fit``.

        Raises
        ------
        FailedPrecondition
            If it keeps no state: only estimators with ``partial_fit`` do, trained with ``warm_start=True``.
        """
        if STATE_FILE not in self._package.files:
            hint = "start anew where train.previous has no state: see train.previous.files"
            raise FailedPrecondition(
                "version",
                self.version,
                "keeps no state of its estimator",
                estimator=self._package.estimator,
                hint=hint,
            )
        return restored_state(self._package.files[STATE_FILE])
