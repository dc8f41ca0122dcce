"""The runtime of models that answer elsewhere: it holds no model, and asks one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from varv.adapters.endpoints import Calls
from varv.adapters.runtimes.answers import as_predictions
from varv.kernel.errors import Corrupt, InvalidInput
from varv.registry import Package, Rows, Surroundings, n_rows
from varv.registry.endpoint import FILE, endpoint_of
from varv.registry.signature import take

MOST_ROWS = 1000
"""Of one request at first; an endpoint that takes fewer is asked for half as many."""
_TOO_LARGE = 413


class RemoteRuntime:
    """Loads packages that say where a model is."""

    runs_code: ClassVar[bool] = False

    def load(self, package: Package, *, threads: int = 1) -> RemoteModel:
        """Return what asks the model, which is not asked yet; raises `Corrupt` if the package names none."""
        return self.load_in(package, Surroundings(), threads=threads)

    def load_in(self, package: Package, around: Surroundings, *, threads: int = 1) -> RemoteModel:
        """Return what asks the model, with a token from these surroundings; it raises as `load`."""
        try:
            endpoint = endpoint_of(package.file(FILE))
        except InvalidInput as error:
            raise Corrupt("package", "remote", "is refused by the runtime", why=str(error)) from None
        return RemoteModel(Calls(endpoint, around.variables), package.width)


class RemoteModel:
    """A model elsewhere.

    Parameters
    ----------
    calls
        Ask it.
    width
        How many numbers a prediction has.
    """

    waits: ClassVar[bool] = True

    def __init__(self, calls: Calls, width: int) -> None:
        self._calls = calls
        self._width = width
        self._most_rows = MOST_ROWS

    def predict(self, rows: Rows) -> np.ndarray:
        """Return predictions, float32 of shape (n, width); it raises as `Calls.predict`."""
        n = n_rows(rows)
        if not n:
            return np.empty((0, self._width), dtype=np.float32)
        parts: list[np.ndarray] = []
        at = 0
        while at < n:
            part = take(rows, slice(at, at + self._most_rows))
            try:
                found = self._calls.predict(part, self._width)
            except Corrupt as error:
                if error.facts.get("status") != _TOO_LARGE or n_rows(part) == 1:
                    raise
                self._most_rows = n_rows(part) // 2
                continue
            parts.append(as_predictions(found, n_rows(part), self._width))
            at += n_rows(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
