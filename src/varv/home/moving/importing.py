"""The order of moving in: experiments, their runs with histories, logged models, artifacts, the registry, and
at the end a comparison.

What was brought is noted thing by thing, so whoever is killed goes on where it was, and whoever runs again
brings what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from varv.home.moving.checking import Checking
from varv.home.moving.files import Files
from varv.home.moving.places import Places
from varv.home.moving.ports import Owner, Source
from varv.home.moving.report import MoveReport
from varv.home.tracking.desk import TrackingDesk
from varv.kernel.recorder import Job, Write
from varv.runs.imports import SourceExperiment, SourceRun
from varv.runs.imports.model import content_of, name_of
from varv.runs.imports.tables import marks_of
from varv.runs.model import ENDED

Progress = Callable[[MoveReport], None]
MOST_IN_FLIGHT = 20_000
"""Pieces of work, and points in them, that wait for the recorder."""


class Importing:
    """One move from a source into a home.

    Parameters
    ----------
    source
        Where everything is so far.
    desk
        Writes the home.
    copies
        Whether artifacts that lie in a store of objects are brought as well; otherwise they stay where they
        are, and clients are told that place.
    brings_files
        Whether artifacts are brought at all.
    progress
        Is called now and then.
    """

    def __init__(
        self,
        source: Source,
        desk: TrackingDesk,
        *,
        copies: bool = False,
        brings_files: bool = True,
        progress: Progress = lambda report: None,
    ) -> None:
        self._source, self._desk, self._progress = source, desk, progress
        self._brings_files = brings_files
        self._report = MoveReport(source=source.name)
        self._places = Places(copies=copies)
        self._files = Files(source, desk.imports, self._report)
        self._checking = Checking(source, desk.recorder, self._places, self._report)
        self._flight = Flight(desk)

    def run(self) -> MoveReport:
        """Bring everything, compare, and return what came of it.

        Raises
        ------
        Conflict
            If something here has the id of something there, and is another; what came before it stays.
        Unavailable
            If the source does not answer.
        """
        try:
            experiments = list(self._source.experiments())
            for experiment in experiments:
                self._experiment(experiment)
            for experiment in experiments:
                self._runs(experiment)
                self._models(experiment)
            self._registered()
            self._checking.compare(experiments)
        finally:
            self._files.close()
        self._progress(self._report)
        return self._report

    def _experiment(self, one: SourceExperiment) -> None:
        place = self._places.of(one)
        if self._places.is_linked(one.id):
            self._report.linked.add(f"{one.id} ({one.name})")
        write = self._desk.imports.take_experiment(one, self._source.name, place)
        self._report.experiments.add(self._desk.recorder.do(write))

    def _runs(self, experiment: SourceExperiment) -> None:
        for page in self._source.runs(experiment.id):
            fresh = self._fresh(page)
            self._report.runs.same += len(page) - len(fresh)
            for run, points in self._source.points(fresh):
                write = self._desk.imports.take_run(run, points, self._source.name)
                self._flight.submit(write, self._report.runs.add, len(points))
                self._report.n_points += len(points)
            self._checking.seen(page)
            self._bring(experiment.id, page)
            self._progress(self._report)
        self._flight.land()

    def _fresh(self, page: Sequence[SourceRun]) -> list[SourceRun]:
        """Return the runs that are not here as they are there; one that goes on may have more points."""
        with self._desk.recorder.reading() as db:
            known = marks_of(db, (name_of(run) for run in page))
        marks = {thing: mark.content for thing, mark in known.items()}
        return [run for run in page if run.status not in ENDED or marks.get(name_of(run)) != content_of(run)]

    def _models(self, experiment: SourceExperiment) -> None:
        for page in self._source.models(experiment.id):
            for model in page:
                write = self._desk.imports.take_model(model, self._source.name)
                self._flight.submit(write, self._report.logged_models.add)
            self._bring(experiment.id, page)
            self._progress(self._report)
        self._flight.land()

    def _bring(self, experiment: str, owners: Iterable[Owner]) -> None:
        if self._brings_files and not self._places.is_linked(experiment):
            # Artifacts are put on record after what they are of.
            self._flight.land()
            self._files.bring(owner for owner in owners if owner.artifacts)

    def _registered(self) -> None:
        for one in self._source.registered():
            moved = self._places.moved(one)
            made = self._desk.recorder.do(self._desk.registry_imports.take(moved, self._source.name))
            self._report.registered_models += 1
            self._report.n_versions += made


class Flight:
    """Work that is on its way to the recorder, so that a source is read while the home is written."""

    def __init__(self, desk: TrackingDesk) -> None:
        self._recorder = desk.recorder
        self._jobs: list[tuple[Future[Job[Any]], Callable[[Any], None]]] = []
        self._n = 0

    def submit(self, write: Write[Any], done: Callable[[Any], None], n_points: int = 0) -> None:
        """Queue a piece of work; `done` is called with its result when it lands."""
        if self._n >= MOST_IN_FLIGHT:
            self.land()
        finished: Future[Job[Any]] = Future()
        self._recorder.submit(write, finished.set_result)
        self._jobs.append((finished, done))
        self._n += 1 + n_points

    def land(self) -> None:
        """Wait for all that was queued, and raise the first error."""
        jobs = self._jobs[:]
        self._jobs.clear()
        self._n = 0
        for finished, done in jobs:
            done(finished.result().outcome())
