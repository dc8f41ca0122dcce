"""The application of the control plane: MLflow's protocol, the API, metrics and the console, behind one
gateway.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from varv.app.desk import Desk
from varv.app.replaying import report_of
from varv.app.server.tracking import NOBODY_DECLARED, mlflow_api
from varv.app.settings import Settings
from varv.app.verbs import build_verbs
from varv.features import FeatureView
from varv.fronts.access.door import Callers
from varv.fronts.api import create_api, require_token
from varv.fronts.feast.reading import services_of
from varv.fronts.feast.writing import feast_routes
from varv.fronts.gateway import Gateway, allowed_hosts
from varv.fronts.metrics import metrics_route
from varv.fronts.mlflow.access import Gate
from varv.fronts.web.console import create_console
from varv.fronts.web.labelling import LabelDesk
from varv.home.change.recorded import recorded_schemas
from varv.home.tracking.desk import TrackingDesk
from varv.kernel.folder_columns import FolderColumns
from varv.kernel.ids import ModelName
from varv.kernel.metrics import Family
from varv.runs import Tracking
from varv.runs.verbs import StopRequest, stop


def application(
    settings: Settings,
    desk: Desk,
    tracking: TrackingDesk,
    health: Callable[[], dict[str, Any]],
    measures: Callable[[], Iterator[Family]],
    callers: Callable[[], Callers] = lambda: NOBODY_DECLARED,
    ends: Callable[[], bool] = lambda: False,
) -> Gateway:
    """Return what answers on the control port.

    Parameters
    ----------
    health
        Returns what ``/health`` says.
    measures
        Yields what ``/metrics`` says.
    callers
        Returns the declared clients by now.
    ends
        Returns whether the server is about to stop.
    """
    home, gate = settings.home, Gate(settings.token, callers)
    console = create_console(
        desk.views,
        desk.ledger,
        columns=FolderColumns(home / "columns"),
        reports=functools.partial(report_of, home),
        home=home,
        tracked=tracking.runs_read(),
        allow=functools.partial(_allow_reading, gate),
        stop=functools.partial(_stop, gate, tracking.runs),
        ends=ends,
        labels=LabelDesk(
            labelling=lambda: desk.labelling,
            allow=functools.partial(_allow_reading, gate),
            allow_writing=functools.partial(_allow_writing, gate),
        ),
    )
    routes = create_api(build_verbs(desk), health, token=settings.token)
    feast = feast_routes(
        desk.require_online,
        desk.require_inbox,
        functools.partial(_views_of, desk),
        desk.clock,
        lambda request: require_token(request, settings.token),
    )
    app = Starlette(routes=[*routes, *feast, metrics_route(measures), Mount("/", console)])
    return Gateway(
        mlflow_api(app, tracking, settings.token, callers),
        allowed_hosts(settings.host, settings.allowed_hosts),
    )


def _views_of(desk: Desk, model: str) -> Sequence[FeatureView]:
    """Return the views that a model reads, by what is on record."""
    found = recorded_schemas(desk.views, desk.ledger, [ModelName(model)])
    return services_of({name: schema.features.views for name, schema in found.items()})(model)


def _allow_writing(gate: Gate, request: Request) -> None:
    gate.require(dict(request.headers.raw), request.url.path, writes=True)


def _stop(gate: Gate, runs: Tracking, request: Request, run: str) -> None:
    _allow_writing(gate, request)
    stop(runs, StopRequest(run=run, by="somebody at the console"))


def _allow_reading(gate: Gate, request: Request) -> None:
    gate.require(dict(request.headers.raw), request.url.path, writes=False)
