"""The file ``MLmodel`` of a model that MLflow wrote: its flavours, the columns that it reads, and the
libraries that it was made with. Nothing that it names is opened, imported or run.

It is YAML from a stranger, so it is built into texts, lists and mappings alone (`kernel.yaml_reading`). Which
file of a flavour is opened is up to `training.mlflow_folder`.

Source: MLflow's documentation of its model format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from varv.kernel.errors import InvalidInput
from varv.kernel.yaml_reading import LARGEST_BYTES, read_yaml
from varv.registry.signature import Column

MLMODEL = "MLmodel"
MOST_COLUMNS = 5_000
NUMBERS = ("integer", "long", "float", "double", "boolean")
_MOST_LIBRARIES = 500
_VERSIONS = {
    "python_function": ("python_version",),
    "lightgbm": ("lgb_version",),
    "xgboost": ("xgb_version",),
}
"""What the version of a flavour is called, where it is not called after the flavour."""
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,80})\s*===?\s*([A-Za-z0-9][A-Za-z0-9.!+_-]{0,40})")


class MLmodel(msgspec.Struct, frozen=True):
    """What a file ``MLmodel`` says."""

    flavours: Mapping[str, Mapping[str, Any]]
    inputs: str | None = None
    """The columns that it reads, in MLflow's JSON; None if it does not say."""
    mlflow_version: str = ""


class _Input(msgspec.Struct):
    type: str
    name: str = ""


def read_mlmodel(data: bytes) -> MLmodel:
    r"""Return what a file ``MLmodel`` says.

    Raises
    ------
    InvalidInput
        If it is not YAML, is too large, too deep or has too much in it, has tags or aliases, or names no
        flavours.

    Examples
    --------
    >>> read_mlmodel(b"flavors:\n  onnx:\n    data: model.onnx\n").flavours
    {'onnx': {'data': 'model.onnx'}}
    """
    document = read_yaml(data, _refused, texts_alone=True)
    fields = document if isinstance(document, dict) else {}
    flavours = fields.get("flavors")
    if not isinstance(flavours, dict) or not flavours:
        raise _refused("names no flavours")
    signature = fields.get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    return MLmodel(
        {name: about if isinstance(about, dict) else {} for name, about in flavours.items()},
        inputs if isinstance(inputs, str) else None,
        str(fields.get("mlflow_version") or ""),
    )


def columns_of(inputs: str | None) -> tuple[Column, ...]:
    """Return the columns of a signature in MLflow's JSON; none if it has none, or is of a matrix, whose
    columns have no names.

    Raises
    ------
    InvalidInput
        If it does not decode, or a column is neither a number nor a text.

    Examples
    --------
    >>> [(one.name, one.kind) for one in columns_of('[{"type": "double", "name": "distance"}]')]
    [('distance', 'number')]
    """
    if inputs is None:
        return ()
    try:
        found = msgspec.json.decode(inputs, type=list[_Input])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _refused(f"has a signature that does not decode: {str(error)[:100]}") from None
    if len(found) > MOST_COLUMNS:
        raise _refused("has too many inputs", n=len(found), limit=MOST_COLUMNS)
    if any(one.type == "tensor" or not one.name for one in found):
        return ()
    for one in found:
        if one.type not in (*NUMBERS, "string"):
            problem = f"has an input {one.name[:80]!r} of type {one.type[:40]}"
            raise InvalidInput("file", MLMODEL, problem, hint="feed numbers and texts")
    return tuple(Column(one.name, "text" if one.type == "string" else "number") for one in found)


def libraries_of(model: MLmodel, requirements: str = "") -> dict[str, str]:
    r"""Return the versions that a model was made with, by library: what its flavours and the pinned lines of
    its ``requirements.txt`` say. Options, addresses and ranges are passed over.

    Examples
    --------
    >>> made = MLmodel({"xgboost": {"xgb_version": "3.2.0"}}, mlflow_version="3.18.0")
    >>> libraries_of(made, "numpy==2.4.6\n--index-url http://elsewhere\nscipy>=1\n")
    {'mlflow': '3.18.0', 'xgboost': '3.2.0', 'numpy': '2.4.6'}
    """
    found = {"mlflow": model.mlflow_version} if model.mlflow_version else {}
    for flavour, about in model.flavours.items():
        for name, value in about.items():
            library = "python" if flavour == "python_function" else flavour
            if name in _VERSIONS.get(flavour, (f"{flavour}_version",)) and isinstance(value, str):
                found[library[:80]] = value[:40]
    for line in requirements[:LARGEST_BYTES].splitlines():
        if (pinned := _PINNED.fullmatch(line.strip())) is not None and len(found) < _MOST_LIBRARIES:
            found.setdefault(pinned[1].lower(), pinned[2])
    return found


def _refused(problem: str, **facts: object) -> InvalidInput:
    return InvalidInput("file", MLMODEL, problem, hint="log the model again with MLflow", **facts)
