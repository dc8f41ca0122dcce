"""Kong: declarative configuration, format 3.0.

Source: Kong Gateway's documentation of services, routes, upstreams, and of the plugins that are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from varv.fronts.gateways.traffic import (
    DEADLINE_HEADER,
    GRPC_SERVICES,
    READY,
    SHARED,
    Bucket,
    Place,
    Traffic,
    bucket_of,
    notes_of,
    places_of,
)
from varv.fronts.yaml import Document, Plain


def kong(traffic: Traffic) -> tuple[list[Document], list[str]]:
    """Return the configuration, and notes on it."""
    notes = list(notes_of(traffic, "kong", counts_tokens=True, sets_deadline=True))
    if traffic.tls and traffic.authority_file:
        notes.append(f"Have Kong trust {traffic.authority_file}, by lua_ssl_trusted_certificate.")
    if traffic.grpc_port >= 0:
        notes.append("gRPC needs a proxy_listen of Kong's with http2.")
    services: list[Plain] = [_service(traffic, grpc=False)]
    upstreams: list[Plain] = [_upstream(traffic, grpc=False)]
    if traffic.grpc_port >= 0:
        services.append(_service(traffic, grpc=True))
        upstreams.append(_upstream(traffic, grpc=True))
    return [{"_format_version": "3.0", "services": services, "upstreams": upstreams}], notes


def _service(traffic: Traffic, *, grpc: bool) -> Plain:
    name = _name(grpc=grpc)
    protocol = ("grpcs" if traffic.tls else "grpc") if grpc else ("https" if traffic.tls else "http")
    found: dict[str, Plain] = {
        "name": name,
        "protocol": protocol,
        "host": f"{name}.upstream",
        "port": traffic.grpc_port if grpc else traffic.upstreams[0].port,
        "connect_timeout": 2000,
        "read_timeout": 1000 * traffic.timeout_s,
        "write_timeout": 1000 * traffic.timeout_s,
        # Of connections that fail; what was sent is not sent again, as predictions are POSTs.
        "retries": 1,
    }
    if traffic.tls:
        found["tls_verify"] = True
    if grpc:
        places = [Place("prefix", f"/{one}") for one in GRPC_SERVICES]
        found["routes"] = [_route(traffic, "varv-grpc", places, ("grpc", "grpcs"))]
    else:
        of_models = [
            _route(traffic, f"varv-model-{one.name}", places_of(one.name), _HTTP) for one in traffic.models
        ]
        found["routes"] = [*of_models, _route(traffic, "varv-shared", SHARED, _HTTP)]
    found["plugins"] = _plugins(traffic, grpc=grpc)
    return found


_HTTP = ("http", "https")


def _route(traffic: Traffic, name: str, places: Sequence[Place], protocols: Sequence[str]) -> Plain:
    found: dict[str, Plain] = {
        "name": name,
        "protocols": list(protocols),
        "paths": [_path(place) for place in places],
        "strip_path": False,
        "preserve_host": True,
    }
    if "grpc" in protocols:
        # It has no meaning there.
        del found["strip_path"]
    if traffic.hosts:
        found["hosts"] = list(traffic.hosts)
    return found


def _path(place: Place) -> str:
    """Return a path as a regular expression, since Kong's prefixes end anywhere."""
    quoted = re.sub(r"([.+*?()\[\]{}|^$\\])", r"\\\1", place.path)
    return f"~{quoted}$" if place.kind == "exact" else f"~{quoted}(?:/|$)"


def _plugins(traffic: Traffic, *, grpc: bool) -> list[Plain]:
    found: list[Plain] = []
    if not grpc:
        # It adds a header only where there is none. A stream of calls may last longer.
        deadline = f"{DEADLINE_HEADER}:{1000 * traffic.timeout_s}"
        found.append({"name": "request-transformer", "config": {"add": {"headers": [deadline]}}})
    bucket = bucket_of(traffic)
    return found if bucket is None else [*found, _rate_limit(bucket)]


def _rate_limit(bucket: Bucket) -> Plain:
    return {
        "name": "rate-limiting",
        "config": {
            # In one second what may come at once may come, and what a second adds.
            "second": bucket.burst + bucket.per_second,
            "limit_by": "header",
            "header_name": "authorization",
            "policy": "local",
            "fault_tolerant": True,
        },
    }


def _upstream(traffic: Traffic, *, grpc: bool) -> Plain:
    is_alone = len(traffic.upstreams) == 1
    targets: list[Plain] = [
        {
            "target": f"{_host(one.host)}:{traffic.grpc_port if grpc else one.port}",
            "weight": 100 if is_alone else one.weight,
        }
        for one in traffic.upstreams
    ]
    active: dict[str, Plain] = {
        "type": "tcp",
        "timeout": 2,
        "healthy": {"interval": 5, "successes": 1},
        "unhealthy": {"interval": 5, "tcp_failures": 2, "timeouts": 2},
    }
    if not grpc:
        active["type"] = "https" if traffic.tls else "http"
        active["http_path"] = READY
        active["healthy"] = {"interval": 5, "successes": 1, "http_statuses": [200]}
        active["unhealthy"] = {
            "interval": 5,
            "http_failures": 2,
            "tcp_failures": 2,
            "timeouts": 2,
            "http_statuses": [503],
        }
    return {"name": f"{_name(grpc=grpc)}.upstream", "targets": targets, "healthchecks": {"active": active}}


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _name(*, grpc: bool) -> str:
    return "varv-grpc" if grpc else "varv"
