"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from starlette.types import ASGIApp

from varv.fronts.mlflow import MlflowApi, experiments, runs
from varv.runs import Tracking


def mlflow_api(app: ASGIApp, tracking: Tracking) -> MlflowApi:
    """Return what answers MLflow's protocol, and hands everything else to `app`."""
    areas = [(tracking, experiments.routes), (tracking, runs.routes)]
    return MlflowApi(app, tracking.recorder, areas)
