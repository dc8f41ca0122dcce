"""A server in processes of its own, and a collector that looks at it."""

from __future__ import annotations

import json

import pytest
from tests.adapters.collector import Collector, values_of
from tests.app.serving import Server, eventually
from tests.app.test_grpc import PARCEL, client_of, inputs_of

from varv.app.otel_variables import pairs_of
from varv.app.server.telemetry import telemetry_of
from varv.app.settings import load_settings, plain
from varv.kernel.errors import InvalidInput

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEPT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


def test_standard_variables_are_settings_and_ours_go_before_them(tmp_path):
    found = load_settings(
        {"home": tmp_path / "home"},
        environ={
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%2Cb",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
            "OTEL_SERVICE_NAME": "arrivals",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod",
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "OTEL_METRIC_EXPORT_INTERVAL": "15000",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Delta",
            "OTEL_LOGS_EXPORTER": "otlp",
            "VARV_TRACE_RATIO": "0.25",
        },
        folder=tmp_path,
    )
    made = telemetry_of(found.settings)
    assert made.collector is not None
    assert (made.collector.url, made.collector.headers) == ("http://collector:4318", {"api-key": "a,b"})
    assert (made.collector.timeout_s, made.metrics_every_s, made.is_delta) == (2.5, 15.0, True)
    assert (made.sampler, made.ratio) == ("traceidratio", 0.25)
    assert made.resource["service.name"] == "arrivals"
    assert made.resource["deployment.environment.name"] == "prod"
    assert found.sources["service_name"] == "OTEL_SERVICE_NAME"
    assert found.sources["trace_ratio"] == "VARV_TRACE_RATIO"
    assert plain(found.settings)["otlp_headers"] == "set"


def test_nothing_is_kept_by_default_nor_where_all_of_it_is_disabled(tmp_path):
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}):
        found = load_settings({}, environ=environ, folder=tmp_path)
        assert (telemetry_of(found.settings).collector, telemetry_of(found.settings).access) == (None, None)


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "no address over HTTP"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4318", "no address over HTTP"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:99999", "no address over HTTP"),
        ("OTEL_TRACES_SAMPLER", "xray", "is 'xray'"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "not valid"),
        ("VARV_ACCESS_LOG", "some", "is 'some'"),
        ("OTEL_RESOURCE_ATTRIBUTES", "prod", "no list of names|not a list of names"),
    ],
)
def test_what_does_not_do_is_refused(tmp_path, variable, value, problem):
    with pytest.raises(InvalidInput, match=problem):
        load_settings({}, environ={variable: value}, folder=tmp_path)


def test_a_collector_over_grpc_is_refused_and_what_a_header_says_is_not_shown(tmp_path):
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    with pytest.raises(InvalidInput, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        load_settings({}, environ=environ, folder=tmp_path)
    with pytest.raises(InvalidInput) as caught:
        load_settings({}, environ={"VARV_OTLP_HEADERS": "secret"}, folder=tmp_path)
    assert "secret" not in str(caught.value.described())


def test_pairs_may_be_none():
    assert pairs_of("") == {}


@pytest.mark.slow
def test_a_server_tells_a_collector_of_its_requests_its_commands_and_its_numbers(served_project, tmp_path):
    project, collector = served_project(tmp_path), Collector()
    settings = {
        "otlp_endpoint": collector.url,
        "metrics_every_s": 0.5,
        "grpc_port": 0,
        "access_log": "all",
        "service_name": "parcels",
        "trace_ratio": 0.0,
    }
    log = tmp_path / "log"
    server = Server(tmp_path / "home", project, log=log, **settings)
    with client_of(server) as calls:
        row = {"delivery_id": "t-1", **PARCEL}
        body = {"dataframe_records": [row]}
        over_http = server.inference.post("/invocations", json=body, headers={**KEPT, "x-request-id": "r-1"})
        assert over_http.status_code == 200
        calls.infer("late-parcel", inputs_of("t-2"), headers=KEPT)
        assert server.predict("t-3", **PARCEL).headers.get("traceresponse") is None

        def roots():
            found = [span for span in collector.spans if span.trace_id.hex() == TRACE and span.kind == 2]
            return found if len(found) == 2 else None

        of_http, of_call = sorted(eventually(roots), key=lambda span: span.name)
        assert (of_http.name, of_call.name) == (
            "POST /invocations",
            "inference.GRPCInferenceService/ModelInfer",
        )
        assert {of_http.parent_span_id.hex(), of_call.parent_span_id.hex()} == {CALLER}
        assert values_of(of_http.attributes)["varv.model"] == "late-parcel"
        stages = [span for span in collector.spans if span.parent_span_id == of_http.span_id]
        assert [span.name for span in stages] == ["read", "queue", "answer", "write"]
        # What the loop does is traced too, here that what was answered was taken in.
        eventually(lambda: [span for span in collector.spans if span.name == "ingest"] or None)

        def counted():
            for found in collector.metrics:
                requests = found.get("varv.requests")
                points = [] if requests is None else requests.sum.data_points
                told = {values_of(point.attributes)["outcome"]: point.as_int for point in points}
                if told.get("answered") == 3:
                    return found
            return None

        last = eventually(counted)
        assert last["varv.request_duration"].histogram.data_points[0].count == 3
        assert {one["service.name"] for one in collector.resources} == {"parcels"}
        assert 'varv_traces_total{outcome="sent"}' in server.control.get("/metrics").text
    assert server.stop() == 0
    collector.close()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    of_requests = [line for line in lines if line["action"] == "request" and line["rows"]]
    assert [line["status"] for line in of_requests] == [200, "OK", 200]
    assert (of_requests[0]["request"], of_requests[0]["trace"]) == ("r-1", TRACE)
    assert of_requests[2]["trace"] == ""
