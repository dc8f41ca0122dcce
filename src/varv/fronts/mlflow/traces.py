"""Traces, as the protocol has them: begun, found, read, tagged, linked and deleted."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from varv.fronts.mlflow.assessments import Said, assessment_of, moment_ms, spelled_moment
from varv.fronts.mlflow.assessments import document as assessed
from varv.fronts.mlflow.experiments import given
from varv.fronts.mlflow.routes import API_3, Route, Written
from varv.fronts.mlflow.spans import document as span_document
from varv.kernel.errors import InvalidInput
from varv.runs.traces import Traces, reading
from varv.runs.traces.model import STATES, TraceInfo
from varv.runs.traces.rules import require_few_bytes, require_trace_id
from varv.runs.traces.search import DEFAULT_RESULTS, TraceQuery, trace_page

_DURATION = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?s")
_EXPERIMENT = "MLFLOW_EXPERIMENT"


class OfExperiment(msgspec.Struct):
    """Names the experiment that a trace is in."""

    experiment_id: str = ""


class Location(msgspec.Struct):
    """Says where a trace is: here that is an experiment."""

    type: str = _EXPERIMENT
    mlflow_experiment: OfExperiment | None = None

    @property
    def experiment(self) -> str:
        """The id of the experiment; nothing if it is none."""
        return self.mlflow_experiment.experiment_id if self.mlflow_experiment else ""


class Info(msgspec.Struct):
    """What a client says of a trace."""

    trace_id: str | None = None
    client_request_id: str | None = None
    trace_location: Location | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    request_time: str | None = None
    execution_duration: str | None = None
    state: str | int | None = None
    trace_metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    assessments: list[Said] | None = None


class Begun(msgspec.Struct):
    """A trace; its spans come by another way."""

    trace_info: Info = msgspec.field(default_factory=Info)


class Begin(msgspec.Struct):
    """Says what a client knows of a trace."""

    trace: Begun | None = None


class ById(msgspec.Struct):
    """Names a trace."""

    trace_id: str = ""
    allow_partial: bool = False


class ByIds(msgspec.Struct):
    """Names several traces."""

    trace_ids: list[str] = []


class Search(msgspec.Struct):
    """Asks for traces."""

    locations: list[Location] | None = None
    filter: str = ""
    max_results: int = DEFAULT_RESULTS
    order_by: list[str] = []
    page_token: str = ""


class SetTag(msgspec.Struct):
    """Sets a tag of a trace."""

    trace_id: str = ""
    key: str = ""
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Takes a tag from a trace."""

    trace_id: str = ""
    key: str = ""


class Delete(msgspec.Struct):
    """Names the traces to be deleted, or says how old they are."""

    experiment_id: str = ""
    request_ids: list[str] = []
    max_timestamp_millis: int | None = None
    max_traces: int | None = None


class LinkToRun(msgspec.Struct):
    """Says that traces belong to a run."""

    trace_ids: list[str] = []
    run_id: str = ""


class Prompt(msgspec.Struct):
    """A version of a prompt."""

    name: str = ""
    version: str = ""


class LinkPrompts(msgspec.Struct):
    """Says which versions of prompts a trace has used."""

    trace_id: str = ""
    prompt_versions: list[Prompt] = []


def document(one: reading.Trace) -> dict[str, Any]:
    """Return what is known of a trace as the protocol has it."""
    info = one.info
    told: dict[str, Any] = {
        "trace_id": info.id,
        "trace_location": {"type": _EXPERIMENT, "mlflow_experiment": {"experiment_id": info.experiment}},
        "request_time": spelled_moment(info.at_ms),
        "state": info.state,
        "tags": info.tags,
    }
    optional = {
        "client_request_id": info.client_request,
        "request_preview": info.request,
        "response_preview": info.response,
        "execution_duration": None if info.took_ms is None else _spelled_duration(info.took_ms),
        "trace_metadata": info.metadata or None,
        "assessments": [assessed(info.id, made) for made in one.assessments] or None,
    }
    return told | {name: value for name, value in optional.items() if value is not None}


def _begin(traces: Traces, asked: Begin) -> Written:
    given(asked, "trace")
    said = asked.trace.trace_info if asked.trace else Info()
    if said.trace_location is None or not said.trace_location.experiment:
        hint = "say which experiment: trace_location.mlflow_experiment.experiment_id"
        raise InvalidInput("trace", (said.trace_id or "")[:80], "is in no experiment", hint=hint)
    info = TraceInfo(
        id=require_trace_id(said.trace_id or ""),
        experiment=said.trace_location.experiment,
        at_ms=moment_ms(said.request_time) if said.request_time else 0,
        took_ms=_duration_ms(said.execution_duration) if said.execution_duration else None,
        # What a later client may know is no failure.
        state=next((state for state in STATES if state == said.state), STATES[0]),
        client_request=said.client_request_id,
        request=said.request_preview,
        response=said.response_preview,
        metadata=said.trace_metadata or {},
        tags=said.tags or {},
    )
    write = traces.begin(info, [assessment_of(made) for made in said.assessments or ()])
    return Written(write, lambda db, id: {"trace": {"trace_info": document(reading.trace(db, id))}})


def _get_info(traces: Traces, asked: ById) -> dict[str, Any]:
    with traces.recorder.reading() as db:
        return {"trace": {"trace_info": document(reading.trace(db, asked.trace_id))}}


def _get(traces: Traces, asked: ById) -> dict[str, Any]:
    given(asked, "trace_id")
    with traces.recorder.reading() as db:
        one = reading.trace(db, asked.trace_id)
        spans = reading.spans(db, one, partial=asked.allow_partial)
    return {"trace": {"trace_info": document(one), "spans": [span_document(span) for span in spans]}}


def _get_several(traces: Traces, asked: ByIds) -> dict[str, Any]:
    _require_ids(asked.trace_ids)
    found = []
    with traces.recorder.reading() as db:
        known = reading.by_ids(db, asked.trace_ids)
        require_few_bytes(sum(one.size for one in known))
        for one in known:
            spans = reading.spans(db, one, partial=True)
            # A search downloads what it found so, and leaves out what is still under way.
            if spans and len(spans) >= one.n_expected:
                told = [span_document(span) for span in spans]
                found.append({"trace_info": document(one), "spans": told})
    return {"traces": found} if found else {}


def _get_infos(traces: Traces, asked: ByIds) -> dict[str, Any]:
    with traces.recorder.reading() as db:
        found = [document(one) for one in reading.by_ids(db, asked.trace_ids)]
    return {"trace_infos": found} if found else {}


def _search(traces: Traces, asked: Search) -> dict[str, Any]:
    if asked.locations is None:
        given(asked, "locations")
    query = TraceQuery(
        experiments=tuple(one.experiment for one in asked.locations or ()),
        filter=asked.filter,
        orders=tuple(asked.order_by),
        most=asked.max_results,
        token=asked.page_token,
    )
    with traces.recorder.reading() as db:
        page = trace_page(db, query)
        found = [document(one) for one in reading.traces(db, page.traces)]
    told: dict[str, Any] = {"traces": found} if found else {}
    return told | ({"next_page_token": page.token} if page.token else {})


def _set_tag(traces: Traces, asked: SetTag) -> Written:
    given(asked, "key")
    return Written(traces.tag(asked.trace_id, {asked.key: asked.value}))


def _delete_tag(traces: Traces, asked: DeleteTag) -> Written:
    given(asked, "key")
    return Written(traces.untag(asked.trace_id, asked.key))


def _link_to_run(traces: Traces, asked: LinkToRun) -> Written:
    _require_ids(asked.trace_ids)
    given(asked, "run_id")
    return Written(traces.link(asked.trace_ids, asked.run_id))


def _link_prompts(traces: Traces, asked: LinkPrompts) -> Written:
    given(asked, "trace_id")
    prompts = [f"{one.name}/{one.version}" for one in asked.prompt_versions]
    return Written(traces.link_prompts(asked.trace_id, prompts))


def _delete(traces: Traces, asked: Delete) -> Written:
    given(asked, "experiment_id")
    by_age = asked.max_timestamp_millis is not None
    if by_age == bool(asked.request_ids):
        problem = "needs either max_timestamp_millis or request_ids"
        raise InvalidInput("deletion", "", problem, hint="send one of them")
    if asked.max_traces is not None and (asked.max_traces <= 0 or not by_age):
        problem = "is not positive" if by_age else "goes with max_timestamp_millis only"
        raise InvalidInput("max_traces", asked.max_traces, problem)
    write = traces.delete(
        asked.experiment_id,
        traces=asked.request_ids,
        before_ms=asked.max_timestamp_millis,
        most=asked.max_traces,
    )
    return Written(write, lambda db, n: {"traces_deleted": n})


def _require_ids(ids: list[str]) -> None:
    if not ids:
        problem = "Missing value for required parameter 'trace_ids'"
        raise InvalidInput("request", "", problem, hint="send it")


def _duration_ms(text: str) -> int:
    """Return the milliseconds of a duration as protobuf's JSON has it.

    Examples
    --------
    >>> _duration_ms("1.500s"), _duration_ms("3s")
    (1500, 3000)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidInput("duration", text[:40], "is not one", hint='write seconds: "1.5s"')
    return int(found[1]) * 1000 + int((found[2] or "")[:3].ljust(3, "0"))


def _spelled_duration(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{seconds}.{rest:03d}s" if rest else f"{seconds}s"


_TRACES = f"{API_3}traces"
routes = (
    Route("POST", _TRACES, Begin, _begin),
    Route("GET", f"{_TRACES}/get", ById, _get, slow=True),
    Route("GET", f"{_TRACES}/batchGet", ByIds, _get_several, slow=True),
    Route("POST", f"{_TRACES}/search", Search, _search, reads=True, slow=True),
    Route("POST", f"{_TRACES}/batchGetInfos", ByIds, _get_infos, reads=True, slow=True),
    Route("POST", f"{_TRACES}/delete-traces", Delete, _delete),
    Route("POST", "traces/delete-traces", Delete, _delete),
    Route("POST", "traces/link-to-run", LinkToRun, _link_to_run),
    Route("POST", "traces/link-prompts", LinkPrompts, _link_prompts),
    Route("GET", f"{_TRACES}/{{trace_id}}", ById, _get_info),
    Route("PATCH", "traces/{trace_id}/tags", SetTag, _set_tag),
    Route("DELETE", "traces/{trace_id}/tags", DeleteTag, _delete_tag),
    Route("PATCH", f"{_TRACES}/{{trace_id}}/tags", SetTag, _set_tag),
    Route("DELETE", f"{_TRACES}/{{trace_id}}/tags", DeleteTag, _delete_tag),
)
