"""A class of the author's own: ``predict`` answers, ``save`` and ``load`` keep its state, its source is kept.

The package holds the files that its module imports and those that ``save(folder)`` wrote; where it serves,
the module is made again from its source and ``load(folder)`` reads the state. Nothing is pickled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from varv.kernel.codec import canonical
from varv.kernel.errors import InvalidInput
from varv.kernel.user_code import UserCode
from varv.registry import Signature
from varv.tasks import Task
from varv.training.estimators.family import Asked, Family, disguised
from varv.training.sources import sources_of

_LARGEST_STATE = 512 * 1024 * 1024


class Plain(Family):
    """Whatever no library owns."""

    hint = (
        "give it predict(rows), save(folder) and a classmethod load(folder), or use an estimator of a library"
    )

    def owns(self, estimator: Any) -> bool:
        """Own everything."""
        return True

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what asks its ``predict_proba`` or ``predict`` with rows as they will be fed."""
        method = method_of(estimator, task)
        if method is None:
            return estimator

        def predict(rows: Any) -> Any:
            return getattr(estimator, method)(rows if isinstance(rows, np.ndarray) else signature.feed(rows))

        return disguised(estimator, Asked(predict, getattr(estimator, "classes_", None)))


def method_of(estimator: Any, task: Task) -> str | None:
    """Return the method that answers: that for probabilities if the task is of classes and there is one."""
    wanted = ("predict_proba", "predict") if task.outcome_dtype.is_integer() else ("predict",)
    return next((name for name in wanted if callable(getattr(estimator, name, None))), None)


def has_state(estimator: Any) -> bool:
    """Return whether an estimator can be kept by ``save`` and ``load``."""
    return callable(getattr(estimator, "save", None)) and callable(getattr(type(estimator), "load", None))


def plain_files(estimator: Any, task: Task) -> Mapping[str, bytes]:
    """Return the source and the state of an estimator, and what it is called.

    Raises
    ------
    InvalidInput
        If its class is not defined in a file, or ``save`` writes what a package cannot hold.
    UserCodeFailed
        If ``save`` raised.
    """
    sources = sources_of(type(estimator))
    about = {
        "module": sources.module,
        "name": sources.name,
        "method": method_of(estimator, task) or "predict",
    }
    files = {"python.json": canonical(about)}
    files |= {f"source/{path}": text for path, text in sources.files.items()}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with UserCode("estimator", type(estimator).__name__):
            estimator.save(folder)
        files |= {f"state/{path}": data for path, data in _read(folder, type(estimator).__name__).items()}
    return files


def _read(folder: Path, estimator: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    paths = sorted(folder.rglob("*"))
    if any(path.is_symlink() for path in paths):
        hint = "write plain files in save"
        raise InvalidInput("estimator", estimator, "saves links, which a package cannot hold", hint=hint)
    files = [path for path in paths if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    if size > _LARGEST_STATE:
        hint = "make its state smaller"
        raise InvalidInput("estimator", estimator, "saves too much", size_bytes=size, hint=hint)
    for path in files:
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found
