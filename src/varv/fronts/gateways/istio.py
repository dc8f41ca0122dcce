"""Istio: a VirtualService, and a DestinationRule for each upstream.

Source: Istio's reference of networking.istio.io/v1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from varv.fronts.gateways.kubernetes import metadata
from varv.fronts.gateways.traffic import (
    GRPC_SERVICES,
    RETRY_ON,
    SHARED,
    Place,
    Traffic,
    Upstream,
    notes_of,
    places_of,
)
from varv.fronts.yaml import Document, Plain

VERSION = "networking.istio.io/v1"
_HUNDRED = 100


def istio(traffic: Traffic) -> tuple[list[Document], list[str]]:
    """Return the documents, and notes on them."""
    notes = list(notes_of(traffic, "istio", counts_tokens=False, sets_deadline=False))
    notes.append("Upstreams have to be known to the mesh: Services of it, or a ServiceEntry.")
    if traffic.grpc_port >= 0:
        notes.append("Name the Service's port for gRPC grpc, so that the mesh speaks HTTP/2 to it.")
    rules = [_rule(traffic, model.name, places_of(model.name), grpc=False) for model in traffic.models]
    rules.append(_rule(traffic, "shared", SHARED, grpc=False))
    if traffic.grpc_port >= 0:
        rules.append(_rule(traffic, "grpc", [Place("prefix", f"/{one}") for one in GRPC_SERVICES], grpc=True))
    service: Document = {
        "apiVersion": VERSION,
        "kind": "VirtualService",
        "metadata": metadata(traffic, "varv"),
        "spec": {"hosts": list(traffic.hosts) or ["*"], "gateways": [traffic.gateway], "http": rules},
    }
    return [service, *(_destination(traffic, one) for one in _hosts(traffic.upstreams))], notes


def _rule(traffic: Traffic, name: str, places: Sequence[Place], *, grpc: bool) -> Plain:
    targets: list[Plain] = []
    for one, percent in zip(traffic.upstreams, _percents(traffic.upstreams), strict=True):
        port = traffic.grpc_port if grpc else one.port
        target: dict[str, Plain] = {"destination": {"host": one.host, "port": {"number": port}}}
        if len(traffic.upstreams) > 1:
            target["weight"] = percent
        targets.append(target)
    return {
        "name": name,
        "match": [{"uri": found} for place in places for found in _uris(place)],
        # A stream may last; a call's own deadline holds.
        "timeout": "0s" if grpc else f"{traffic.timeout_s}s",
        "retries": {"attempts": 1, "retryOn": ",".join(RETRY_ON)},
        "route": targets,
    }


def _uris(place: Place) -> list[Plain]:
    """Return how a path is matched: prefixes end anywhere there, so one is the path and all below it."""
    if place.kind == "exact":
        return [{"exact": place.path}]
    return [{"exact": place.path}, {"prefix": f"{place.path}/"}]


def _percents(upstreams: Sequence[Upstream]) -> list[int]:
    """Return weights that sum to 100, as Istio has shared them out from the beginning."""
    total = sum(one.weight for one in upstreams)
    found = [_HUNDRED * one.weight // total for one in upstreams]
    by_rest = sorted(range(len(found)), key=lambda at: -(_HUNDRED * upstreams[at].weight % total))
    for at in by_rest[: _HUNDRED - sum(found)]:
        found[at] += 1
    return found


def _hosts(upstreams: Sequence[Upstream]) -> list[Upstream]:
    """Return one upstream of each host."""
    return list({one.host: one for one in upstreams}.values())


def _destination(traffic: Traffic, upstream: Upstream) -> Document:
    policy: dict[str, Plain] = {
        "connectionPool": {"tcp": {"connectTimeout": "2s"}},
        # What fails to answer is left alone for a while; it is asked for its health by the cluster.
        "outlierDetection": {
            "consecutiveGatewayErrors": 5,
            "interval": "5s",
            "baseEjectionTime": "15s",
            "maxEjectionPercent": 50,
        },
    }
    if upstream.tls:
        tls: dict[str, Plain] = {"mode": "SIMPLE", "sni": upstream.host, "subjectAltNames": [upstream.host]}
        if traffic.authority_file:
            tls["caCertificates"] = traffic.authority_file
        policy["tls"] = tls
    return {
        "apiVersion": VERSION,
        "kind": "DestinationRule",
        "metadata": metadata(traffic, f"varv-{re.sub(r'[^a-z0-9]+', '-', upstream.host.lower())}".strip("-")),
        "spec": {"host": upstream.host, "trafficPolicy": policy},
    }
