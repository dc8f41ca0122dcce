"""What the files of logged models and versions hold, looked at once they are there: which runtime can answer
for them, and whether a file would run code.

A thread of its own reads them, neither the one that writes nor one that answers. Nothing is unpickled,
imported or rendered; `registry.contents` tells code by what streams hold, and `training.mlflow_folder`
decides which file of a flavour would be opened, as it does when a version becomes a candidate. What was found
is on record with the digest of the files, and what was not looked at before a crash is looked at after it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from varv.home.tracking.places import ArtifactFiles, Place, files_in, logged_place, place_of
from varv.kernel.blobs import Blobs
from varv.kernel.clock import Instant
from varv.kernel.codec import Digest, Event, canonical
from varv.kernel.errors import Corrupt, NotFound, VarvError
from varv.kernel.observe import log
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.stated_tags import CLEAN, FILES, FLAVORS, NO_RUNTIME, RUNTIME, SCAN
from varv.registry import reading
from varv.registry.contents import MOST_FOUND, code_in
from varv.registry.mlmodel import columns_of, libraries_of
from varv.registry.model import VersionLogged, VersionScanned, model_stream
from varv.registry.signature import Signature
from varv.registry.tables import model_no, version_no
from varv.runs.logged import LoggedModels
from varv.runs.logged.model import LOGGED_STATUSES, MODELS_FOLDER, ModelFinalized
from varv.runs.logged.service import active, tags_of
from varv.runs.model import ArtifactsSealed
from varv.runs.tables import TAG
from varv.training.imported import runtime_of
from varv.training.mlflow_folder import described
from varv.training.model_files import ModelFiles

SETTLES_S = 0.2
"""How long what happened waits for what follows it, to be looked at together."""
AT_ONCE = 50
MOST_FILES = 5_000
_LARGEST_REQUIREMENTS = 100_000
_LONGEST_SCAN = 200
_LOG = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the files of one model.

    ``why`` says why nothing can answer for it without running code. ``signature`` are the columns that it
    reads, as far as MLflow names them and they can be fed; ``libraries`` the versions that it was made with.
    """

    runtime: str
    why: str = ""
    flavors: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    signature: Signature | None = None
    libraries: dict[str, str] = {}
    n_files: int = 0
    size_bytes: int = 0

    @property
    def scan(self) -> str:
        """The first thing that would run code, in words."""
        if not self.found:
            return CLEAN
        more = f" (and {len(self.found) - 1} more)" if len(self.found) > 1 else ""
        return f"{self.found[0].encode()[:_LONGEST_SCAN].decode(errors='ignore')}{more}"

    def tags(self, root: Digest) -> dict[str, str]:
        """Return what is shown of it wherever tags are shown."""
        return {FLAVORS: ", ".join(self.flavors), RUNTIME: self.runtime, SCAN: self.scan, FILES: root}


def look(files: ModelFiles) -> Report:
    """Return what files hold, without loading any."""
    try:
        runtime, why = runtime_of(files), ""
    except VarvError as error:
        runtime, why = NO_RUNTIME, str(error)
    flavors, signature, libraries = _described(files)
    return Report(
        runtime=runtime,
        why=why,
        flavors=flavors,
        found=tuple(_code_in_all(files)),
        signature=signature,
        libraries=libraries,
        n_files=len(files.sizes),
        size_bytes=sum(files.sizes.values()),
    )


def _described(files: ModelFiles) -> tuple[tuple[str, ...], Signature | None, dict[str, str]]:
    try:
        model = described(files)
    except VarvError:
        return (), None, {}  # the reason is that of the runtime
    if model is None:
        return (), None, {}
    try:
        columns = columns_of(model.inputs)
    except VarvError:
        columns = ()
    requirements = ""
    if files.sizes.get("requirements.txt", _LARGEST_REQUIREMENTS) < _LARGEST_REQUIREMENTS:
        with files.open("requirements.txt") as file:
            requirements = file.read().decode("utf-8", "replace")
    form = "columns" if any(column.kind == "text" for column in columns) else "matrix"
    signature = Signature(columns, form) if columns else None
    return tuple(sorted(model.flavours)), signature, libraries_of(model, requirements)


def _code_in_all(files: ModelFiles) -> list[str]:
    found: list[str] = []
    for place, path in enumerate(sorted(files.sizes)):
        if place == MOST_FILES or len(found) >= MOST_FOUND:
            found.append("more files than are looked at")
            break
        try:
            with files.open(path) as file:
                found += map(str, code_in(path, file))
        except (Corrupt, NotFound, OSError) as error:
            found.append(f"{path}: cannot be read: {error}"[:_LONGEST_SCAN])
    return found[: MOST_FOUND + 1]


class Due(NamedTuple):
    """What is to be looked at: a version of a registered model, a logged model, or whatever has files of an
    owner.
    """

    kind: str
    name: str
    version: int = 0


class _Seen(NamedTuple):
    due: Due
    root: Digest
    report: Report
    blob: Digest
    """Holds the report."""


class Scans:
    """Looks at the files of a home's logged models and versions; a `kernel.recorder.Fold` that hears of them.

    Parameters
    ----------
    blobs
        Of the home.
    """

    schema = ""
    events: tuple[type[Event], ...] = (VersionLogged, VersionScanned, ModelFinalized, ArtifactsSealed)

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._changed = threading.Condition()
        self._due: dict[Due, None] = {}
        self._stopping = False
        self._reports: dict[Digest, Report] = {}
        self._thread: threading.Thread | None = None

    # What is heard, by the thread that writes

    def apply(self, db: sqlite3.Connection, stream: str, event: Event, at: Instant) -> None:
        """Note what an event leaves to be looked at."""
        match event:
            case VersionLogged() if event.storage:
                self._add(Due("version", event.model, event.version))
            case VersionScanned():
                with self._changed:
                    # Of a file of tables that is made again: it was looked at in the past.
                    self._due.pop(Due("version", event.model, event.version), None)
            case ModelFinalized() if event.status == "READY":
                self._add(Due("logged", event.logged_model))
            case ArtifactsSealed():
                self._add(Due("owner", event.owner))
            case _:
                pass

    def forget(self) -> None:
        """Keep what is noted: what was not written after all is not found, and passed over."""

    def _add(self, *due: Due) -> None:
        with self._changed:
            # Whoever waits for what follows need not be woken by it.
            if not self._due:
                self._changed.notify()
            self._due.update(dict.fromkeys(due))

    # The thread that looks

    def start(self, recorder: Recorder, logged: LoggedModels) -> None:
        """Look at what happens from now on, and at what was not looked at before a stop."""
        self._thread = threading.Thread(target=self._run, args=(recorder, logged), name="scans", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not looked at by now is looked at after the next start. Closing twice is harmless."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self, recorder: Recorder, logged: LoggedModels) -> None:
        with recorder.reading() as db:
            self._add(*_not_looked_at(db))
        while (due := self._next()) is not None:
            try:
                _look_at(recorder, logged, self, due)
            except (VarvError, sqlite3.Error) as error:
                log(_LOG, logging.ERROR, "scans.behind", why=str(error))

    def _next(self) -> list[Due] | None:
        with self._changed:
            while not self._due and not self._stopping:
                self._changed.wait()
            if not self._stopping:
                self._changed.wait_for(lambda: self._stopping, SETTLES_S)
            if self._stopping:
                return None
            due = list(self._due)[:AT_ONCE]
            for one in due:
                del self._due[one]
            return due

    def seen(self, due: Due, files: ArtifactFiles) -> _Seen:
        """Return what files hold; what was just looked at, a logged model's say, is not read again."""
        root = files.root
        if root not in self._reports:
            if len(self._reports) >= AT_ONCE:
                self._reports.clear()
            self._reports[root] = look(files)
        report = self._reports[root]
        return _Seen(due, root, report, self._blobs.put(canonical(report)))

    def state(self, writing: Writing, logged: LoggedModels, seen: Sequence[_Seen]) -> None:
        """Put on record what was found, of what is still there."""
        for due, root, report, blob in seen:
            if due.kind == "logged":
                if _is_active(writing.db, due.name):
                    logged.set_tags(writing, due.name, report.tags(root))
            elif version_no(writing.db, model_no(writing.db, due.name), due.version):
                event = VersionScanned(
                    model=due.name,
                    version=due.version,
                    root=root,
                    flavors=", ".join(report.flavors),
                    runtime=report.runtime,
                    scan=report.scan,
                    report=blob,
                )
                writing.record(model_stream(due.name), event)

    def files_of(self, db: sqlite3.Connection, due: Due) -> ArtifactFiles | None:
        """Return the files of a version or a logged model, unless it has none, or these were looked at."""
        place: Place | None
        if due.kind == "logged":
            if not _is_active(db, due.name):
                return None
            place, tags = logged_place(due.name), tags_of(db, active(db, due.name).no)
        else:
            try:
                version = reading.version(db, due.name, due.version)
            except NotFound:
                return None
            place, tags = place_of(db, version), version.tags
        files = None if place is None else files_in(db, self._blobs, due.name, place)
        return None if files is None or not files.sizes or files.root == tags.get(FILES) else files


def _look_at(recorder: Recorder, logged: LoggedModels, scans: Scans, heard: Sequence[Due]) -> None:
    # Whoever told of them may not have written them yet; after this they are there.
    recorder.do(Write(lambda writing: None))
    with recorder.reading() as db:
        due = dict.fromkeys(one for event in heard for one in _meant(db, event))
        waiting = [(one, files) for one in due if (files := scans.files_of(db, one)) is not None]
    seen = [scans.seen(one, files) for one, files in waiting]
    if seen:
        recorder.do(Write(lambda writing: scans.state(writing, logged, seen)))


def _meant(db: sqlite3.Connection, due: Due) -> list[Due]:
    if due.kind != "owner":
        return [due]
    kind, _, id = due.name.partition("/")
    column = "logged" if kind == MODELS_FOLDER else "run"
    query = (
        "SELECT registered.name, number FROM version JOIN registered ON registered.no = version.model"
        f" WHERE version.{column} = ? AND NOT trained"
    )
    found = [Due("version", *row) for row in db.execute(query, (id,))]
    return [Due("logged", id), *found] if kind == MODELS_FOLDER else found


def _not_looked_at(db: sqlite3.Connection) -> list[Due]:
    versions = (
        "SELECT registered.name, number FROM version JOIN registered ON registered.no = version.model"
        " WHERE NOT trained AND storage != '' AND NOT EXISTS"
        " (SELECT 1 FROM version_tag WHERE version_tag.version = version.no AND version_tag.name = ?)"
    )
    models = (
        "SELECT id FROM logged WHERE NOT deleted AND status = ? AND NOT EXISTS"
        " (SELECT 1 FROM logged_word AS word WHERE word.logged = logged.no AND kind = ? AND word.name = ?)"
    )
    ready = LOGGED_STATUSES.index("READY")
    found = [Due("version", *row) for row in db.execute(versions, (FILES,))]
    return found + [Due("logged", id) for (id,) in db.execute(models, (ready, TAG, FILES))]


def _is_active(db: sqlite3.Connection, id: str) -> bool:
    try:
        active(db, id)
    except NotFound:
        return False
    return True
