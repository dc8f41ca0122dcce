"""Loading a declaration: a Python file is run, and the one model or replay that it declares is returned."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from varv.kernel.errors import InvalidDeclaration, NotFound, UserCodeFailed, VarvError
from varv.loop.declaration import Model, Replay


def load_declaration(file: str) -> Model | Replay:
    """Return the declaration in ``FILE``, or the one named ``FILE:name``; it is not validated yet.

    A file that declares a replay declares its model too; the replay is returned. Its own folder is on the
    path while it runs and after, so that it can import what lies beside it.

    Raises
    ------
    NotFound
        If there is no such file, or no such name in it.
    InvalidDeclaration
        If it declares nothing, or more than one and none was chosen.
    UserCodeFailed
        If running it raised; the line is named.
    """
    path, name = _split(file)
    module = _run(path)
    declared = {key: value for key, value in vars(module).items() if isinstance(value, Model | Replay)}
    if name:
        if name not in declared:
            hint = f"it declares {', '.join(declared) or 'none'}"
            raise NotFound("declaration", name, f"is no model or replay in {path.name}", hint=hint)
        return declared[name]
    # One object may be bound to two names.
    replays = list({id(value): value for value in declared.values() if isinstance(value, Replay)}.values())
    models = list({id(value): value for value in declared.values() if isinstance(value, Model)}.values())
    chosen = replays or models
    if len(chosen) != 1 or (replays and len(models) > 1):
        problem = f"declares {len(models)} models and {len(replays)} replays"
        hint = (
            f"choose one: {path.name}:{next(iter(declared))}" if declared else "write late = varv.Model(...)"
        )
        raise InvalidDeclaration("file", path.name, problem, hint=hint)
    return chosen[0]


def model_of(declaration: Model | Replay) -> Model:
    """Return the model of a declaration."""
    return declaration.model if isinstance(declaration, Replay) else declaration


def _split(file: str) -> tuple[Path, str]:
    if _is_file(file):
        return Path(file).resolve(), ""
    path, _, name = file.rpartition(":")
    if path and _is_file(path):
        return Path(path).resolve(), name
    hint = "give the path of a Python file; varv init makes one to start from"
    raise NotFound("file", file[:200], hint=hint)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
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
