"""What a source says of experiments, runs, logged models and traces, and that they were taken over."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from varv.kernel.codec import Digest, digest_of, event
from varv.kernel.stated_tags import free
from varv.runs.logged.model import LoggedStatus
from varv.runs.model import DatasetInput, ModelInput, ModelOutput, RunEvent, Status
from varv.runs.traces.model import Assessment, TraceInfo


class SourceExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as its source has it."""

    id: str
    name: str
    artifacts: str = ""
    """Where its artifacts are at the source."""
    deleted: bool = False
    created_ms: int
    updated_ms: int
    tags: Mapping[str, str] = {}


class Last(msgspec.Struct, frozen=True, array_like=True):
    """The point that counts as the last of a series."""

    name: str
    value: float
    at_ms: int
    step: int


class SourceRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its source has it, without the histories of its metrics."""

    id: str
    experiment: str
    name: str
    user: str
    status: Status
    deleted: bool = False
    started_ms: int
    ended_ms: int | None = None
    artifacts: str = ""
    """Where its artifacts are at the source; nothing if it has none."""
    params: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}
    last: tuple[Last, ...] = ()
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()
    outputs: tuple[ModelOutput, ...] = ()


class SourceModel(msgspec.Struct, frozen=True, kw_only=True):
    """A logged model as its source has it."""

    id: str
    experiment: str
    name: str
    type: str = ""
    run: str = ""
    status: LoggedStatus = "READY"
    deleted: bool = False
    created_ms: int
    updated_ms: int
    artifacts: str = ""
    params: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}


class SourceTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as its source has it, without its spans."""

    info: TraceInfo
    assessments: tuple[Assessment, ...] = ()
    runs: tuple[str, ...] = ()
    """Those that it belongs to."""
    prompts: tuple[str, ...] = ()
    """Versions that it has used, each as ``name/version``."""

    @property
    def is_whole(self) -> bool:
        """Whether it has ended, so that no more spans of it are to come."""
        return self.info.state in ("OK", "ERROR")


SourceThing = SourceExperiment | SourceRun | SourceModel | SourceTrace


def content_of(thing: SourceThing) -> Digest:
    """Return the digest of all that a source says of something, but for what a server finds in files by
    itself: one that is asked again may have found it meanwhile.
    """
    if isinstance(thing, SourceModel):
        thing = msgspec.structs.replace(thing, tags=free(thing.tags), updated_ms=thing.created_ms)
    return digest_of(thing)


def name_of(thing: SourceThing) -> str:
    """Return what something is noted under, once it is taken over."""
    match thing:
        case SourceExperiment():
            return f"experiment/{thing.id}"
        case SourceRun():
            return f"run/{thing.id}"
        case SourceModel():
            return f"logged-model/{thing.id}"
        case SourceTrace():
            return f"trace/{thing.info.id}"


@event("runs.imported")
class Imported(RunEvent, frozen=True, kw_only=True):
    """Something was taken over from elsewhere, as its source had it then.

    ``thing`` is what it is noted under, ``content`` the digest of what the source said. ``created_ms`` and
    ``updated_ms`` are when it was made and last changed there; those of runs and traces are with
    them.
    """

    thing: str
    source: str
    content: Digest
    created_ms: int | None = None
    updated_ms: int | None = None

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{self.thing} taken over from {self.source}"
