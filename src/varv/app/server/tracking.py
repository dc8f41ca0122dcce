"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from starlette.types import ASGIApp

from varv.fronts.mlflow import about, artifacts, experiments, runs
from varv.fronts.mlflow.app import Door, MlflowApi
from varv.runs import Tracking


def mlflow_api(app: ASGIApp, tracking: Tracking) -> MlflowApi:
    """Return what answers MLflow's protocol, and hands everything else to `app`."""
    door = Door(tracking.recorder)
    shelf = artifacts.Shelf(tracking.recorder, tracking.blobs)
    areas = [
        (None, about.routes),
        (tracking, experiments.routes),
        (tracking, runs.routes),
        (shelf, artifacts.routes),
    ]
    transfers = artifacts.Transfers(shelf, door.do)
    raw = {artifacts.PREFIX: transfers, "/get-artifact": transfers.page, "/version": about.version}
    return MlflowApi(app, door, areas, raw)
