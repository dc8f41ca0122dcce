"""Python modules made from source text that a package holds, apart from all others in the process.

Two versions of a model may bring two versions of a module of one name. So each package's modules have names
of their own in ``sys.modules``, and what they import from each other is found among them, by the names that
their source says; everything else is imported as usual.
"""

from __future__ import annotations

import builtins
import linecache
import sys
from collections.abc import Mapping, Sequence
from importlib.util import resolve_name
from itertools import count
from types import ModuleType
from typing import Any

from varv.kernel.errors import Corrupt

_NUMBER = count(1)


class PrivateModules:
    """The modules of one package, run when they are first asked for.

    Parameters
    ----------
    sources
        Text by path below the project's folder, such as ``models/mean.py``.
    """

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        # A number, not a digest: the same package may be in memory twice, and leave once.
        self._prefix = f"varv_package_{next(_NUMBER)}"
        self._paths = {_module_name(path): path for path in sources}
        packages = {name.rpartition(".")[0] for name in self._paths}
        self._names = self._paths.keys() | packages - {""}
        self._sources = sources
        self._modules: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        """Return the module that the source calls `name`, running it first if need be.

        Raises
        ------
        Corrupt
            If the package has no such module.
        """
        if name not in self._names:
            raise Corrupt("package", name, "has no source of this module", hint="build it again from its run")
        if name not in self._modules:
            self._run(name)
        return self._modules[name]

    def forget(self) -> None:
        """Take the modules out of the process; what still refers to them goes on working."""
        for name in self._modules:
            sys.modules.pop(self._own_name(name), None)
            linecache.cache.pop(self._shown_path(name), None)

    def _run(self, name: str) -> None:
        parent, _, child = name.rpartition(".")
        if parent:
            self.module(parent)
        module = ModuleType(self._own_name(name))
        path = self._paths.get(name)
        is_package = path is None or path.endswith("__init__.py")
        module.__dict__.update(
            __file__=self._shown_path(name),
            __package__=name if is_package else parent,
            __builtins__={**vars(builtins), "__import__": self._import},
        )
        if is_package:
            module.__path__ = []
        # Before it runs: modules that import each other in a circle find what is there so far.
        self._modules[name] = sys.modules[module.__name__] = module
        if path is not None:
            self._execute(module, self._sources[path].decode())
        if parent:
            setattr(self._modules[parent], child, module)

    def _execute(self, module: ModuleType, text: str) -> None:
        shown = str(module.__file__)
        linecache.cache[shown] = (len(text), None, text.splitlines(keepends=True), shown)
        try:
            exec(compile(text, shown, "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            sys.modules.pop(module.__name__, None)
            self._modules = {name: kept for name, kept in self._modules.items() if kept is not module}
            raise

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what ``__import__`` does, for the modules of the package first."""
        package = str((globals or {}).get("__package__") or "")
        absolute = resolve_name("." * level + name, package) if level else name
        if absolute not in self._names:
            if level:
                raise ModuleNotFoundError(f"No module named {absolute!r}", name=absolute)
            return builtins.__import__(name, globals, locals, fromlist or (), 0)
        found = self.module(absolute)
        if not fromlist:
            return self.module(absolute.partition(".")[0])
        for item in fromlist:
            if f"{absolute}.{item}" in self._names:
                self.module(f"{absolute}.{item}")
        return found

    def _own_name(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    def _shown_path(self, name: str) -> str:
        """Return what tracebacks show as the file: no file of that name need exist."""
        return f"{self._prefix}/{self._paths.get(name, name)}"


def _module_name(path: str) -> str:
    name = path.removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")
