"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from starlette.types import ASGIApp

from varv.fronts.mlflow import MlflowApi, experiments, runs, searching
from varv.runs import RunSearch, Tracking


def mlflow_api(app: ASGIApp, tracking: Tracking) -> MlflowApi:
    """Return what answers MLflow's protocol, and hands everything else to `app`."""
    search = RunSearch(tracking.recorder, tracking.series)
    areas = [(tracking, experiments.routes), (tracking, runs.routes), (search, searching.routes)]
    return MlflowApi(app, tracking.recorder, areas)
