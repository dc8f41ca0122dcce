"""The runtime of classes of the author's own: made from the source in the package, their state read by
``load``.

Loading runs that source, so a package of somebody else is loaded only if it is trusted.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from varv.adapters.runtimes.answers import as_predictions
from varv.adapters.runtimes.private_modules import PrivateModules
from varv.kernel.errors import Corrupt, FailedPrecondition
from varv.kernel.user_code import UserCode
from varv.registry import Package, Rows, n_rows


class _About(msgspec.Struct, frozen=True):
    module: str
    name: str
    method: Literal["predict", "predict_proba"]


class PythonRuntime:
    """Loads packages into this process."""

    runs_code: ClassVar[bool] = True

    def load(self, package: Package, *, threads: int = 1) -> PythonModel:
        """Bring a package into memory.

        Raises
        ------
        Corrupt
            If the package does not say which class it is, or lacks it.
        UserCodeFailed
            If its source or ``load`` raised.
        """
        try:
            about = msgspec.json.decode(package.file("python.json"), type=_About)
        except msgspec.MsgspecError as error:
            raise Corrupt("package", "python", "is refused by the runtime", why=str(error)[:200]) from None
        modules = PrivateModules(package.folder("source"))
        folder = Path(tempfile.mkdtemp(prefix="varv-model-"))
        try:
            model = _instance(about, _module(about, package, modules), package, folder)
        except BaseException:
            _leave(modules, folder)
            raise
        loaded = PythonModel(model, about.method, package.width)
        # The model may read its folder, and its classes their modules, as long as it is there.
        weakref.finalize(loaded, _leave, modules, folder)
        return loaded


class PythonModel:
    """An object of the author's class.

    Parameters
    ----------
    model
        The object.
    method
        What answers.
    width
        How many numbers a prediction has.
    """

    def __init__(self, model: Any, method: str, width: int) -> None:
        self._answer = getattr(model, method)
        self._name = type(model).__name__
        self._width = width

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width).

        Raises
        ------
        UserCodeFailed
            If the author's method raised, or returned something else.
        """
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        with UserCode("estimator", self._name):
            found = np.asarray(self._answer(rows), dtype=np.float32)
        return as_predictions(found, n, self._width)


def _leave(modules: PrivateModules, folder: Path) -> None:
    modules.forget()
    shutil.rmtree(folder, ignore_errors=True)


def _module(about: _About, package: Package, modules: PrivateModules) -> ModuleType:
    if package.folder("source"):
        with UserCode("module", about.module):
            return modules.module(about.module)
    try:
        return import_module(about.module)
    except ImportError as error:
        hint = f"install what brings {about.module}"
        raise FailedPrecondition(
            "package", about.module, "is not installed", why=str(error), hint=hint
        ) from None


def _instance(about: _About, module: ModuleType, package: Package, folder: Path) -> Any:
    cls: Any = module
    for part in about.name.split("."):
        cls = getattr(cls, part, None)
    if cls is None:
        raise Corrupt(
            "package", about.module, f"has no class {about.name}", hint="build it again from its run"
        )
    for name, data in package.folder("state").items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with UserCode("estimator", about.name):
        return cls.load(folder)
