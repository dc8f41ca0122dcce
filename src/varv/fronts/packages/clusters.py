"""Resources of Kubernetes beside a model: KServe's InferenceService and Seldon Core 2's Model.

Source: the definitions of serving.kserve.io/v1beta1 and mlops.seldon.io/v1alpha1, and both projects'
documentation of their runtimes for Triton and MLServer.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from varv.fronts.packages.model import Exported, Files
from varv.fronts.yaml import Document, documents_in_yaml
from varv.kernel.errors import InvalidInput

Server = Literal["triton", "mlserver"]
_STORAGE = re.compile(r"(s3|gs|hdfs|webhdfs|pvc|https?|oci|hf)://[\w.~:/?#@!&'()*+,;=%-]+", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9][\w.:/@-]{0,254}", re.ASCII)
_PORT = 8080


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cluster finds what is written.

    Parameters
    ----------
    storage
        The address to which the folder is copied; empty if no resources are to be written.
    image
        The image that is built of the folder, for MLServer on KServe.
    namespace
        Empty for the present one.

    Raises
    ------
    InvalidInput
        If one of them is not what it should be.
    """

    storage: str = ""
    image: str = ""
    namespace: str = ""

    def __post_init__(self) -> None:
        if self.storage and not _STORAGE.fullmatch(self.storage):
            hint = "give an address such as s3://bucket/folder, gs://, https:// or pvc://"
            raise InvalidInput("option", "--storage-uri", "is no address", given=self.storage[:80], hint=hint)
        if self.image and not _IMAGE.fullmatch(self.image):
            hint = "give a name such as registry.example/late:3"
            raise InvalidInput("option", "--image", "is no image", given=self.image[:80], hint=hint)
        if self.namespace and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", self.namespace):
            hint = "use lower-case letters, digits and -"
            raise InvalidInput("option", "--namespace", "is no name", given=self.namespace[:80], hint=hint)


def cluster_files(given: Exported, cluster: Cluster, server: Server, *, seldon_storage: str) -> Files:
    """Return the resources that a cluster is given, as far as it is said where the folder will be.

    Parameters
    ----------
    seldon_storage
        The address of the folder of the one model.
    """
    files: Files = {}
    if server == "triton" and cluster.storage:
        files["kserve.yaml"] = _yaml(_kserve(given, cluster, _of_storage(cluster)))
    elif server == "mlserver" and cluster.image:
        files["kserve.yaml"] = _yaml(_kserve(given, cluster, _of_image(given, cluster)))
    if cluster.storage:
        files["seldon.yaml"] = _yaml(_seldon(given, cluster, server, seldon_storage))
    return files


def clusters_said(server: Server) -> list[str]:
    """Return what the page says of KServe and Seldon."""
    if server == "triton":
        said = (
            "On **KServe**, its Triton runtime reads this folder: `kserve.yaml`. On **Seldon Core 2**, its "
            "Triton server does: `seldon.yaml`."
        )
    else:
        said = (
            "On **KServe**, an image of it answers: `mlserver build . -t IMAGE`, then `kserve.yaml`. "
            "On **Seldon Core 2**, a server of MLServer whose image has the packages of `requirements.txt` "
            "does: `seldon.yaml`."
        )
    return [
        f"{said} They are here if it was said where the folder (`--storage-uri`) and the image (`--image`) "
        "will be."
    ]


def _yaml(document: Document) -> bytes:
    return documents_in_yaml([document]).encode()


def _metadata(given: Exported, cluster: Cluster) -> Document:
    # An underline is none of Kubernetes' letters.
    name: Document = {"name": re.sub(r"[^a-z0-9]+", "-", given.model).strip("-")}
    return name | ({"namespace": cluster.namespace} if cluster.namespace else {})


def _kserve(given: Exported, cluster: Cluster, predictor: Document) -> Document:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(given, cluster),
        "spec": {"predictor": predictor},
    }


def _of_storage(cluster: Cluster) -> Document:
    model: Document = {
        "modelFormat": {"name": "triton"},
        "protocolVersion": "v2",
        "storageUri": cluster.storage,
    }
    return {"model": model}


def _of_image(given: Exported, cluster: Cluster) -> Document:
    container: Document = {
        "name": "kserve-container",
        "image": cluster.image,
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": f"/v2/models/{given.model}/ready", "port": _PORT}},
    }
    return {"containers": [container]}


def _seldon(given: Exported, cluster: Cluster, server: Server, storage: str) -> Document:
    return {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": _metadata(given, cluster),
        "spec": {"storageUri": storage, "requirements": ["onnx" if server == "triton" else "mlserver"]},
    }
