"""Files of authors: where one is, and running it as a module.

The file's own folder is on the path while it runs and after, so that it can import what lies beside it.
Projects, pipelines and studies are all declared in such files.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from varv.kernel.errors import InvalidDeclaration, NotFound, UserCodeFailed, VarvError

T = TypeVar("T")


def declared_in(place: str, kind: type[T], what: str) -> tuple[T, str]:
    """Return what a file declares of one kind, the only one of ``FILE`` or the one under ``FILE:name``, and
    its whole place, with its name.

    Parameters
    ----------
    kind
        Its class.
    what
        What errors call it: ``"pipeline"``.

    Raises
    ------
    NotFound
        If there is no such file or name.
    InvalidDeclaration
        If there is none, or several and no name.
    UserCodeFailed
        If running the file raised; the line is named.
    """
    path, name = split_place(place)
    if path.is_dir():
        raise InvalidDeclaration(what, path.name, "is a folder", hint="give FILE.py or FILE.py:name")
    found = {key: value for key, value in vars(run_file(path)).items() if isinstance(value, kind)}
    shown = ", ".join(found) or "none"
    if name and name not in found:
        raise NotFound(what, name[:60], f"is not declared in {path.name}", hint=f"it declares {shown}")
    if not name and len({id(one) for one in found.values()}) != 1:
        problem = f"declares no {what}" if not found else f"declares several: {shown}"
        raise InvalidDeclaration("file", path.name, problem, hint="name one of them as FILE.py:name")
    name = name or next(iter(found))
    return found[name], f"{path}:{name}"


def whole_place(place: str) -> str:
    """Return a place as it is found from any working folder.

    Raises
    ------
    NotFound
        If there is no such file or folder.
    """
    path, name = split_place(place)
    return f"{path}:{name}" if name else str(path)


def split_place(place: str) -> tuple[Path, str]:
    """Return the whole path of a file or folder, and the name behind its colon, if there is one.

    Raises
    ------
    NotFound
        If there is no such file or folder.
    """
    if _exists(place):
        return Path(place).resolve(), ""
    path, _, name = place.rpartition(":")
    if path and _exists(path):
        return Path(path).resolve(), name
    hint = "give the path of a Python file, or of a folder of them; varv init makes one to start from"
    raise NotFound("file", place[:200], hint=hint)


def _exists(name: str) -> bool:
    try:
        return Path(name).is_file() or Path(name).is_dir()
    except (OSError, ValueError):
        # A name that is too long, or holds a null character, is none.
        return False


def run_file(path: Path) -> ModuleType:
    """Run a file as a module of its own name, and return it.

    Raises
    ------
    InvalidDeclaration
        If it is not Python, or what it declares is refused; the line is named.
    UserCodeFailed
        If it raised; the line is named.
    """
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidDeclaration("file", path.name, "is not Python", hint="end its name with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except VarvError as error:
        error.facts.setdefault("line", _line(error, path))
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or path).name}:{error.lineno}"
        raise UserCodeFailed("file", path.name, f"is not valid Python: {error.msg}", line=where) from None
    except (Exception, SystemExit) as error:
        # The file is the author's, and may raise anything.
        problem = f"raised {type(error).__name__}: {str(error)[:300]}"
        raise UserCodeFailed("file", path.name, problem, line=_line(error, path)) from error
    return module


def _line(error: BaseException, path: Path) -> str:
    """Return the last line of the author's file that was on the way to the error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path.name}:{frames[-1].lineno}" if frames else path.name
