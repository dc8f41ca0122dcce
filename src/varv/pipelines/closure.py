"""What a function depends on in code: itself, the project's functions and constants it reaches, and
libraries.

The digest changes when a helper or a constant changes, and not when a comment, a docstring or the layout
does. What cannot be followed (a name looked up at run time) is listed as unknown rather than passed over.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

from varv.kernel.codec import Digest, canonical, digest_of

_SIMPLE = (str, bytes, int, float, bool, type(None), tuple, frozenset, list, dict, set)
_SEQUENCES = (list, tuple)
_SETS = (set, frozenset)


class Closure(msgspec.Struct, frozen=True):
    """The code that a function reaches, as a digest and its parts."""

    digest: Digest
    parts: dict[str, Digest]
    """Digest of each reached function, class or constant, by qualified name."""
    libraries: tuple[str, ...]
    """Top-level packages that are imported rather than followed, sorted."""
    unknown: tuple[str, ...]
    """Names that could not be resolved, sorted."""


@lru_cache(maxsize=256)
def code_closure(function: Callable[..., object]) -> Closure:
    """Return the code closure of `function`.

    Project code is everything that lies in or below the folder of the function's own file; other modules
    count as libraries, whose versions belong to the environment. The source is read once for each function
    object.
    """
    walk = _Walk(_root_of(function))
    walk.visit(function)
    parts = dict(sorted(walk.parts.items()))
    return Closure(digest_of(parts), parts, tuple(sorted(walk.libraries)), tuple(sorted(walk.unknown)))


def _root_of(function: Callable[..., object]) -> Path | None:
    while isinstance(function, partial):
        function = function.func
    code = inspect.unwrap(function) if hasattr(function, "__qualname__") else type(function)
    try:
        return Path(inspect.getfile(code)).resolve().parent
    except TypeError:
        return None


class _Walk:
    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.parts: dict[str, Digest] = {}
        self.libraries: set[str] = set()
        self.unknown: set[str] = set()

    def visit(self, thing: object) -> None:
        if isinstance(thing, partial):
            self._partial(thing)
            return
        thing = inspect.unwrap(thing) if callable(thing) else thing
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if isinstance(thing, ModuleType) or not module or not name:
            self._object(thing)
            return
        if not self._is_project(module):
            self._library(module)
            return
        key = f"{module}:{name}"
        if key in self.parts:
            return
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))  # type: ignore[arg-type]
        except (OSError, TypeError, SyntaxError):
            self.unknown.add(key)
            self.parts[key] = digest_of(_compiled(getattr(thing, "__code__", None)))
            return
        self.parts[key] = digest_of(ast.dump(_without_docstrings(tree)))
        self._names(tree, thing, module)

    def _partial(self, bound: partial[object]) -> None:
        self.visit(bound.func)
        name = f"partial {getattr(bound.func, '__qualname__', '?')}"
        self._value(name, (bound.args, bound.keywords))

    def _object(self, thing: object) -> None:
        """Take in a module, whose reached members are followed one by one, or an object by its class."""
        owner = thing.__name__ if isinstance(thing, ModuleType) else type(thing).__module__
        if not self._is_project(owner):
            self._library(owner)
        elif not isinstance(thing, ModuleType):
            self.visit(type(thing))
            self.unknown.add(f"{owner}:{type(thing).__qualname__} object")

    def _names(self, tree: ast.AST, thing: object, module: str) -> None:
        scope = dict(vars(sys.modules[module])) if module in sys.modules else {}
        if isinstance(thing, FunctionType):
            # A parameter may be called as something global, and is not that.
            local = _local_names(thing.__code__)
            scope = {name: value for name, value in thing.__globals__.items() if name not in local}
            scope |= inspect.getclosurevars(thing).nonlocals
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                scope |= self._imported(node, module)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in scope:
                self._value(f"{module}:{node.id}", scope[node.id])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = scope.get(node.value.id)
                if isinstance(owner, ModuleType) and self._is_project(owner.__name__):
                    self._value(f"{owner.__name__}:{node.attr}", getattr(owner, node.attr, None))

    def _imported(self, node: ast.Import | ast.ImportFrom, module: str) -> dict[str, object]:
        """Return what an import inside a function binds, if it is of the project; else note the library."""
        found: dict[str, object] = {}
        if isinstance(node, ast.ImportFrom):
            loaded = self._loaded("." * node.level + (node.module or ""), module)
            for alias in node.names if loaded else ():
                found[alias.asname or alias.name] = getattr(loaded, alias.name, None)
            return found
        for alias in node.names:
            loaded = self._loaded(alias.name, module)
            if loaded is not None and (alias.asname or "." not in alias.name):
                found[alias.asname or alias.name] = loaded
        return found

    def _loaded(self, name: str, by: str) -> ModuleType | None:
        package = getattr(sys.modules.get(by), "__package__", None) or ""
        try:
            name = resolve_name(name, package)
        except ImportError:
            self.unknown.add(name)
            return None
        top = name.partition(".")[0]
        here = self.root is not None and any(
            path.exists() for path in (self.root / f"{top}.py", self.root / top / "__init__.py")
        )
        if not here and not self._is_project(name):
            self._library(name)
            return None
        # Loaded now, not when the function runs: the digest must not depend on what ran before.
        try:
            return import_module(name)
        except ImportError:
            self.unknown.add(name)
            return None

    def _value(self, key: str, value: object) -> None:
        if callable(value) or isinstance(value, ModuleType):
            self.visit(value)
        elif isinstance(value, _SIMPLE):
            self.parts[key] = digest_of(self._plain(key, value))
        else:
            self.unknown.add(key)

    def _plain(self, key: str, value: Any) -> list[object]:
        """Return a constant as JSON that is the same in every process."""
        kind = type(value).__name__
        if isinstance(value, _SEQUENCES):
            return [kind, *(self._plain(key, item) for item in value)]
        if isinstance(value, _SETS):
            return ["set", *sorted((self._plain(key, item) for item in value), key=canonical)]
        if isinstance(value, dict):
            pairs = [[self._plain(key, name), self._plain(key, item)] for name, item in value.items()]
            return ["dict", *sorted(pairs, key=canonical)]
        if isinstance(value, _SIMPLE):
            return [kind, repr(value)]
        if callable(value):
            self.visit(value)
            return ["code", getattr(value, "__qualname__", kind)]
        self.unknown.add(key)
        return ["unknown", kind]

    def _is_project(self, module: str) -> bool:
        source = getattr(sys.modules.get(module), "__file__", None)
        if self.root is None or source is None or "site-packages" in source:
            return False
        return Path(source).resolve().is_relative_to(self.root)

    def _library(self, module: str) -> None:
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("builtins", "__main__"):
            self.libraries.add(top)


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        documented = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if documented and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _compiled(code: CodeType | None) -> object:
    """Return what a function without source compiles to, without the addresses of what is nested in it."""
    if code is None:
        return None
    constants = [_compiled(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _local_names(code: CodeType) -> set[str]:
    """Return the names that a function, and those nested in it, only use for variables of their own."""
    codes = [code]
    for one in codes:
        codes += [inner for inner in one.co_consts if isinstance(inner, CodeType)]
    own = {name for one in codes for name in (*one.co_varnames, *one.co_cellvars)}
    return own - {name for one in codes for name in one.co_names}


def _constant(value: object) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
