"""`varv import` as one uses it."""

from __future__ import annotations

import json
import sqlite3
import threading

import httpx
from tests.adapters.moving import recorded
from tests.app.serving import eventually

from varv.app.cli.parser import main
from varv.app.served_taker import POINTS_A_PART
from varv.app.server.server_file import running_server
from varv.app.server.tracker import Tracker
from varv.app.settings import Settings


def test_a_store_comes_into_a_new_home(tmp_path, capsys):
    asked = ["--home", str(tmp_path / "home"), "import", "mlflow", recorded.store(tmp_path)]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert ["runs", "5", "0", "0"] in [line.split() for line in shown.splitlines()]
    assert "5 whole runs and 3 whole traces" in shown
    assert main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["runs"]["same"], report["differences"]["n"]) == (5, 0)


def test_a_running_server_is_handed_what_is_read(tmp_path, capsys):
    uri = recorded.store(tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        run = db.execute("SELECT run_uuid FROM runs WHERE name = 'fit 0'").fetchone()[0]
        columns = "key, value, timestamp, step, is_nan, run_uuid"
        rows = [("long", 1 / (step + 1), step, step, 0, run) for step in range(2 * POINTS_A_PART + 1)]
        db.executemany(f"INSERT INTO metrics ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.close()
    settings = Settings(home=tmp_path / "home", port=0)
    tracker = Tracker(settings)
    thread = threading.Thread(target=tracker.run, daemon=True)
    thread.start()
    url = eventually(lambda: running_server(settings)).url
    try:
        assert main(["--home", str(settings.home), "import", "mlflow", uri, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["runs"]["new"], report["n_points"]) == (5, 25 + len(rows))
        asked = {"run_id": run, "metric_key": "long"}
        found = httpx.get(f"{url}/api/2.0/mlflow/metrics/get-history", params=asked).json()
        assert len(found["metrics"]) == len(rows)
        assert main(["--home", str(settings.home), "import", "mlflow", uri, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["runs"] == {"new": 0, "changed": 0, "same": 5}
    finally:
        tracker.told.set()
        thread.join(10)
        tracker.close()


def test_what_cannot_be_taken_is_said_with_the_next_step(tmp_path, capsys):
    home = ["--home", str(tmp_path / "home"), "import"]
    assert main([*home, "mlflow", "sqlite:///nothing.db"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([*home, "wandb", str(tmp_path)]) == 1
    assert "holds no runs of wandb" in capsys.readouterr().err
    assert main([*home, "elsewhere", "x"]) == 2
