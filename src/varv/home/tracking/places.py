"""Where the files of logged versions and of logged models are among a home's artifacts, and what they hold.

A place is an owner and a folder below it, never a path of the disk. Who asks in the words of MLflow
(``models:/churn/3``, ``models:/churn@champion``, ``models:/m-...``, ``runs:/RUN/path``) is given files as
`training.model_files` has them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from varv.home.tracking.versions import version_number
from varv.kernel.blobs import Blobs, FolderBlobs
from varv.kernel.codec import Digest
from varv.kernel.errors import FailedPrecondition, InvalidInput, NotFound
from varv.kernel.sqlite_file import connect
from varv.registry import reading
from varv.registry.reading import ModelVersion
from varv.runs import artifacts
from varv.runs.logged.model import MODELS_FOLDER
from varv.runs.logged.service import active
from varv.runs.logged.tables import root_of

RUNS_FOLDER = "runs"
SCHEMES = ("models:/", "runs:/")
_LOGGED = "m-"
_NAMES = "models:/NAME/3, models:/NAME@alias, models:/m-ID or runs:/RUN/path"


class Place(NamedTuple):
    """Whose artifacts they are, and the folder in which they are; the empty text for all."""

    owner: str
    folder: str


class LoggedFiles(NamedTuple):
    """Files of a logged model or of a version, and what they are called in full, without aliases."""

    source: str
    files: ArtifactFiles


class ArtifactFiles:
    """The artifacts in one folder, by their paths below it; `training.model_files.ModelFiles`."""

    def __init__(self, name: str, blobs: Blobs, files: Mapping[str, tuple[Digest, int]]) -> None:
        self.name = name
        self._blobs, self._files = blobs, files
        self.sizes = {path: size for path, (_, size) in files.items()}

    @property
    def root(self) -> Digest:
        """The digest of all paths with what is under them."""
        return artifacts.root_of(self._files)

    def open(self, path: str) -> BinaryIO:
        """Return the content of one of them, which is checked to be what was stored."""
        return self._blobs.path(self._files[path][0]).open("rb")


def is_logged(source: str) -> bool:
    """Return whether a text names something that was logged, rather than a file."""
    return source.startswith(SCHEMES)


@contextmanager
def tables_of(home: Path, file: str) -> Generator[sqlite3.Connection]:
    """Give a connection to a home's tables that only reads, also while a server writes them.

    Raises
    ------
    NotFound
        If nothing was ever logged there.
    """
    path = home / file
    if not path.exists():
        hint = "log the model to varv up or varv track, or give a file"
        raise NotFound("home", home.name, "holds nothing that was logged", hint=hint)
    db = connect(str(path), read_only=True)
    try:
        yield db
    finally:
        db.close()


def logged_files(db: sqlite3.Connection, home: Path, source: str) -> LoggedFiles:
    """Return the files of what a text in MLflow's words names.

    Raises
    ------
    NotFound
        If there is nothing of that name.
    InvalidInput
        If it names nothing that can have files.
    FailedPrecondition
        If it has no files.
    """
    blobs = FolderBlobs(home / "blobs")
    named, place = _resolved(db, source)
    files = None if place is None else files_in(db, blobs, named, place)
    if files is None or not files.sizes:
        hint = "log a model there; a prompt has none"
        raise FailedPrecondition("model", named, "has no files", hint=hint)
    return LoggedFiles(named, files)


def files_in(db: sqlite3.Connection, blobs: Blobs, name: str, place: Place) -> ArtifactFiles:
    """Return the artifacts in a place, sealed or not."""
    return ArtifactFiles(name, blobs, artifacts.below(db, place.owner, place.folder))


def place_of(db: sqlite3.Connection, version: ModelVersion) -> Place | None:
    """Return where the files of a logged version are; None if it has none, as a prompt."""
    scheme, _, rest = version.storage.partition(":/")
    if scheme == "runs":
        run, _, folder = rest.partition("/")
        return run_place(db, run, folder)
    if version.logged_model:
        folder = _below(version.storage, root_of(db, version.logged_model))
        return None if folder is None else logged_place(version.logged_model, folder)
    row = db.execute(_RUN_ROOT, (version.run,)).fetchone()
    folder = _below(version.storage, None if row is None else f"{row[0]}/{version.run}/artifacts")
    return None if folder is None else Place(f"{RUNS_FOLDER}/{version.run}", folder)


_RUN_ROOT = "SELECT artifacts FROM run JOIN experiment ON experiment.no = run.experiment WHERE run.id = ?"
_OUTPUT = "SELECT id FROM logged WHERE run = ? AND name = ? AND NOT deleted ORDER BY no DESC LIMIT 1"


def logged_place(id: str, folder: str = "") -> Place:
    """Return where the files of a logged model are."""
    return Place(f"{MODELS_FOLDER}/{id}", folder)


def run_place(db: sqlite3.Connection, run: str, folder: str) -> Place:
    """Return where a model of a run is: below the run, or where the model of that name is that it logged."""
    folder = folder.strip("/")
    place = Place(f"{RUNS_FOLDER}/{run}", folder)
    if artifacts.below(db, *place):
        return place
    output = db.execute(_OUTPUT, (run, folder)).fetchone()
    return place if output is None else logged_place(output[0])


def _below(storage: str, root: str | None) -> str | None:
    if root is None or not (storage == root or storage.startswith(f"{root}/")):
        return None
    return storage[len(root) :].strip("/")


def _resolved(db: sqlite3.Connection, source: str) -> tuple[str, Place | None]:
    named = source.removeprefix("models:/")
    if source.startswith("runs:/"):
        run, _, folder = source.removeprefix("runs:/").partition("/")
        if db.execute(_RUN_ROOT, (run,)).fetchone() is None:
            raise NotFound("run", run[:80])
        if folder:
            artifacts.require_path(folder.rstrip("/"))
        return source, run_place(db, run, folder)
    if named.startswith(_LOGGED) and "/" not in named and "@" not in named:
        active(db, named)
        return source, logged_place(named)
    name, slash, number = named.rpartition("/")
    if slash:
        found = reading.version(db, name, version_number(number))
    else:
        name, at, alias = named.rpartition("@")
        if not at:
            hint = f"write {_NAMES}"
            raise InvalidInput("model", source[:120], "names no version", hint=hint)
        found = reading.version_by_alias(db, name, alias)
    if found.trained:
        hint = "it was trained or brought here, and is a candidate already"
        raise FailedPrecondition("version", f"{found.model} v{found.number}", "is a loop's own", hint=hint)
    return f"models:/{found.model}/{found.number}", place_of(db, found)
