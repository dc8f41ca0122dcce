"""Nouns of traces: what an application did for one request, in spans, and what was said of it afterwards.

Spans and what they add up to are telemetry: rows of the recorder's file, durable once they are answered, and
in no entry of the ledger. Unlike the points of metrics they are not sealed, since nothing is decided by them.
What a person or a program says of a trace is decided, and small: tags that are set later, assessments, the
run that it belongs to, and that it was deleted are events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NewType

import msgspec

from varv.kernel.codec import event
from varv.kernel.texts import LongText, Text
from varv.kernel.wording import count
from varv.runs.model import RunEvent, RunId

TraceId = NewType("TraceId", str)
AssessmentId = NewType("AssessmentId", str)

State = Literal["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"]
STATES: tuple[State, ...] = ("STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS")
UNSET, OK, ERROR = range(3)
"""The statuses of a span, as OpenTelemetry numbers them."""
STATUS_NAMES = ("UNSET", "OK", "ERROR")

NAME = "mlflow.traceName"
"""The tag that holds the name of a trace."""
SPANS_AT = "mlflow.trace.spansLocation"
HERE = "TRACKING_STORE"
"""What the tag says once spans have come: a client asks this server for them, and uploads no file."""
ARTIFACTS_AT = "mlflow.artifactLocation"
OURS = frozenset({SPANS_AT, ARTIFACTS_AT, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure"})
"""Tags that only the server sets."""
TRACES_FOLDER = "traces"
"""The folder of an experiment that the artifacts of its traces are in."""
UNKNOWN_SOURCE = "SOURCE_TYPE_UNSPECIFIED"
"""The kind of whoever has judged, where a client does not say it."""
RUN = "mlflow.sourceRun"
"""The metadata that holds the run in which a trace was made."""
WHOLE = "mlflow.trace.infoFinalized"
"""The metadata that says that a client has said all that it knows of a trace."""
SIZES = "mlflow.trace.sizeStats"
"""The metadata that says how many spans there are to come, among other sizes."""


class SpanEvent(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened within a span, such as an exception."""

    name: str
    at_ns: int
    attributes: dict[str, Any] = {}


class SpanLink(msgspec.Struct, frozen=True, array_like=True):
    """Another span, by the hexadecimal ids of its trace and its own."""

    trace: str
    span: str
    attributes: dict[str, Any] = {}


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a trace, as OpenTelemetry has it; values of attributes are what JSON has, or bytes.

    ``trace``, ``id`` and ``parent`` are hexadecimal; a root has no parent. Times are nanoseconds since 1970,
    and 0 where a step has not ended.
    """

    trace: str
    id: str
    parent: str = ""
    name: str = ""
    kind: int = 1
    started_ns: int = 0
    ended_ns: int = 0
    status: int = UNSET
    message: str = ""
    attributes: dict[str, Any] = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()


class TraceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a trace as a whole. ``took_ms`` is None where it has not ended."""

    id: TraceId
    experiment: str
    at_ms: int
    took_ms: int | None = None
    state: State = "STATE_UNSPECIFIED"
    client_request: str | None = None
    request: str | None = None
    response: str | None = None
    """The beginning of what was asked and of what was answered."""
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who has judged: a person, a model that judges, or code."""

    type: str = UNKNOWN_SOURCE
    id: str = ""


class Assessment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody judged of a trace, or of one span of it.

    ``kind`` says what it is: feedback, what should have been answered, or an issue that it belongs to;
    ``body`` is the JSON object that says so in the protocol's words.
    """

    id: AssessmentId
    kind: Literal["feedback", "expectation", "issue"]
    name: str
    body: Text
    source: Source = Source()
    span: str = ""
    rationale: Text = ""
    metadata: Mapping[str, Text] = {}
    overrides: str = ""
    """The assessment that this one replaces."""
    valid: bool = True
    """Whether none has replaced it."""
    created_ms: int = 0
    updated_ms: int = 0


@event("traces.tagged")
class TraceTagged(RunEvent, frozen=True, kw_only=True):
    """A trace has further tags, of which the last value holds, or a tag less."""

    trace: TraceId
    tags: Mapping[str, Text] = {}
    without: str = ""
    """The tag that is gone."""

    def line(self) -> str:
        """Return one line on what this event states."""
        told = [f"{name} = {value}" for name, value in self.tags.items() if isinstance(value, str)]
        if self.without:
            told.append(f"without {self.without}")
        return ", ".join(told) or f"{count(len(self.tags))} long tags"


@event("traces.assessed")
class TraceAssessed(RunEvent, frozen=True, kw_only=True):
    """A trace was judged, or somebody thought better of it: this is how the assessment is from now on."""

    trace: TraceId
    assessment: Assessment

    def texts(self) -> Iterator[Text]:
        """Yield the values that may stand in blobs."""
        yield from (self.assessment.body, self.assessment.rationale, *self.assessment.metadata.values())

    def line(self) -> str:
        """Return one line on what this event states."""
        given = self.assessment
        body = "a long text" if isinstance(given.body, LongText) else given.body
        return f"{given.kind} {given.name or '(no name)'}: {body}"


@event("traces.assessment_deleted")
class AssessmentDeleted(RunEvent, frozen=True, kw_only=True):
    """An assessment was withdrawn; what it had replaced is valid again."""

    trace: TraceId
    assessment: AssessmentId


@event("traces.linked")
class TracesLinked(RunEvent, frozen=True, kw_only=True):
    """Traces belong to a run, or have used versions of prompts, each as ``name/version``."""

    traces: tuple[TraceId, ...]
    run: RunId = RunId("")
    """Nothing if it is about prompts."""
    prompts: tuple[str, ...] = ()

    def line(self) -> str:
        """Return one line on what this event states."""
        told = f"run {self.run}" if self.run else ", ".join(self.prompts)
        return f"{count(len(self.traces))} traces of {told}"


@event("traces.deleted")
class TracesDeleted(RunEvent, frozen=True, kw_only=True):
    """Traces are gone, with their spans and all that was said of them."""

    experiment: str
    traces: tuple[TraceId, ...]

    def line(self) -> str:
        """Return one line on what this event states."""
        return f"{count(len(self.traces))} traces of experiment {self.experiment} deleted"


def trace_stream(trace: str) -> str:
    """Return the stream of a trace."""
    return f"trace/{trace}"
