"""`varv export`: the configuration of a gateway that stands in front of the workers, or a pipeline for an
orchestrator.
"""

from __future__ import annotations

import argparse
import sys

from varv.app.cli.access import answer, reading_home, written
from varv.app.clients import load_clients
from varv.app.settings import Loaded, Settings
from varv.fronts.gateway import EVERYWHERE, allowed_hosts
from varv.fronts.gateways import TARGETS, Traffic, Upstream, documents_in_yaml, upstream_of
from varv.fronts.gateways.traffic import ModelTraffic, require_alike
from varv.fronts.orchestrators import airflow, dagster, kubeflow, outer, prefect
from varv.kernel.errors import InvalidInput, NotFound
from varv.kernel.views import Views
from varv.loop.views import LoopView
from varv.pipelines.job import load_pipeline
from varv.serving.views import RoutingView

IN_CLUSTERS = ("gateway-api", "istio")
"""Targets whose upstreams are Services of a cluster."""


def export(options: argparse.Namespace, loaded: Loaded) -> int:
    """Write what is served as a gateway's configuration, or a pipeline for an orchestrator."""
    if options.target == "pipeline":
        text = _orchestrated(options, loaded.settings)
        _tell(options, {"text": text}, text)
        return 0
    with reading_home(loaded.settings) as desk:
        models = _models(desk.views)
    documents, notes = TARGETS[options.target](_traffic(options, loaded, models))
    text = documents_in_yaml(documents, notes)
    _tell(options, {"documents": documents, "notes": notes}, text)
    return 0


def _tell(options: argparse.Namespace, told: object, text: str) -> None:
    if options.json:
        answer(options, told, list)
    elif options.to:
        written(options.to, text)
    else:
        sys.stdout.write(text)


def _orchestrated(options: argparse.Namespace, settings: Settings) -> str:
    pipeline, whole = load_pipeline(options.file)
    place, home = options.place or whole, str(settings.home.resolve())
    given = outer(pipeline, place=place, home=home, schedule=options.schedule)
    if options.orchestrator == "kubeflow":
        return kubeflow(given, image=options.image, claim=options.claim)
    return {"airflow": airflow, "dagster": dagster, "prefect": prefect}[options.orchestrator](given)


def _models(views: Views) -> tuple[ModelTraffic, ...]:
    """Return the models that are served.

    Raises
    ------
    NotFound
        If there are none.
    """
    with views.reading(LoopView) as loops, views.reading(RoutingView) as routing:
        names = sorted(name for name in loops.declared if name not in loops.retired)
        shares = {
            name: tuple((part.version, part.share) for part in table.shares)
            for name, table in routing.tables.items()
        }
    if not names:
        hint = "run varv up once, or name another --home"
        raise NotFound("model", "", "is not declared here yet", hint=hint)
    return tuple(ModelTraffic(name, shares.get(name, ())) for name in names)


def _traffic(options: argparse.Namespace, loaded: Loaded, models: tuple[ModelTraffic, ...]) -> Traffic:
    settings = loaded.settings
    if settings.grpc_port == 0:
        hint = "name it with --grpc-port"
        raise InvalidInput("setting", "grpc_port", "is chosen anew with each start", hint=hint)
    host = "127.0.0.1" if settings.host in EVERYWHERE else settings.host
    if options.target in IN_CLUSTERS:
        # What listens where is not to be known here; this is what a Service would be called.
        host = "varv"
    upstreams = tuple(upstream_of(one) for one in options.upstream) or (
        Upstream(host, settings.inference_port, tls=bool(settings.tls_certificate)),
    )
    require_alike(upstreams)
    for name, value, most in (("timeout", options.timeout, 3600), ("listen", options.listen, 65_535)):
        if not 1 <= value <= most:
            raise InvalidInput("option", f"--{name}", "is not valid", given=value, hint=f"give 1 to {most}")
    return Traffic(
        models=models,
        upstreams=upstreams,
        grpc_port=settings.grpc_port,
        hosts=tuple(options.hostname),
        clients=load_clients(loaded.file),
        timeout_s=options.timeout,
        listen=options.listen,
        gateway=options.gateway,
        namespace=options.namespace,
        authority_file=options.authority,
        asks_certificates=bool(settings.tls_client_authority),
        allowed_hosts=allowed_hosts(settings.host, settings.allowed_hosts),
    )
