"""The tracking server of a home: what answers MLflow's protocol, put together."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp

from varv.fronts.access.door import Callers
from varv.fronts.mlflow import about, artifacts, assessments, experiments, otlp, runs, searching, traces
from varv.fronts.mlflow.access import Gate
from varv.fronts.mlflow.app import Door, MlflowApi
from varv.runs import RunSearch, Tracking
from varv.runs.traces import OWNERS, Traces
from varv.runs.traces.reading import root_of

NOBODY_DECLARED = Callers((), 1)


def mlflow_api(
    app: ASGIApp,
    tracking: Tracking,
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
    door = Door(tracking.recorder)
    shelf = artifacts.Shelf(tracking.recorder, tracking.blobs, {OWNERS: root_of})
    of_traces = Traces(tracking.recorder, tracking.blobs)
    areas = [
        (None, about.routes),
        (tracking, experiments.routes),
        (tracking, runs.routes),
        (RunSearch(tracking.recorder, tracking.series), searching.routes),
        (shelf, artifacts.routes),
        (of_traces, traces.routes),
        (of_traces, assessments.routes),
    ]
    transfers = artifacts.Transfers(shelf, door.do)
    raw = {
        artifacts.PREFIX: transfers,
        "/get-artifact": transfers.page,
        "/version": about.version,
        otlp.PATH: otlp.Export(of_traces, door.do),
    }
    return MlflowApi(app, door, areas, raw, Gate(token, callers))
