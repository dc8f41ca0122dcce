"""The model that a training goes on from: a fit of the champion, as the training function is given it.

It is a package, opened; nothing in it runs unless the function asks a class of its own to load its state.
Which fit may be handed over without telling what is held out is decided in `loop.fits`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl

from varv.kernel.errors import FailedPrecondition
from varv.registry import Package, Runtimes
from varv.training.state import STATE_FILE, restored_state

T_co = TypeVar("T_co", covariant=True)


class Loads(Protocol[T_co]):
    """A class that reads the state that its ``save`` wrote into a folder."""

    def load(self, folder: Path, /) -> T_co:
        """Return what was saved; a class method."""
        ...


class Previous:
    """A model that was fitted before.

    Parameters
    ----------
    package
        Its package.
    runtimes
        What may run it.
    """

    def __init__(self, package: Package, runtimes: Runtimes) -> None:
        self.package = package
        self._runtimes = runtimes

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that it was fitted with."""
        return dict(self.package.params)

    @property
    def files(self) -> dict[str, bytes]:
        """Its files by name: ``model.txt`` of LightGBM, ``model.ubj`` of XGBoost, ``state/...`` of a class of
        one's own; ``model.onnx`` where there is one, which no library trains on.
        """
        return dict(self.package.files)

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Return its predictions of rows with the features that it reads, such as `TrainingSet.frame`.

        They are float32 of shape (n, width).

        Raises
        ------
        InvalidInput
            If it reads a column that `frame` lacks.
        """
        return self._runtimes.load(self.package).predict(self.package.signature.feed(frame))

    def estimator(self) -> Any:
        """Return the estimator of scikit-learn itself, to go on with ``partial_fit``.

        Raises
        ------
        FailedPrecondition
            If it keeps no state: only estimators with ``partial_fit`` do, and only where the declaration
            said that trainings go on.
        """
        if STATE_FILE not in self.package.files:
            kind, hint = self.package.estimator, "look at train.previous.files first, and else start anew"
            raise FailedPrecondition("estimator", kind, "keeps no state", hint=hint)
        return restored_state(self.package.files[STATE_FILE])

    def load(self, cls: Loads[T_co]) -> T_co:
        """Return ``cls.load(folder)`` of the state that an object of the class saved when it was packaged."""
        with tempfile.TemporaryDirectory() as made:
            for name, data in self.package.folder("state").items():
                place = Path(made, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            return cls.load(Path(made))
