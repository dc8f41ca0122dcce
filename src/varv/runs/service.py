"""What can be done to runs. Each function returns a piece of work for the recorder's thread, which looks at
the tables, refuses or decides, and states what it has decided as events; `runs.experiments` has those of
experiments.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from varv.kernel.blobs import Blobs
from varv.kernel.codec import Digest
from varv.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from varv.kernel.recorder import Recorder, Write, Writing
from varv.kernel.texts import Text, all_kept, kept
from varv.runs import artifacts
from varv.runs.experiments import Experiments, active_experiment
from varv.runs.logged.tables import logged_no
from varv.runs.model import (
    ENDED,
    RUN_NAME,
    STATUSES,
    DatasetInput,
    Difference,
    ExperimentId,
    ModelInput,
    ModelOutput,
    RunCreated,
    RunDescribed,
    RunId,
    RunLinked,
    RunMoved,
    RunReproduced,
    RunUpdated,
    Status,
    Verdict,
    run_stream,
)
from varv.runs.points import Packed, packed
from varv.runs.reading import Run
from varv.runs.rules import (
    made_name,
    new_run_id,
    require_batch,
    require_dataset,
    require_key,
    require_long,
    require_run_id,
    require_unchanged,
    storable,
)
from varv.runs.series import Series
from varv.runs.tables import METRIC, PARAM, TAG, RunRow, RunTables


class Point(NamedTuple):
    """One value of a metric, and the model and the dataset that it is of, if it is of any."""

    name: str
    value: float
    at_ms: int
    step: int = 0
    model: str = ""
    dataset: str = ""
    digest: str = ""


class Tracking:
    """The runs of a home, as one writes to them.

    Parameters
    ----------
    recorder
        Writes the file that `tables` and `series` are in.
    blobs
        Hold texts that are too long for entries of the ledger.
    """

    def __init__(self, recorder: Recorder, tables: RunTables, series: Series, blobs: Blobs) -> None:
        self.recorder = recorder
        self.series = series
        self._tables = tables
        self.blobs = blobs
        self.experiments = Experiments(blobs)

    def create_run(
        self,
        experiment: str,
        *,
        name: str = "",
        user: str = "",
        started_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        run: RunId | None = None,
    ) -> Write[RunId]:
        """Begin a run and return its id; as `begin_run`."""
        begin = self.begin_run(
            experiment, name=name, user=user, started_ms=started_ms, tags=tags, run=run
        ).work
        return Write(lambda writing: RunId(begin(writing).id))

    def begin_run(
        self,
        experiment: str,
        *,
        name: str = "",
        user: str = "",
        started_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        run: RunId | None = None,
    ) -> Write[Run]:
        """Begin a run and return it; a name is made where none is given.

        Raises
        ------
        NotFound
            If there is no such experiment.
        FailedPrecondition
            If it is deleted.
        InvalidInput
            If a tag is not valid, or says another name than `name`.
        """
        given = dict(tags or {})

        def work(writing: Writing) -> Run:
            place = active_experiment(writing.db, experiment).artifacts
            _require_tags(given)
            named = name or given.get(RUN_NAME, "") or made_name()
            if given.get(RUN_NAME, named) != named:
                problem, hint = "is another than the tag mlflow.runName says", "say one of the two"
                raise InvalidInput("run name", name[:80], problem, tag=given[RUN_NAME][:80], hint=hint)
            begun = writing.now // 1000 if started_ms is None else started_ms
            made = run or new_run_id()
            require_run_id(made)
            if self._tables.run(writing.db, made):
                raise AlreadyExists("run", made)
            event = RunCreated(
                run=made,
                experiment=ExperimentId(experiment),
                name=named,
                user=user,
                started_ms=require_long("start", begun),
                tags=self._texts(given),
            )
            writing.record(run_stream(made), event)
            return Run(
                no=0,
                id=made,
                experiment=experiment,
                name=named,
                user=user,
                status=event.status,
                deleted=False,
                started_ms=begun,
                ended_ms=None,
                artifacts=f"{place}/{made}/artifacts",
                tags={**given, RUN_NAME: named},
            )

        return Write(work)

    def update_run(
        self, run: str, *, status: Status | None = None, ended_ms: int | None = None, name: str = ""
    ) -> Write[None]:
        """Set the status, the end or the name of a run; one that ends is sealed."""

        def work(writing: Writing) -> None:
            row = self._active(writing.db, run)
            if ended_ms is not None:
                require_long("end", ended_ms)
            writing.record(
                run_stream(run), RunUpdated(run=RunId(run), status=status, ended_ms=ended_ms, name=name)
            )
            if status not in ENDED:
                return
            artifacts.seal(writing, f"runs/{run}")
            if row.no in self.series.unsealed(writing.db):
                writing.then.append(lambda: self._seal([row.no]))

        return Write(work)

    def end_running(self, run: str, status: Status) -> Write[None]:
        """End a run now, unless it has ended by then."""

        def work(writing: Writing) -> None:
            if STATUSES[self._active(writing.db, run).status] not in ENDED:
                self.update_run(run, status=status, ended_ms=writing.now // 1000).work(writing)

        return Write(work)

    def move_run(self, run: str, *, deleted: bool) -> Write[None]:
        """Delete a run or restore it; again changes nothing."""

        def work(writing: Writing) -> None:
            row = self._run(writing.db, run)
            if row.deleted != deleted:
                writing.record(run_stream(run), RunMoved(run=RunId(run), deleted=deleted))

        return Write(work)

    def log(
        self,
        run: str,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Write[None]:
        """Put points, parameters and tags on record, all of them or none.

        Raises
        ------
        NotFound
            If there is no such run.
        FailedPrecondition
            If it is deleted.
        InvalidInput
            If there is too much, a name or a value is not valid, or a parameter has another value already.
        """
        given, told = dict(params or {}), dict(tags or {})

        def work(writing: Writing) -> None:
            row = self._active(writing.db, run)
            require_batch(len(points), len(given), len(told))
            for point in points:
                # A name that has a number was looked at when it was given one.
                if not self._tables.knows(row.experiment, METRIC, point.name):
                    require_key("metric", point.name)
                require_long("timestamp", point.at_ms, least=0)
                require_long("step", point.step)
            for param in given:
                require_key("param", param)
            _require_tags(told)
            _require_models(writing.db, points)
            if given or told:
                self._describe(writing, row, run, given, told)
            if points:
                self._append(writing, row, points)

        return Write(work, stores=bool(points))

    def untag_run(self, run: str, tag: str) -> Write[None]:
        """Take a tag from a run."""

        def work(writing: Writing) -> None:
            row = self._active(writing.db, run)
            if not self._words(writing.db, row, TAG, [tag]):
                raise NotFound("tag", tag[:80], "is not set", run=run)
            writing.record(run_stream(run), RunDescribed(run=RunId(run), without=tag))

        return Write(work)

    def link(
        self,
        run: str,
        *,
        datasets: Sequence[DatasetInput] = (),
        models: Sequence[ModelInput] = (),
        outputs: Sequence[ModelOutput] = (),
    ) -> Write[None]:
        """Put on record what a run has read and made."""

        def work(writing: Writing) -> None:
            row = self._active(writing.db, run)
            for dataset in datasets:
                require_dataset(dataset)
            self._require_new(writing.db, row, outputs)
            read = tuple(self._kept(one) for one in datasets)
            writing.record(
                run_stream(run),
                RunLinked(run=RunId(run), datasets=read, models=tuple(models), outputs=tuple(outputs)),
            )

        return Write(work)

    def reproduced(
        self,
        run: str,
        *,
        verdict: Verdict,
        repeats: Verdict | None = None,
        differing: Sequence[str] = (),
        components: Sequence[Difference] = (),
        reruns: Sequence[RunId] = (),
        captures: Sequence[Digest] = (),
        because: str = "",
    ) -> Write[None]:
        """Put on record what rerunning a run has shown; the fields are those of `RunReproduced`."""

        def work(writing: Writing) -> None:
            self._active(writing.db, run)
            event = RunReproduced(
                run=RunId(run),
                verdict=verdict,
                repeats=repeats,
                differing=tuple(differing),
                components=tuple(components),
                reruns=tuple(reruns),
                captures=tuple(captures),
                because=self._text(because),
            )
            writing.record(run_stream(run), event)

        return Write(work)

    def seal_due(self) -> int:
        """Seal the runs whose points have waited for long enough; return how many they were."""
        return self.recorder.do(self.series.sealing(self.series.waiting))

    # Parts

    def _describe(
        self, writing: Writing, row: RunRow, run: str, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        before = self._words(writing.db, row, PARAM, params)
        require_unchanged(before, params, run)
        added = {name: value for name, value in params.items() if name not in before}
        if added or tags:
            event = RunDescribed(run=RunId(run), params=self._texts(added), tags=self._texts(tags))
            writing.record(run_stream(run), event)

    def _append(self, writing: Writing, row: RunRow, points: Sequence[Point]) -> None:
        packs = [self._packed(writing.db, row, point) for point in points]
        rows = packed(packs)
        writing.store(lambda db: self.series.append(db, row.no, rows, writing.now))
        if any(point.model or point.dataset for point in points):
            writing.store(lambda db: self.series.remember_linked(db, row.no, packs))
        writing.then.append(lambda: self._seal_if_due(writing.db, row.no))

    def _packed(self, db: sqlite3.Connection, row: RunRow, point: Point) -> Packed:
        key = self._tables.key(db, row.experiment, METRIC, point.name)
        link = self.series.link(db, point.model, point.dataset, point.digest)
        return key, link, point.at_ms, point.step, storable(point.value)

    def _seal_if_due(self, db: sqlite3.Connection, run: int) -> None:
        if self.series.is_due(db, run):
            self._seal([run])

    def _seal(self, runs: Sequence[int]) -> None:
        # A run that could not be sealed now is sealed later, with those that have waited.
        self.recorder.submit(self.series.sealing(lambda db, now: runs), lambda job: None)

    def _words(self, db: sqlite3.Connection, row: RunRow, kind: int, names: Iterable[str]) -> dict[str, str]:
        found = {}
        for name in names:
            key = self._tables.key(db, row.experiment, kind, name)
            word = db.execute("SELECT value FROM word WHERE run = ? AND key = ?", (row.no, key)).fetchone()
            if word is not None:
                found[name] = word[0]
        return found

    def _require_new(self, db: sqlite3.Connection, row: RunRow, outputs: Sequence[ModelOutput]) -> None:
        for one in outputs:
            query = "SELECT 1 FROM run_model WHERE run = ? AND made = 1 AND model = ?"
            if db.execute(query, (row.no, one.model_id)).fetchone():
                raise AlreadyExists("model output", one.model_id, "of this run is on record already")

    def _kept(self, one: DatasetInput) -> DatasetInput:
        texts = (one.source, one.schema, one.profile)
        source, schema, profile = (self._text(text) if isinstance(text, str) else text for text in texts)
        return DatasetInput(
            name=one.name,
            digest=one.digest,
            source_type=one.source_type,
            source=source,
            schema=schema,
            profile=profile,
            tags=one.tags,
        )

    def _texts(self, values: Mapping[str, str]) -> dict[str, Text]:
        return all_kept(self.blobs, values)

    def _text(self, value: str) -> Text:
        return kept(self.blobs, value)

    def _run(self, db: sqlite3.Connection, run: str) -> RunRow:
        if (row := self._tables.run(db, run)) is None:
            raise NotFound("run", run)
        return row

    def _active(self, db: sqlite3.Connection, run: str) -> RunRow:
        row = self._run(db, run)
        if row.deleted:
            hint = "restore it first"
            raise FailedPrecondition("run", run, "must be in the 'active' state and is deleted", hint=hint)
        return row


def _require_models(db: sqlite3.Connection, points: Sequence[Point]) -> None:
    for model in {point.model for point in points if point.model}:
        if not logged_no(db, model):
            hint = "log the model first"
            raise InvalidInput("metric", model[:80], "is of a logged model that does not exist", hint=hint)


def _require_tags(tags: Mapping[str, str]) -> None:
    for name in tags:
        require_key("tag", name)
