"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from starlette.types import ASGIApp

from varv.fronts.mlflow import about, artifacts, experiments, runs, searching
from varv.fronts.mlflow.app import Door, MlflowApi
from varv.runs import RunSearch, Tracking


def mlflow_api(app: ASGIApp, tracking: Tracking) -> MlflowApi:
    """Return what answers MLflow's protocol, and hands everything else to `app`."""
    door = Door(tracking.recorder)
    shelf = artifacts.Shelf(tracking.recorder, tracking.blobs)
    areas = [
        (None, about.routes),
        (tracking, experiments.routes),
        (tracking, runs.routes),
        (RunSearch(tracking.recorder, tracking.series), searching.routes),
        (shelf, artifacts.routes),
    ]
    raw = {artifacts.PREFIX: artifacts.Transfers(shelf, door.do), "/version": about.version}
    return MlflowApi(app, door, areas, raw)
