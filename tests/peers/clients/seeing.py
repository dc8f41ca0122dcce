"""What a workflow tells of runs and errors, the same in every workflow."""

from __future__ import annotations

import uuid
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

Seen = dict[str, Any]
UNIQUE = uuid.uuid4().hex[:12]
# What depends on where and when a script runs, not on the server.
LOCAL_TAGS = ("mlflow.user", "mlflow.source", "mlflow.git")


def experiment(name: str) -> str:
    return mlflow.set_experiment(f"{name}-{UNIQUE}").experiment_id


def files(run_id: str, path: str | None = None) -> list[str]:
    found = []
    for entry in MlflowClient().list_artifacts(run_id, path):
        found += files(run_id, entry.path) if entry.is_dir else [entry.path]
    return sorted(found)


def shown(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def seen(run_id: str) -> Seen:
    """Return all of a run that does not depend on the time."""
    run = MlflowClient().get_run(run_id)
    info, data = run.info, run.data
    return {
        "run_id": info.run_id,
        "experiment_id": info.experiment_id,
        "artifact_uri": info.artifact_uri,
        "run_name": info.run_name,
        "status": info.status,
        "lifecycle_stage": info.lifecycle_stage,
        "ended": info.end_time is not None and info.end_time >= info.start_time,
        "params": data.params,
        "metrics": {key: shown(value) for key, value in data.metrics.items() if "time" not in key},
        "timed": sorted(key for key in data.metrics if "time" in key),
        "tags": {key: value for key, value in data.tags.items() if not key.startswith(LOCAL_TAGS)},
        "files": files(info.run_id),
        "datasets": sorted(
            [given.dataset.name, given.dataset.digest, *sorted(tag.value for tag in given.tags)]
            for given in run.inputs.dataset_inputs
        ),
        "n_models": len(run.outputs.model_outputs) if run.outputs else 0,
    }


def history(run_id: str, key: str) -> list[list[Any]]:
    return [[point.step, shown(point.value)] for point in MlflowClient().get_metric_history(run_id, key)]


def refused(act: Any, *given: Any, **more: Any) -> list[str]:
    """Return what a client says of an error."""
    try:
        act(*given, **more)
    except MlflowException as error:
        return [type(error).__name__, error.error_code]
    return ["no error", ""]


def rows(n: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    """Return features and labels that are the same in every process."""
    made = np.random.default_rng(7).normal(size=(n, 3))
    return pd.DataFrame(made, columns=["a", "b", "c"]), (made[:, 0] + made[:, 1] > 0).astype(int)
