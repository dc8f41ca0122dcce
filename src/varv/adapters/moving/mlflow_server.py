"""MLflow's tracking server, asked over its REST protocol.

Histories are most of the work; a metric of many runs is asked for at once where the
server allows it.

Source: the REST API of MLflow 3.18, and how its server behaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from varv.adapters.moving.artifact_folders import SERVED
from varv.adapters.moving.cursor import by_start
from varv.adapters.moving.http_asking import Asking
from varv.adapters.moving.mlflow_served_traces import ServedTraces
from varv.adapters.moving.mlflow_words import logged_model_in, run_status, stage_of
from varv.home.moving import Owner, SourceFile
from varv.kernel.errors import NotFound
from varv.registry.imports import SourceRegistered, SourceVersion
from varv.runs import Point
from varv.runs.imports import SourceExperiment, SourceModel, SourceRun, SourceTrace
from varv.runs.imports.model import Last
from varv.runs.logged.model import LoggedStatus
from varv.runs.model import DatasetInput, InputTag, ModelInput, ModelOutput
from varv.runs.traces.model import Span

API, PAGES = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
RUNS_A_PAGE = 500
RUNS_AT_ONCE = 50
"""Runs whose histories of one metric are asked for together."""
POINTS_A_PAGE = 25_000
AT_A_TIME = 4
"""Requests that are under way."""
_STATUSES: dict[str, LoggedStatus] = {
    "LOGGED_MODEL_PENDING": "PENDING",
    "LOGGED_MODEL_READY": "READY",
    "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
}
_Json = dict[str, Any]


class MlflowServer:
    """A source that is a tracking server.

    Parameters
    ----------
    asking
        Asks it.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self.name = asking.url
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="histories")
        self._traces = ServedTraces(asking, self._pool)

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield all experiments, deleted ones too."""
        asked = {"max_results": 1000, "view_type": "ALL"}
        for one in self._paged("POST", f"{API}/experiments/search", asked, "experiments"):
            created = int(one.get("creation_time") or 0)
            yield SourceExperiment(
                id=one["experiment_id"],
                name=one["name"],
                artifacts=one.get("artifact_location", ""),
                deleted=one.get("lifecycle_stage") == "deleted",
                created_ms=created,
                updated_ms=int(one.get("last_update_time") or created),
                tags=_texts(one.get("tags", ())),
            )

    def runs(self, experiment: str) -> Iterator[Sequence[SourceRun]]:
        """Yield the runs of an experiment, some hundred at a time."""

        def page(since: int, token: str) -> tuple[list[SourceRun], str]:
            asked = {
                "experiment_ids": [experiment],
                "filter": f"attributes.start_time >= {since}",
                "run_view_type": "ALL",
                "max_results": RUNS_A_PAGE,
                "order_by": ["attributes.start_time ASC"],
            } | ({"page_token": token} if token else {})
            answer = self._asking.json("POST", f"{API}/runs/search", asked)
            return [_run(one) for one in answer.get("runs", ())], answer.get("next_page_token", "")

        yield from by_start(page, RUNS_A_PAGE, lambda run: (run.id, run.started_ms))

    # Histories

    def points(self, runs: Sequence[SourceRun]) -> Iterator[tuple[SourceRun, list[Point]]]:
        """Yield runs with their whole histories."""
        for start in range(0, len(runs), RUNS_AT_ONCE):
            some = runs[start : start + RUNS_AT_ONCE]
            names = sorted({last.name for run in some for last in run.last})
            asked = self._pool.map(self._together, names, [some] * len(names))
            found = dict(zip(names, asked, strict=True))
            for run in some:
                points = [
                    point for last in run.last for point in self._points(run.id, last.name, found[last.name])
                ]
                yield run, self._linked(run.id, points)

    def _points(self, run: str, name: str, together: Mapping[str, list[Point]] | None) -> list[Point]:
        return self._alone(run, name) if together is None else together.get(run, [])

    def _together(self, name: str, runs: Sequence[SourceRun]) -> Mapping[str, list[Point]] | None:
        """Return the histories of one metric by run; None if they are too long to be told at once."""
        ids = [run.id for run in runs if any(last.name == name for last in run.last)]
        asked = {"run_id": ids, "metric_key": name, "max_results": POINTS_A_PAGE}
        try:
            told = self._asking.json("GET", f"{PAGES}/metrics/get-history-bulk", asked).get("metrics", ())
        except NotFound:
            return None
        if len(told) >= POINTS_A_PAGE:
            return None
        found = defaultdict[str, list[Point]](list)
        for one in told:
            found[one["run_id"]].append(_point(one))
        return found

    def _alone(self, run: str, name: str) -> list[Point]:
        asked = {"run_id": run, "metric_key": name, "max_results": POINTS_A_PAGE}
        return [_point(one) for one in self._paged("GET", f"{API}/metrics/get-history", asked, "metrics")]

    def _linked(self, run: str, points: list[Point]) -> list[Point]:
        """Return points with what each is of, which histories do not say, but logged models do."""
        links = self._links.get(run)
        if links is None:
            return points
        return [
            point._replace(model=model, dataset=dataset, digest=digest)
            for point in points
            for model, dataset, digest in links.get(_place(point), [("", "", "")])
        ]

    @cached_property
    def _links(self) -> dict[str, dict[tuple[Any, ...], list[tuple[str, str, str]]]]:
        found: dict[str, dict[tuple[Any, ...], list[tuple[str, str, str]]]] = {}
        for experiment in list(self.experiments()):
            for page in self._model_pages(experiment.id):
                for model in page:
                    for one in model.get("data", {}).get("metrics", ()):
                        of = (
                            model["info"]["model_id"],
                            one.get("dataset_name", ""),
                            one.get("dataset_digest", ""),
                        )
                        run = found.setdefault(one.get("run_id", ""), {})
                        run.setdefault(_place(_point(one)), []).append(of)
        return found

    # Models

    def models(self, experiment: str) -> Iterator[list[SourceModel]]:
        """Yield the logged models of an experiment."""
        for page in self._model_pages(experiment):
            yield [_model(one) for one in page]

    def _model_pages(self, experiment: str) -> Iterator[list[_Json]]:
        token = ""
        while True:
            asked = {"experiment_ids": [experiment], "max_results": 50} | (
                {"page_token": token} if token else {}
            )
            try:
                answer = self._asking.json("POST", f"{API}/logged-models/search", asked)
            except NotFound:
                return  # a server from before there were any
            yield answer.get("models", [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    # Traces

    def traces(self, experiment: str) -> Iterator[Sequence[SourceTrace]]:
        """Yield the traces of an experiment without their spans, some hundred at a time."""
        return self._traces.of(experiment)

    def spans(self, traces: Sequence[SourceTrace]) -> Iterator[tuple[SourceTrace, list[Span]]]:
        """Yield traces with all their spans."""
        return self._traces.spans(traces)

    def registered(self) -> Iterator[SourceRegistered]:
        """Yield the registered models with their versions."""
        names = list[str]()
        # A search leaves prompts out unless they are asked for.
        for filter in ("", "tags.`mlflow.prompt.is_prompt` = 'true'"):
            asked = {"max_results": 100} | ({"filter": filter} if filter else {})
            path = f"{API}/registered-models/search"
            names += [one["name"] for one in self._paged("GET", path, asked, "registered_models")]
        for name in dict.fromkeys(names):
            answer = self._asking.json("GET", f"{API}/registered-models/get", {"name": name})
            yield self._registered(answer["registered_model"])

    def _registered(self, told: _Json) -> SourceRegistered:
        created = int(told.get("creation_timestamp") or 0)
        versions = self._versions(told["name"], is_prompt=_texts(told.get("tags", ())).get(_PROMPT) == "true")
        return SourceRegistered(
            name=told["name"],
            description=told.get("description", ""),
            created_ms=created,
            updated_ms=int(told.get("last_updated_timestamp") or created),
            tags=_texts(told.get("tags", ())),
            aliases={one["alias"]: int(one["version"]) for one in told.get("aliases", ())},
            versions=tuple(
                self._version(one) for one in sorted(versions, key=lambda one: int(one["version"]))
            ),
        )

    def _versions(self, name: str, *, is_prompt: bool) -> list[_Json]:
        quoted = name.replace("'", "''")
        filter = f"name = '{quoted}'" + (f" AND tags.`{_PROMPT}` = 'true'" if is_prompt else "")
        asked = {"filter": filter, "max_results": 1000}
        return list(self._paged("GET", f"{API}/model-versions/search", asked, "model_versions"))

    def _version(self, told: _Json) -> SourceVersion:
        created = int(told.get("creation_timestamp") or 0)
        asked = {"name": told["name"], "version": told["version"]}
        source = told.get("source", "")
        storage = self._asking.json("GET", f"{API}/model-versions/get-download-uri", asked)
        return SourceVersion(
            number=int(told["version"]),
            source=source,
            storage=storage.get("artifact_uri", source),
            stage=stage_of(told.get("current_stage")),
            run=told.get("run_id", ""),
            run_link=told.get("run_link", ""),
            logged_model=logged_model_in(source),
            description=told.get("description", ""),
            created_ms=created,
            updated_ms=int(told.get("last_updated_timestamp") or created),
            tags=_texts(told.get("tags", ())),
        )

    # Artifacts

    def files(self, owner: Owner) -> list[SourceFile]:
        """Return the artifacts of an owner."""
        found, folders = list[SourceFile](), [""]
        while folders:
            for one in self._listed(owner, folders.pop()):
                if one.get("is_dir"):
                    folders.append(one["path"])
                else:
                    found.append(SourceFile(one["path"], int(one.get("file_size") or 0)))
        return sorted(found)

    def _listed(self, owner: Owner, folder: str) -> Iterator[_Json]:
        if isinstance(owner, SourceRun):
            path, asked = f"{API}/artifacts/list", {"run_id": owner.id, "path": folder}
        else:
            path = f"{API}/logged-models/{owner.id}/artifacts/directories"
            asked = {"artifact_directory_path": folder}
        asked = {name: value for name, value in asked.items() if value}
        return self._paged("GET", path, asked, "files")

    def chunks(self, owner: Owner, path: str) -> Iterator[bytes]:
        """Yield the bytes of an artifact, which the server fetches wherever it is."""
        place = urlsplit(owner.artifacts)
        if place.scheme == SERVED:
            return self._asking.chunks(f"{ARTIFACTS}{quote(f'{place.path}/{path}')}", {})
        if isinstance(owner, SourceRun):
            return self._asking.chunks("/get-artifact", {"run_uuid": owner.id, "path": path})
        whole = f"{PAGES}/logged-models/{owner.id}/artifacts/files"
        return self._asking.chunks(whole, {"artifact_file_path": path})

    def close(self) -> None:
        """End the threads and the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._asking.close()

    def _paged(self, method: str, path: str, asked: Mapping[str, Any], name: str) -> Iterator[_Json]:
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            answer = self._asking.json(method, path, {**asked, **more})
            yield from answer.get(name, ())
            token = answer.get("next_page_token", "")
            if not token:
                return


_PROMPT = "mlflow.prompt.is_prompt"


def _run(told: _Json) -> SourceRun:
    info, data = told["info"], told.get("data", {})
    ended = info.get("end_time")
    tags = _texts(data.get("tags", ()))
    return SourceRun(
        id=info["run_id"],
        experiment=info["experiment_id"],
        name=info.get("run_name") or tags.get("mlflow.runName", ""),
        user=info.get("user_id", ""),
        status=run_status(info.get("status", "RUNNING")),
        deleted=info.get("lifecycle_stage") == "deleted",
        started_ms=int(info.get("start_time") or 0),
        ended_ms=int(ended) if ended else None,
        artifacts=info.get("artifact_uri", ""),
        params=_texts(data.get("params", ())),
        tags=tags,
        last=tuple(sorted((_last(one) for one in data.get("metrics", ())), key=lambda one: one.name)),
        datasets=tuple(_dataset(one) for one in told.get("inputs", {}).get("dataset_inputs", ())),
        models=tuple(ModelInput(one["model_id"]) for one in told.get("inputs", {}).get("model_inputs", ())),
        outputs=tuple(
            ModelOutput(one["model_id"], int(one.get("step", 0)))
            for one in told.get("outputs", {}).get("model_outputs", ())
        ),
    )


def _last(told: _Json) -> Last:
    return Last(told["key"], float(told["value"]), int(told["timestamp"]), int(told.get("step") or 0))


def _point(told: _Json) -> Point:
    return Point(told["key"], float(told["value"]), int(told["timestamp"]), int(told.get("step") or 0))


def _place(point: Point) -> tuple[Any, ...]:
    return point.name, point.at_ms, point.step, repr(point.value)


def _dataset(told: _Json) -> DatasetInput:
    one = told["dataset"]
    return DatasetInput(
        name=one["name"],
        digest=one["digest"],
        source_type=one.get("source_type", ""),
        source=one.get("source", ""),
        schema=one.get("schema", ""),
        profile=one.get("profile", ""),
        tags=tuple(InputTag(key, value) for key, value in _texts(told.get("tags", ())).items()),
    )


def _model(told: _Json) -> SourceModel:
    info, data = told["info"], told.get("data", {})
    return SourceModel(
        id=info["model_id"],
        experiment=info["experiment_id"],
        name=info["name"],
        type=info.get("model_type", ""),
        run=info.get("source_run_id", ""),
        status=_STATUSES.get(info.get("status", ""), "PENDING"),
        created_ms=int(info["creation_timestamp_ms"]),
        updated_ms=int(info["last_updated_timestamp_ms"]),
        artifacts=info.get("artifact_uri", ""),
        params=_texts(data.get("params", ())),
        tags=_texts(info.get("tags", ())),
    )


def _texts(pairs: Sequence[_Json]) -> dict[str, str]:
    return {one["key"]: one.get("value", "") for one in sorted(pairs, key=lambda one: one["key"])}
