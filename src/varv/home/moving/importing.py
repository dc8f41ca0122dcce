"""The order of moving in: experiments, their runs with histories, logged models, artifacts, traces, the
registry, and at the end a comparison.

What was brought is noted thing by thing, so whoever is killed goes on where it was, and whoever runs again
brings what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from varv.home.moving.checking import Checking
from varv.home.moving.files import Files
from varv.home.moving.places import Places
from varv.home.moving.ports import Owner, Source
from varv.home.moving.report import MoveReport
from varv.home.moving.taking import (
    BroughtExperiment,
    BroughtModel,
    BroughtRegistered,
    BroughtRun,
    BroughtTrace,
    Taker,
    told_point,
)
from varv.kernel.errors import Corrupt, InvalidInput
from varv.runs.imports import SourceExperiment, SourceRun, SourceTrace
from varv.runs.imports.model import content_of, name_of
from varv.runs.imports.tables import marks_of
from varv.runs.imports.traces import packed_spans
from varv.runs.model import ENDED

Progress = Callable[[MoveReport], None]


class Importing:
    """One move from a source into a home.

    Parameters
    ----------
    source
        Where everything is so far.
    taker
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
        taker: Taker,
        *,
        copies: bool = False,
        brings_files: bool = True,
        progress: Progress = lambda report: None,
    ) -> None:
        self._source, self._taker, self._progress = source, taker, progress
        self._brings_files = brings_files
        self._report = MoveReport(source=source.name)
        self._places = Places(copies=copies)
        self._files = Files(source, taker, self._report)
        self._checking = Checking(source, taker, self._places, self._report)

    def run(self) -> MoveReport:
        """Bring everything, compare, and return what came of it.

        Raises
        ------
        Conflict
            If something here has the id of something there, and is another; what came before it stays.
        Unavailable
            If the source does not answer.
        Corrupt
            If it says something that cannot be understood.
        """
        try:
            experiments = list(self._source.experiments())
            for experiment in experiments:
                self._experiment(experiment)
            self._taker.land()
            for experiment in experiments:
                self._runs(experiment)
                self._models(experiment)
                self._traces(experiment)
            self._registered()
            self._checking.compare(experiments)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # What a source holds is nobody's promise: a field that is missing is no fault of ours.
            problem, why = "tells something that is not understood", f"{type(error).__name__}: {error}"
            raise Corrupt("source", self._source.name, problem, why=why[:200]) from error
        finally:
            self._files.close()
        self._progress(self._report)
        return self._report

    def _experiment(self, one: SourceExperiment) -> None:
        place = self._places.of(one)
        if self._places.is_linked(one.id):
            self._report.linked.add(f"{one.id} ({one.name})")
        self._taker.bring(BroughtExperiment(one, place), self._report.experiments.add)

    def _runs(self, experiment: SourceExperiment) -> None:
        for page in self._source.runs(experiment.id):
            fresh = self._fresh(page)
            self._report.runs.same += len(page) - len(fresh)
            for run, points in self._source.points(fresh):
                told = tuple(told_point(point) for point in points)
                self._taker.bring(BroughtRun(run, told), self._report.runs.add)
                self._report.n_points += len(points)
            self._checking.seen(page)
            self._bring(experiment.id, page, {run.id for run in fresh})
            self._progress(self._report)
        self._taker.land()

    def _fresh(self, page: Sequence[SourceRun]) -> list[SourceRun]:
        """Return the runs that are not here as they are there; one that goes on may have more points."""
        with self._taker.reading() as db:
            known = marks_of(db, (name_of(run) for run in page))
        marks = {thing: mark.content for thing, mark in known.items()}
        return [run for run in page if run.status not in ENDED or marks.get(name_of(run)) != content_of(run)]

    def _models(self, experiment: SourceExperiment) -> None:
        for page in self._source.models(experiment.id):
            for model in page:
                self._taker.bring(BroughtModel(model), self._report.logged_models.add)
            self._bring(experiment.id, page)
            self._progress(self._report)
        self._taker.land()

    def _traces(self, experiment: SourceExperiment) -> None:
        for page in self._source.traces(experiment.id):
            fresh, left_out = self._fresh_traces(page), set[str]()
            self._report.traces.same += len(page) - len(fresh)
            for trace, spans in self._source.spans(fresh):
                try:
                    bodies = packed_spans(trace, spans)
                except InvalidInput as error:
                    self._report.left_out.add(f"trace {ascii(trace.info.id[:80])[1:-1]}: {error.problem}")
                    left_out.add(trace.info.id)
                    continue
                self._taker.bring(BroughtTrace(trace, bodies), self._report.traces.add)
                self._report.n_spans += len(bodies)
            self._taker.land()
            self._checking.seen_traces([one for one in page if one.info.id not in left_out])
            self._progress(self._report)

    def _fresh_traces(self, page: Sequence[SourceTrace]) -> list[SourceTrace]:
        """Return the traces that are not here as they are there; one that goes on may have more spans."""
        with self._taker.reading() as db:
            known = marks_of(db, (name_of(trace) for trace in page))
        marks = {thing: mark.content for thing, mark in known.items()}
        return [one for one in page if not one.is_whole or marks.get(name_of(one)) != content_of(one)]

    def _bring(self, experiment: str, owners: Iterable[Owner], changed: Container[str] = ()) -> None:
        if self._brings_files and not self._places.is_linked(experiment):
            # Artifacts are put on record after what they are of.
            self._taker.land()
            self._files.bring((owner for owner in owners if owner.artifacts), changed)

    def _registered(self) -> None:
        for one in self._source.registered():
            counted = self._report.registered_models
            self._taker.bring(BroughtRegistered(self._places.moved(one)), counted.add)
            self._report.n_versions += len(one.versions)
        self._taker.land()
