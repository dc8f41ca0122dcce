"""Envoy: a static bootstrap with one listener.

Source: Envoy's v3 API, and its documentation of local rate limits by descriptors without a value.
"""

from __future__ import annotations

from collections.abc import Sequence

from varv.fronts.gateways.traffic import (
    DEADLINE_HEADER,
    GRPC_SERVICES,
    READY,
    RETRY_ON,
    SHARED,
    Bucket,
    Place,
    Traffic,
    Upstream,
    bucket_of,
    notes_of,
    places_of,
)
from varv.fronts.yaml import Document, Plain

_TYPE = "type.googleapis.com/envoy.extensions"
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
ANONYMOUS_PER_SECOND = 100
"""Requests without a token, which are probes, or refused."""
MOST_TOKENS = 1000


def envoy(traffic: Traffic) -> tuple[list[Document], list[str]]:
    """Return the bootstrap, and notes on it."""
    notes = list(notes_of(traffic, "envoy", counts_tokens=True, sets_deadline=True))
    kinds = (False, True) if traffic.grpc_port >= 0 else (False,)
    numbers = range(len(traffic.upstreams))
    clusters = [_cluster(traffic, number, grpc=grpc) for grpc in kinds for number in numbers]
    return [{"static_resources": {"listeners": [_listener(traffic)], "clusters": clusters}}], notes


def _listener(traffic: Traffic) -> Plain:
    bucket = bucket_of(traffic)
    filters: list[Plain] = [] if bucket is None else [_rate_limit(bucket)]
    filters.append(
        {
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"},
        }
    )
    manager: Plain = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "varv",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "preserve_external_request_id": True,
        "route_config": {"name": "varv", "virtual_hosts": [_virtual_host(traffic, bucket)]},
        "http_filters": filters,
    }
    name = "envoy.filters.network.http_connection_manager"
    return {
        "name": "varv",
        "address": _address("0.0.0.0", traffic.listen),
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    }


def _virtual_host(traffic: Traffic, bucket: Bucket | None) -> Plain:
    routes = [
        _route(traffic, model.name, place, grpc=False)
        for model in traffic.models
        for place in places_of(model.name)
    ]
    routes += [_route(traffic, "shared", place, grpc=False) for place in SHARED]
    if traffic.grpc_port >= 0:
        routes += [_route(traffic, "grpc", Place("prefix", f"/{one}"), grpc=True) for one in GRPC_SERVICES]
    # Envoy matches a host with its port, which callers of a port that is not the usual one send.
    domains = [name for host in traffic.hosts for name in (host, f"{host}:*")] or ["*"]
    found: dict[str, Plain] = {
        "name": "varv",
        "domains": domains,
        "retry_policy": {"retry_on": ",".join(RETRY_ON), "num_retries": 1},
        "routes": routes,
    }
    if bucket is not None:
        header = {"header_name": "authorization", "descriptor_key": "authorization"}
        found["rate_limits"] = [{"actions": [{"request_headers": header}]}]
    return found


def _route(traffic: Traffic, name: str, place: Place, *, grpc: bool) -> Plain:
    match: dict[str, Plain] = {_MATCHES[place.kind]: place.path}
    action: dict[str, Plain] = {"timeout": f"{traffic.timeout_s}s"}
    if grpc:
        match["grpc"] = _EMPTY
        # A stream may last; a call's own deadline holds.
        action = {"timeout": "0s", "max_stream_duration": {"grpc_timeout_header_max": "0s"}}
    names = [_cluster_name(number, grpc=grpc) for number in range(len(traffic.upstreams))]
    if len(names) == 1:
        action["cluster"] = names[0]
    else:
        weights: list[Plain] = [
            {"name": cluster, "weight": one.weight}
            for cluster, one in zip(names, traffic.upstreams, strict=True)
        ]
        action["weighted_clusters"] = {"clusters": weights}
    found: dict[str, Plain] = {"name": name, "match": match, "route": action}
    if not grpc:
        deadline = {"key": DEADLINE_HEADER, "value": str(1000 * traffic.timeout_s)}
        found["request_headers_to_add"] = [{"header": deadline, "append_action": "ADD_IF_ABSENT"}]
    return found


_EMPTY: Document = {}
_MATCHES = {"exact": "path", "prefix": "path_separated_prefix"}


def _rate_limit(bucket: Bucket) -> Plain:
    always: Plain = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "varv",
            "filter_enabled": always,
            "filter_enforced": always,
            # Of what brings no token; what does, takes nothing of it.
            "token_bucket": _token_bucket(Bucket(0, ANONYMOUS_PER_SECOND)),
            "always_consume_default_token_bucket": False,
            "max_dynamic_descriptors": MOST_TOKENS,
            "descriptors": [{"entries": [{"key": "authorization"}], "token_bucket": _token_bucket(bucket)}],
        },
    }


def _token_bucket(bucket: Bucket) -> Plain:
    # It is filled at once, once a second, so a second's worth is added to what may come at once.
    return {
        "max_tokens": bucket.burst + bucket.per_second,
        "tokens_per_fill": bucket.per_second,
        "fill_interval": "1s",
    }


def _cluster(traffic: Traffic, number: int, *, grpc: bool) -> Plain:
    upstream = traffic.upstreams[number]
    port = traffic.grpc_port if grpc else upstream.port
    name = _cluster_name(number, grpc=grpc)
    address: Plain = {"endpoint": {"address": _address(upstream.host, port)}}
    found: dict[str, Plain] = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [address]}]},
        "health_checks": [_health_check(upstream, grpc=grpc)],
    }
    if grpc:
        found["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": _EMPTY},
            }
        }
    if upstream.tls:
        found["transport_socket"] = _tls(upstream, traffic.authority_file, ["h2"] if grpc else [])
    return found


def _health_check(upstream: Upstream, *, grpc: bool) -> Plain:
    found: dict[str, Plain] = {
        "timeout": "2s",
        "interval": "5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
    }
    if grpc:
        return {**found, "grpc_health_check": {}}
    return {**found, "http_health_check": {"path": READY, "host": upstream.host}}


def _tls(upstream: Upstream, authority_file: str, protocols: Sequence[str]) -> Plain:
    # A name in a certificate that is trusted, or any name would do that the authorities vouch for.
    kind = "IP_ADDRESS" if upstream.host.replace(".", "").isdigit() or ":" in upstream.host else "DNS"
    names: Plain = [{"san_type": kind, "matcher": {"exact": upstream.host}}]
    common: dict[str, Plain] = {
        "validation_context": {
            "trusted_ca": {"filename": authority_file or SYSTEM_AUTHORITIES},
            "match_typed_subject_alt_names": names,
        }
    }
    if protocols:
        common["alpn_protocols"] = list(protocols)
    config: dict[str, Plain] = {
        "@type": f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    if kind == "DNS":
        config["sni"] = upstream.host
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _cluster_name(number: int, *, grpc: bool) -> str:
    return f"varv-{'grpc-' if grpc else ''}{number + 1}"


def _address(host: str, port: int) -> Plain:
    return {"socket_address": {"address": host, "port_value": port}}
