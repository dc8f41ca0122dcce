"""Labelling declared beside a running server: feedback becomes an outcome, and the queue is served."""

from __future__ import annotations

import json

import pytest
from tests.app.changed_project import PARCEL, done, edited
from tests.app.serving import Server, eventually, varv

from varv import connect

MODEL = "late-parcel"
DECLARED = """labelling=varv.Labelling(budget=5, every="1m", revisions="latest", explored=0.5),
    gates="""


@pytest.mark.slow
def test_feedback_reaches_predictions_and_the_latest_stands(served_project, tmp_path):
    project = served_project(tmp_path)
    home = project.parent / "home"
    server = Server(home, project, training_nice=0)
    try:
        refused = server.act("labels.queue", model=MODEL)
        assert refused.status_code in (409, 412)
        assert "declares no labelling" in refused.text
        edited(project, ("gates=", DECLARED))
        assert "labelling: none -> 5 every 1m" in varv(home, "plan", str(project), check=False)
        varv(home, "apply")
        eventually(lambda: done(home))
        assert server.predict("felt", **PARCEL).status_code == 200

        def outcome():
            with connect(str(server.control.base_url)) as home:
                rows = home.model(MODEL).predictions(labelled=True)
            found = dict(rows.select("key", "outcome").iter_rows())
            return found.get("felt")

        def felt(value):
            remarks = [{"key": "felt", "value": value, "weight": 2.0}]
            given = server.act("feedback.give", model=MODEL, source="app", remarks=remarks)
            assert given.status_code == 200, given.text
            return given.json()

        assert felt(1)["revised"] is True
        eventually(lambda: outcome() == 1)
        assert felt(0)["known_at"]
        assert outcome() == 0
        found = json.loads(varv(home, "labels", "ls", MODEL, "--json"))
        assert found["policy"].startswith("5 every 1m")
        assert "nothing for ana" in varv(home, "labels", "take", MODEL, "--by", "ana")
        assert server.control.get(f"/labels/{MODEL}").status_code == 200
        estimated = json.loads(varv(home, "labels", "exposure", MODEL, "--json"))
        assert estimated["declared"] == 0.5
    finally:
        server.stop()
    varv(home, "verify")
