"""OpenTelemetry's standard variables as settings of ours, for whoever sets the same ones for all programs.

`app.settings` reads the environment and hands it here. Variables that are not listed mean nothing here.

Source: OpenTelemetry specification, environment variables of the SDK and of the OTLP exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

from varv.kernel.errors import InvalidInput

_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def _seconds(milliseconds: str) -> str:
    return str(int(milliseconds) / 1e3) if milliseconds.isdecimal() else milliseconds


VARIABLES: Mapping[str, tuple[str, Callable[[str], str]]] = {
    _ENDPOINT: ("otlp_endpoint", str),
    "OTEL_EXPORTER_OTLP_HEADERS": ("otlp_headers", str),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ("otlp_certificate", str),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("otlp_timeout_s", _seconds),
    "OTEL_SERVICE_NAME": ("service_name", str),
    "OTEL_RESOURCE_ATTRIBUTES": ("resource_attributes", str),
    "OTEL_TRACES_SAMPLER": ("trace_sampler", str.lower),
    "OTEL_TRACES_SAMPLER_ARG": ("trace_ratio", str),
    "OTEL_METRIC_EXPORT_INTERVAL": ("metrics_every_s", _seconds),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("metrics_temporality", str.lower),
}
"""Of each the setting, and how its value reads there."""


def standard_settings(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the settings that standard variables give, each with the variable; an empty one gives none.

    Raises
    ------
    InvalidInput
        If a collector is named that is to be spoken to otherwise than here.

    Examples
    --------
    >>> standard_settings({"OTEL_METRIC_EXPORT_INTERVAL": "15000"})
    {'metrics_every_s': ('15.0', 'OTEL_METRIC_EXPORT_INTERVAL')}
    """
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return {}
    protocol = environ.get(_PROTOCOL, "")
    if environ.get(_ENDPOINT) and protocol not in ("", "http/protobuf"):
        hint = "set it to http/protobuf, and the endpoint to port 4318; or set OTEL_SDK_DISABLED=true"
        raise InvalidInput("variable", _PROTOCOL, "names what is not spoken", given=protocol[:40], hint=hint)
    return {
        name: (read(environ[variable]), variable)
        for variable, (name, read) in VARIABLES.items()
        if environ.get(variable)
    }


def pairs_of(text: str) -> dict[str, str]:
    """Return names with their values of ``name=value`` with commas between, as W3C Baggage has them.

    Raises
    ------
    InvalidInput
        If it is not of that form.

    Examples
    --------
    >>> pairs_of("deployment.environment.name=prod, team=a%2Cb")
    {'deployment.environment.name': 'prod', 'team': 'a,b'}
    """
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, given, value = part.partition("=")
        if not given or not name.strip() or not (name.isascii() and value.isprintable()):
            hint = "write name=value, with commas between, and %2C for a comma in a value"
            raise InvalidInput("text", "", "is not a list of names and values", hint=hint)
        found[name.strip()] = unquote(value.strip())
    return found


def endpoint_of(url: str) -> str:
    """Return the address of a collector without a slash at its end.

    Raises
    ------
    InvalidInput
        If it is none over HTTP.
    """
    found = urlsplit(url)
    hint = "write http://HOST:4318, or https://; gRPC's port 4317 is not spoken"
    try:
        is_sound = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or found.query or found.fragment:
        raise InvalidInput("endpoint", url[:80], "is no address over HTTP", hint=hint)
    return url.rstrip("/")
