"""Loading a project: its Python files are run, and what they declare is returned."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from varv.kernel.errors import InvalidDeclaration, NotFound, UserCodeFailed, VarvError
from varv.project.declaration import Model, Replay
from varv.project.project import Project, project_of


def load_project(place: str) -> Project:
    """Return what is declared in ``FILE``, in all files of a ``FOLDER``, or under one name, ``FILE:name``; it
    is not validated yet.

    The files' own folder is on the path while they run and after, so that they can import each other and what
    lies beside them.

    Raises
    ------
    NotFound
        If there is no such file or folder, or no such name in it.
    InvalidDeclaration
        If nothing is declared.
    UserCodeFailed
        If running a file raised; the line is named.
    """
    path, name = _split(place)
    if path.is_dir():
        return project_of(path.name, _declared_in_folder(path))
    declared = _declared(_run(path))
    if not name:
        return project_of(path.name, declared.values())
    if name not in declared:
        hint = f"it declares {', '.join(declared) or 'none'}"
        raise NotFound("declaration", name, f"is no model or replay in {path.name}", hint=hint)
    return project_of(path.name, [declared[name]])


def whole_place(place: str) -> str:
    """Return a place as it is found from any working folder.

    Raises
    ------
    NotFound
        If there is no such file or folder.
    """
    path, name = _split(place)
    return f"{path}:{name}" if name else str(path)


def forget_project(place: str) -> None:
    """Let modules beside a project be imported anew, as its own files are whenever it is loaded."""
    path, _ = _split(place)
    folder = path if path.is_dir() else path.parent
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).parent == folder:
            del sys.modules[name]


def _declared(module: ModuleType) -> dict[str, Model | Replay]:
    return {key: value for key, value in vars(module).items() if isinstance(value, Model | Replay)}


def _declared_in_folder(folder: Path) -> list[Model | Replay]:
    """Return what the files of a folder declare; one that another imports runs once."""
    paths = [path for path in sorted(folder.glob("*.py")) if not path.name.startswith(("_", "."))]
    if not paths:
        hint = "put files such as flights.py there"
        raise NotFound("project", folder.name, "holds no Python file", hint=hint)
    for path in paths:
        sys.modules.pop(path.stem, None)
    modules = [_imported(path) or _run(path) for path in paths]
    return [one for module in modules for one in _declared(module).values()]


def _imported(path: Path) -> ModuleType | None:
    """Return the module of a file that another file has imported."""
    module = sys.modules.get(path.stem)
    file = None if module is None else getattr(module, "__file__", None)
    return module if file is not None and Path(file).resolve() == path else None


def _split(place: str) -> tuple[Path, str]:
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


def _run(path: Path) -> ModuleType:
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
