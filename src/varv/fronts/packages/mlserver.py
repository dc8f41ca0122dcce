"""A model folder of MLServer, the Python server of Seldon, which KServe runs too.

Source: MLServer's documentation of custom runtimes and of model-settings.json.
"""

from __future__ import annotations

from varv.fronts.packages.clusters import Cluster, cluster_files, clusters_said
from varv.fronts.packages.describing import json_bytes, readme, requirements, signature_file, source_file
from varv.fronts.packages.model import Exported, Files, Source, exported


def mlserver(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return a model folder, and the model that is in it."""
    given = exported(source)
    files = {
        "model-settings.json": json_bytes(_settings(given)),
        "model.onnx": given.package.file("model.onnx"),
        "signature.json": signature_file(given),
        "varv_scoring.py": source_file("varv_scoring.py"),
        "varv_mlserver.py": source_file("varv_mlserver.py"),
        "requirements.txt": requirements(given, "mlserver"),
        "README.md": readme(given, "MLServer", _serving()),
    }
    return given, files | cluster_files(given, cluster, "mlserver", seldon_storage=cluster.storage)


def _settings(given: Exported) -> dict[str, object]:
    inputs = [{"name": name, "datatype": kind, "shape": [-1, width]} for name, kind, width in given.inputs]
    output = {"name": given.output, "datatype": "FP32", "shape": [-1, given.package.width]}
    return {
        "name": given.model,
        "implementation": "varv_mlserver.OnnxColumns",
        "platform": "onnx",
        "inputs": inputs,
        "outputs": [output],
        "parameters": {"uri": "./", "version": str(given.source.version)},
    }


def _serving() -> list[str]:
    return [
        "`mlserver start .` serves this folder over the Open Inference Protocol v2, REST and gRPC: a tensor "
        "for each column, one tensor back. It needs the packages of `requirements.txt`.",
        *clusters_said("mlserver"),
    ]
