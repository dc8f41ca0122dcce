"""Configuration of gateways that stand in front of workers, written from what is served: plain functions from
`Traffic` to documents. Nothing here reads a home or a file; `varv export` does.
"""

from varv.fronts.gateways.envoy import envoy
from varv.fronts.gateways.gateway_api import gateway_api
from varv.fronts.gateways.istio import istio
from varv.fronts.gateways.kong import kong
from varv.fronts.gateways.traffic import Traffic, Upstream, upstream_of
from varv.fronts.yaml import documents_in_yaml

TARGETS = {"envoy": envoy, "kong": kong, "gateway-api": gateway_api, "istio": istio}
"""By the name of a gateway, what writes its configuration."""

__all__ = ["TARGETS", "Traffic", "Upstream", "documents_in_yaml", "upstream_of"]
