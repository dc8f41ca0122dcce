"""The port that runs models: what a runtime must do, and the collection of those that are installed.

Training checks with it what it packages, and serving answers with it. Runtimes are adapters, found by name in
the entry point group ``varv.runtimes``, and handed in from above.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np

from varv.kernel.plugins import Plugins
from varv.registry.package import Package
from varv.registry.signature import Rows


class LoadedModel(Protocol):
    """A model in memory."""

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width), of rows in the form of the package's signature."""
        ...


class Runtime(Protocol):
    """Loads packages; one for each engine that can run them. It is constructed without arguments."""

    runs_code: ClassVar[bool]
    """Whether loading a package runs code that the package brings, so that only one of our own, or of
    somebody who is trusted, may be loaded."""

    def load(self, package: Package, *, threads: int = 1) -> LoadedModel:
        """Bring a package into memory, ready to answer.

        Parameters
        ----------
        threads
            Threads that one call may use; more help only with large batches.

        Raises
        ------
        Corrupt
            If the engine refuses the model.
        FailedPrecondition
            If the engine is not installed.
        """
        ...


class Runtimes:
    """The runtimes that are installed, each loaded when a package first needs it.

    Parameters
    ----------
    plugins
        Ours and those that other packages bring.
    """

    def __init__(self, plugins: Plugins[type[Runtime]]) -> None:
        self._plugins = plugins

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all runtimes, sorted."""
        return self._plugins.names()

    def named(self, name: str) -> Runtime:
        """Return the runtime `name`.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        return self._plugins.load(name)()

    def load(self, package: Package, *, threads: int = 1) -> LoadedModel:
        """Bring a package into memory with the runtime that it names.

        Raises
        ------
        NotFound
            If there is no such runtime.
        Corrupt
            If the engine refuses the model.
        FailedPrecondition
            If the engine is not installed.
        """
        return self.named(package.runtime).load(package, threads=threads)
