"""What a gateway has to know of what is served: where, which paths, and what callers may ask for.

Rows and tokens are known to varv alone, so what depends on them stays there. Which version answers is drawn
inside a worker by a coin that is on record: a gateway that drew it too would make two experiments of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from varv.fronts.access import Client
from varv.kernel.errors import InvalidInput

READY = "/v2/health/ready"
GRPC_SERVICES = (
    "inference.GRPCInferenceService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
DEADLINE_HEADER = "x-varv-timeout-ms"
RETRY_ON = ("connect-failure", "refused-stream")
"""Failures after which a request has reached nobody; any other may have been answered and captured."""
MOST_WEIGHT = 65_535


class Place(NamedTuple):
    """A path that is served."""

    kind: Literal["exact", "prefix"]
    """A prefix ends where a part of a path does."""
    path: str


class Upstream(msgspec.Struct, frozen=True):
    """A data plane: one home's workers."""

    host: str
    port: int
    weight: int = 1
    """Its share of the requests, beside those of the others."""
    tls: bool = False


class ModelTraffic(msgspec.Struct, frozen=True):
    """A model that is served."""

    name: str
    shares: tuple[tuple[int, float], ...] = ()
    """Its versions, and the share of requests that each answers."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """All that a gateway is written from."""

    models: tuple[ModelTraffic, ...]
    upstreams: tuple[Upstream, ...]
    grpc_port: int = -1
    """The port of every upstream for gRPC; -1 for none."""
    hosts: tuple[str, ...] = ()
    """The names by which callers call the gateway; any if there are none."""
    clients: tuple[Client, ...] = ()
    timeout_s: int = 30
    """How long a caller of the gateway waits."""
    listen: int = 8080
    """The gateway's own port, where its configuration says it."""
    gateway: str = "varv"
    """The gateway that routes are attached to, where it is another document."""
    namespace: str = ""
    authority_file: str = ""
    """The file of the authorities that vouch for the upstreams, on the gateway's machine; the system's if it
    is empty.
    """
    asks_certificates: bool = False
    """Whether workers ask whoever connects for a certificate."""
    allowed_hosts: frozenset[str] | None = None
    """The names that the workers of this home answer to; None for any."""

    @property
    def tls(self) -> bool:
        """Whether upstreams are spoken to over TLS."""
        return self.upstreams[0].tls


class Bucket(NamedTuple):
    """How many requests one token may have asked, at most: at once, and then each second."""

    burst: int
    per_second: int


def upstream_of(text: str) -> Upstream:
    """Return the upstream that a text names: ``[http[s]://]HOST:PORT[=WEIGHT]``.

    Raises
    ------
    InvalidInput
        If it is not of that form.

    Examples
    --------
    >>> upstream_of("https://blue.models:8480=80")
    Upstream(host='blue.models', port=8480, weight=80, tls=True)
    """
    place, _, weight = text.partition("=")
    found = urlsplit(place if "://" in place else f"http://{place}")
    try:
        port = found.port
    except ValueError:
        port = None
    is_place = found.scheme in ("http", "https") and found.hostname and port and found.path in ("", "/")
    is_weight = weight.isdecimal() and len(weight) < 6 and 0 <= int(weight) <= MOST_WEIGHT
    if not is_place or found.query or found.username or not (is_weight or "=" not in text):
        hint = f"write HOST:PORT, https://HOST:PORT, or HOST:PORT=WEIGHT with a weight up to {MOST_WEIGHT}"
        raise InvalidInput("upstream", text[:80], "is not understood", hint=hint)
    return Upstream(
        str(found.hostname), int(port or 0), int(weight) if is_weight else 1, found.scheme == "https"
    )


def require_alike(upstreams: Sequence[Upstream]) -> None:
    """Refuse upstreams that one configuration cannot hold.

    Raises
    ------
    InvalidInput
        If some are spoken to over TLS and some not, if two are the same, or if none has a weight.
    """
    if len({one.tls for one in upstreams}) > 1:
        raise InvalidInput("upstreams", "", "are partly over TLS", hint="write https:// before all or none")
    if len({(one.host, one.port) for one in upstreams}) < len(upstreams):
        raise InvalidInput("upstreams", "", "are named twice", hint="name each once, with its weight")
    if not sum(one.weight for one in upstreams):
        raise InvalidInput("upstreams", "", "have no weight", hint="give one of them a weight above 0")


def places_of(model: str) -> tuple[Place, ...]:
    """Return the paths of one model, in all protocols."""
    return (
        Place("prefix", f"/v2/models/{model}"),
        Place("prefix", f"/v2/repository/models/{model}"),
        Place("prefix", f"/models/{model}"),
        Place("exact", f"/v1/models/{model}"),
        Place("exact", f"/v1/models/{model}:predict"),
        Place("exact", f"/v1/models/{model}:explain"),
        Place("exact", f"/invocations/{model}"),
    )


SHARED = (
    Place("exact", "/v2"),
    Place("prefix", "/v2/health"),
    Place("exact", "/v2/models"),
    Place("exact", "/v2/models/stats"),
    Place("exact", "/v2/repository/index"),
    Place("exact", "/v1/models"),
    Place("exact", "/invocations"),
    Place("exact", "/get-online-features"),
    Place("exact", "/openapi.json"),
    Place("exact", "/ping"),
    Place("exact", "/health"),
    Place("exact", "/version"),
)
"""Paths of no one model. Pages for people are not among them."""


def bucket_of(traffic: Traffic) -> Bucket | None:
    """Return what one token may ask at most, whoever has it; None if some client has no rate.

    A request has at least one row, so what exceeds this is refused by varv too. Each upstream counts for
    itself.
    """
    rates = [one.rate for one in traffic.clients if one.token]
    if not rates or None in rates:
        return None
    known, n = [rate for rate in rates if rate is not None], len(traffic.upstreams)
    burst = n * max(rate.burst for rate in known)
    return Bucket(burst, n * max(math.ceil(rate.n_rows / rate.window_s) for rate in known))


def notes_of(traffic: Traffic, target: str, *, counts_tokens: bool, sets_deadline: bool) -> Iterator[str]:
    """Yield what whoever reads a configuration has to know, line by line.

    Parameters
    ----------
    counts_tokens, sets_deadline
        Whether the target bounds what one token asks, and tells varv how long its caller waits.
    """
    yield f"Written by varv export {target}; write it anew when models, clients or upstreams change."
    yield "Every request goes to varv, which draws the version inside its workers by a coin that is on"
    yield "record: shares of a rollout are no weights here. As of now:"
    for model in traffic.models:
        shares = ", ".join(f"v{version} {100 * share:g} %" for version, share in model.shares)
        yield f"  {model.name}: {shares or 'no version yet'}"
    if len(traffic.upstreams) > 1:
        yield "Upstreams are homes with ledgers of their own: each trains and rolls out for itself."
    if traffic.clients:
        yield "Tokens are checked by varv. Rates are of rows, which it counts itself:"
        for one in traffic.clients:
            yield f"  {one.name}: {'any rate' if one.rate is None else f'{one.rate} rows'}"
        bucket = bucket_of(traffic)
        if bucket is not None and counts_tokens:
            yield f"Here one token may bring {bucket.burst} requests at once, {bucket.per_second} a second:"
            yield "no less than the largest of these rates."
    by_certificate = [one.name for one in traffic.clients if not one.token]
    if by_certificate:
        yield "It ends the TLS of callers, so these clients, who have no token, cannot come through it:"
        yield f"  {', '.join(by_certificate)}"
    if traffic.asks_certificates:
        yield "Workers ask for a certificate: give the gateway one that tls_client_authority vouches for."
    if not sets_deadline:
        yield f"It cannot add {DEADLINE_HEADER} only where a caller sends none: let callers send it, so that"
        yield "nothing is computed that nobody waits for any more."
    yield from _hosts_noted(traffic)


def _hosts_noted(traffic: Traffic) -> Iterator[str]:
    if traffic.allowed_hosts is None:
        return
    missing = [name for name in traffic.hosts if name not in traffic.allowed_hosts]
    if missing or not traffic.hosts:
        names = ", ".join(missing) or "the names by which callers call the gateway"
        yield f"Workers answer to names that they know: set allowed_hosts to hold {names}."
