"""What the data plane says of its models: metadata, configuration, statistics and the list of them, as the
Open Inference Protocol and its extensions have it.
"""

from __future__ import annotations

from typing import Any

from varv.fronts.datatypes import content_of, datatype_of
from varv.fronts.inference.oip import outputs_of
from varv.fronts.inference.served import Inference
from varv.serving import Answering

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "model_repository",
    "statistics",
]


def metadata(answering: Answering) -> dict[str, Any]:
    """Return what a client must know to ask a model."""
    inputs = [
        {"name": column.name, "datatype": datatype_of(column.dtype), "shape": [-1], "parameters": {
            "required": column.required, "may_be_null": column.may_be_null, **content_of(column.dtype)}}
        for column in answering.columns.values()
    ]  # fmt: skip
    outputs = [
        {"name": one.name, "datatype": one.datatype, "shape": [-1, *one.tail]} for one in answering.tensors
    ]
    known = {one["name"] for one in outputs}
    outputs += [
        {"name": name, "datatype": kind, "shape": [-1]}
        for name, kind in outputs_of(answering).items()
        if name not in known
    ]
    return {
        "name": answering.model,
        "versions": [str(version) for version in answering.versions],
        "platform": "varv",
        "parameters": {"task": answering.task.name},
        "inputs": inputs,
        "outputs": outputs,
    }


def configuration(answering: Answering) -> dict[str, Any]:
    """Return a model's configuration in Triton's terms; its first dimension is no batch of its own."""
    told = metadata(answering)
    return {
        "name": told["name"],
        "platform": told["platform"],
        "backend": "varv",
        "max_batch_size": 0,
        "version_policy": {"specific": {"versions": list(answering.versions)}},
        **{
            kind: [
                {"name": one["name"], "data_type": _config_type(one["datatype"]), "dims": one["shape"]}
                for one in told[f"{kind}s"]
            ]
            for kind in ("input", "output")
        },
    }


def statistics(inference: Inference, several: list[Answering]) -> dict[str, Any]:
    """Return how often models were answered by this process, and how long it took."""
    found = [
        {
            "name": one.model,
            "version": ",".join(map(str, one.versions)),
            **inference.statistics[one.model].described(),
        }
        for one in several
    ]
    return {"model_stats": found}


def index(inference: Inference, *, only_ready: bool) -> list[dict[str, str]]:
    """Return every version in force, and each model that has none yet."""
    found: list[dict[str, str]] = []
    for one in inference.models.values():
        found += [
            {"name": one.model, "version": str(version), "state": "READY", "reason": ""}
            for version in one.versions
        ]
        if not one.versions and not only_ready:
            reason = "it has no champion yet"
            found.append({"name": one.model, "version": "", "state": "UNAVAILABLE", "reason": reason})
    return found


def _config_type(datatype: str) -> str:
    return f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}"
