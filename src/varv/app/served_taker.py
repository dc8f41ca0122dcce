"""Moving into a home that a running server owns: its files are read here, and it is told what to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager

import msgspec

from varv.app.compose import TRACKING
from varv.app.settings import Settings
from varv.fronts.client import Client
from varv.home.moving.taking import Brought, BroughtFiles, BroughtRun, BroughtTrace, Done
from varv.home.moving.verbs import TakenThings
from varv.kernel.blobs import FolderBlobs
from varv.kernel.errors import InvalidInput, Unavailable
from varv.kernel.sqlite_file import connect
from varv.kernel.verbs import MOST_REQUEST_BYTES
from varv.runs.imports import Taken

MOST_TOGETHER_BYTES = MOST_REQUEST_BYTES * 3 // 4
POINTS_A_PART, FILES_A_PART = 5000, 500
SPAN_BYTES_A_PART = MOST_TOGETHER_BYTES // 3
"""Of a run, of the owner of artifacts or of a trace that does not fit into one request."""


class ServedTaker:
    """Takes into the home of a server on this machine; a `home.moving.taking.Taker`.

    Parameters
    ----------
    client
        Asks the server.
    source
        Where everything is from.
    """

    def __init__(self, client: Client, settings: Settings, source: str) -> None:
        self._client, self._source = client, source
        self._path = settings.home / TRACKING
        self.blobs = FolderBlobs(settings.home / "blobs")
        self._waiting: list[tuple[object, Done]] = []
        self._size = 0

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Give a connection that shows what has landed."""
        if not self._path.exists():
            raise Unavailable("file", self._path.name, "is not there yet", hint="try again in a moment")
        with closing(connect(str(self._path), read_only=True)) as db:
            db.execute("PRAGMA case_sensitive_like = ON")
            db.execute("BEGIN")
            yield db

    def bring(self, thing: Brought, done: Done = lambda taken: None) -> None:
        """Queue something, in parts if it is a run of many points."""
        parts, told = list(_parts(thing)), list[Taken]()

        def part_done(taken: Taken) -> None:
            told.append(taken)
            if len(told) == len(parts):
                # A run is new by its first part, which the others then find.
                done("new" if told[0] == "new" else "changed" if "changed" in told else "same")

        for part in parts:
            self._queue(part, part_done)

    def _queue(self, thing: Brought, done: Done) -> None:
        size = len(msgspec.json.encode(thing))
        if size > MOST_TOGETHER_BYTES:
            hint = "stop the server, and import without it"
            kind = type(thing).__name__.removeprefix("Brought").lower()
            raise InvalidInput(kind, "", "is too large to be handed to a server", size_bytes=size, hint=hint)
        if self._size + size > MOST_TOGETHER_BYTES:
            self.land()
        self._waiting.append((msgspec.to_builtins(thing), done))
        self._size += size

    def land(self) -> None:
        """Have written what was queued."""
        waiting, self._size = self._waiting[:], 0
        self._waiting.clear()
        if not waiting:
            return
        things = [thing for thing, _ in waiting]
        answer = self._client.call("tracking.take", source=self._source, things=things)
        for taken, (_, done) in zip(msgspec.convert(answer, TakenThings).taken, waiting, strict=True):
            done(taken)


def _parts(thing: Brought) -> Iterator[Brought]:
    match thing:
        case BroughtRun() if thing.points:
            for start in range(0, len(thing.points), POINTS_A_PART):
                points = thing.points[start : start + POINTS_A_PART]
                yield BroughtRun(thing.run, points, start + POINTS_A_PART >= len(thing.points))
        case BroughtFiles() if thing.files:
            paths = list(thing.files)
            for start in range(0, len(paths), FILES_A_PART):
                files = {path: thing.files[path] for path in paths[start : start + FILES_A_PART]}
                yield BroughtFiles(thing.owner, files, thing.listing, start + FILES_A_PART >= len(paths))
        case BroughtTrace() if thing.spans:
            parts = list(_spans_together(thing.spans))
            for number, spans in enumerate(parts, 1):
                yield BroughtTrace(thing.trace, spans, number == len(parts))
        case _:
            yield thing


def _spans_together(spans: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    some: list[bytes] = []
    size = 0
    for one in spans:
        if some and size + len(one) > SPAN_BYTES_A_PART:
            yield tuple(some)
            some.clear()
            size = 0
        some.append(one)
        size += len(one)
    yield tuple(some)
