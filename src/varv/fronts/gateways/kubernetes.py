"""Names as Kubernetes has them, for both kinds of documents that go there."""

from __future__ import annotations

import re

from varv.fronts.gateways.traffic import Traffic
from varv.fronts.yaml import Plain
from varv.kernel.errors import InvalidInput

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def metadata(traffic: Traffic, name: str) -> Plain:
    """Return the metadata of a document."""
    return {"name": name} if not traffic.namespace else {"name": name, "namespace": traffic.namespace}


def object_names(traffic: Traffic) -> dict[str, str]:
    """Return a name for each model that Kubernetes takes: an underline is none of its letters."""
    found: dict[str, str] = {}
    for model in traffic.models:
        name, number = f"varv-{model.name.replace('_', '-')}", 1
        while name in found.values():
            number += 1
            name = f"varv-{model.name.replace('_', '-')}-{number}"
        found[model.name] = name
    return found


def service_of(host: str) -> tuple[str, str]:
    """Return the name and the namespace, if there is one, of the Service that a host is.

    Raises
    ------
    InvalidInput
        If it is none.

    Examples
    --------
    >>> service_of("blue.models.svc.cluster.local"), service_of("blue")
    (('blue', 'models'), ('blue', ''))
    """
    name, _, rest = host.partition(".")
    namespace, _, zone = rest.partition(".")
    if not all(_LABEL.fullmatch(one) for one in (name, namespace) if one) or not (
        name and (not zone or zone == "svc" or zone.startswith("svc."))
    ):
        hint = "name Services, as --upstream NAME:PORT or NAME.NAMESPACE:PORT"
        raise InvalidInput("upstream", host[:80], "is no Service of Kubernetes", hint=hint)
    return name, namespace
