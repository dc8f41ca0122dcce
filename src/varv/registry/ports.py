"""The port that runs models: what a runtime must do, and the collection of those that are installed.

Training checks with it what it packages, and serving answers with it. Runtimes are adapters, found by name in
the entry point group ``varv.runtimes``, and handed in from above.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from varv.kernel.plugins import Plugins
from varv.registry.package import Package
from varv.registry.signature import Rows


class LoadedModel(Protocol):
    """A model in memory."""

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width), of rows in the form of the package's signature."""
        ...


@runtime_checkable
class WaitingModel(Protocol):
    """A model that another process answers for, or another machine: a call may take as long as that likes, so
    it is made where nobody else waits for it.
    """

    waits: bool


def waits(model: LoadedModel) -> bool:
    """Return whether another process or machine answers for a model."""
    return isinstance(model, WaitingModel) and model.waits


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


Device = Literal["auto", "cpu", "cuda"]
"""Where a model computes: on the processor; on a GPU, or not at all; or on a GPU if there is one."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What there is where packages are loaded."""

    mapped: Path | None = None
    """Where what processes share of large models lies, of this machine and this user alone: what is there is
    trusted, and made again if it is gone. None where nothing is shared."""
    device: Device = "cpu"
    variables: Mapping[str, str] = {}
    """The environment, of which a package may name what holds a secret."""


@runtime_checkable
class PlacedRuntime(Protocol):
    """A runtime that does other things in other surroundings."""

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> LoadedModel:
        """Bring a package into memory as `Runtime.load` does.

        Raises
        ------
        FailedPrecondition
            Also if something of the surroundings is asked for that is not there.
        """
        ...


class Loader(Protocol):
    """Brings packages into memory somewhere else than here."""

    def load(self, package: Package, *, threads: int = 1, instances: int = 1) -> LoadedModel:
        """Bring a package into memory as `Runtime.load` does, so often that so many calls may run at a
        time.
        """
        ...


class Runtimes:
    """The runtimes that are installed, each loaded when a package first needs it.

    Parameters
    ----------
    plugins
        Ours and those that other packages bring.
    around
        What there is where they load packages.
    apart
        Where packages are loaded whose runtime runs their code; here if None.
    """

    def __init__(
        self,
        plugins: Plugins[type[Runtime]],
        around: Surroundings | None = None,
        apart: Loader | None = None,
    ) -> None:
        self._plugins = plugins
        self._around = around or Surroundings()
        self._apart = apart

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

    def load(self, package: Package, *, threads: int = 1, instances: int = 1) -> LoadedModel:
        """Bring a package into memory with the runtime that it names.

        Parameters
        ----------
        instances
            How many calls may run at a time, of one that is loaded elsewhere.

        Raises
        ------
        NotFound
            If there is no such runtime.
        Corrupt
            If the engine refuses the model.
        FailedPrecondition
            If the engine is not installed.
        """
        runtime = self.named(package.runtime)
        if self._apart is not None and runtime.runs_code:
            return self._apart.load(package, threads=threads, instances=instances)
        if isinstance(runtime, PlacedRuntime):
            return runtime.load_in(package, self._around, threads=threads)
        return runtime.load(package, threads=threads)
