"""Assessments of traces, as the protocol has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.routes import API_3, Route, Written
from varv.kernel.clock import Instant, instant, iso
from varv.kernel.errors import InvalidInput
from varv.runs.traces import Traces
from varv.runs.traces.assessing import Change, assess, change, withdraw
from varv.runs.traces.assessing import assessment_of as found
from varv.runs.traces.model import UNKNOWN_SOURCE, Assessment, Source
from varv.runs.traces.rules import new_assessment_id, require_assessment_id

Kind = Literal["feedback", "expectation", "issue"]
KINDS: tuple[Kind, ...] = ("feedback", "expectation", "issue")


_BESIDE_VALUE: Mapping[Kind, tuple[str, ...]] = {
    "feedback": ("error",),
    "expectation": ("serialized_value",),
    "issue": ("issue_name",),
}


class SaidSource(msgspec.Struct):
    """Who has judged."""

    source_type: str | None = None
    source_id: str | None = None


class Said(msgspec.Struct):
    """What a client says of a trace: feedback, what it expected, or an issue that the trace belongs to."""

    assessment_id: str | None = None
    assessment_name: str | None = None
    span_id: str | None = None
    source: SaidSource | None = None
    create_time: str | None = None
    last_update_time: str | None = None
    feedback: dict[str, Any] | None = None
    expectation: dict[str, Any] | None = None
    issue: dict[str, Any] | None = None
    rationale: str | None = None
    metadata: dict[str, str] | None = None
    overrides: str | None = None
    valid: bool | None = None


class Create(msgspec.Struct):
    """Judges a trace."""

    trace_id: str = ""
    assessment: Said | None = None


class ById(msgspec.Struct):
    """Names an assessment of a trace."""

    trace_id: str = ""
    assessment_id: str = ""


class Update(ById):
    """Changes an assessment: those of its fields that the mask names."""

    assessment: Said | None = None
    update_mask: str = ""


def document(trace: str, one: Assessment) -> dict[str, Any]:
    """Return an assessment as the protocol has it."""
    told: dict[str, Any] = {
        "assessment_id": one.id,
        "assessment_name": one.name,
        "trace_id": trace,
        "source": {"source_type": one.source.type} | ({"source_id": one.source.id} if one.source.id else {}),
        "create_time": spelled_moment(one.created_ms),
        "last_update_time": spelled_moment(one.updated_ms),
        one.kind: msgspec.Raw(str(one.body).encode()),
        "valid": one.valid,
    }
    optional = {
        "span_id": one.span,
        "rationale": one.rationale,
        "metadata": one.metadata,
        "overrides": one.overrides,
    }
    return told | {name: value for name, value in optional.items() if value}


def assessment_of(said: Said) -> Assessment:
    """Return an assessment as it is kept.

    Raises
    ------
    InvalidInput
        If it says nothing, or more than one thing.
    """
    kind, body = _judged(said)
    source = said.source or SaidSource()
    return Assessment(
        id=require_assessment_id(said.assessment_id) if said.assessment_id else new_assessment_id(),
        kind=kind,
        name=said.assessment_name or "",
        body=body,
        source=Source(source.source_type or UNKNOWN_SOURCE, source.source_id or ""),
        span=said.span_id or "",
        # What was expected needs no reason.
        rationale=said.rationale or "" if kind != "expectation" else "",
        metadata=said.metadata or {},
        overrides=said.overrides or "",
        created_ms=moment_ms(said.create_time) if said.create_time else 0,
        updated_ms=moment_ms(said.last_update_time) if said.last_update_time else 0,
    )


def _judged(said: Said) -> tuple[Kind, str]:
    kinds = [kind for kind in KINDS if getattr(said, kind) is not None]
    if len(kinds) != 1:
        problem, hint = "says not one thing", f"send one of {', '.join(KINDS)}"
        raise InvalidInput("assessment", (said.assessment_name or "")[:80], problem, found=kinds, hint=hint)
    return kinds[0], _body(kinds[0], getattr(said, kinds[0]))


def _body(kind: Kind, value: dict[str, Any]) -> str:
    body = {name: value[name] for name in _BESIDE_VALUE[kind] if value.get(name)}
    # A value that is left out is null, unless something else says what was judged.
    if kind == "feedback" or not body:
        body["value"] = value.get("value")
    return msgspec.json.encode(body).decode()


def _create(traces: Traces, asked: Create) -> Written:
    given(asked, "assessment")
    made = assessment_of(asked.assessment or Said())
    return _written(traces, asked.trace_id, made.id, assess(asked.trace_id, made, traces.blobs))


def _get(traces: Traces, asked: ById) -> dict[str, Any]:
    with traces.recorder.reading() as db:
        one = found(db, asked.trace_id, asked.assessment_id)
    return {"assessment": document(asked.trace_id, one)}


def _update(traces: Traces, asked: Update) -> Written:
    given(asked, "assessment", "update_mask")
    said = asked.assessment or Said()
    changed: dict[str, Any] = {}
    for path in asked.update_mask.split(","):
        match path.strip():
            case "assessment_name" | "assessmentName":
                changed["name"] = said.assessment_name or ""
            case "feedback" | "expectation":
                changed["kind"], changed["body"] = _judged(said)
            case "rationale":
                changed["rationale"] = said.rationale or ""
            case "metadata":
                changed["metadata"] = said.metadata or {}
            case other:
                hint = "name assessment_name, feedback, expectation, rationale or metadata"
                raise InvalidInput("update mask", other[:80], "names what cannot be changed", hint=hint)
    write = change(asked.trace_id, asked.assessment_id, Change(**changed), traces.blobs)
    return _written(traces, asked.trace_id, asked.assessment_id, write)


def _delete(traces: Traces, asked: ById) -> Written:
    return Written(withdraw(asked.trace_id, asked.assessment_id))


def _written(traces: Traces, trace: str, id: str, write: Any) -> Written:
    return Written(write, lambda db, result: {"assessment": document(trace, found(db, trace, id))})


def moment_ms(text: str) -> int:
    """Return the milliseconds of an instant as protobuf's JSON has it.

    Raises
    ------
    InvalidInput
        If it is none.

    Examples
    --------
    >>> moment_ms("2020-01-01T00:00:00.5Z")
    1577836800500
    """
    return instant(text) // 1000


def spelled_moment(ms: int) -> str:
    """Return an instant as protobuf's JSON has it.

    Examples
    --------
    >>> spelled_moment(1577836800500), spelled_moment(0)
    ('2020-01-01T00:00:00.500Z', '1970-01-01T00:00:00Z')
    """
    return iso(Instant(ms * 1000)).replace("000Z", "Z") if ms % 1000 else iso(Instant(ms * 1000))


_OF_TRACE = f"{API_3}traces/{{trace_id}}/assessments"
routes = (
    Route("POST", _OF_TRACE, Create, _create),
    Route("GET", f"{_OF_TRACE}/{{assessment_id}}", ById, _get),
    Route("PATCH", f"{_OF_TRACE}/{{assessment_id}}", Update, _update),
    Route("DELETE", f"{_OF_TRACE}/{{assessment_id}}", ById, _delete),
)
