"""Experiments, as the protocol has them."""

from __future__ import annotations

from typing import Any

import msgspec

from varv.fronts.mlflow.routes import Route, Written, pairs
from varv.kernel.errors import InvalidInput
from varv.runs import reading
from varv.runs.artifacts import require_path
from varv.runs.experiments import ARTIFACTS
from varv.runs.service import Tracking


class Tag(msgspec.Struct):
    """A tag, or a parameter, of a request."""

    key: str = ""
    value: str | None = ""

    @property
    def text(self) -> str:
        """The value; none is an empty one."""
        return self.value or ""


class Create(msgspec.Struct):
    """Names a new experiment."""

    name: str = ""
    artifact_location: str = ""
    tags: list[Tag] = []


class ById(msgspec.Struct):
    """Names an experiment."""

    experiment_id: str = ""


class ByName(msgspec.Struct):
    """Names an experiment by its name."""

    experiment_name: str = ""


class Update(msgspec.Struct):
    """Gives an experiment another name."""

    experiment_id: str = ""
    new_name: str = ""


class SetTag(msgspec.Struct):
    """Sets a tag of an experiment."""

    experiment_id: str = ""
    key: str = ""
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Takes a tag from an experiment."""

    experiment_id: str = ""
    key: str = ""


def document(one: reading.Experiment) -> dict[str, Any]:
    """Return an experiment as the protocol has it."""
    return {
        "experiment_id": one.id,
        "name": one.name,
        "artifact_location": one.artifacts,
        "lifecycle_stage": "deleted" if one.deleted else "active",
        "last_update_time": one.updated_ms,
        "creation_time": one.created_ms,
        "workspace": "default",
    } | ({"tags": pairs(one.tags)} if one.tags else {})


def given(asked: msgspec.Struct, *names: str) -> None:
    """Raise `InvalidInput` if a request leaves out what it must say."""
    for name in names:
        if getattr(asked, name) in ("", None, []):
            raise InvalidInput(
                "request", "", f"Missing value for required parameter '{name}'", hint="send it"
            )


def _create(tracking: Tracking, asked: Create) -> Written:
    given(asked, "name")
    _require_here(asked.artifact_location)
    tags = {tag.key: tag.text for tag in asked.tags}
    write = tracking.experiments.create(asked.name, artifacts=asked.artifact_location, tags=tags)
    return Written(write, lambda db, made: {"experiment_id": made})


def _require_here(location: str) -> None:
    """Raise `InvalidInput` unless this server is to keep the artifacts, which it does under plain names."""
    if not location:
        return
    hint = "leave it out: artifacts are kept by this server"
    if not location.startswith(f"{ARTIFACTS}/"):
        raise InvalidInput("artifact location", location[:80], "is somewhere else", hint=hint)
    require_path(location.removeprefix(f"{ARTIFACTS}/"))
    if "?" in location:
        raise InvalidInput("artifact location", location[:80], "has a query", hint=hint)


def _get(tracking: Tracking, asked: ById) -> dict[str, Any]:
    given(asked, "experiment_id")
    with tracking.recorder.reading() as db:
        return {"experiment": document(reading.experiment(db, id=asked.experiment_id))}


def _get_by_name(tracking: Tracking, asked: ByName) -> dict[str, Any]:
    given(asked, "experiment_name")
    with tracking.recorder.reading() as db:
        return {"experiment": document(reading.experiment(db, name=asked.experiment_name))}


def _update(tracking: Tracking, asked: Update) -> Written:
    given(asked, "experiment_id", "new_name")
    return Written(tracking.experiments.rename(asked.experiment_id, asked.new_name))


def _delete(tracking: Tracking, asked: ById) -> Written:
    given(asked, "experiment_id")
    return Written(tracking.experiments.move(asked.experiment_id, deleted=True))


def _restore(tracking: Tracking, asked: ById) -> Written:
    given(asked, "experiment_id")
    return Written(tracking.experiments.move(asked.experiment_id, deleted=False))


def _set_tag(tracking: Tracking, asked: SetTag) -> Written:
    given(asked, "experiment_id", "key")
    return Written(tracking.experiments.tag(asked.experiment_id, {asked.key: asked.value}))


def _delete_tag(tracking: Tracking, asked: DeleteTag) -> Written:
    given(asked, "experiment_id", "key")
    return Written(tracking.experiments.untag(asked.experiment_id, asked.key))


routes = (
    Route("POST", "experiments/create", Create, _create),
    Route("GET", "experiments/get", ById, _get),
    Route("GET", "experiments/get-by-name", ByName, _get_by_name),
    Route("POST", "experiments/update", Update, _update),
    Route("POST", "experiments/delete", ById, _delete),
    Route("POST", "experiments/restore", ById, _restore),
    Route("POST", "experiments/set-experiment-tag", SetTag, _set_tag),
    Route("POST", "experiments/delete-experiment-tag", DeleteTag, _delete_tag),
)
