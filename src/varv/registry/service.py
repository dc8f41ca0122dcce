"""What can be done to registered models and versions from outside. Each function returns a piece of work for
the recorder's thread, which looks at the tables, refuses or decides, and states what it has decided.

A name that a loop works under shares its numbers and aliases: the loop gives the numbers, and moves the
aliases that it serves by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Event
from varv.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.stated_tags import free, require_free
from varv.kernel.texts import all_kept, kept
from varv.registry.model import (
    STAGES,
    AliasMoved,
    ModelChanged,
    ModelCreated,
    ModelDeleted,
    ModelRenamed,
    StageMoved,
    VersionChanged,
    VersionDeleted,
    VersionLogged,
    model_stream,
)
from varv.registry.reading import ModelVersion
from varv.registry.rules import (
    LONGEST_SOURCE,
    require_alias,
    require_description,
    require_model_name,
    require_tags,
    stage_named,
)
from varv.registry.tables import model_no, version_no

ACTIVE = ("Staging", "Production")
"""Stages whose versions can be archived for another one."""


class LoopNames(Protocol):
    """The loops of a home, as the registry has to ask them."""

    def has(self, model: str) -> bool:
        """Return whether a loop works under this name."""
        ...

    def number(self, model: str) -> int | None:
        """Return a number for a version that the loop will not give itself; None if there is no loop."""
        ...

    def stream(self, model: str) -> str:
        """Return the stream that a loop of this name begins."""
        ...

    def moves(self, model: str, alias: str) -> bool:
        """Return whether it is the loop that moves this alias."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a logged version comes from.

    ``source`` is as `VersionLogged` has it, ``storage`` what it resolved to; ``run`` and ``logged_model`` are
    nothing if that is not known.
    """

    source: str
    storage: str
    run: str = ""
    run_link: str = ""
    logged_model: str = ""


class Models:
    """The registered models of a home, as one writes to them.

    Parameters
    ----------
    recorder
        Writes the file that holds their tables.
    blobs
        Hold texts that are too long for entries of the ledger.
    loops
        What works under some of the names.
    """

    def __init__(self, recorder: Recorder, blobs: Blobs, loops: LoopNames) -> None:
        self.recorder = recorder
        self._blobs = blobs
        self._loops = loops

    # Models

    def create(
        self, name: str, *, tags: Mapping[str, str] | None = None, description: str = ""
    ) -> Write[None]:
        """Register a name.

        Raises
        ------
        AlreadyExists
            If it is taken.
        InvalidInput
            If it cannot be a name, or a tag is not valid.
        """

        def work(writing: Writing) -> None:
            require_model_name(name)
            require_tags(tags or {})
            require_description(description)
            _require_free(writing.db, name)
            text, given = kept(self._blobs, description), all_kept(self._blobs, tags or {})
            _record(writing, name, ModelCreated(model=name, description=text, tags=given))

        return Write(work)

    def rename(self, name: str, to: str) -> Write[None]:
        """Give a registered model another name; versions, tags and aliases go with it."""

        def work(writing: Writing) -> None:
            self._free_of_loops(writing, name, "renamed")
            require_model_name(to)
            _require_free(writing.db, to)
            if self._loops.has(to):
                raise AlreadyExists("registered model", to[:80], "is the name of a declared model")
            writing.expect(self._loops.stream(to), 0)
            renamed = ModelRenamed(model=name, to=to)
            _record(writing, name, renamed)
            # A loop that begins under either name is guarded by the stream of that name.
            _record(writing, to, renamed)

        return Write(work)

    def change(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        without: str = "",
    ) -> Write[None]:
        """Set the description or tags of a registered model, or take a tag from it, if it has that."""

        def work(writing: Writing) -> None:
            require_registered(writing.db, name)
            require_tags(tags or {})
            require_description(description or "")
            text = None if description is None else kept(self._blobs, description)
            given = all_kept(self._blobs, tags or {})
            _record(writing, name, ModelChanged(model=name, description=text, tags=given, without=without))

        return Write(work)

    def delete(self, name: str) -> Write[None]:
        """Delete a registered model with all its versions; a name of the same kind starts at 1 again.

        Raises
        ------
        FailedPrecondition
            If a loop works under the name, or has: its versions are what answers and decisions came from.
        """

        def work(writing: Writing) -> None:
            self._free_of_loops(writing, name, "deleted")
            _record(writing, name, ModelDeleted(model=name))

        return Write(work)

    # Aliases

    def set_alias(self, name: str, alias: str, version: int) -> Write[None]:
        """Point an alias at a version.

        Raises
        ------
        FailedPrecondition
            If the loop of the model moves this alias.
        NotFound
            If there is no such version.
        """

        def work(writing: Writing) -> None:
            require_alias(alias)
            before = self._movable(writing.db, name, alias)
            _require_version(writing.db, name, version)
            if before != version:
                moved = AliasMoved(model=name, alias=alias, version=version, previous=before)
                _record(writing, name, moved)

        return Write(work)

    def drop_alias(self, name: str, alias: str) -> Write[None]:
        """Take an alias from a registered model, if it has that."""

        def work(writing: Writing) -> None:
            before = self._movable(writing.db, name, alias)
            if before is not None:
                moved = AliasMoved(model=name, alias=alias, version=None, previous=before)
                _record(writing, name, moved)

        return Write(work)

    # Versions

    def log_version(
        self,
        writing: Writing,
        name: str,
        origin: Origin,
        *,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> ModelVersion:
        """State a further version as a part of a piece of work, and return it.

        Raises
        ------
        NotFound
            If the name is not registered.
        InvalidInput
            If a tag is not valid, or something is too long.
        """
        no = require_registered(writing.db, name)
        # Clients that copy a version send its tags along, also what was stated of the files of that one.
        own = free(tags or {})
        require_tags(own)
        require_description(description)
        if len(origin.source) > LONGEST_SOURCE:
            raise InvalidInput("source", origin.source[:80], "is too long", longest=LONGEST_SOURCE)
        last = writing.db.execute("SELECT last FROM registered WHERE no = ?", (no,)).fetchone()[0]
        # Events of this group's earlier work are folded already, and of others a loop alone gives numbers.
        number = self._loops.number(name)
        if number is None:
            # A loop that begins at this moment counts on from here, and would give the same number.
            writing.expect(self._loops.stream(name), 0)
            number = last + 1
        event = VersionLogged(
            model=name,
            version=number,
            source=origin.source,
            storage=origin.storage,
            run=origin.run,
            run_link=origin.run_link,
            logged_model=origin.logged_model,
            description=kept(self._blobs, description),
            tags=all_kept(self._blobs, own),
        )
        _record(writing, name, event)
        now_ms = writing.now // 1000
        return ModelVersion(
            no=0,
            model=name,
            number=number,
            stage=STAGES[0],
            trained=False,
            source=origin.source,
            storage=origin.storage,
            run=origin.run,
            run_link=origin.run_link,
            logged_model=origin.logged_model,
            description=description,
            created_ms=now_ms,
            updated_ms=now_ms,
            tags=dict(sorted(own.items())),
        )

    def change_version(
        self,
        name: str,
        version: int,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        without: str = "",
    ) -> Write[None]:
        """Set the description or tags of a version, or take a tag from it, if it has that."""

        def work(writing: Writing) -> None:
            _require_version(writing.db, name, version)
            require_free([*(tags or {}), without])
            require_tags(tags or {})
            require_description(description or "")
            event = VersionChanged(
                model=name,
                version=version,
                description=None if description is None else kept(self._blobs, description),
                tags=all_kept(self._blobs, tags or {}),
                without=without,
            )
            _record(writing, name, event)

        return Write(work)

    def delete_version(self, name: str, version: int) -> Write[None]:
        """Delete a logged version, and the aliases that name it; its number is not given again.

        Raises
        ------
        FailedPrecondition
            If a loop registered it.
        """

        def work(writing: Writing) -> None:
            no = _require_version(writing.db, name, version)
            if writing.db.execute("SELECT trained FROM version WHERE no = ?", (no,)).fetchone()[0]:
                problem = "is a loop's own, and cannot be deleted"
                raise FailedPrecondition("model version", f"{name} v{version}", problem)
            query = "SELECT name FROM alias WHERE model = ? AND version = ?"
            asked = (model_no(writing.db, name), version)
            for (alias,) in writing.db.execute(query, asked).fetchall():
                self._movable(writing.db, name, alias)
            _record(writing, name, VersionDeleted(model=name, version=version))

        return Write(work)

    def move_stage(
        self, name: str, version: int, stage: str, *, archive_existing: bool = False
    ) -> Write[None]:
        """Give a version a stage, and archive the others that have it if that is asked for.

        Raises
        ------
        InvalidInput
            If there is no such stage, or nothing can be archived for it.
        """

        def work(writing: Writing) -> None:
            moved = stage_named(stage)
            if archive_existing and moved not in ACTIVE:
                hint = f"archive existing versions for {' or '.join(ACTIVE)} only"
                raise InvalidInput("stage", stage, "has no versions to be archived", hint=hint)
            _require_version(writing.db, name, version)
            query = "SELECT number FROM version WHERE model = ? AND stage = ? AND number != ?"
            asked = (model_no(writing.db, name), STAGES.index(moved), version)
            others = writing.db.execute(query, asked).fetchall() if archive_existing else []
            archived = tuple(number for (number,) in others)
            event = StageMoved(model=name, version=version, stage=moved, archived=archived)
            _record(writing, name, event)

        return Write(work)

    # Parts

    def _movable(self, db: sqlite3.Connection, name: str, alias: str) -> int | None:
        """Return the version that an alias names, if it may be moved from outside."""
        no = require_registered(db, name)
        if self._loops.moves(name, alias):
            problem = f"has its alias {alias} moved by its loop"
            hint = "use varv retrain for a candidate, and varv rollback for the champion before"
            raise FailedPrecondition("registered model", name, problem, hint=hint)
        row = db.execute("SELECT version FROM alias WHERE model = ? AND name = ?", (no, alias)).fetchone()
        return None if row is None else row[0]

    def _free_of_loops(self, writing: Writing, name: str, act: str) -> None:
        no = require_registered(writing.db, name)
        query = "SELECT 1 FROM version WHERE model = ? AND trained LIMIT 1"
        if self._loops.has(name) or writing.db.execute(query, (no,)).fetchone():
            problem = f"has versions of a loop, and cannot be {act}"
            raise FailedPrecondition("registered model", name, problem, hint="leave it, or retire the model")
        writing.expect(self._loops.stream(name), 0)


def _record(writing: Writing, name: str, event: Event) -> None:
    writing.record(model_stream(name), event)


def _require_free(db: sqlite3.Connection, name: str) -> None:
    if model_no(db, name):
        raise AlreadyExists("registered model", name[:80], hint="create a version of it")


def require_registered(db: sqlite3.Connection, name: str) -> int:
    """Return the number of a registered model in the file.

    Raises
    ------
    NotFound
        If there is none of that name.
    """
    if no := model_no(db, name):
        return no
    raise NotFound("registered model", name[:80])


def _require_version(db: sqlite3.Connection, name: str, version: int) -> int:
    if no := version_no(db, require_registered(db, name), version):
        return no
    raise NotFound("model version", f"(name={name[:80]}, version={version})")
