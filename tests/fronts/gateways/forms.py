"""What the documents of three gateways may hold, as far as we write any: fields, types and limits of their
published APIs, as JSON Schema in which nothing else is allowed.

Where a folder holds the published schemas themselves, they are asked as well: `VARV_GATEWAY_SCHEMAS` names
one with ``httproutes.yaml``, ``grpcroutes.yaml`` and ``backendtlspolicies.yaml`` (Gateway API, standard
channel), ``istio.yaml`` (Istio's custom resource definitions), and ``kong.json`` (decK's schema).
"""

from __future__ import annotations


def struct(required=(), **fields):
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def many(one, most=64, least=1):
    return {"type": "array", "items": one, "minItems": least, "maxItems": most}


def const(*values):
    return {"enum": list(values)}


TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
METADATA = struct(["name"], name=NAME, namespace=LABEL)

# Gateway API v1

DURATION = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
BACKEND = struct(
    ["name", "port"],
    name=LABEL,
    namespace=LABEL,
    port=PORT,
    weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
)
PATH = struct(
    ["type", "value"],
    type=const("Exact", "PathPrefix"),
    value={"type": "string", "pattern": r"^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"},
)
GRPC_METHOD = struct(["type", "service"], type=const("Exact"), service=TEXT)


def route(kind, **rule):
    return struct(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=const("gateway.networking.k8s.io/v1"),
        kind=const(kind),
        metadata=METADATA,
        spec=struct(
            ["parentRefs", "rules"],
            parentRefs=many(struct(["name"], name=NAME), 32),
            hostnames=many(NAME, 16),
            rules=many(struct(**rule), 16),
        ),
    )


GATEWAY_API = {
    "HTTPRoute": route(
        "HTTPRoute",
        matches=many(struct(["path"], path=PATH)),
        timeouts=struct(request=DURATION, backendRequest=DURATION),
        backendRefs=many(BACKEND, 16),
    ),
    "GRPCRoute": route(
        "GRPCRoute",
        matches=many(struct(["method"], method=GRPC_METHOD)),
        backendRefs=many(BACKEND, 16),
    ),
    "BackendTLSPolicy": struct(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=const("gateway.networking.k8s.io/v1"),
        kind=const("BackendTLSPolicy"),
        metadata=METADATA,
        spec=struct(
            ["targetRefs", "validation"],
            targetRefs=many(
                struct(["group", "kind", "name"], group=const(""), kind=const("Service"), name=LABEL), 16
            ),
            validation={
                **struct(
                    ["hostname"],
                    hostname=NAME,
                    wellKnownCACertificates=const("System"),
                    caCertificateRefs=many(
                        struct(
                            ["group", "kind", "name"], group=const(""), kind=const("ConfigMap"), name=NAME
                        ),
                        8,
                    ),
                ),
                "oneOf": [{"required": ["wellKnownCACertificates"]}, {"required": ["caCertificateRefs"]}],
            },
        ),
    ),
}

# Istio, networking.istio.io/v1

SECONDS = {"type": "string", "pattern": "^[0-9]+s$"}
URI = {**struct(exact=TEXT, prefix=TEXT), "minProperties": 1, "maxProperties": 1}
ISTIO = {
    "VirtualService": struct(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=const("networking.istio.io/v1"),
        kind=const("VirtualService"),
        metadata=METADATA,
        spec=struct(
            ["hosts", "gateways", "http"],
            hosts=many(TEXT),
            gateways=many(TEXT),
            http=many(
                struct(
                    ["name", "match", "route"],
                    name=TEXT,
                    match=many(struct(["uri"], uri=URI)),
                    timeout=SECONDS,
                    retries=struct(attempts={"type": "integer", "minimum": 0}, retryOn=TEXT),
                    route=many(
                        struct(
                            ["destination"],
                            destination=struct(["host"], host=TEXT, port=struct(["number"], number=PORT)),
                            weight={"type": "integer", "minimum": 0, "maximum": 100},
                        )
                    ),
                )
            ),
        ),
    ),
    "DestinationRule": struct(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=const("networking.istio.io/v1"),
        kind=const("DestinationRule"),
        metadata=METADATA,
        spec=struct(
            ["host"],
            host=TEXT,
            trafficPolicy=struct(
                connectionPool=struct(tcp=struct(connectTimeout=SECONDS)),
                outlierDetection=struct(
                    consecutiveGatewayErrors={"type": "integer", "minimum": 0},
                    interval=SECONDS,
                    baseEjectionTime=SECONDS,
                    maxEjectionPercent={"type": "integer", "minimum": 0, "maximum": 100},
                ),
                tls=struct(
                    ["mode"],
                    mode=const("SIMPLE", "MUTUAL"),
                    sni=TEXT,
                    subjectAltNames=many(TEXT),
                    caCertificates=TEXT,
                ),
            ),
        ),
    ),
}

# Kong, declarative format 3.0

MILLISECONDS = {"type": "integer", "minimum": 1, "maximum": 2_147_483_646}
WHOLE = {"type": "integer", "minimum": 0, "maximum": 255}
STATUSES = many({"type": "integer", "minimum": 100, "maximum": 999})
KONG_ROUTE = struct(
    ["name", "protocols", "paths"],
    name={"type": "string", "pattern": r"^[A-Za-z0-9._~\-]+$"},
    protocols=many(const("http", "https", "grpc", "grpcs")),
    # A regular expression has a tilde before it.
    paths=many({"type": "string", "pattern": "^(?:/|~/)"}),
    hosts=many(TEXT),
    strip_path={"type": "boolean"},
    preserve_host={"type": "boolean"},
)
KONG_PLUGIN = {
    "oneOf": [
        struct(
            ["name", "config"],
            name=const("request-transformer"),
            config=struct(
                add=struct(headers=many({"type": "string", "pattern": "^[A-Za-z0-9-]+:.+$"})),
            ),
        ),
        struct(
            ["name", "config"],
            name=const("rate-limiting"),
            config=struct(
                ["second", "limit_by", "policy"],
                second={"type": "number", "exclusiveMinimum": 0},
                limit_by=const("header"),
                header_name=TEXT,
                policy=const("local"),
                fault_tolerant={"type": "boolean"},
            ),
        ),
    ]
}
KONG = struct(
    ["_format_version", "services", "upstreams"],
    _format_version=const("3.0"),
    services=many(
        struct(
            ["name", "protocol", "host", "port", "routes", "plugins"],
            name=TEXT,
            protocol=const("http", "https", "grpc", "grpcs"),
            host=TEXT,
            port=PORT,
            connect_timeout=MILLISECONDS,
            read_timeout=MILLISECONDS,
            write_timeout=MILLISECONDS,
            retries={"type": "integer", "minimum": 0, "maximum": 32767},
            tls_verify={"type": "boolean"},
            routes=many(KONG_ROUTE),
            plugins=many(KONG_PLUGIN, least=0),
        )
    ),
    upstreams=many(
        struct(
            ["name", "targets"],
            name=NAME,
            targets=many(
                struct(
                    ["target", "weight"],
                    target={"type": "string", "pattern": "^.+:[0-9]+$"},
                    weight={"type": "integer", "minimum": 0, "maximum": 65535},
                )
            ),
            healthchecks=struct(
                active=struct(
                    ["type"],
                    type=const("http", "https", "tcp", "grpc", "grpcs"),
                    timeout={"type": "number", "minimum": 0, "maximum": 65535},
                    http_path={"type": "string", "pattern": "^/"},
                    healthy=struct(interval=WHOLE, successes=WHOLE, http_statuses=STATUSES),
                    unhealthy=struct(
                        interval=WHOLE,
                        http_failures=WHOLE,
                        tcp_failures=WHOLE,
                        timeouts=WHOLE,
                        http_statuses=STATUSES,
                    ),
                )
            ),
        )
    ),
)
