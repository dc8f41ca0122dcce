"""The source text that a class or a function needs to be defined again somewhere else: its module, and all
that it imports.

Whole files are taken, not parts of them, so that the module runs as it did; `closure` says what of them a
function reaches. A class of an installed library needs no source, since the library can be installed again.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.util import resolve_name
from pathlib import Path

import msgspec

from varv.kernel.errors import InvalidInput

LARGEST_SOURCE = 10 * 1024 * 1024
_LIBRARIES = ("site-packages", "dist-packages")


class Sources(msgspec.Struct, frozen=True):
    """Where a class or a function is defined, and the files of the project that its module imports, itself
    included.
    """

    module: str
    name: str
    files: dict[str, bytes]
    """Text by path below the project's folder, such as ``models/mean.py``; none for a library's class."""


def sources_of(defined: type | Callable[..., object]) -> Sources:
    """Return the source text that defines a class or a function.

    The project's folder is the one from which its module was imported. What is imported inside a function is
    followed as well; what is imported by a computed name is not seen.

    Raises
    ------
    InvalidInput
        If it is not defined in a file, or inside a function.
    """
    name = getattr(defined, "__qualname__", "<locals>")
    if "<locals>" in name:
        raise _refused(defined, "is defined inside a function", "define the {} at the top of a file")
    try:
        path = Path(inspect.getfile(defined)).resolve()
    except (TypeError, OSError):
        raise _refused(defined, "is not defined in a file", "define the {} in a file of its own") from None
    # What a script defines belongs to the module `__main__`, which nobody else can import by that name.
    module = path.stem if defined.__module__ == "__main__" else defined.__module__
    if any(part in _LIBRARIES for part in path.parts) or module.partition(".")[0] in sys.stdlib_module_names:
        return Sources(module, name, {})
    depth = module.count(".") + (path.name == "__init__.py")
    files = _files(path.parents[depth], module)
    if sum(map(len, files.values())) > LARGEST_SOURCE:
        problem = f"imports more than {LARGEST_SOURCE >> 20} MiB of source"
        raise _refused(defined, problem, "define the {} in a file that imports less")
    return Sources(module, name, files)


def _files(root: Path, module: str) -> dict[str, bytes]:
    """Return the files below `root` that a module imports, directly or not, with those of its packages."""
    found: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        waiting += [".".join(parts[:end]) for end in range(1, len(parts))]
        path = _file_of(root, name)
        if path is None or (key := path.relative_to(root).as_posix()) in found:
            continue
        found[key] = path.read_bytes()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting += _imports(found[key], package)
    return found


def _file_of(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(text: bytes, package: str) -> Iterator[str]:
    """Yield the absolute names that a module may import; some are names in a module, not modules."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                base = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue  # it would fail where it stands, too
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _refused(defined: type | Callable[..., object], problem: str, hint: str) -> InvalidInput:
    kind = "class" if isinstance(defined, type) else "function"
    name = getattr(defined, "__qualname__", repr(defined)[:60])
    return InvalidInput(kind, name, problem, hint=hint.format(kind))
