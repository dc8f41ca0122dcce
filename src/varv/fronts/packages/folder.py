"""Writing an export into a folder: nothing outside it, and nothing over what somebody else has put there."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from varv.fronts.packages.describing import json_bytes
from varv.fronts.packages.model import Files
from varv.kernel.errors import AlreadyExists, Corrupt, NotFound

MARK = ".varv-package.json"
"""Says that a folder was written by varv, for which target, and what is in it."""


class _Mark(msgspec.Struct):
    target: str
    files: list[str]


def write_folder(files: Files, folder: Path, target: str) -> list[str]:
    """Write files into a folder, in the place of those of a former export for the same target.

    Returns
    -------
    list
        The paths within the folder, sorted.

    Raises
    ------
    AlreadyExists
        If there is something in the folder that is not of such an export.
    NotFound
        If the folder cannot be written.
    """
    names = sorted(files)
    _require_inside(names)
    try:
        former = _former(folder, target)
        folder.mkdir(parents=True, exist_ok=True)
        for name in former:
            (folder / name).unlink(missing_ok=True)
        _remove_empty(folder)
        # First of all, so that a folder that was left half written is known as ours.
        (folder / MARK).write_bytes(json_bytes({"target": target, "files": names}))
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
    except OSError as error:
        raise NotFound("folder", str(folder), "cannot be written", why=error.strerror) from None
    return names


def _require_inside(names: list[str]) -> None:
    for name in names:
        if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise Corrupt("file", name, "would lie outside the folder")


def _former(folder: Path, target: str) -> list[str]:
    """Return the files of a former export, which is all that the folder may hold."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return []
    hint = "name another folder with --to, or empty it"
    mark = folder / MARK
    if not folder.is_dir() or not mark.is_file():
        raise AlreadyExists("folder", str(folder), "is not empty, and was not written by varv", hint=hint)
    try:
        found = msgspec.json.decode(mark.read_bytes(), type=_Mark)
        _require_inside(found.files)
    except (msgspec.MsgspecError, Corrupt):
        raise AlreadyExists("folder", str(folder), f"has a {MARK} that does not decode", hint=hint) from None
    if found.target != target:
        problem = f"holds a package for {found.target}, not for {target}"
        raise AlreadyExists("folder", str(folder), problem, hint=hint)
    allowed = {MARK, *found.files}
    others = sorted(
        name
        for path in folder.rglob("*")
        if (path.is_symlink() or not path.is_dir())
        and (name := path.relative_to(folder).as_posix()) not in allowed
        and "__pycache__" not in path.parts
    )
    if others:
        problem = f"holds {others[0]!r}, which varv did not write"
        raise AlreadyExists("folder", str(folder), problem, hint=hint, n=len(others))
    if any(path.is_symlink() for path in folder.rglob("*")):
        raise AlreadyExists("folder", str(folder), "holds links, which may lead elsewhere", hint=hint)
    return found.files


def _remove_empty(folder: Path) -> None:
    """Remove what is left of a former export: folders without files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name == "__pycache__":
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
