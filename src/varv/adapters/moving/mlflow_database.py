"""MLflow's database, read directly: the tables of its stores of runs and of registered models.

Source: the tables as a server of 3.18 makes them; those of logged models are absent before 3.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from varv.adapters.moving.artifact_folders import ArtifactFolders
from varv.adapters.moving.database import AT_ONCE, Database, Rows, by_first, marks
from varv.adapters.moving.mlflow_trace_rows import TraceRows
from varv.adapters.moving.mlflow_words import LOGGED_STATUSES, run_status, stage_of
from varv.home.moving import Owner, SourceFile
from varv.kernel.errors import InvalidInput
from varv.registry.imports import SourceRegistered, SourceVersion
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.imports.model import Last
from varv.runs.model import DatasetInput, InputTag, ModelInput, ModelOutput
from varv.runs.traces.model import Span

DELETED_VERSION = "Deleted_Internal"
"""The stage of a version that is gone, whose row stays so that its number is not given again."""
_WORKSPACE = "default"
_Link = tuple[str, str, str]
_RUNS = """
SELECT run_uuid, experiment_id, name, user_id, status, lifecycle_stage, start_time, end_time, artifact_uri
FROM runs WHERE run_uuid IN
"""
_USES = """
SELECT destination_id, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile,
    input_uuid
FROM inputs JOIN datasets ON dataset_uuid = source_id
WHERE source_type = 'DATASET' AND destination_type = 'RUN' AND destination_id IN
"""
_MODEL_USES = """
SELECT source_id, destination_type, destination_id, {step} FROM inputs
WHERE source_type IN ('RUN_INPUT', 'RUN_OUTPUT') AND source_id IN
"""
_MODELS = """
SELECT model_id, name, model_type, source_run_id, status, lifecycle_stage, creation_timestamp_ms,
    last_updated_timestamp_ms, artifact_location
FROM logged_models WHERE experiment_id = ? ORDER BY creation_timestamp_ms, model_id
"""
_VERSIONS = """
SELECT version, source, storage_location, current_stage, run_id, run_link, description, creation_time,
    last_updated_time
FROM model_versions WHERE name = ? ORDER BY version
"""


class MlflowDatabase:
    """A source that is the database of a tracking server.

    Parameters
    ----------
    database
        Is only read.
    artifacts
        Reads the artifacts that are in folders.
    """

    def __init__(self, database: Database, artifacts: ArtifactFolders) -> None:
        self._db, self._artifacts = database, artifacts
        self.name = database.name
        if not {"run_uuid", "name"} <= database.columns("runs"):
            problem, hint = "holds no runs of MLflow 2.0 or later", "upgrade it with mlflow db upgrade"
            raise InvalidInput("database", self.name, problem, hint=hint)
        in_steps = "step" in database.columns("inputs")
        self._model_uses = _MODEL_USES.format(step="step" if in_steps else "0")
        self._traces = TraceRows(database, artifacts)
        self._has_models = bool(database.columns("logged_models"))

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield all experiments, deleted ones too."""
        tags = self._all("SELECT experiment_id, key, value FROM experiment_tags")
        query = (
            "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
        )
        for id, name, place, stage, created, updated in self._db.rows(
            f"{query} FROM experiments{self._in_workspace('experiments')} ORDER BY experiment_id"
        ):
            yield SourceExperiment(
                id=str(id),
                name=name,
                artifacts=place or "",
                deleted=stage == "deleted",
                created_ms=created or 0,
                updated_ms=updated or created or 0,
                tags=_texts(tags[str(id)]),
            )

    def runs(self, experiment: str) -> Iterator[list[SourceRun]]:
        """Yield the runs of an experiment, some hundred at a time."""
        ids = self._ids.get(experiment, [])
        for start in range(0, len(ids), AT_ONCE):
            yield list(self._runs(ids[start : start + AT_ONCE]))

    @cached_property
    def _ids(self) -> dict[str, list[str]]:
        """The ids of runs by experiment, in one pass: there is no index by experiment."""
        found = defaultdict[str, list[str]](list)
        for experiment, run in self._db.rows("SELECT experiment_id, run_uuid FROM runs ORDER BY start_time"):
            found[str(experiment)].append(run)
        return found

    def _runs(self, ids: Sequence[str]) -> Iterator[SourceRun]:
        params = self._by("SELECT run_uuid, key, value FROM params WHERE run_uuid IN", ids)
        tags = self._by("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN", ids)
        columns = "run_uuid, key, value, timestamp, step, is_nan"
        last = self._by(f"SELECT {columns} FROM latest_metrics WHERE run_uuid IN", ids)
        datasets, models = self._by(_USES, ids), self._by(self._model_uses, ids)
        use_tags = self._use_tags(row[-1] for rows in datasets.values() for row in rows)
        found = self._by(_RUNS, ids)
        for id in ids:
            for experiment, name, user, status, stage, started, ended, place in found[id]:
                yield SourceRun(
                    id=id,
                    experiment=str(experiment),
                    name=name or "",
                    user=user or "",
                    status=run_status(status),
                    deleted=stage == "deleted",
                    started_ms=started or 0,
                    ended_ms=ended,
                    artifacts=place or "",
                    params=_texts(params[id]),
                    tags=_texts(tags[id]),
                    last=tuple(_last(row) for row in sorted(last[id])),
                    datasets=tuple(_dataset(row, use_tags[row[-1]]) for row in datasets[id]),
                    models=tuple(ModelInput(model) for kind, model, _ in models[id] if kind == "MODEL_INPUT"),
                    outputs=tuple(
                        ModelOutput(model, step) for kind, model, step in models[id] if kind == "MODEL_OUTPUT"
                    ),
                )

    def _use_tags(self, uses: Iterable[str]) -> Rows:
        return self._by("SELECT input_uuid, name, value FROM input_tags WHERE input_uuid IN", list(uses))

    def points(self, runs: Sequence[SourceRun]) -> Iterator[tuple[SourceRun, list[Point]]]:
        """Yield runs with their whole histories."""
        columns = "run_uuid, key, value, timestamp, step, is_nan"
        for start in range(0, len(runs), AT_ONCE):
            waiting = {run.id: run for run in runs[start : start + AT_ONCE]}
            query = f"SELECT {columns} FROM metrics WHERE run_uuid IN {marks(len(waiting))} ORDER BY run_uuid"
            held = list[Point]()
            of = ""
            for id, key, value, at, step, nan in self._db.rows(query, list(waiting)):
                if id != of and of:
                    yield waiting.pop(of), self._linked(of, held)
                    held = list[Point]()
                of = id
                held.append(Point(key, _value(value, nan), at, step))
            if of:
                yield waiting.pop(of), self._linked(of, held)
            for run in waiting.values():
                yield run, []

    def _linked(self, run: str, points: list[Point]) -> list[Point]:
        """Return points with what each is of: a model, a dataset, or both, several times if of several."""
        if run not in self._links:
            return points
        links = defaultdict[tuple[Any, ...], list[_Link]](list)
        for key, value, at, step, *link in self._links[run]:
            links[key, at, step, repr(value)].append((link[0], link[1] or "", link[2] or ""))
        return [
            point._replace(model=model, dataset=dataset, digest=digest)
            for point in points
            for model, dataset, digest in links.get(
                (point.name, point.at_ms, point.step, repr(point.value)), [("", "", "")]
            )
        ]

    @cached_property
    def _links(self) -> dict[str, list[tuple[Any, ...]]]:
        """What points of runs are of, in one pass: there is no index by run."""
        if not self._has_models:
            return {}
        columns = "metric_name, metric_value, metric_timestamp_ms, metric_step, model_id, dataset_name"
        return self._all(f"SELECT run_id, {columns}, dataset_digest FROM logged_model_metrics")

    def models(self, experiment: str) -> Iterator[list[SourceModel]]:
        """Yield the logged models of an experiment."""
        if not self._has_models:
            return
        rows = list(self._db.rows(_MODELS, (int(experiment),)))
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            ids = [row[0] for row in some]
            query = "SELECT model_id, param_key, param_value FROM logged_model_params WHERE model_id IN"
            params = self._by(query, ids)
            tags = self._by(
                "SELECT model_id, tag_key, tag_value FROM logged_model_tags WHERE model_id IN", ids
            )
            yield [
                SourceModel(
                    id=id,
                    experiment=experiment,
                    name=name,
                    type=kind or "",
                    run=run or "",
                    status=LOGGED_STATUSES.get(status, "PENDING"),
                    deleted=stage == "deleted",
                    created_ms=created,
                    updated_ms=updated,
                    artifacts=place,
                    params=_texts(params[id]),
                    tags=_texts(tags[id]),
                )
                for id, name, kind, run, status, stage, created, updated, place in some
            ]

    def registered(self) -> Iterator[SourceRegistered]:
        """Yield the registered models with their versions."""
        where = self._in_workspace("registered_models")
        query = "SELECT name, description, creation_time, last_updated_time FROM registered_models"
        for name, description, created, updated in list(self._db.rows(f"{query}{where} ORDER BY name")):
            versions = list(self._db.rows(_VERSIONS, (name,)))
            tags = self._db.rows("SELECT key, value FROM registered_model_tags WHERE name = ?", (name,))
            yield SourceRegistered(
                name=name,
                description=description or "",
                created_ms=created or 0,
                updated_ms=updated or created or 0,
                last=max((row[0] for row in versions), default=0),
                tags=_texts(tags),
                aliases=self._aliases(name),
                versions=tuple(self._versions(name, versions)),
            )

    def _aliases(self, name: str) -> dict[str, int]:
        if not self._db.columns("registered_model_aliases"):
            return {}
        query = "SELECT alias, version FROM registered_model_aliases WHERE name = ? ORDER BY alias"
        return dict(self._db.rows(query, (name,)))

    def _versions(self, name: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[SourceVersion]:
        tags = self._all("SELECT version, key, value FROM model_version_tags WHERE name = ?", (name,))
        for number, source, storage, stage, run, link, description, created, updated in rows:
            if stage == DELETED_VERSION:
                continue
            yield SourceVersion(
                number=number,
                source=source or "",
                storage=storage or source or "",
                stage=stage_of(stage),
                run=run or "",
                run_link=link or "",
                logged_model=(source or "").removeprefix("models:/")
                if "models:/m-" in (source or "")
                else "",
                description=description or "",
                created_ms=created or 0,
                updated_ms=updated or created or 0,
                tags=_texts(tags[str(number)]),
            )

    def traces(self, experiment: str) -> Iterator[list[SourceTrace]]:
        """Yield the traces of an experiment without their spans, some hundred at a time."""
        yield from self._traces.of(experiment)

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield traces with all their spans."""
        return self._traces.spans(traces)

    def files(self, owner: Owner) -> list[SourceFile]:
        """Return the artifacts of an owner."""
        return self._artifacts.files(owner.artifacts)

    def chunks(self, owner: Owner, path: str) -> Iterator[bytes]:
        """Yield the bytes of an artifact."""
        return self._artifacts.chunks(owner.artifacts, path)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # Queries

    def _in_workspace(self, table: str) -> str:
        return f" WHERE workspace = '{_WORKSPACE}'" if "workspace" in self._db.columns(table) else ""

    def _all(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """Return rows by their first column, as a text, without it."""
        found: Rows = defaultdict(list)
        for first, *rest in self._db.rows(query, values):
            found[str(first)].append(tuple(rest))
        return found

    def _by(self, query: str, ids: Sequence[str]) -> Rows:
        return by_first(self._db, query, ids)


def _texts(rows: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    return {key: value or "" for key, value in sorted(rows)}


def _value(value: float, nan: object) -> float:
    return float("nan") if nan else value


def _last(row: tuple[Any, ...]) -> Last:
    key, value, at, step, nan = row
    return Last(key, _value(value, nan), at, step)


def _dataset(row: tuple[Any, ...], tags: Iterable[tuple[Any, ...]]) -> DatasetInput:
    name, digest, kind, source, schema, profile, _ = row
    return DatasetInput(
        name=name,
        digest=digest,
        source_type=kind,
        source=source or "",
        schema=schema or "",
        profile=profile or "",
        tags=tuple(InputTag(key, value) for key, value in sorted(tags)),
    )
