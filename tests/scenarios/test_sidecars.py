"""Transformations and an observer, declared beside a running server: shown, marked, counted, sent."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.app.changed_project import PARCEL, done, edited
from tests.app.serving import Server, eventually, varv

FUNCTION = """
LABELS = {True: "late", False: "on time"}


def labelled(columns):
    import os

    if len(columns["probability"]) == 3:
        os._exit(1)
    found = [LABELS[one >= 0.0] for one in columns["probability"]]
    return {"label": found, "percent": [100 * one for one in columns["probability"]]}
"""
SERVING = """serving=varv.Serving(
        before=varv.transform({"distance_km": pl.col("miles") * 1.609344}, inputs={"miles": float}),
        after=varv.transform(labelled, outputs={"label": str, "percent": float}, otherwise="pass"),
        observer=varv.CloudEvents("http://127.0.0.1:PORT/seen"),
    ),
    gates="""
MILES = {**{name: value for name, value in PARCEL.items() if name != "distance_km"}, "miles": 2.5}


class Logger:
    """A server that keeps the events that it is posted."""

    def __init__(self):
        events = self.events = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                events.append((dict(self.headers.items()), json.loads(body)))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, name):
        """Return the events of one request, by their type's last word; None until both are there."""
        found = {
            head["ce-type"].rpartition(".")[2]: body
            for head, body in list(self.events)
            if head["ce-id"] == name
        }
        return found if len(found) == 2 else None


@pytest.mark.slow
def test_it_is_applied_shown_sent_and_counted_and_survives_its_function(served_project, tmp_path):
    project, logger = served_project(tmp_path), Logger()
    home = project.parent / "home"
    server = Server(home, project, training_nice=0)
    try:
        assert server.predict("before", **PARCEL).status_code == 200
        serving = SERVING.replace("PORT", str(logger.server.server_port))
        (project.parent / "labels.py").write_text(FUNCTION)
        imports = "import polars as pl\nfrom labels import labelled\n\nimport varv\n"
        edited(project, ("import varv\n", imports), ("gates=", serving))
        planned = varv(home, "plan", str(project), check=False)
        assert "serving before: none -> distance_km = " in planned
        assert "serving observer: none -> requests and answers to http://127.0.0.1" in planned
        varv(home, "apply")
        eventually(lambda: done(home))

        assert server.predict("old", **PARCEL).status_code == 400
        answer = server.predict("seen", **MILES)
        assert answer.headers["x-varv-captured"] == "true"
        [shown] = answer.json()["predictions"]
        assert shown["label"] == "late"
        events = eventually(lambda: logger.of(answer.headers["x-request-id"]))
        sent = {one["name"]: one["data"] for one in events["request"]["inputs"]}
        assert sent["miles"] == [2.5]
        said = {one["name"]: one["data"] for one in events["response"]["outputs"]}
        assert said["percent"] == pytest.approx([100 * said["probability"][0]])

        rows = [{"delivery_id": f"three-{number}", **MILES} for number in range(3)]
        died = server.inference.post("/models/late-parcel/predict", json={"rows": rows})
        assert died.status_code == 200, "an answer goes on without its labels"
        assert died.headers["x-varv-flagged"] == "transformer.after"
        assert [row["label"] for row in died.json()["rows"]] == [None] * 3
        assert all(row["probability"] for row in died.json()["rows"])

        def labelled_again():
            rows = [{"delivery_id": f"again-{time.monotonic_ns()}", **MILES}]
            found = server.inference.post("/models/late-parcel/predict", json={"rows": rows}).json()
            return found["rows"][0]["label"]

        assert eventually(labelled_again) == "late"

        def why():
            return varv(home, "why", "late-parcel", "three-1", check=False) or None

        assert "The transformation of its answer failed." in eventually(why)
        server.control.get("/metrics")
        metrics = eventually(
            lambda: text if 'outcome="sent"' in (text := server.control.get("/metrics").text) else None
        )
        assert 'varv_predictions_flagged_total{model="late-parcel",column="transformer.after"} ' in metrics
        dropped = 'varv_observations_total{model="late-parcel",outcome="dropped"} 0'
        assert dropped in metrics
    finally:
        server.stop()
        logger.server.shutdown()
        logger.server.server_close()
    varv(home, "verify")
