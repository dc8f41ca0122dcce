"""What a change costs those who ask: ``python benchmarks/bench_change.py`` prints a table.

A server is started on a project as `varv init` writes it. Clients ask at a steady pace, each on a connection
that it keeps, while its file gains a window, a derived feature and loses a column, and `varv apply` carries
that out. Every answer counts; afterwards each stored request's features are compared with those of an engine
that computes all of them anew from what is stored. The bar is no failed request and no wrong feature.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from served import VARV, Served, ready, started
from varv.adapters.runtimes import installed_runtimes
from varv.app.compose import open_home
from varv.data.intake import Intake
from varv.features import FeatureEngine, FeatureStore
from varv.kernel.clock import Instant, SystemClock, wall_seconds
from varv.project import load_project

RATE = 200.0
N_CLIENTS = 8
QUIET_S = 10.0
"""Before and after the change, for comparison."""
WORKERS = "2"
ROW = {"district": "harbour", "courier": "eli", "distance_km": 4.5, "weight_kg": 1.2, "hour": 18}
COURIER = '"courier", features=varv.windows("late", "mean", over=["3d", "7d"])'
EDITS = (
    ('"courier", features=varv.windows("late", "mean", over=["7d"])', COURIER),
    ('"weight_kg", "hour", ', '"hour", rush, '),
    ("\ndef fit(", '\nrush = varv.derived("rush", pl.col("hour") > 16)\n\n\ndef fit('),
    ("import varv\n", "import polars as pl\n\nimport varv\n"),
)


class Answer(NamedTuple):
    """When a request was sent, how many milliseconds its answer took, and what was wrong with it."""

    at: float
    ms: float
    problem: str


class Clients:
    """Clients that ask at a steady pace until they are stopped."""

    def __init__(self, port: int) -> None:
        self.answers: list[Answer] = []
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(N_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every client finish."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        due, n = wall_seconds() + number / RATE, 0
        while not self._stop.wait(max(0.0, due - wall_seconds())):
            due, n, begin = due + N_CLIENTS / RATE, n + 1, wall_seconds()
            body = json.dumps({"dataframe_records": [{**ROW, "delivery_id": f"c-{number}-{n}"}]})
            try:
                connection.request("POST", "/invocations", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                told = answer.read()
                problem = "" if answer.status == 200 else told.decode()[:200]
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
                connection.close()
            self.answers.append(Answer(begin, (wall_seconds() - begin) * 1000, problem))


def shown(name: str, answers: list[Answer]) -> None:
    spent = sorted(one.ms for one in answers)
    cuts = statistics.quantiles(spent, n=100)
    failed = sum(bool(one.problem) for one in answers)
    print(
        f"{name:<22} {len(answers):7,} requests  {failed:3} failed  p50 {cuts[49]:7.2f} ms"
        f"  p99 {cuts[98]:8.2f} ms  longest {spent[-1]:8.1f} ms"
    )


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def until(condition: Callable[[], bool], within_s: float = 600.0) -> None:
    end = wall_seconds() + within_s
    while not condition():
        if wall_seconds() > end:
            raise SystemExit("it takes too long")
        wait(0.2)


def changed(folder: Path) -> None:
    """Edit the project's file."""
    file = folder / "deliveries.py"
    text = file.read_text()
    for before, after in EDITS:
        if before not in text:
            raise SystemExit(f"the project has no {before!r}")
        text = text.replace(before, after)
    file.write_text(text)


def change(folder: Path) -> dict[str, Any]:
    """Return how far the last change has come."""
    told = subprocess.run([VARV, "status", "--json"], cwd=folder, capture_output=True, check=True)
    changes = json.loads(told.stdout)["changes"]
    return changes[-1] if changes else {"phase": ""}


def wrong_features(folder: Path) -> tuple[int, int]:
    """Return how many stored requests there are, and how many of them have a feature that an engine over all
    that is stored does not compute. No outcome comes meanwhile, so the two have to be equal to the bit.
    """
    project = load_project(str(folder / "deliveries.py"))
    project.validate()
    home = open_home(folder / ".varv", project.plans(), SystemClock())
    try:
        [parts] = home.models.values()
        parts.predictions.restore()
        rows = (
            parts.predictions.requested(Instant(0), Instant(home.clock.now() + 1)).unique("key").sort("key")
        )
        store, data = FeatureStore(), parts.schema.requests
        engine = FeatureEngine(parts.schema.features, data, store)
        Intake(home.datasets, [store]).restore(parts.plan.datasets)
        requests = home.datasets.read_part(data, data.event_time)
        expected = engine.lookup(requests, at=data.event_time)
        expected = expected.insert_column(0, parts.schema.keys(requests)).unique("key")
        names = parts.schema.features.names
        apart = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name} anew")) for name in names)
        both = rows.join(expected, on="key", suffix=" anew", how="left")
        return both.height, both.filter(apart).height
    finally:
        home.close()


def measured(server: Served, folder: Path) -> None:
    clients = Clients(server.inference)
    wait(QUIET_S)
    begin = wall_seconds()
    changed(folder)
    subprocess.run([VARV, "apply"], cwd=folder, check=True, stdout=sys.stdout)
    applied = wall_seconds()
    until(lambda: change(folder)["phase"] == "done")
    done = wall_seconds()
    wait(QUIET_S)
    clients.stop()
    answers = clients.answers
    print(f"applied after {applied - begin:.1f} s, stored requests prepared after {done - begin:.1f} s")
    shown("before", [one for one in answers if one.at < begin])
    shown("while it is applied", [one for one in answers if begin <= one.at < applied])
    shown("while it goes on", [one for one in answers if applied <= one.at < done] or answers[:2])
    shown("afterwards", [one for one in answers if one.at >= done])
    for problem in sorted({one.problem for one in answers if one.problem}):
        print(f"  {problem}")


def main() -> int:
    installed_runtimes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([VARV, "init", name], check=True, stdout=subprocess.DEVNULL)
        with started(folder, "up", "deliveries.py", "--workers", WORKERS) as server:
            until(lambda: ready(server.inference))
            measured(server, folder)
        n, wrong = wrong_features(folder)
        print(f"{n:,} stored requests, {wrong} with a feature that is not as computed anew")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
