"""Open alarms of data, features and labels, at the command line and among the metrics."""

from __future__ import annotations

import json

from tests.home.alarming import OVER, STANDING, put

from varv.app.cli import main
from varv.app.compose import open_ledger, open_views
from varv.app.server.measures import of_alarms


def _status(capsys, *arguments: str) -> str:
    assert main(["status", *arguments]) == 0
    return capsys.readouterr().out


def test_the_status_shows_open_alarms_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".varv").mkdir()
    ledger = open_ledger(tmp_path / ".varv")
    put(ledger, *OVER)
    assert "alarms of data" not in _status(capsys)
    assert json.loads(_status(capsys, "--json"))["alarms"] == []
    assert list(of_alarms(open_views(ledger)).samples) == []
    put(ledger, *STANDING)
    shown = _status(capsys)
    assert "late-parcel: load is served with wrong values, since 2026-03-01T06:00" in shown
    assert "varv data watch trips/at --every 1d" in shown
    assert len(json.loads(_status(capsys, "--json"))["alarms"]) == len(STANDING)
    samples = of_alarms(open_views(ledger)).samples
    assert {(one.labels["room"], one.labels["kind"], one.value) for one in samples} == {
        ("data", "anomaly", 1),
        ("data", "late", 1),
        ("data", "contract", 1),
        ("data", "pull", 1),
        ("features", "skew", 1),
        ("labels", "exploration", 1),
    }
    ledger.close()
