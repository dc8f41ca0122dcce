"""Runs with their metrics, parameters, tags, inputs and outputs, as the protocol has them."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from varv.fronts.mlflow.experiments import Tag, given
from varv.fronts.mlflow.routes import Route, Written, number, pairs
from varv.kernel.errors import InvalidInput
from varv.runs import reading
from varv.runs.model import STATUSES, DatasetInput, InputTag, ModelInput, ModelOutput, Status
from varv.runs.rules import LONGEST_PARAM, LONGEST_TAG, unique_params
from varv.runs.service import Point, Tracking

HISTORY = "mlflow.log-model.history"
"""The tag in which clients of 2.x look for the models of a run."""


class Create(msgspec.Struct):
    """Begins a run."""

    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: int = 0
    tags: list[Tag] = []


class ByRun(msgspec.Struct):
    """Names a run."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The id, under whichever name it came."""
        return self.run_id or self.run_uuid


class Update(ByRun):
    """Says what is new of a run."""

    status: str | int | None = None
    end_time: int | None = None
    run_name: str = ""


class LogMetric(ByRun):
    """Logs one value of a metric."""

    key: str = ""
    value: float | str | bool | None = None
    timestamp: int | None = None
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogParam(ByRun):
    """Logs a parameter."""

    key: str = ""
    value: str | None = ""


class SetTag(ByRun):
    """Sets a tag."""

    key: str = ""
    value: str | None = ""


class DeleteTag(ByRun):
    """Takes a tag from a run."""

    key: str = ""


class Metric(msgspec.Struct):
    """A value of a metric in a batch."""

    key: str = ""
    value: float | str | bool | None = None
    timestamp: int | None = None
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogBatch(ByRun):
    """Logs several things together."""

    metrics: list[Metric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class Dataset(msgspec.Struct):
    """A dataset that a run has read."""

    name: str = ""
    digest: str = ""
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class DatasetUse(msgspec.Struct):
    """A dataset, and how it was used."""

    dataset: Dataset = msgspec.field(default_factory=Dataset)
    tags: list[Tag] = []


class ModelUse(msgspec.Struct):
    """A logged model that a run has read or made."""

    model_id: str = ""
    step: int = 0


class LogInputs(ByRun):
    """Says what a run has read."""

    datasets: list[DatasetUse] = []
    models: list[ModelUse] = []


class LogModel(ByRun):
    """Says as clients of 2.x do that a run has made a model."""

    model_json: str = ""


class LogOutputs(ByRun):
    """Says what a run has made."""

    models: list[ModelUse] = []


class Last(msgspec.Struct, gc=False):
    """The last value of a metric as the protocol has it; an answer may have tens of thousands."""

    key: str
    value: float | str
    timestamp: int
    step: int


def info(one: reading.Run) -> dict[str, Any]:
    """Return what the protocol says of a run beside what was logged."""
    told: dict[str, Any] = {
        "run_uuid": one.id,
        "experiment_id": one.experiment,
        "run_name": one.name,
        "user_id": one.user,
        "status": one.status,
        "start_time": one.started_ms,
    }
    if one.ended_ms is not None:
        told["end_time"] = one.ended_ms
    stage = "deleted" if one.deleted else "active"
    return {**told, "artifact_uri": one.artifacts, "lifecycle_stage": stage, "run_id": one.id}


def document(one: reading.Run) -> dict[str, Any]:
    """Return a run as the protocol has it."""
    data: dict[str, Any] = {}
    if one.metrics:
        data["metrics"] = [
            Last(known.name, number(known.glance.value), known.glance.at_ms, known.glance.step)
            for known in one.metrics
        ]
    if one.params:
        data["params"] = pairs(one.params)
    if one.tags:
        data["tags"] = pairs(one.tags)
    return {"info": info(one), "data": data, "inputs": _inputs(one), "outputs": _outputs(one)}


def _inputs(one: reading.Run) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if one.datasets:
        told["dataset_inputs"] = [_dataset(known) for known in one.datasets]
    if one.models:
        told["model_inputs"] = [{"model_id": known.model_id} for known in one.models]
    return told


def _dataset(one: DatasetInput) -> dict[str, Any]:
    dataset = {"name": one.name, "digest": one.digest, "source_type": one.source_type, "source": one.source}
    more = {name: value for name, value in (("schema", one.schema), ("profile", one.profile)) if value}
    tags = [{"key": tag.key, "value": tag.value} for tag in one.tags]
    return ({"tags": tags} if tags else {}) | {"dataset": dataset | more}


def _outputs(one: reading.Run) -> dict[str, Any]:
    if not one.outputs:
        return {}
    return {"model_outputs": [{"model_id": known.model_id, "step": known.step} for known in one.outputs]}


def _create(tracking: Tracking, asked: Create) -> Written:
    given(asked, "experiment_id")
    write = tracking.begin_run(
        asked.experiment_id,
        name=asked.run_name,
        user=asked.user_id,
        started_ms=asked.start_time,
        tags=_tags(asked.tags),
    )
    return Written(write, known=lambda run: {"run": _new(run)})


def _new(one: reading.Run) -> dict[str, Any]:
    # What was just begun has made nothing, of which MLflow says nothing either.
    told = document(one)
    del told["outputs"]
    return told


def _get(tracking: Tracking, asked: ByRun) -> dict[str, Any]:
    _require_run(asked)
    with tracking.recorder.reading() as db:
        return {"run": document(reading.run(db, asked.run))}


def _update(tracking: Tracking, asked: Update) -> Written:
    _require_run(asked)
    write = tracking.update_run(
        asked.run, status=_status(asked.status), ended_ms=asked.end_time, name=asked.run_name
    )
    return Written(write, lambda db, done: {"run_info": info(reading.run(db, asked.run))})


def _status(status: str | int | None) -> Status | None:
    if status is None:
        return None
    for number_, known in enumerate(STATUSES, 1):
        if status in (known, number_, str(number_)):
            return known
    hint = f"say one of {', '.join(STATUSES)}"
    raise InvalidInput("run status", str(status)[:40], "is not known", hint=hint)


def _delete(tracking: Tracking, asked: ByRun) -> Written:
    _require_run(asked)
    return Written(tracking.move_run(asked.run, deleted=True))


def _restore(tracking: Tracking, asked: ByRun) -> Written:
    _require_run(asked)
    return Written(tracking.move_run(asked.run, deleted=False))


def _log_metric(tracking: Tracking, asked: LogMetric) -> Written:
    _require_run(asked)
    given(asked, "key", "timestamp")
    return Written(tracking.log(asked.run, points=[_point(asked)]))


def _log_parameter(tracking: Tracking, asked: LogParam) -> Written:
    _require_run(asked)
    given(asked, "key")
    return Written(tracking.log(asked.run, params={asked.key: (asked.value or "")[:LONGEST_PARAM]}))


def _set_tag(tracking: Tracking, asked: SetTag) -> Written:
    _require_run(asked)
    given(asked, "key")
    return Written(tracking.log(asked.run, tags={asked.key: (asked.value or "")[:LONGEST_TAG]}))


def _delete_tag(tracking: Tracking, asked: DeleteTag) -> Written:
    _require_run(asked)
    given(asked, "key")
    return Written(tracking.untag_run(asked.run, asked.key))


def _log_batch(tracking: Tracking, asked: LogBatch) -> Written:
    given(asked, "run_id")
    params = unique_params((param.key, param.text[:LONGEST_PARAM]) for param in asked.params)
    points = [_point(one) for one in asked.metrics]
    return Written(tracking.log(asked.run, points=points, params=params, tags=_tags(asked.tags)))


def _log_inputs(tracking: Tracking, asked: LogInputs) -> Written:
    _require_run(asked)
    datasets = [
        DatasetInput(
            name=one.dataset.name,
            digest=one.dataset.digest,
            source_type=one.dataset.source_type,
            source=one.dataset.source,
            schema=one.dataset.schema,
            profile=one.dataset.profile,
            tags=tuple(InputTag(tag.key, tag.text) for tag in one.tags),
        )
        for one in asked.datasets
    ]
    models = [ModelInput(one.model_id) for one in asked.models]
    return Written(tracking.link(asked.run, datasets=datasets, models=models))


def _log_outputs(tracking: Tracking, asked: LogOutputs) -> Written:
    _require_run(asked)
    given(asked, "models")
    outputs = [ModelOutput(one.model_id, one.step) for one in asked.models]
    return Written(tracking.link(asked.run, outputs=outputs))


def _log_model(tracking: Tracking, asked: LogModel) -> Written:
    _require_run(asked)
    given(asked, "model_json")
    try:
        told = msgspec.json.decode(asked.model_json, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidInput("model", "", "is not described by JSON", why=str(error)) from None
    if missing := sorted({"run_id", "flavors", "artifact_path", "utc_time_created"} - told.keys()):
        raise InvalidInput("model", "", "leaves out what describes it", missing=missing)
    with tracking.recorder.reading() as db:
        before = reading.run(db, asked.run).tags.get(HISTORY, "[]")
    first = {name: told.pop(name) for name in ("run_id", "artifact_path", "utc_time_created")}
    logged = [*json.loads(before), {**first, "model_uuid": told.pop("model_uuid", None), **told}]
    # As the client writes it: it is a text, and compared as one.
    return Written(tracking.log(asked.run, tags={HISTORY: json.dumps(logged)}))


def _tags(tags: list[Tag]) -> dict[str, str]:
    # The last one of a name holds.
    return {tag.key: tag.text[:LONGEST_TAG] for tag in tags}


def _point(one: LogMetric | Metric) -> Point:
    given(one, "key", "value", "timestamp")
    try:
        value = float(one.value or 0)
    except ValueError:
        raise InvalidInput("metric", one.key[:80], "has a value that is no number", value=one.value) from None
    if math.isinf(value) and not isinstance(one.value, str):
        hint = 'send "Infinity" if that is meant'
        raise InvalidInput("metric", one.key[:80], "has a value that no double holds", hint=hint)
    return Point(
        one.key, value, one.timestamp or 0, one.step, one.model_id, one.dataset_name, one.dataset_digest
    )


def _require_run(asked: ByRun) -> None:
    if not asked.run:
        raise InvalidInput("request", "", "Missing value for required parameter 'run_id'", hint="send it")


routes = (
    Route("POST", "runs/create", Create, _create),
    Route("GET", "runs/get", ByRun, _get),
    Route("POST", "runs/update", Update, _update),
    Route("POST", "runs/delete", ByRun, _delete),
    Route("POST", "runs/restore", ByRun, _restore),
    Route("POST", "runs/log-metric", LogMetric, _log_metric),
    Route("POST", "runs/log-parameter", LogParam, _log_parameter),
    Route("POST", "runs/set-tag", SetTag, _set_tag),
    Route("POST", "runs/delete-tag", DeleteTag, _delete_tag),
    Route("POST", "runs/log-batch", LogBatch, _log_batch),
    Route("POST", "runs/log-inputs", LogInputs, _log_inputs),
    Route("POST", "runs/log-model", LogModel, _log_model),
    Route("POST", "runs/outputs", LogOutputs, _log_outputs),
)
