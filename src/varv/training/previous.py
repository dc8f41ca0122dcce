"""The model that a training goes on from: a fit of the champion, as the training function is given it.

It is a package, opened; nothing in it runs unless the function asks a class of its own to load its state.
Which fit may be handed over without telling what is held out is decided in `loop.fits`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Protocol, TypeVar

from varv.registry import Package

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
    """

    def __init__(self, package: Package) -> None:
        self.package = package

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

    def load(self, cls: Loads[T_co]) -> T_co:
        """Return ``cls.load(folder)`` of the state that an object of the class saved when it was packaged."""
        with tempfile.TemporaryDirectory() as made:
            for name, data in self.package.folder("state").items():
                place = Path(made, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            return cls.load(Path(made))
