"""Logged models, as the protocol has them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from varv.fronts.mlflow.artifacts import document as artifact_document
from varv.fronts.mlflow.artifacts import owner_of
from varv.fronts.mlflow.experiments import Tag, given
from varv.fronts.mlflow.routes import Route, Written, number, pairs
from varv.home.tracking import logged_search
from varv.home.tracking.desk import TrackingDesk
from varv.home.tracking.logged_search import Dataset, ModelOrder
from varv.kernel.errors import InvalidInput
from varv.runs import artifacts
from varv.runs.logged import reading
from varv.runs.logged.model import MODELS_FOLDER, LoggedStatus
from varv.runs.rules import unique_params

_STATUSES: dict[LoggedStatus, str] = {
    "PENDING": "LOGGED_MODEL_PENDING",
    "READY": "LOGGED_MODEL_READY",
    "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
}


class Create(msgspec.Struct):
    """Makes a logged model."""

    experiment_id: str = ""
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[Tag] = []
    tags: list[Tag] = []


class ById(msgspec.Struct):
    """Names a logged model."""

    model_id: str = ""


class Get(ById):
    """Asks for a logged model."""

    allow_deleted: str = ""


class Finalize(ById):
    """Says what became of the files of a logged model."""

    status: str | int | None = None


class LogParams(ById):
    """Gives a logged model parameters."""

    params: list[Tag] = []


class SetTags(ById):
    """Sets tags of a logged model."""

    tags: list[Tag] = []


class DeleteTag(ById):
    """Takes a tag from a logged model."""

    tag_key: str = ""


class ListArtifacts(ById):
    """Names a logged model, and a folder of its artifacts."""

    artifact_directory_path: str = ""
    page_token: str = ""


class DatasetFilter(msgspec.Struct):
    """Says which dataset metrics are of."""

    dataset_name: str = ""
    dataset_digest: str | None = None


class OrderBy(msgspec.Struct):
    """Says what to order by."""

    field_name: str = ""
    ascending: bool | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class Search(msgspec.Struct):
    """Asks for logged models."""

    experiment_ids: list[str] | None = None
    filter: str | None = None
    datasets: list[DatasetFilter] = []
    max_results: int | None = None
    order_by: list[OrderBy] = []
    page_token: str | None = None


def document(one: reading.LoggedModel) -> dict[str, Any]:
    """Return a logged model as the protocol has it."""
    info: dict[str, Any] = {
        "model_id": one.id,
        "experiment_id": one.experiment,
        "name": one.name,
        "creation_timestamp_ms": one.created_ms,
        "last_updated_timestamp_ms": one.updated_ms,
        "artifact_uri": one.artifacts,
        "status": _STATUSES[one.status],
        "model_type": one.type,
        "source_run_id": one.run,
    }
    if one.tags:
        info["tags"] = pairs(one.tags)
    data: dict[str, Any] = {}
    if one.params:
        data["params"] = pairs(one.params)
    if one.metrics:
        data["metrics"] = [_metric(one.id, metric) for metric in one.metrics]
    return {"info": info, "data": data}


def _metric(model: str, one: reading.ModelMetric) -> dict[str, Any]:
    told = {
        "key": one.name,
        "value": number(one.value),
        "timestamp": one.at_ms,
        "step": one.step,
        "model_id": model,
        "run_id": one.run,
    }
    of = {"dataset_name": one.dataset, "dataset_digest": one.digest}
    return told | {name: value for name, value in of.items() if value}


def _told(db: sqlite3.Connection, id: str, *, deleted_too: bool = False) -> dict[str, Any]:
    return {"model": document(reading.logged_model(db, id, deleted_too=deleted_too))}


def _create(desk: TrackingDesk, asked: Create) -> Written:
    given(asked, "experiment_id")
    write = desk.logged.create(
        asked.experiment_id,
        name=asked.name,
        type=asked.model_type or "",
        run=asked.source_run_id or "",
        params=_params(asked.params),
        tags=_tags(asked.tags),
    )
    return Written(write, lambda db, made: _told(db, made))


def _get(desk: TrackingDesk, asked: Get) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        return _told(db, asked.model_id, deleted_too=asked.allow_deleted.lower() == "true")


def _finalize(desk: TrackingDesk, asked: Finalize) -> Written:
    given(asked, "status")
    return Written(
        desk.logged.finalize(asked.model_id, _status(asked.status)),
        lambda db, done: _told(db, asked.model_id),
    )


def _status(asked: str | int | None) -> LoggedStatus:
    for place, (status, name) in enumerate(_STATUSES.items(), 1):
        if str(asked) in (name, str(place)):
            return status
    hint = f"say one of {', '.join(_STATUSES.values())}"
    raise InvalidInput("model status", str(asked)[:40], "is not known", hint=hint)


def _delete(desk: TrackingDesk, asked: ById) -> Written:
    return Written(desk.logged.delete(asked.model_id))


def _log_params(desk: TrackingDesk, asked: LogParams) -> Written:
    return Written(desk.logged.log_params(asked.model_id, _params(asked.params)))


def _set_tags(desk: TrackingDesk, asked: SetTags) -> Written:
    return Written(desk.logged.tag(asked.model_id, _tags(asked.tags)))


def _delete_tag(desk: TrackingDesk, asked: DeleteTag) -> Written:
    return Written(desk.logged.untag(asked.model_id, asked.tag_key))


def _list_artifacts(desk: TrackingDesk, asked: ListArtifacts) -> dict[str, Any]:
    with desk.recorder.reading() as db:
        root = reading.logged_model(db, asked.model_id).artifacts
        folder = asked.artifact_directory_path.rstrip("/")
        files = artifacts.listed(db, owner_of(MODELS_FOLDER, asked.model_id), folder)
    told: dict[str, Any] = {"root_uri": root}
    return told | ({"files": [artifact_document(one) for one in files]} if files else {})


def _search(desk: TrackingDesk, asked: Search) -> dict[str, Any]:
    if asked.experiment_ids is None:  # an empty list asks for nothing
        given(asked, "experiment_ids")
    datasets = [Dataset(one.dataset_name, one.dataset_digest or "") for one in asked.datasets]
    with desk.recorder.reading() as db:
        page = logged_search.logged_models(
            db,
            asked.experiment_ids or [],
            asked.filter or "",
            datasets=datasets,
            orders=[_order(one) for one in asked.order_by],
            most=asked.max_results,
            token=asked.page_token or "",
        )
        found = reading.logged_models(db, page.numbers)
    told: dict[str, Any] = {"models": [document(one) for one in found]} if found else {}
    return told | ({"next_page_token": page.token} if page.token else {})


def _order(one: OrderBy) -> ModelOrder:
    dataset = Dataset(one.dataset_name or "", one.dataset_digest or "")
    return ModelOrder(one.field_name, one.ascending is not False, dataset if any(dataset) else None)


def _params(params: list[Tag]) -> dict[str, str]:
    return unique_params((param.key, param.text) for param in params)


def _tags(tags: list[Tag]) -> dict[str, str]:
    return {tag.key: tag.text for tag in tags}


routes = (
    Route("POST", "logged-models", Create, _create),
    Route("POST", "logged-models/search", Search, _search, slow=True, reads=True),
    Route("GET", "logged-models/{model_id}", Get, _get),
    Route("PATCH", "logged-models/{model_id}", Finalize, _finalize),
    Route("DELETE", "logged-models/{model_id}", ById, _delete),
    Route("POST", "logged-models/{model_id}/params", LogParams, _log_params),
    Route("PATCH", "logged-models/{model_id}/tags", SetTags, _set_tags),
    Route("DELETE", "logged-models/{model_id}/tags/{tag_key}", DeleteTag, _delete_tag),
    Route("GET", "logged-models/{model_id}/artifacts/directories", ListArtifacts, _list_artifacts),
)
