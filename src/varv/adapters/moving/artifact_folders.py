"""Artifacts in folders of this machine: those of an ``mlruns`` folder, or of a server's destination."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from varv.home.moving import SourceFile
from varv.kernel.blobs import CHUNK_BYTES
from varv.kernel.errors import NotFound, Unavailable

SERVED = "mlflow-artifacts"
"""The scheme of places behind a server."""


class ArtifactFolders:
    """Reads artifacts by the places that a store names, within the folders that it may read.

    A store says what its clients have told it, so a place elsewhere on this machine is not believed.

    Parameters
    ----------
    roots
        Folders below which places may be.
    served
        The folder that a tracking server keeps its artifacts in; None if that is not known.
    """

    def __init__(self, roots: Sequence[Path], served: Path | None = None) -> None:
        self._served = served
        self._roots = [root.resolve() for root in (*roots, served) if root is not None]

    def files(self, place: str) -> list[SourceFile]:
        """Return the files below a place, by path; links are not followed.

        Raises
        ------
        Unavailable
            If the place is in no folder that may be read.
        """
        root = self._folder(place)
        found = []
        for folder, _, files in os.walk(root):
            for name in files:
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    found.append(SourceFile(path.relative_to(root).as_posix(), path.stat().st_size))
        return sorted(found)

    def chunks(self, place: str, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file.

        Raises
        ------
        NotFound
            If it is gone.
        """
        try:
            with (self._folder(place) / path).open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    yield data
        except OSError as error:
            raise NotFound("artifact", path[:200], "cannot be read", why=error.strerror) from None

    def _folder(self, place: str) -> Path:
        parts = urlsplit(place)
        if parts.scheme == SERVED:
            if self._served is None:
                problem = "is behind a server whose folder is not known; name it with --artifacts"
                raise Unavailable("place", place, problem)
            folder = self._served / parts.path.lstrip("/")
        elif parts.scheme not in ("", "file"):
            problem = f"is in a store of {parts.scheme}; import from the server, with --copy"
            raise Unavailable("place", place, problem)
        else:
            folder = Path(unquote(parts.path) if parts.scheme else place)
        folder = folder.resolve()
        if not any(folder.is_relative_to(root) for root in self._roots):
            problem = "is in none of the folders that may be read; name one with --artifacts"
            raise Unavailable("place", place, problem)
        return folder
