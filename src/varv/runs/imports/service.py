"""What takes over experiments, runs and logged models that were recorded elsewhere. Each function returns a
piece of work for the recorder's thread, as in `runs.service`.

The same thing may be brought any number of times: what is here already changes nothing, what its source has
gained meanwhile is added, and what is here with another content, and from somewhere else, is refused by name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest, digest_of
from varv.kernel.errors import NotFound
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.stated_tags import free
from varv.kernel.texts import Text, all_kept, kept
from varv.runs import artifacts, reading
from varv.runs.imports.model import (
    Imported,
    SourceExperiment,
    SourceModel,
    SourceRun,
    SourceThing,
    content_of,
    name_of,
)
from varv.runs.imports.points import packed_points, points_beyond
from varv.runs.imports.rules import (
    require_name,
    require_same_experiment,
    require_same_model,
    require_same_run,
)
from varv.runs.imports.tables import Mark, mark_of, put_mark
from varv.runs.logged import reading as logged_reading
from varv.runs.logged.model import (
    LoggedModelId,
    ModelDescribed,
    ModelFinalized,
    ModelLogged,
    ModelMoved,
    logged_stream,
)
from varv.runs.logged.service import require_logged_id
from varv.runs.logged.tables import logged_no
from varv.runs.model import (
    DatasetInput,
    ExperimentChanged,
    ExperimentCreated,
    ExperimentId,
    ExperimentMoved,
    RunCreated,
    RunDescribed,
    RunEvent,
    RunId,
    RunLinked,
    RunMoved,
    RunUpdated,
    experiment_stream,
    run_stream,
)
from varv.runs.rules import require_experiment_id, require_run_id
from varv.runs.series import Series, whole_history
from varv.runs.service import Point
from varv.runs.tables import RunTables, experiment_no

Taken = Literal["new", "changed", "same"]
"""What became of something that was brought: made here, brought up to its source, or there already."""


class Imports:
    """What takes runs over into a home.

    Parameters
    ----------
    recorder
        Writes the file that `tables` and `series` are in.
    blobs
        Hold texts that are too long for entries of the ledger.
    """

    def __init__(self, recorder: Recorder, tables: RunTables, series: Series, blobs: Blobs) -> None:
        self.recorder = recorder
        self.blobs = blobs
        self._tables = tables
        self._series = series

    # Experiments

    def take_experiment(self, one: SourceExperiment, source: str, place: str) -> Write[Taken]:
        """Take over an experiment.

        Parameters
        ----------
        place
            Where its artifacts are from now on.

        Raises
        ------
        Conflict
            If there is another experiment of this id here.
        AlreadyExists
            If another experiment has its name.
        """
        tags, content = all_kept(self.blobs, one.tags), content_of(one)

        def work(writing: Writing) -> Taken:
            require_experiment_id(one.id)
            made, stream = ExperimentId(one.id), experiment_stream(one.id)
            require_name(writing.db, one)
            known = mark_of(writing.db, name_of(one))
            if known is not None and known.content == content:
                return "same"
            no = experiment_no(writing.db, one.id)
            deleted = False
            if not no:
                event = ExperimentCreated(experiment=made, name=one.name, artifacts=place, tags=tags)
                writing.record(stream, event)
            else:
                [here] = reading.experiments(writing.db, [no])
                deleted = here.deleted
                require_same_experiment(one, here, known, source)
                writing.record(stream, ExperimentChanged(experiment=made, name=one.name, tags=tags))
            if one.deleted != deleted:
                writing.record(stream, ExperimentMoved(experiment=made, deleted=one.deleted))
            times = (one.created_ms, one.updated_ms)
            writing.record(stream, _imported(one, source, content, *times))
            return "changed" if no else "new"

        return Write(work)

    # Runs

    def take_run(
        self, one: SourceRun, points: Sequence[Point], source: str, *, is_last: bool = True
    ) -> Write[Taken]:
        """Take over a run with the whole histories of its metrics.

        Parameters
        ----------
        is_last
            Whether no more points of it are to come; until then it counts as half brought.

        Raises
        ------
        NotFound
            If its experiment was not taken over.
        Conflict
            If there is another run of this id here.
        """
        # Texts that go into blobs cost an fsync each, which is nothing for the one thread that writes.
        words = all_kept(self.blobs, one.params), all_kept(self.blobs, one.tags)
        datasets = tuple(self._kept(dataset) for dataset in one.datasets)
        content = content_of(one)

        def work(writing: Writing) -> Taken:
            require_run_id(one.id)
            row = self._tables.run(writing.db, one.id)
            known = mark_of(writing.db, name_of(one))
            if row is None:
                self._create(writing, one, words, datasets)
            else:
                self._update(writing, one, row.no, known, source)
            self._take_points(writing, one, points, 0 if row is None else row.no)
            if row is not None and not writing.steps and known is not None and known.content == content:
                return "same"
            if is_last:
                writing.record(run_stream(one.id), _imported(one, source, content))
                writing.store(lambda db: put_mark(db, name_of(one), Mark(source, content)))
            return "new" if row is None else "changed"

        return Write(work, stores=True)

    def _create(
        self,
        writing: Writing,
        one: SourceRun,
        words: tuple[dict[str, Text], dict[str, Text]],
        datasets: tuple[DatasetInput, ...],
    ) -> None:
        if not self._tables.experiment(writing.db, one.experiment):
            raise NotFound("experiment", one.experiment, hint="bring the experiment before its runs")
        params, tags = words
        event = RunCreated(
            run=RunId(one.id),
            experiment=ExperimentId(one.experiment),
            name=one.name,
            user=one.user,
            started_ms=one.started_ms,
            tags=tags,
            status=one.status,
            params=params,
            ended_ms=one.ended_ms,
        )
        self._record(writing, one, event)
        if datasets or one.models or one.outputs:
            linked = RunLinked(run=RunId(one.id), datasets=datasets, models=one.models, outputs=one.outputs)
            self._record(writing, one, linked)
        if one.deleted:
            self._record(writing, one, RunMoved(run=RunId(one.id), deleted=True))

    def _update(self, writing: Writing, one: SourceRun, no: int, known: Mark | None, source: str) -> None:
        [here] = reading.runs(writing.db, [no])
        require_same_run(one, here, known, source)
        id = RunId(one.id)
        params = {name: value for name, value in one.params.items() if name not in here.params}
        tags = {name: value for name, value in one.tags.items() if here.tags.get(name) != value}
        if params or tags:
            told = all_kept(self.blobs, params), all_kept(self.blobs, tags)
            self._record(writing, one, RunDescribed(run=id, params=told[0], tags=told[1]))
        if (here.status, here.ended_ms, here.name) != (one.status, one.ended_ms, one.name):
            updated = RunUpdated(run=id, status=one.status, ended_ms=one.ended_ms, name=one.name)
            self._record(writing, one, updated)
        if here.deleted != one.deleted:
            self._record(writing, one, RunMoved(run=id, deleted=one.deleted))
        uses = {(use.name, use.digest) for use in here.datasets}
        linked = RunLinked(
            run=id,
            datasets=tuple(self._kept(use) for use in one.datasets if (use.name, use.digest) not in uses),
            models=tuple(use for use in one.models if use not in here.models),
            outputs=tuple(use for use in one.outputs if use not in here.outputs),
        )
        if linked.datasets or linked.models or linked.outputs:
            self._record(writing, one, linked)

    def _take_points(self, writing: Writing, one: SourceRun, points: Sequence[Point], no: int) -> None:
        experiment = self._tables.experiment(writing.db, one.experiment)
        given = packed_points(writing.db, self._tables, self._series, experiment, points)
        rows = given.rows if not no else points_beyond(given.rows, whole_history(writing.db, no))
        if len(rows):
            self._series.take(writing, one.id, rows, no, lambda db: self._no(db, one.id))
        if given.linked and len(rows):
            linked = given.linked
            writing.store(lambda db: self._series.remember_linked(db, self._no(db, one.id), linked))

    def _no(self, db: sqlite3.Connection, run: str) -> int:
        row = self._tables.run(db, run)
        return 0 if row is None else row.no

    def _record(self, writing: Writing, one: SourceRun, event: RunEvent) -> None:
        writing.record(run_stream(one.id), event)

    # Logged models

    def take_model(self, one: SourceModel, source: str) -> Write[Taken]:
        """Take over a logged model.

        Raises
        ------
        NotFound
            If its experiment was not taken over.
        Conflict
            If there is another logged model of this id here.
        """
        params, tags = all_kept(self.blobs, one.params), all_kept(self.blobs, free(one.tags))
        content = content_of(one)

        def work(writing: Writing) -> Taken:
            require_logged_id(one.id)
            known = mark_of(writing.db, name_of(one))
            if known is not None and known.content == content:
                return "same"
            id, stream = LoggedModelId(one.id), logged_stream(one.id)
            no = logged_no(writing.db, one.id)
            deleted = False
            if no:
                [here] = logged_reading.logged_models(writing.db, [no])
                require_same_model(one, here, known, source)
                deleted = here.deleted
                fresh = {name: value for name, value in params.items() if name not in here.params}
                writing.record(stream, ModelDescribed(logged_model=id, params=fresh, tags=tags))
            else:
                if not experiment_no(writing.db, one.experiment):
                    raise NotFound(
                        "experiment", one.experiment, hint="bring the experiment before its models"
                    )
                made = ModelLogged(
                    logged_model=id,
                    experiment=ExperimentId(one.experiment),
                    name=one.name,
                    type=one.type,
                    run=one.run,
                    params=params,
                    tags=tags,
                )
                writing.record(stream, made)
            if one.status != "PENDING":
                writing.record(stream, ModelFinalized(logged_model=id, status=one.status))
            if one.deleted != deleted:
                writing.record(stream, ModelMoved(logged_model=id, deleted=one.deleted))
            writing.record(stream, _imported(one, source, content, one.created_ms, one.updated_ms))
            return "changed" if no else "new"

        return Write(work)

    # Files

    def take_files(
        self,
        owner: str,
        files: Mapping[str, tuple[Digest, int]],
        source: str,
        listing: Digest,
        *,
        is_last: bool = True,
    ) -> Write[Taken]:
        """Put blobs under the paths of an owner of artifacts, sealed at once.

        Parameters
        ----------
        listing
            The digest of what the source lists, by which it is known to be the same when it is listed again.
        is_last
            Whether no more files of this owner are to come.
        """

        def work(writing: Writing) -> Taken:
            if files:
                artifacts.keep_all(writing, owner, files)
            if is_last:
                writing.store(lambda db: put_mark(db, f"files/{owner}", Mark(source, listing)))
            return "new"

        return Write(work, stores=True)

    def _kept(self, one: DatasetInput) -> DatasetInput:
        texts = (one.source, one.schema, one.profile)
        source, schema, profile = (kept(self.blobs, str(text)) for text in texts)
        return DatasetInput(
            name=one.name,
            digest=one.digest,
            source_type=one.source_type,
            source=source,
            schema=schema,
            profile=profile,
            tags=one.tags,
        )


def listing_of(files: Sequence[tuple[str, int]]) -> Digest:
    """Return the digest of paths with the sizes of what is under them."""
    return digest_of(sorted(files))


def _imported(
    one: SourceThing,
    source: str,
    content: Digest,
    created_ms: int | None = None,
    updated_ms: int | None = None,
) -> Imported:
    return Imported(
        thing=name_of(one), source=source, content=content, created_ms=created_ms, updated_ms=updated_ms
    )
