"""A small server for what `varv package` wrote, by Vertex AI's contract for containers, and SageMaker's.

``GET`` of the health route answers 200; ``POST {"instances": [{"column": value, ...}, ...]}`` to the other
route answers ``{"predictions": [...]}``. Routes and port are what AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE and
AIP_HTTP_PORT say, else /ping, /invocations and 8080. A thread a connection; no TLS and no tokens, which are
the platform's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from varv_scoring import Scorer

MOST_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 60.0
HEALTH = os.environ.get("AIP_HEALTH_ROUTE", "/ping")
PREDICT = os.environ.get("AIP_PREDICT_ROUTE", "/invocations")
SCORER = Scorer(Path(__file__).parent)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        """Say that the model is there."""
        if self.path.partition("?")[0] == HEALTH:
            self._answer(200, {"model": SCORER.model, "version": SCORER.version})
        else:
            self._answer(404, {"error": f"there is only {HEALTH}"})

    def do_POST(self) -> None:
        """Answer a request for predictions."""
        if self.path.partition("?")[0] != PREDICT:
            self._refuse(404, f"there is only {PREDICT}")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(411, "send a Content-Length")
        elif int(length) > MOST_BYTES:
            self._refuse(413, f"a request is at most {MOST_BYTES} bytes")
        else:
            self._predict(self.rfile.read(int(length)))

    def _predict(self, body: bytes) -> None:
        try:
            given = json.loads(body)
            rows = given.get("instances") if isinstance(given, dict) else None
            if not isinstance(rows, list):
                raise ValueError('there are no rows; send {"instances": [...]}')
            self._answer(200, {"predictions": SCORER.records(rows)})
        except (ValueError, RecursionError) as error:
            self._answer(400, {"error": str(error)})

    def _refuse(self, status: int, why: str) -> None:
        # What the body holds is not read, so nothing after it can be.
        self.close_connection = True
        self._answer(status, {"error": why})

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing of each request: the platform does."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as come in together."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("0.0.0.0", int(os.environ.get("AIP_HTTP_PORT", "8080"))), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
