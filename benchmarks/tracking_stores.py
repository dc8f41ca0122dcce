"""Stores of tracking servers with the same runs in them, written beside the servers: over HTTP, MLflow takes
half an hour for ten thousand.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import NamedTuple

from varv.app.compose import open_ledger, open_tracking
from varv.kernel.clock import SystemClock
from varv.runs.service import Point

START_MS = 1_700_000_000_000
_MLFLOW_RUN = """
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,
    end_time, source_version, lifecycle_stage, experiment_id, artifact_uri)
VALUES (?, ?, 'UNKNOWN', '', '', '', 'FINISHED', ?, ?, '', 'active', ?, ?)
"""


class Said(NamedTuple):
    """What is logged of one run."""

    id: str
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def said(number: int) -> Said:
    """Return what is logged of the run of a number: twenty metrics, three parameters and a tag."""
    dice = random.Random(number)
    metrics = {f"m{k}": dice.random() for k in range(20)}
    params = {f"p{k}": str(dice.randrange(10)) for k in range(3)}
    return Said(f"{number:032x}", metrics, params, {"team": dice.choice(["risk", "growth", "ops"])})


def fill_varv(home: Path, n_runs: int) -> str:
    """Log runs to a home that nobody serves, as a server would, and return their experiment."""
    home.mkdir(parents=True)
    ledger = open_ledger(home, durability="process")
    desk = open_tracking(home, ledger, SystemClock(), durability="process")
    recorder, tracking = desk.recorder, desk.runs
    experiment = recorder.do(tracking.experiments.create("search"))
    for number in range(n_runs):
        run, metrics, params, tags = said(number)
        points = [Point(name, value, START_MS, 1) for name, value in metrics.items()]
        started = START_MS + number
        begin = tracking.create_run(experiment, name=f"run-{number}", started_ms=started, run=run)
        log = tracking.log(run, points=points, params=params, tags=tags)
        end = tracking.update_run(run, status="FINISHED", ended_ms=started + 1000)
        for write in (begin, log, end):
            # Refusals would be answers of searches that miss runs, which are counted.
            recorder.submit(write, lambda job: None)
    recorder.do(tracking.experiments.create("after all"))
    desk.close()
    ledger.close()
    return experiment


def fill_mlflow(database: Path, experiment: str, n_runs: int) -> None:
    """Insert the same runs into MLflow's database, whose tables and experiment its server has made."""
    db = sqlite3.connect(database)
    for number in range(n_runs):
        run, metrics, params, tags = said(number)
        times = START_MS + number, START_MS + number + 1000
        place = f"mlflow-artifacts:/{experiment}/{run}/artifacts"
        db.execute(_MLFLOW_RUN, (run, f"run-{number}", *times, int(experiment), place))
        db.executemany("INSERT INTO params VALUES (?, ?, ?)", [(*one, run) for one in params.items()])
        named = {**tags, "mlflow.runName": f"run-{number}"}
        db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(*one, run) for one in named.items()])
        values = [(name, value, START_MS, run) for name, value in metrics.items()]
        db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, 1, 0)", values)
        db.executemany("INSERT INTO latest_metrics VALUES (?, ?, ?, 1, 0, ?)", values)
    db.commit()
    db.close()
