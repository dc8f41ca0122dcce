"""Every family of estimators, trained, packaged, replayed and served, on every flight of a month:
``python benchmarks/bench_families.py``.

What a replay stored and what a server answers is held against the very estimator that the training function
returned. Exits 1 if a prediction differs by more than is put down to float32.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent / "projects"))

import families

from served import started
from varv.app.compose import open_ledger, open_views
from varv.app.replaying import run_replay
from varv.kernel.blobs import FolderBlobs
from varv.kernel.catalogue import digests
from varv.kernel.folder_columns import FolderColumns
from varv.registry import Package, RegistryView, open_package
from varv.serving.stored import predictions_of
from varv.serving.views import RoutingView
from varv.training import TrainingSet
from varv.training.packaging import TOLERANCE

PROJECT = Path(families.__file__)
PORTION = 500


def stored(home: Path, model: str) -> tuple[Package, pl.DataFrame]:
    """Return the first version of a model, and every prediction that it made in a replay."""
    ledger = open_ledger(home, read_only=True)
    views, columns = open_views(ledger), FolderColumns(home / "columns")
    views.catch_up()
    with views.reading(RoutingView) as routing, views.reading(RegistryView) as registry:
        segments = digests(routing.catalogue(model).extents())
        package = registry.version(model, 1).registered.package
    rows = pl.concat(columns.batches(predictions_of(model, columns), segments), how="diagonal")
    ledger.close()
    return open_package(FolderBlobs(home / "blobs").get(package)), rows.filter(pl.col("version") == 1)


def expected(model: str, package: Package, rows: pl.DataFrame) -> np.ndarray:
    """Return what the estimator itself says of rows, shape (n,)."""
    estimator, form = families.FITTED[model]
    nothing = np.zeros(rows.height, dtype=np.int64)
    given = TrainingSet(rows.select(package.signature.names), nothing, nothing, package.signature, seed=0)
    inputs: Any = given.X if form == "matrix" else given.frame
    if model == "torch":
        import torch

        with torch.no_grad():
            return estimator(torch.from_numpy(inputs)).numpy()[:, 0]
    return estimator.predict(inputs) if model == "own" else estimator.predict_proba(inputs)[:, 1]


def answered(inference: int, model: str, rows: pl.DataFrame) -> np.ndarray:
    """Return what a server answers about rows, shape (n,)."""
    found: list[float] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{inference}", timeout=60) as client:
        for portion in rows.iter_slices(PORTION):
            body = {
                "dataframe_split": {"columns": portion.columns, "data": [list(row) for row in portion.rows()]}
            }
            answer = client.post(f"/invocations/{model}", json=body)
            answer.raise_for_status()
            found += answer.json()["predictions"]
    return np.array(found, dtype=np.float64)


def ready(inference: int, row: pl.DataFrame) -> bool:
    """Return whether every model answers."""
    try:
        for model in families.MODELS:
            answered(inference, model.name, row.select(_asked(model.name)))
    except (httpx.TransportError, httpx.HTTPStatusError):
        return False
    return True


def _asked(model: str) -> list[str]:
    text = ["tailnum"] if model == "pipeline" else []
    return ["flight_id", *families.NUMBERS, *families.CATEGORIES, *text]


def main() -> int:
    """Measure, print, and say whether every prediction is the estimator's."""
    held = True
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        began = time.perf_counter()
        run_replay(families.replay, home, lambda *_: None, declared_only=True)
        print(f"replayed in {time.perf_counter() - began:.0f} s")
        flights = families.past()
        with started(PROJECT.parent, "--home", str(home), "up", str(PROJECT)) as server:
            while not ready(server.inference, flights.head(1)):
                if server.process.poll() is not None:
                    raise SystemExit("the server has ended")
                time.sleep(0.2)
            print(f"{'family':<10} {'runtime':<10} {'rows':>7} {'replayed, apart':>16} {'served, apart':>16}")
            for model in families.MODELS:
                package, rows = stored(home, model.name)
                asked = rows.select(pl.col("key").alias("flight_id")).join(
                    flights, on="flight_id", how="left"
                )
                truth = expected(model.name, package, rows)
                replayed = float(np.abs(rows["score"].to_numpy() - truth).max())
                answers = answered(server.inference, model.name, asked.select(_asked(model.name)))
                served = float(np.abs(answers - truth).max())
                ok = max(replayed, served) <= TOLERANCE
                held &= ok
                what = f"{model.name:<10} {package.runtime:<10} {rows.height:>7}"
                print(f"{what} {replayed:>16.1e} {served:>16.1e}{'' if ok else '  MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
