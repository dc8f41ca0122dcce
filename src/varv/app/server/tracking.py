"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp

from varv.fronts.access.door import Callers
from varv.fronts.mlflow import (
    about,
    artifacts,
    assessments,
    experiments,
    logged_models,
    otlp,
    registered,
    runs,
    searching,
    traces,
    uploads,
    versions,
    webhooks,
)
from varv.fronts.mlflow.access import Gate
from varv.fronts.mlflow.app import Door, MlflowApi
from varv.home.tracking.desk import TrackingDesk
from varv.runs.logged.model import MODELS_FOLDER
from varv.runs.logged.tables import root_of as root_of_model
from varv.runs.traces import TRACES_FOLDER
from varv.runs.traces.reading import root_of as root_of_trace

NOBODY_DECLARED = Callers((), 1)


def mlflow_api(
    app: ASGIApp,
    desk: TrackingDesk,
    token: str = "",
    callers: Callable[[], Callers] = lambda: NOBODY_DECLARED,
) -> MlflowApi:
    """Return what answers MLflow's protocol, and hands everything else to `app`.

    Parameters
    ----------
    token
        Of the control plane; nothing for none.
    callers
        Returns the declared clients by now.
    """
    door = Door(desk.recorder)
    roots = {MODELS_FOLDER: root_of_model, TRACES_FOLDER: root_of_trace}
    shelf = artifacts.Shelf(desk.recorder, desk.runs.blobs, roots)
    areas = [
        (None, about.routes),
        (desk.runs, experiments.routes),
        (desk.runs, runs.routes),
        (searching.Searches(desk.search), searching.routes),
        (shelf, artifacts.routes),
        (desk.traces, traces.routes),
        (desk.traces, assessments.routes),
        (desk, logged_models.routes),
        (desk, registered.routes),
        (desk, versions.routes),
        (desk, webhooks.routes),
    ]
    transfers = artifacts.Transfers(shelf, door.do)
    raw = {
        artifacts.PREFIX: transfers,
        uploads.PREFIX: uploads.PartUploads(shelf, desk.uploads, door.do),
        artifacts.SIGNED: transfers.signed,
        "/get-artifact": transfers.page,
        "/model-versions/get-artifact": versions.VersionFiles(desk, transfers.send),
        "/version": about.version,
        otlp.PATH: otlp.Export(desk.traces, door.do),
    }
    return MlflowApi(app, door, areas, raw, Gate(token, callers))
