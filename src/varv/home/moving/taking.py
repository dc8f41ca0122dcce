"""What is brought, as data, and who writes it: the recorder of a home, here or in its server.

A server is handed what a command has read; it opens no address and no folder itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from varv.home.tracking.desk import TrackingDesk
from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest
from varv.kernel.recorder import Job, Write
from varv.registry.imports import SourceRegistered
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace, Taken
from varv.runs.imports.traces import take_trace
from varv.runs.rules import storable

MOST_IN_FLIGHT = 20_000
"""Things, and points in them, that wait for the recorder."""
Told = tuple[str, float | None, int, int, str, str, str]
"""A point: metric, value, None if it is no number, time, step, and the model, dataset and digest it is of."""


class BroughtExperiment(msgspec.Struct, frozen=True, tag="experiment"):
    """An experiment, and where its artifacts are from now on."""

    experiment: SourceExperiment
    place: str


class BroughtRun(msgspec.Struct, frozen=True, tag="run"):
    """A run with points; there are more of these to come unless it is the last part."""

    run: SourceRun
    points: tuple[Told, ...] = ()
    is_last: bool = True


class BroughtModel(msgspec.Struct, frozen=True, tag="logged_model"):
    """A logged model."""

    model: SourceModel


class BroughtRegistered(msgspec.Struct, frozen=True, tag="registered_model"):
    """A registered model with its versions."""

    model: SourceRegistered


class BroughtFiles(msgspec.Struct, frozen=True, tag="files"):
    """The artifacts of an owner, whose bytes are blobs of the home already."""

    owner: str
    files: dict[str, tuple[Digest, int]]
    listing: Digest
    is_last: bool = True
    """Whether no more of them are to come."""


class BroughtTrace(msgspec.Struct, frozen=True, tag="trace"):
    """A trace with spans, as of `runs.imports.traces.packed_spans`; there are more of these to come unless it
    is the last part.
    """

    trace: SourceTrace
    spans: tuple[bytes, ...] = ()
    is_last: bool = True


Brought = BroughtExperiment | BroughtRun | BroughtModel | BroughtTrace | BroughtRegistered | BroughtFiles
Done = Callable[[Taken], None]


class Taker(Protocol):
    """Takes what is brought into a home."""

    @property
    def blobs(self) -> Blobs:
        """Where the bytes of artifacts go."""
        ...

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection that shows what has landed."""
        ...

    def bring(self, thing: Brought, done: Done = lambda taken: None) -> None:
        """Queue something; `done` is called with what became of it when it lands."""
        ...

    def land(self) -> None:
        """Wait for all that was queued; raise the first error."""
        ...


class LocalTaker:
    """Takes into a home that this process owns; a `Taker`.

    Parameters
    ----------
    source
        Where everything is from.
    """

    def __init__(self, desk: TrackingDesk, source: str) -> None:
        self._desk, self._source = desk, source
        self.blobs = desk.runs.blobs
        self._jobs: list[tuple[Future[Job[Any]], Done]] = []
        self._n = 0

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection that shows what has landed."""
        return self._desk.recorder.reading()

    def bring(self, thing: Brought, done: Done = lambda taken: None) -> None:
        """Queue something."""
        if self._n >= MOST_IN_FLIGHT:
            self.land()
        finished: Future[Job[Any]] = Future()
        self._desk.recorder.submit(_write_of(self._desk, thing, self._source), finished.set_result)
        self._jobs.append((finished, done))
        self._n += _weight(thing)

    def land(self) -> None:
        """Wait for all that was queued."""
        jobs = self._jobs[:]
        self._jobs.clear()
        self._n = 0
        for finished, done in jobs:
            done(finished.result().outcome())


def _weight(thing: Brought) -> int:
    match thing:
        case BroughtRun():
            return 1 + len(thing.points)
        case BroughtTrace():
            # A span holds some hundred times what a point does.
            return 1 + sum(map(len, thing.spans)) // 64
    return 1


def told_point(point: Point) -> Told:
    """Return a point as it is brought."""
    value = None if point.value != point.value else storable(point.value)
    return point.name, value, point.at_ms, point.step, point.model, point.dataset, point.digest


def _write_of(desk: TrackingDesk, thing: Brought, source: str) -> Write[Taken]:
    match thing:
        case BroughtExperiment():
            return desk.imports.take_experiment(thing.experiment, source, thing.place)
        case BroughtRun():
            points = [_point(told) for told in thing.points]
            return desk.imports.take_run(thing.run, points, source, is_last=thing.is_last)
        case BroughtModel():
            return desk.imports.take_model(thing.model, source)
        case BroughtTrace():
            return take_trace(thing.trace, thing.spans, source, desk.runs.blobs, is_last=thing.is_last)
        case BroughtRegistered():
            return desk.registry_imports.take(thing.model, source)
        case BroughtFiles():
            return desk.imports.take_files(
                thing.owner, thing.files, source, thing.listing, is_last=thing.is_last
            )


def _point(told: Told) -> Point:
    name, value, at_ms, step, model, dataset, digest = told
    number = float("nan") if value is None else value
    return Point(name, number, at_ms, step, model, dataset, digest)
