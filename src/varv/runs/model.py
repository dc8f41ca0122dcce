"""Nouns of tracking, and what can happen to them.

The ledger holds what somebody will ask "why" about: that an experiment or a run was made, its parameters and
tags, its inputs and outputs, its end. The points of metrics are in a log of their own (`runs.points`), which
is sealed into the ledger by digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, NewType

import msgspec

from varv.kernel.codec import Digest, Event, event
from varv.kernel.texts import LongText, Text
from varv.kernel.wording import count

RunId = NewType("RunId", str)
ExperimentId = NewType("ExperimentId", str)

Verdict = Literal["bit-identical", "prediction-identical", "within tolerance", "differs", "cannot run"]
"""What a rerun is worth."""
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
STATUSES: tuple[Status, ...] = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
RUN_NAME = "mlflow.runName"
"""The tag that says the name of a run, which clients set and read as such."""
DEFAULT = ExperimentId("0")
"""The experiment that is always there."""


class InputTag(msgspec.Struct, frozen=True):
    """A tag of the use of a dataset, such as its context."""

    key: str
    value: str


class DatasetInput(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a run has read: its name and digest, and where and what it is, in the client's words."""

    name: str
    digest: str
    source_type: str
    source: Text
    schema: Text = ""
    profile: Text = ""
    tags: tuple[InputTag, ...] = ()


class ModelInput(msgspec.Struct, frozen=True):
    """A logged model that a run has read."""

    model_id: str


class ModelOutput(msgspec.Struct, frozen=True):
    """A logged model that a run has made at a step."""

    model_id: str
    step: int = 0


class RunEvent(Event, frozen=True, kw_only=True):
    """Something that happened to an experiment or a run."""

    in_file: ClassVar[bool] = True

    def texts(self) -> Iterator[Text]:
        """Yield the values that may stand in blobs."""
        for name in ("tags", "params"):
            yield from getattr(self, name, {}).values()


@event("runs.experiment_created")
class ExperimentCreated(RunEvent, frozen=True, kw_only=True):
    """An experiment exists from now on."""

    experiment: ExperimentId
    name: str
    artifacts: str
    """Where its artifacts are, as a client is told."""
    tags: Mapping[str, Text] = {}

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"experiment {self.experiment}: {self.name}"


@event("runs.experiment_changed")
class ExperimentChanged(RunEvent, frozen=True, kw_only=True):
    """An experiment has another name, further tags, or a tag less."""

    experiment: ExperimentId
    name: str = ""
    """Nothing if it keeps its own."""
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""


@event("runs.experiment_moved")
class ExperimentMoved(RunEvent, frozen=True, kw_only=True):
    """An experiment was deleted or restored, and its runs with it."""

    experiment: ExperimentId
    deleted: bool


@event("runs.run_created")
class RunCreated(RunEvent, frozen=True, kw_only=True):
    """A run has begun; one that was recorded elsewhere has parameters and an end at once."""

    run: RunId
    experiment: ExperimentId
    name: str
    user: str
    started_ms: int
    tags: Mapping[str, Text] = {}
    status: Status = "RUNNING"
    params: Mapping[str, Text] = {}
    ended_ms: int | None = None

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"run {self.name} in experiment {self.experiment}"


@event("runs.run_described")
class RunDescribed(RunEvent, frozen=True, kw_only=True):
    """A run has further parameters, which never change, or tags, of which the last value holds."""

    run: RunId
    params: Mapping[str, Text] = {}
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""

    def line(self) -> str:
        """Return one line on what this event states."""
        told = [f"{name} = {value}" for name, value in self.params.items() if isinstance(value, str)]
        return ", ".join(told[:6]) or f"{count(len(self.params) + len(self.tags))} parameters and tags"


@event("runs.run_updated")
class RunUpdated(RunEvent, frozen=True, kw_only=True):
    """A run has another status or name; an end in milliseconds if it has ended."""

    run: RunId
    status: Status | None = None
    ended_ms: int | None = None
    name: str = ""
    """Nothing if it keeps its own."""

    def line(self) -> str:
        """Return one line on what this event states."""
        named = f", now {self.name}" if self.name else ""
        return f"{self.status or 'renamed'}{named}"


@event("runs.run_moved")
class RunMoved(RunEvent, frozen=True, kw_only=True):
    """A run was deleted or restored."""

    run: RunId
    deleted: bool


@event("runs.run_purged")
class RunPurged(RunEvent, frozen=True, kw_only=True):
    """A deleted run is gone for good: its rows, its points, and what nothing else has of its artifacts and
    long texts. ``by`` says who decided it.
    """

    run: RunId
    by: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"run {self.run} deleted for good by {self.by}"


@event("runs.experiment_purged")
class ExperimentPurged(RunEvent, frozen=True, kw_only=True):
    """A deleted experiment is gone for good, after its runs and logged models. Its name is free again, its id
    is not.
    """

    experiment: ExperimentId
    by: str

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"experiment {self.experiment} deleted for good by {self.by}"


@event("runs.linked")
class RunLinked(RunEvent, frozen=True, kw_only=True):
    """A run has read datasets or models, or has made models."""

    run: RunId
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()
    outputs: tuple[ModelOutput, ...] = ()

    def texts(self) -> Iterator[Text]:
        """Yield the values that may stand in blobs."""
        for one in self.datasets:
            yield from (one.source, one.schema, one.profile)


class Difference(msgspec.Struct, frozen=True):
    """One component in which two environments differ; the empty text is that there was none."""

    component: str
    before: str
    after: str


@event("runs.reproduced")
class RunReproduced(RunEvent, frozen=True, kw_only=True):
    """A run was made again, twice, and this came of it.

    ``repeats`` compares the two reruns with each other, so it tells chance from a change; ``differing`` names
    what is not equal, ``components`` what differs between the two environments, and ``captures`` are the
    digests of both. ``because`` says why it could not be run.
    """

    run: RunId
    verdict: Verdict
    repeats: Verdict | None = None
    differing: tuple[str, ...] = ()
    components: tuple[Difference, ...] = ()
    reruns: tuple[RunId, ...] = ()
    captures: tuple[Digest, ...] = ()
    because: Text = ""

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"reproduced: {self.verdict}"


@event("runs.points_sealed")
class PointsSealed(RunEvent, frozen=True, kw_only=True):
    """The points of a run's metrics up to now are these; what is changed later shows.

    ``number`` counts the seals of the run from 1, ``n`` the points in this one, and ``root`` is the digest of
    all series of the run, each with its length and its own digest.
    """

    run: RunId
    number: int
    n: int
    root: Digest

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n)} points sealed"


@event("runs.artifacts_sealed")
class ArtifactsSealed(RunEvent, frozen=True, kw_only=True):
    """The artifacts of a run are these now: ``n`` files of ``size`` bytes together.

    ``root`` is the digest of all paths with the digests and sizes of what is under them.
    """

    owner: str
    n: int
    size: int
    root: Digest

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(self.n)} artifacts of {count(self.size)} bytes sealed"


def long_texts(event: RunEvent) -> Iterator[Digest]:
    """Yield the blobs that hold texts of an event."""
    yield from (text.blob for text in event.texts() if isinstance(text, LongText))


def run_stream(run: str) -> str:
    """Return the stream of a run."""
    return f"run/{run}"


def experiment_stream(experiment: str) -> str:
    """Return the stream of an experiment."""
    return f"experiment/{experiment}"
