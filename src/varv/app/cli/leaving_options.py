"""The options of the commands that write what other servers take.

Only the standard library is imported here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from varv.app.cli.trials import add_orchestrators

Act = Callable[[str, str], argparse.ArgumentParser]
EXPORT = """Write what is served as the configuration of Envoy, Kong, Kubernetes' Gateway API or Istio: the
paths of every model in all protocols, health checks, timeouts, and retries of what reached nobody. Versions
are drawn by varv, so every request goes to it; several upstreams share requests by weight. Tokens and rates
of rows stay with varv.

`export pipeline` writes a pipeline as a file of Airflow, Kubeflow, Dagster or Prefect: a task a step, each
`varv pipeline step` on a home that all steps reach.
"""
PACKAGE = """Write one version of a model as a folder that another server takes, with a page that says how.
The graph in it does what varv does around the model: it reads columns by their names, turns texts into codes
and answers the prediction. Before anything is written it has answered the package's probe rows as the trained
model did. Features that varv computes are not in it. Only models in ONNX are written.
"""


def add_exports(target: Act) -> None:
    """Add what `varv export` writes."""
    for name in ("envoy", "kong", "gateway-api", "istio"):
        _add_gateway(target(name, f"the configuration of {name}"))
    add_orchestrators(target("pipeline", "a pipeline as a file of an orchestrator"))


def _add_gateway(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "--upstream",
        metavar="PLACE",
        action="append",
        default=[],
        help="a data plane: HOST:PORT, https://HOST:PORT, with =WEIGHT beside others (that of the settings)",
    )
    export.add_argument("--grpc-port", type=int, help="port of the upstreams for gRPC (none)")
    export.add_argument(
        "--hostname", metavar="NAME", action="append", default=[], help="by which callers call it (any)"
    )
    export.add_argument(
        "--timeout", metavar="SECONDS", type=int, default=30, help="how long callers wait (30)"
    )
    export.add_argument("--listen", metavar="PORT", type=int, default=8080, help="Envoy's own port (8080)")
    export.add_argument("--gateway", metavar="NAME", default="varv", help="Kubernetes' gateway (varv)")
    export.add_argument("--namespace", metavar="NAME", default="", help="Kubernetes' namespace")
    export.add_argument(
        "--authority", metavar="FILE", default="", help="who vouches for upstreams over TLS (the system's)"
    )
    export.add_argument("--to", metavar="FILE", default="", help="where to write (standard output)")


def add_package(package: argparse.ArgumentParser) -> None:
    """Add the options of `varv package`."""
    package.add_argument("model", help="which model")
    package.add_argument("version", nargs="?", help="which version, 7 or v7 (the champion)")
    package.add_argument(
        "--as",
        dest="target",
        required=True,
        choices=["triton", "mlflow", "mlserver", "sagemaker", "vertex", "bentoml"],
        help="which server",
    )
    package.add_argument("--to", metavar="FOLDER", required=True, help="where to write; new, or a former one")
    cluster = package.add_argument_group("for Kubernetes")
    cluster.add_argument(
        "--storage-uri", metavar="URI", default="", help="where the folder will be: also write resources"
    )
    cluster.add_argument("--image", default="", help="the image that is built of the folder")
    cluster.add_argument("--namespace", metavar="NAME", default="", help="Kubernetes' namespace")
