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
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType

import msgspec

from varv.kernel.codec import Digest, digest_of

_SIMPLE = (str, bytes, int, float, bool, type(None), tuple, frozenset, list, dict, set)


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
    try:
        return Path(inspect.getfile(inspect.unwrap(function))).resolve().parent
    except TypeError:
        return None


class _Walk:
    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.parts: dict[str, Digest] = {}
        self.libraries: set[str] = set()
        self.unknown: set[str] = set()

    def visit(self, thing: object) -> None:
        if isinstance(thing, ModuleType):
            self._library(thing.__name__)
            return
        thing = inspect.unwrap(thing) if callable(thing) else thing
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if not module or not name:
            return
        if not self._is_project(module):
            self._library(module)
            return
        key = f"{module}:{name}"
        if key in self.parts:
            return
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        except (OSError, TypeError, SyntaxError):
            self.unknown.add(key)
            self.parts[key] = _code_digest(thing)
            return
        self.parts[key] = digest_of(ast.dump(_without_docstrings(tree)))
        self._names(tree, thing, module)

    def _names(self, tree: ast.AST, thing: object, module: str) -> None:
        scope = dict(vars(sys.modules[module])) if module in sys.modules else {}
        if isinstance(thing, FunctionType):
            scope = {**thing.__globals__, **inspect.getclosurevars(thing).nonlocals}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._library(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._library(node.module)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in scope:
                self._value(f"{module}:{node.id}", scope[node.id])
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner = scope.get(node.value.id)
                if isinstance(owner, ModuleType) and self._is_project(owner.__name__):
                    self._value(f"{owner.__name__}:{node.attr}", getattr(owner, node.attr, None))

    def _value(self, key: str, value: object) -> None:
        if isinstance(value, _SIMPLE):
            self.parts[key] = digest_of(_ordered(value))
        elif callable(value) or isinstance(value, ModuleType):
            self.visit(value)
        else:
            self.unknown.add(key)

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
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _code_digest(thing: object) -> Digest:
    code = getattr(thing, "__code__", None)
    return digest_of([code.co_code.hex(), repr(code.co_consts)] if code else repr(thing))


def _ordered(value: object) -> object:
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(repr, value))]
    if isinstance(value, dict):
        return ["dict", *sorted((repr(key), repr(item)) for key, item in value.items())]
    return [type(value).__name__, repr(value)]
