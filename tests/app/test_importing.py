"""`varv import` as one uses it."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading

import httpx
import polars as pl
from tests.adapters.moving import recorded
from tests.app.serving import eventually
from tests.features.moving import recorded as feast

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


def test_a_repository_of_feast_becomes_a_file_and_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = feast.repository(tmp_path / "repository")
    assert main(["import", "feast", str(folder), "--into", "features.py"]) == 0
    shown = capsys.readouterr().out
    assert "wrote features.py" in shown
    assert "NOT IMPORTED: 5" in shown
    assert main(["import", "feast", str(folder)]) == 0
    assert capsys.readouterr().out == (tmp_path / "features.py").read_text()
    assert main(["import", "feast", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["datasets"] == ["driver_stats_source", "trips_source", "weather_source"]
    assert not (tmp_path / ".varv").exists()


def test_values_of_feast_are_compared_and_decide_the_status(tmp_path, capsys):
    folder = feast.repository(tmp_path / "repository")
    asked = pl.DataFrame({"driver_id": [1, 1], "event_timestamp": [feast.at(10), feast.at(70)]})
    asked.write_parquet(tmp_path / "asked.parquet")
    command = ["import", "feast", str(folder), "--requests", str(tmp_path / "asked.parquet"), "--json"]
    assert main([*command, "--python", answering(tmp_path, 0.5)]) == 1
    different = json.loads(capsys.readouterr().out)["compared"]
    assert [one["view"] for one in different] == ["driver_fresh", "driver_hourly_stats", "weather"]
    assert main(command) == 1
    assert "--python" in capsys.readouterr().out


def answering(folder, value):
    """Return an interpreter that knows no Feast, and gives one value for all."""
    script = folder / "python"
    script.write_text(
        f"""#!{sys.executable}
import json, sys
import polars as pl
for one in json.load(sys.stdin)["views"]:
    rows = pl.read_parquet(one["requests"])
    names = [feature.replace(":", "__") for feature in one["features"]]
    values = [pl.lit("rain" if name.endswith("sky") else {value}).alias(name) for name in names]
    rows.with_columns(values).write_parquet(one["answers"])
"""
    )
    script.chmod(0o755)
    return str(script)
