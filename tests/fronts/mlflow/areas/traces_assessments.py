"""Traces: started, exported as OpenTelemetry's protobuf, searched, tagged, linked, judged and deleted."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from tests.fronts.mlflow.steps import (
    NO_SQL,
    SHOULD,
    SPOILT,
    STARTED,
    Area,
    Step,
    delete,
    get,
    given,
    patch,
    post,
    scene,
)

TRACES = "/api/3.0/mlflow/traces"
TAGS = "/api/2.0/mlflow/traces/{trace}/tags"
ASSESSMENTS = TRACES + "/{trace}/assessments"
# The protocol has sixteen bytes here, and `{u}` is a text of sixteen: each play sends a trace of its own.
PLACE_OF_ID = b"0123456789abcdef"
STARTED_NS = 1_500_000_000_000_000_000


def trace(name: str = "trace", at: str = "2020-01-01T00:00:00Z", **more: Any) -> Step:
    info = {
        "trace_id": f"tr-{name}-{{u}}",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{e}"}},
        "request_time": at,
        "execution_duration": "1.500s",
        "state": "OK",
        "request_preview": "what?",
        "response_preview": "that",
        "trace_metadata": {"mlflow.trace_schema.version": "3", "mlflow.traceInputs": "what?"},
        "tags": {"mlflow.traceName": name, "team": "risk"},
    }
    return post(TRACES, trace={"trace_info": {**info, **more}}).keep(**{name: "trace.trace_info.trace_id"})


def search(filter: str | None = None, **more: Any) -> Step:
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{e}"}}
    given = {"locations": [location], **({"filter": filter} if filter else {}), **more}
    return post(TRACES + "/search", given).but(*DETAILS)


# That a trace is found with all that it has is asked once.
DETAILS = (
    "assessments",
    "client_request_id",
    "execution_duration",
    "request",
    "request_preview",
    "request_time",
    "response",
    "response_preview",
    "tags",
    "trace_location",
    "trace_metadata",
)
BEGUN = given(*STARTED, trace())
THREE = given(
    *STARTED,
    trace("one", "2020-01-01T00:00:00Z"),
    trace(
        "two",
        "2020-01-01T00:00:01Z",
        state="ERROR",
        tags={"mlflow.traceName": "two"},
        execution_duration="3s",
    ),
    trace("three", "2020-01-01T00:00:02Z", trace_metadata={"mlflow.sourceRun": "{run}"}),
)


def spans() -> bytes:
    """Return an export of one trace of two spans, with a place for its id."""
    export = ExportTraceServiceRequest()
    scope = export.resource_spans.add().scope_spans.add()
    for number, name in enumerate(("root", "child"), 1):
        span = scope.spans.add(trace_id=PLACE_OF_ID, span_id=number.to_bytes(8, "big"), name=name)
        span.start_time_unix_nano, span.end_time_unix_nano = STARTED_NS, STARTED_NS + number * 1_000_000
        span.attributes.append(KeyValue(key="answer", value=AnyValue(int_value=42)))
    scope.spans[1].parent_span_id = (1).to_bytes(8, "big")
    return export.SerializeToString()


def export(content: bytes, content_type: str = "application/x-protobuf", **sent: str) -> Step:
    step = Step("POST", "/v1/traces", content=content.replace(PLACE_OF_ID, b"{u}"))
    return step.sending(content_type=content_type, **{"x_mlflow_experiment_id": "{e}", **sent})


def feedback(**more: Any) -> Step:
    said = {
        "assessment_name": "correct",
        "trace_id": "{trace}",
        "source": {"source_type": "HUMAN", "source_id": "ana"},
        "feedback": {"value": True},
        "rationale": "it is",
        "create_time": "2020-01-01T00:00:00Z",
        "last_update_time": "2020-01-01T00:00:00Z",
    }
    return post(ASSESSMENTS, assessment={**said, **more})


AREA = Area(
    "traces_assessments",
    SHOULD,
    (
        scene(
            "a trace is started and read",
            STARTED,
            trace(),
            get(TRACES + "/{trace}"),
            post(
                TRACES + "/search",
                locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{e}"}}],
            ),
        ),
        scene(
            "a trace that does not exist is not found",
            get(TRACES + "/tr-none-{u}"),
            get(TRACES + "/get", trace_id="tr-none-{u}"),
            get(TRACES + "/batchGet", trace_ids=["tr-none-{u}"]),
            patch("/api/2.0/mlflow/traces/tr-none-{u}/tags", key="k", value="v").stricter(
                NO_SQL, 404, "RESOURCE_DOES_NOT_EXIST"
            ),
            delete("/api/2.0/mlflow/traces/tr-none-{u}/tags", key="k"),
            get(TRACES + "/..%2f..%2fx"),
        ),
        scene(
            "a trace needs what it is made of",
            STARTED,
            post(TRACES, {}),
            post(TRACES, trace={}),
            trace("nowhere", trace_location={}),
            trace(
                "elsewhere",
                trace_location={
                    "type": "MLFLOW_EXPERIMENT",
                    "mlflow_experiment": {"experiment_id": "99999999"},
                },
            ),
            trace("odd", state="DONE"),
            trace("late", at="yesterday").stricter(SPOILT),
        ),
        scene(
            "traces are found, the youngest first",
            THREE,
            search(),
            search(order_by=["timestamp_ms ASC"]),
            search(order_by=["execution_time DESC"]),
            search(order_by=["colour"]),
            search(max_results=2).keep(token="next_page_token"),
            search(max_results=2, page_token="{token}"),
            search(max_results=0),
            search(max_results=501),
            search(page_token="garbage"),
            post(TRACES + "/search", locations=[]),
        ),
        scene(
            "traces are compared",
            THREE,
            *(
                search(text, order_by=["timestamp_ms ASC"])
                for text in (
                    "status = 'OK'",
                    "trace.status = 'ERROR'",
                    "attributes.status != 'OK'",
                    "name = 'one'",
                    "trace.name = 'two'",
                    "timestamp_ms > 1577836800000",
                    "timestamp > 1577836800500",
                    "execution_time_ms >= 3000",
                    "trace.execution_time_ms < 2000",
                    "tags.team = 'risk'",
                    "tag.team != 'risk'",
                    "tags.`mlflow.traceName` = 'one'",
                    "request_id = 'tr-one-{u}'",
                    "run_id = '{run}'",
                    "metadata.`mlflow.sourceRun` = '{run}'",
                    "request_metadata.`mlflow.sourceRun` = '{run}'",
                    "name LIKE 't%'",
                    "name ILIKE 'T%'",
                    "status = 'OK' AND name = 'three'",
                    "status = 'OK' OR name = 'two'",
                    "colour = 'red'",
                    "status",
                    "status > 'OK'",
                )
            ),
        ),
        scene(
            "several traces are asked for at once",
            THREE,
            post(TRACES + "/batchGetInfos", trace_ids=["tr-one-{u}", "tr-two-{u}", "tr-none-{u}"]).but(
                *DETAILS
            ),
            post(TRACES + "/batchGetInfos", trace_ids=[]),
        ),
        scene(
            "a tag of a trace is set and deleted",
            BEGUN,
            patch(TAGS, key="team", value="growth"),
            patch(TAGS, key="new", value="1"),
            get(TRACES + "/{trace}"),
            delete(TAGS, key="new"),
            delete(TAGS, key="new"),
            patch(TAGS, key="k" * 251, value="v"),
            patch(TAGS, key="long", value="v" * 8001),
            patch(TAGS, value="v"),
        ),
        scene(
            "a judgement of a trace is kept, changed and deleted",
            BEGUN,
            feedback().keep(judged="assessment.assessment_id"),
            get(ASSESSMENTS + "/{judged}"),
            get(TRACES + "/{trace}").but("trace_metadata", "tags"),
            patch(
                ASSESSMENTS + "/{judged}",
                assessment={"assessment_id": "{judged}", "trace_id": "{trace}", "feedback": {"value": False}},
                update_mask="feedback",
            ),
            get(ASSESSMENTS + "/{judged}"),
            delete(ASSESSMENTS + "/{judged}"),
            get(ASSESSMENTS + "/{judged}"),
            delete(ASSESSMENTS + "/{judged}"),
        ),
        scene(
            "a judgement is a value, an expectation or an error",
            BEGUN,
            feedback(feedback={"value": 0.5}, metadata={"by": "hand"}),
            feedback(feedback={"value": "good"}),
            feedback(feedback={"value": {"a": [1, None]}}),
            feedback(feedback={"error": {"error_code": "TIMEOUT", "error_message": "late"}}),
            feedback(feedback=None, expectation={"value": "that"}),
            feedback(
                feedback=None,
                expectation={"serialized_value": {"serialization_format": "JSON_FORMAT", "value": "[1]"}},
            ),
            feedback(source={"source_type": "LLM_JUDGE", "source_id": "judge"}, span_id="s1"),
            feedback(assessment_name=None),
            feedback(source=None),
            feedback(feedback=None),
            post(
                TRACES + "/tr-none-{u}/assessments",
                assessment={"assessment_name": "x", "feedback": {"value": 1}},
            ),
        ),
        scene(
            "traces are linked to a run",
            BEGUN,
            post("/api/2.0/mlflow/traces/link-to-run", trace_ids=["{trace}"], run_id="{run}"),
            search("run_id = '{run}'"),
            post("/api/2.0/mlflow/traces/link-to-run", trace_ids=["{trace}"], run_id="{run}"),
            post(
                "/api/2.0/mlflow/traces/link-to-run",
                trace_ids=[f"tr-{i}" for i in range(101)],
                run_id="{run}",
            ),
            post("/api/2.0/mlflow/traces/link-to-run", trace_ids=["{trace}"]),
        ),
        scene(
            "traces are deleted by their ids or by their age",
            THREE,
            post("/api/2.0/mlflow/traces/delete-traces", experiment_id="{e}", request_ids=["tr-one-{u}"]),
            search(),
            post(TRACES + "/delete-traces", experiment_id="{e}", request_ids=["tr-two-{u}"]),
            search(),
            post(
                TRACES + "/delete-traces",
                experiment_id="{e}",
                max_timestamp_millis=1_577_836_900_000,
                max_traces=5,
            ),
            search(),
            post(TRACES + "/delete-traces", experiment_id="{e}"),
            post(TRACES + "/delete-traces", experiment_id="{e}", request_ids=["x"], max_timestamp_millis=5),
            post(TRACES + "/delete-traces", request_ids=["x"]),
        ),
        scene(
            "spans come as OpenTelemetry's protobuf",
            STARTED,
            export(spans()),
            search().keep(trace="traces.0.trace_id"),
            get(TRACES + "/{trace}"),
            get(TRACES + "/get", trace_id="{trace}"),
            get(TRACES + "/batchGet", trace_ids=["{trace}"]),
        ),
        scene(
            "an export says what it is and where it belongs",
            STARTED,
            export(spans(), "application/json"),
            export(b"\xff\xff\xff"),
            export(b""),
            export(spans(), x_mlflow_experiment_id="99999999"),
            Step("POST", "/v1/traces", content=spans())
            .sending(content_type="application/x-protobuf")
            .stricter("a refusal has the protocol's form on every path"),
        ),
    ),
)
