"""A collector that understands OTLP by the protocol's own messages, and answers as it is told."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Collector:
    """Takes what is sent to it.

    Parameters
    ----------
    answers
        Statuses of the first requests, with their headers; those after them are taken.
    n_rejected
        Spans that it says it refuses of each request.
    """

    def __init__(self, answers=(), n_rejected=0):
        self.spans, self.metrics, self.resources, self.headers = [], [], [], []
        self.answers, self.n_rejected = list(answers), n_rejected
        self.n_requests = self.n_connections = 0
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                collector.n_connections += 1

            def do_POST(self):
                collector.take(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, request):
        body = request.rfile.read(int(request.headers["content-length"]))
        with self._lock:
            self.n_requests += 1
            status, more = self.answers.pop(0) if self.answers else (200, {})
            if status == 200:
                self.headers.append({name.lower(): value for name, value in request.headers.items()})
                assert request.headers["content-type"] == "application/x-protobuf"
                self._read(request.path, gzip.decompress(body))
        answer = ExportTraceServiceResponse()
        if self.n_rejected:
            answer.partial_success.rejected_spans = self.n_rejected
            answer.partial_success.error_message = "too many"
        told = answer.SerializeToString()
        request.send_response(status)
        for name, value in {**more, "content-length": str(len(told))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(told)

    def _read(self, path, message):
        if path.endswith("/v1/traces"):
            for one in ExportTraceServiceRequest.FromString(message).resource_spans:
                self.resources.append(values_of(one.resource.attributes))
                self.spans += [span for scope in one.scope_spans for span in scope.spans]
        else:
            assert path.endswith("/v1/metrics")
            for one in ExportMetricsServiceRequest.FromString(message).resource_metrics:
                self.resources.append(values_of(one.resource.attributes))
                self.metrics.append(
                    {each.name: each for scope in one.scope_metrics for each in scope.metrics}
                )


def values_of(attributes):
    """Return attributes as a dictionary."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
