"""Classes that are found by name: ours, and those that other packages bring by an entry point.

Ours are declared as entry points too, and listed once more by whoever asks, since a source checkout may be
used without being installed; a test holds the two equal. A class is imported when it is first asked for, and
the libraries that it needs when it first runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar, cast

from varv.kernel.errors import FailedPrecondition, NotFound

T = TypeVar("T")


class Plugins(Generic[T]):
    """Classes of one kind by name.

    Parameters
    ----------
    group
        The entry point group: ``"varv.runtimes"``.
    kind
        What one of them is called in errors: ``"runtime"``.
    ours
        Those of varv, each as ``module:name``. Nobody else's may take such a name: packages and ledgers mean
        ours by it.
    fits
        Whether what an entry point names is of the kind.
    """

    def __init__(
        self, group: str, kind: str, ours: Mapping[str, str], fits: Callable[[object], bool]
    ) -> None:
        self._group = group
        self._kind = kind
        self._ours = {name: EntryPoint(name, value, group) for name, value in ours.items()}
        self._fits = fits
        self._loaded: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all there are, sorted."""
        return tuple(sorted(self._points()))

    def load(self, name: str) -> T:
        """Return the class of that name.

        Raises
        ------
        NotFound
            If there is none.
        FailedPrecondition
            If it cannot be imported, or is not of the kind.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> T:
        points = self._points()
        if name not in points:
            hint = f"the {self._kind}s are {', '.join(sorted(points))}; install the package that brings it"
            raise NotFound(self._kind, name[:80], "does not exist", hint=hint)
        value = points[name].value
        try:
            found = points[name].load()
        except (ImportError, AttributeError) as error:
            hint = "install the package that brings it again"
            raise FailedPrecondition(
                self._kind, name, "cannot be loaded", value=value, why=str(error)[:200], hint=hint
            ) from None
        if not self._fits(found):
            hint = f"let its entry point name a {self._kind} class"
            raise FailedPrecondition(self._kind, name, f"is no {self._kind}", value=value, hint=hint)
        return cast("T", found)

    def _points(self) -> dict[str, EntryPoint]:
        return {**{point.name: point for point in entry_points(group=self._group)}, **self._ours}


def required(module: str, *, kind: str, name: str, extra: str) -> ModuleType:
    """Return a library that is imported only where it is needed.

    Parameters
    ----------
    kind, name
        What needs it, as the error will name it.
    extra
        The extra of varv that installs it.

    Raises
    ------
    FailedPrecondition
        If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        hint = f"pip install 'varv[{extra}]'"
        raise FailedPrecondition(kind, name, f"needs the package {error.name}", hint=hint) from None
