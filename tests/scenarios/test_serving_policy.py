"""What is declared of serving, changed beside a running server: checked, held back, marked, decided."""

from __future__ import annotations

import json

import pytest
from tests.app.changed_project import PARCEL, done, edited
from tests.app.serving import Server, eventually, varv

SERVING = """serving=varv.Serving(
        checks=[
            varv.check("distance_km", high=100.0, otherwise="flag"),
            varv.check("weight_kg", low=0.0),
            varv.check("courier", one_of=["eli", "mia"], otherwise="default", default="eli"),
        ],
        abstain_below=1.0,
        review=["abstained"],
        log=varv.Log(share=1.0),
    ),
    gates="""


@pytest.mark.slow
def test_it_is_applied_marked_counted_and_decided(served_project, tmp_path):
    project = served_project(tmp_path)
    home = project.parent / "home"
    server = Server(home, project, training_nice=0)
    try:
        assert server.predict("before", **PARCEL).headers["x-varv-arm"] == "champion"
        edited(project, ("gates=", SERVING))
        planned = varv(home, "plan", str(project), check=False)
        assert "serving abstain below: none -> 1" in planned
        varv(home, "apply")
        eventually(lambda: done(home))

        answer = server.predict("held", **{**PARCEL, "distance_km": 400.0, "courier": "nobody"})
        assert answer.headers["x-varv-arm"] == "abstained"
        assert answer.headers["x-varv-flagged"] == "courier,distance_km"
        assert answer.json()["predictions"] == [None]
        refused = server.predict("bad", **{**PARCEL, "weight_kg": -1.0})
        assert refused.status_code == 400
        assert "weight_kg" in refused.json()["error"]

        def told():
            waiting = json.loads(varv(home, "review", "list", "late-parcel", "--json"))
            return waiting or None

        [row] = eventually(told)
        assert (row["key"], row["answered_by"], row["flagged"]) == (
            "held",
            "abstained",
            "courier,distance_km",
        )
        assert row["courier"] == "eli", "the declared value is what was answered with"
        assert row["score"] is None
        assert row["champion_score"] is not None
        status = varv(home, "status", "late-parcel")
        assert "1 held back" in status
        assert "1 held back" in server.control.get("/models/late-parcel").text
        assert "was not sure enough" in varv(home, "why", "late-parcel", "held")
        metrics = server.control.get("/metrics").text
        assert 'arm="abstained"' in metrics

        assert json.loads(varv(home, "review", "show", "late-parcel", "held", "--json"))["state"] == "waiting"
        decided = server.act("review.decide", model="late-parcel", key="held", decision="late", by="ana")
        assert decided.status_code == 200
        again = server.act("review.decide", model="late-parcel", key="held", decision="early")
        assert again.status_code in (409, 412)
        assert json.loads(varv(home, "review", "list", "late-parcel", "--json")) == []
        found = server.act("review.state", model="late-parcel", key="held").json()
        assert (found["state"], found["decision"], found["by"]) == ("decided", "late", "ana")
        missing = varv(home, "review", "decide", "late-parcel", "before", "late", check=False)
        assert missing == ""
    finally:
        server.stop()
    varv(home, "verify")
