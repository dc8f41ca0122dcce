"""The port behind which the author's training function runs, and the fitter that runs it in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from varv.kernel.executor import Cancelled
from varv.kernel.ids import ModelName, Version
from varv.kernel.memory import return_freed
from varv.registry import Runtimes
from varv.tasks import Task
from varv.training.fit import FitInput, fit_package
from varv.training.imported import ImportInput, import_model
from varv.training.recipe import Train


@dataclass(frozen=True, kw_only=True)
class FitOf:
    """Which fit it is: a step in the training of a version.

    Parameters
    ----------
    step
        The step's name in the pipeline, such as ``"fit-1"``.
    cancelled
        Ends the fit once it is set, where the fitter can end one.
    """

    model: ModelName
    version: Version
    step: str
    cancelled: Cancelled | None = None


class Fitter(Protocol):
    """Fits and packages; may be called from several threads."""

    def fit(self, which: FitOf, train: Train, task: Task, given: FitInput) -> bytes:
        """Return the package of the estimator that the author's function made of `given`.

        Raises
        ------
        UserCodeFailed
            If the function raised, or did not end by itself.
        InvalidInput
            If what it returned cannot be packaged.
        Interrupted
            If the fit was cancelled.
        """
        ...

    def take_in(self, which: FitOf, task: Task, given: ImportInput) -> bytes:
        """Return the package of a model that was trained elsewhere, as `import_model` says.

        Raises
        ------
        UserCodeFailed
            If it ended the process that read it.
        Interrupted
            If it was cancelled.
        """
        ...

    def printed(self, model: ModelName, version: Version) -> bytes:
        """Return what is kept of what the fits of a version printed; empty where nothing is."""
        ...


class DirectFits:
    """Fits in this process, in the thread that asks: for replays and tests. Nothing printed is kept.

    Parameters
    ----------
    runtimes
        Check the packages.
    """

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes

    def fit(self, which: FitOf, train: Train, task: Task, given: FitInput) -> bytes:
        """Return the package, as `Fitter.fit` says."""
        # A fit is where most is held at once, and what it freed is in the way of what comes next.
        return_freed()
        try:
            return fit_package(train, task, given, self._runtimes)
        finally:
            return_freed()

    def take_in(self, which: FitOf, task: Task, given: ImportInput) -> bytes:
        """Return the package, as `Fitter.take_in` says."""
        return import_model(given, task=task, runtimes=self._runtimes)

    def printed(self, model: ModelName, version: Version) -> bytes:
        """Return nothing."""
        return b""
