"""Kubernetes' Gateway API: a route for each model, one for what they share, and one for gRPC.

The gateway itself, its listeners and its certificates are of whoever runs the cluster.

Source: Gateway API v1, standard channel: HTTPRoute, GRPCRoute, BackendTLSPolicy.
"""

from __future__ import annotations

from collections.abc import Sequence

from varv.fronts.gateways.kubernetes import metadata, object_names, service_of
from varv.fronts.gateways.traffic import GRPC_SERVICES, SHARED, Place, Traffic, notes_of, places_of
from varv.fronts.yaml import Document, Plain

GROUP = "gateway.networking.k8s.io"
_MATCHES = {"exact": "Exact", "prefix": "PathPrefix"}


def gateway_api(traffic: Traffic) -> tuple[list[Document], list[str]]:
    """Return the routes, and notes on them.

    Raises
    ------
    InvalidInput
        If an upstream is no Service.
    """
    notes = list(notes_of(traffic, "gateway-api", counts_tokens=False, sets_deadline=False))
    notes.append("Health is the Service's: let its pods have a readinessProbe on /v2/health/ready.")
    notes.append("Retries and limits have no form here that every gateway knows.")
    names = object_names(traffic)
    documents = [_http_route(traffic, names[model.name], places_of(model.name)) for model in traffic.models]
    documents.append(_http_route(traffic, "varv-shared", SHARED))
    if traffic.grpc_port >= 0:
        documents.append(_grpc_route(traffic))
    if traffic.tls:
        documents += [_tls(traffic, *service_of(one.host)) for one in traffic.upstreams]
        if traffic.authority_file:
            notes.append(f"ConfigMap varv-authorities has to hold {traffic.authority_file} as ca.crt.")
    return documents, notes


def _http_route(traffic: Traffic, name: str, places: Sequence[Place]) -> Document:
    timeout = f"{traffic.timeout_s}s"
    rule: Plain = {
        "matches": [{"path": {"type": _MATCHES[one.kind], "value": one.path}} for one in places],
        "timeouts": {"request": timeout, "backendRequest": timeout},
        "backendRefs": _backends(traffic, grpc=False),
    }
    return _document(traffic, "HTTPRoute", name, rule)


def _grpc_route(traffic: Traffic) -> Document:
    rule: Plain = {
        "matches": [{"method": {"type": "Exact", "service": one}} for one in GRPC_SERVICES],
        "backendRefs": _backends(traffic, grpc=True),
    }
    return _document(traffic, "GRPCRoute", "varv-grpc", rule)


def _document(traffic: Traffic, kind: str, name: str, rule: Plain) -> Document:
    spec: dict[str, Plain] = {"parentRefs": [{"name": traffic.gateway}]}
    if traffic.hosts:
        spec["hostnames"] = list(traffic.hosts)
    spec["rules"] = [rule]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": metadata(traffic, name),
        "spec": spec,
    }


def _backends(traffic: Traffic, *, grpc: bool) -> list[Plain]:
    found: list[Plain] = []
    for one in traffic.upstreams:
        name, namespace = service_of(one.host)
        of_service: dict[str, Plain] = {"name": name}
        if namespace:
            of_service["namespace"] = namespace
        of_service["port"] = traffic.grpc_port if grpc else one.port
        if len(traffic.upstreams) > 1:
            of_service["weight"] = one.weight
        found.append(of_service)
    return found


def _tls(traffic: Traffic, name: str, namespace: str) -> Document:
    trusted: dict[str, Plain] = {"wellKnownCACertificates": "System"}
    if traffic.authority_file:
        trusted = {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "varv-authorities"}]}
    suffix = f".{namespace}.svc" if namespace else ""
    about: dict[str, Plain] = {"name": f"varv-tls-{name}"}
    # A policy is of the namespace of its Service.
    if where := namespace or traffic.namespace:
        about["namespace"] = where
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "BackendTLSPolicy",
        "metadata": about,
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": name}],
            "validation": {**trusted, "hostname": f"{name}{suffix}"},
        },
    }
