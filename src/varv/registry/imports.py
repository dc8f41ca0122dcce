"""Registered models and versions that were registered elsewhere: taken over with their numbers, times, stages
and aliases, once, however often they are brought.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Literal

import msgspec

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import Conflict, InvalidInput
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.stated_tags import free
from varv.kernel.texts import all_kept, kept
from varv.registry import reading
from varv.registry.model import (
    STAGES,
    AliasMoved,
    ModelChanged,
    ModelCreated,
    RegistryImported,
    Stage,
    StageMoved,
    VersionChanged,
    VersionLogged,
    model_stream,
)
from varv.registry.rules import require_alias, require_model_name
from varv.registry.service import LoopNames
from varv.registry.tables import OF_MODEL, model_no

Taken = Literal["new", "changed", "same"]
"""What became of something that was brought: made here, brought up to its source, or there already."""


class SourceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version as its source has it.

    ``source`` is in the words of whoever logged it, ``storage`` the place here that this has become.
    """

    number: int
    source: str
    storage: str = ""
    stage: Stage = "None"
    run: str = ""
    run_link: str = ""
    logged_model: str = ""
    description: str = ""
    created_ms: int
    updated_ms: int
    tags: Mapping[str, str] = {}


class SourceRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model as its source has it, with its versions by number."""

    name: str
    description: str = ""
    created_ms: int
    updated_ms: int
    last: int = 0
    """The highest number that was ever given, if the source says so."""
    tags: Mapping[str, str] = {}
    aliases: Mapping[str, int] = {}
    versions: tuple[SourceVersion, ...] = ()


class RegistryImports:
    """What takes registered models over into a home.

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

    def take(self, one: SourceRegistered, source: str) -> Write[Taken]:
        """Take over a registered model with its versions.

        Raises
        ------
        Conflict
            If the name is one that a loop works under, or is taken by another model.
        InvalidInput
            If a name, an alias or a stage is not valid.
        """

        def work(writing: Writing) -> Taken:
            _require_valid(one)
            if self._loops.has(one.name):
                problem = "is the name of a declared model, whose loop gives its numbers"
                raise Conflict(
                    "registered model", one.name, problem, source=source, hint="rename one of the two"
                )
            writing.expect(self._loops.stream(one.name), 0)
            known = _marks(writing.db, one.name)
            no = model_no(writing.db, one.name)
            if no and OF_MODEL not in known and _is_other(writing.db, one):
                problem = "is another one here than at the source"
                hint = "rename or delete the one that is here"
                raise Conflict("registered model", one.name, problem, source=source, hint=hint)
            return self._take(writing, _as_logged(one), source, known, is_here=bool(no))

        return Write(work)

    def _take(
        self,
        writing: Writing,
        one: SourceRegistered,
        source: str,
        known: Mapping[int, Digest],
        *,
        is_here: bool,
    ) -> Taken:
        content = digest_of(one)
        if known.get(OF_MODEL) == content:
            return "same"
        stream = model_stream(one.name)
        description, tags = kept(self._blobs, one.description), all_kept(self._blobs, one.tags)
        here = reading.registered_model(writing.db, one.name).aliases if is_here else {}
        made = ModelChanged if is_here else ModelCreated
        writing.record(stream, made(model=one.name, description=description, tags=tags))
        for version in one.versions:
            self._take_version(writing, one.name, version, source, known)
        for alias, number in one.aliases.items():
            if here.get(alias) != number:
                moved = AliasMoved(model=one.name, alias=alias, version=number, previous=here.get(alias))
                writing.record(stream, moved)
        event = RegistryImported(
            model=one.name,
            source=source,
            content=content,
            created_ms=one.created_ms,
            updated_ms=one.updated_ms,
            last=one.last,
        )
        writing.record(stream, event)
        return "changed" if is_here else "new"

    def _take_version(
        self, writing: Writing, name: str, one: SourceVersion, source: str, known: Mapping[int, Digest]
    ) -> None:
        content = digest_of(one)
        if known.get(one.number) == content:
            return
        stream = model_stream(name)
        description, tags = kept(self._blobs, one.description), all_kept(self._blobs, one.tags)
        if one.number in known:
            event = VersionChanged(model=name, version=one.number, description=description, tags=tags)
        else:
            event = VersionLogged(
                model=name,
                version=one.number,
                source=one.source,
                storage=one.storage,
                run=one.run,
                run_link=one.run_link,
                logged_model=one.logged_model,
                description=description,
                tags=tags,
            )
        writing.record(stream, event)
        if one.stage != "None" or one.number in known:
            writing.record(stream, StageMoved(model=name, version=one.number, stage=one.stage))
        imported = RegistryImported(
            model=name,
            version=one.number,
            source=source,
            content=content,
            created_ms=one.created_ms,
            updated_ms=one.updated_ms,
        )
        writing.record(stream, imported)


def _as_logged(one: SourceRegistered) -> SourceRegistered:
    """Return a model without what another server of ours has found in its files: it is found here anew, and
    there at some moment between two imports.
    """
    replace = msgspec.structs.replace
    versions = tuple(replace(version, tags=free(version.tags)) for version in one.versions)
    return replace(one, versions=versions)


def _marks(db: sqlite3.Connection, name: str) -> dict[int, Digest]:
    """Return the digests of what was taken over, by the number of the version, `OF_MODEL` for the model."""
    query = "SELECT number, content FROM registry_imported WHERE model = ?"
    return dict(db.execute(query, (model_no(db, name),)).fetchall())


def _is_other(db: sqlite3.Connection, one: SourceRegistered) -> bool:
    return reading.registered_model(db, one.name).created_ms != one.created_ms


def _require_valid(one: SourceRegistered) -> None:
    require_model_name(one.name)
    for alias in one.aliases:
        require_alias(alias)
    for version in one.versions:
        if version.number < 1 or version.stage not in STAGES:
            subject = f"{one.name} v{version.number}"
            raise InvalidInput("model version", subject, "is not valid", stage=version.stage)
