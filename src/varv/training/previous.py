"""The model that a training goes on from: a fit of the champion, as the training function is given it.

It is a package, opened; nothing in it runs unless the function asks for its predictions or its state. Which
fit may be handed over without telling what is held out is decided in `loop.fits`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl

from varv.kernel.errors import FailedPrecondition
from varv.kernel.ids import Version
from varv.registry import Package, Runtimes
from varv.training.state import STATE_FILE, restored_state

T_co = TypeVar("T_co", covariant=True)


class Loads(Protocol[T_co]):
    """A class that reads the state that its ``save`` wrote into a folder."""

    def load(self, folder: Path, /) -> T_co:
        """Return what was saved; a class method."""
        ...


class Previous:
    """A fit of the champion, to start a training from.

    Parameters
    ----------
    package
        Its package.
    version
        The number of the champion.
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
        """Its files: ``model.txt`` is a booster of LightGBM for ``init_model``, ``model.ubj`` one of XGBoost
        for ``xgb_model``.
        """
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
            If it keeps no state: only estimators with ``partial_fit`` do, trained with ``warm_start=True`` or
            ``strategy=varv.incremental()``.
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

    def load(self, cls: Loads[T_co]) -> T_co:
        """Return ``cls.load(folder)`` of the state that an object of the class saved when it was packaged."""
        with tempfile.TemporaryDirectory() as made:
            for name, data in self._package.folder("state").items():
                place = Path(made, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            return cls.load(Path(made))
