"""Loading a project: its Python files are run, and what they declare is returned."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from varv.kernel.author_files import run_file, split_place
from varv.kernel.errors import NotFound
from varv.project.declaration import Model
from varv.project.project import Project, project_of
from varv.project.replay import Replay


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
    path, name = split_place(place)
    if path.is_dir():
        return project_of(path.name, _declared_in_folder(path))
    declared = _declared(run_file(path))
    if not name:
        return project_of(path.name, declared.values())
    if name not in declared:
        hint = f"it declares {', '.join(declared) or 'none'}"
        raise NotFound("declaration", name, f"is no model or replay in {path.name}", hint=hint)
    return project_of(path.name, [declared[name]])


def forget_project(place: str) -> None:
    """Let modules beside a project be imported anew, as its own files are whenever it is loaded."""
    path, _ = split_place(place)
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
    modules = [_imported(path) or run_file(path) for path in paths]
    return [one for module in modules for one in _declared(module).values()]


def _imported(path: Path) -> ModuleType | None:
    """Return the module of a file that another file has imported."""
    module = sys.modules.get(path.stem)
    file = None if module is None else getattr(module, "__file__", None)
    return module if file is not None and Path(file).resolve() == path else None
