"""A model repository for NVIDIA Triton: ``NAME/config.pbtxt`` and ``NAME/VERSION/model.onnx``.

Source: Triton's model_config.proto and its documentation of the model repository and of model configuration.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from varv.fronts.packages.clusters import Cluster, cluster_files, clusters_said
from varv.fronts.packages.describing import readme, signature_file
from varv.fronts.packages.model import Exported, Files, Source, exported

_TYPES = {"FP32": "TYPE_FP32", "INT64": "TYPE_INT64", "BYTES": "TYPE_STRING"}
_MOST_ROWS = 1024
"""Rows of one call, which Triton may gather from several."""
_WARM = "probe"


def triton(source: Source, cluster: Cluster) -> tuple[Exported, Files]:
    """Return a model repository, and the model that is in it."""
    given = exported(source, matrix=True)
    folder = f"{source.model}"
    files = {
        f"{folder}/config.pbtxt": "\n".join([*_config(given), ""]).encode(),
        f"{folder}/{source.version}/model.onnx": given.package.file("model.onnx"),
        "README.md": readme(given, "Triton", _serving(given)),
        "signature.json": signature_file(given),
    }
    for position, values in enumerate(_warm_rows(given)):
        files[f"{folder}/warmup/{_WARM}_{position}"] = _raw(values)
    below = "" if not cluster.storage else f"{cluster.storage.rstrip('/')}/{source.model}"
    return given, files | cluster_files(given, cluster, "triton", seldon_storage=below)


def _config(given: Exported) -> Iterator[str]:
    yield f"name: {_quoted(given.model)}"
    yield 'backend: "onnxruntime"'
    yield f"max_batch_size: {_MOST_ROWS}"
    for name, kind, width in given.inputs:
        yield from _tensor("input", name, kind, width)
    yield from _tensor("output", given.output, "FP32", given.package.width)
    yield "dynamic_batching { }"
    if given.package.probe:
        yield "model_warmup {"
        yield f"  name: {_quoted(_WARM)}"
        yield "  batch_size: 1"
        for position, (name, kind, width) in enumerate(given.inputs):
            yield "  inputs {"
            yield f"    key: {_quoted(name)}"
            yield "    value {"
            yield f"      data_type: {_TYPES[kind]}"
            yield f"      dims: {width}"
            yield f"      input_data_file: {_quoted(f'{_WARM}_{position}')}"
            yield "    }"
            yield "  }"
        yield "}"


def _tensor(what: str, name: str, kind: str, width: int) -> Iterator[str]:
    yield f"{what} {{"
    yield f"  name: {_quoted(name)}"
    yield f"  data_type: {_TYPES[kind]}"
    yield f"  dims: {width}"
    yield "}"


def _quoted(text: str) -> str:
    """Return a text as protobuf's text format has it."""
    signs = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{"".join(signs)}"'


def _warm_rows(given: Exported) -> list[np.ndarray]:
    """Return the first probe row, by input: a request for a model that batches is of one row."""
    if not given.package.probe:
        return []
    return [values[:1] for values in given.probe_columns().values()]


def _raw(values: np.ndarray) -> bytes:
    """Return a tensor as the protocol has it: little-endian, texts behind their lengths."""
    if values.dtype != object:
        return values.astype(values.dtype.newbyteorder("<")).tobytes()
    texts = [str(value).encode() for value in values.ravel()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _serving(given: Exported) -> list[str]:
    return [
        "This folder is a model repository: `tritonserver --model-repository=.`. Triton calls the model "
        "ready once it has answered the first probe row (`warmup/`), and answers several callers at once.",
        *clusters_said("triton"),
    ]
