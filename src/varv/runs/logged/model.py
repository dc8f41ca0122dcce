"""What can happen to logged models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NewType

from varv.kernel.codec import Event, event
from varv.kernel.texts import Text
from varv.kernel.wording import count
from varv.runs.model import ExperimentId

LoggedModelId = NewType("LoggedModelId", str)

LoggedStatus = Literal["PENDING", "READY", "FAILED"]
LOGGED_STATUSES: tuple[LoggedStatus, ...] = ("PENDING", "READY", "FAILED")
MODELS_FOLDER = "models"
"""Where the artifacts of an experiment's models are, beside those of its runs."""


@event("runs.model_logged")
class ModelLogged(Event, frozen=True, kw_only=True):
    """A model exists from now on; its files are on their way."""

    logged_model: LoggedModelId
    experiment: ExperimentId
    name: str
    type: str = ""
    run: str = ""
    """What made it; nothing if that is not known."""
    params: Mapping[str, Text] = {}
    tags: Mapping[str, Text] = {}

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"model {self.name} in experiment {self.experiment}"


@event("runs.model_described")
class ModelDescribed(Event, frozen=True, kw_only=True):
    """A logged model has further parameters, which never change, or tags, of which the last value holds."""

    logged_model: LoggedModelId
    params: Mapping[str, Text] = {}
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.params) + len(self.tags))} parameters and tags"


@event("runs.model_finalized")
class ModelFinalized(Event, frozen=True, kw_only=True):
    """The files of a logged model are there, or will not come."""

    logged_model: LoggedModelId
    status: LoggedStatus


@event("runs.model_moved")
class ModelMoved(Event, frozen=True, kw_only=True):
    """A logged model was deleted."""

    logged_model: LoggedModelId
    deleted: bool


@event("runs.model_purged")
class ModelPurged(Event, frozen=True, kw_only=True):
    """A logged model of a deleted experiment is gone for good."""

    logged_model: LoggedModelId
    by: str


def logged_stream(logged_model: str) -> str:
    """Return the stream of a logged model."""
    return f"logged-model/{logged_model}"
