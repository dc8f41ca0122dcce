"""The files of a model that was trained elsewhere, wherever they lie: a folder here, or artifacts of a home.

Nothing here looks into a file. What is opened is always one of the names that were listed, so no name that a
file mentions can lead anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from varv.kernel.errors import InvalidInput, NotFound
from varv.registry.package import LARGEST_BYTES, MOST_FILES


class ModelFiles(Protocol):
    """The files of one model."""

    @property
    def name(self) -> str:
        """How the whole is called."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file, by its path with slashes."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return the content of one of them, which can be read from any place."""
        ...


class FolderFiles:
    """The files in a folder; links that lead out of it are none of them.

    Raises
    ------
    InvalidInput
        If there are too many.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.name

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file."""
        root, found = self._folder.resolve(), dict[str, int]()
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(root):
                found[path.relative_to(self._folder).as_posix()] = path.stat().st_size
            if len(found) > MOST_FILES:
                hint = "give the folder of one model"
                raise InvalidInput("folder", self.name, "holds too many files", most=MOST_FILES, hint=hint)
        return found

    def open(self, path: str) -> BinaryIO:
        """Return the content of one of them."""
        return (self._folder / path).open("rb")


class OneFile:
    """A single file.

    Raises
    ------
    NotFound
        If there is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            hint = "give the path of a model, or of a folder that MLflow wrote"
            raise NotFound("file", path.name, hint=hint)
        self._path = path
        self.name = path.name
        self.sizes = {path.name: path.stat().st_size}

    def open(self, path: str) -> BinaryIO:
        """Return its content."""
        return self._path.open("rb")


def content(files: ModelFiles, path: str) -> bytes:
    """Return one file whole.

    Raises
    ------
    InvalidInput
        If it is larger than a package may be.
    """
    size = files.sizes[path]
    if size > LARGEST_BYTES:
        hint = "make the model smaller"
        raise InvalidInput("file", path, "is too large", size_bytes=size, limit=LARGEST_BYTES, hint=hint)
    with files.open(path) as file:
        return file.read()
