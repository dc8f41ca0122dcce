"""The file ``MLmodel`` of a model that MLflow wrote: its flavours, the columns that it reads, and the
libraries that it was made with. Nothing that it names is opened, imported or run.

It is YAML from a stranger, so it is read as events of the parser and built into texts, lists and mappings
alone: no tags, no aliases, and bounds on bytes, depth and nodes. Which file of a flavour is opened is up to
`training.mlflow_folder`.

Source: MLflow's documentation of its model format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from varv.kernel.errors import InvalidInput
from varv.registry.signature import Column

MLMODEL = "MLmodel"
LARGEST_BYTES = 1024 * 1024
DEEPEST = 32
MOST_NODES = 50_000
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

Node = str | list["Node"] | dict[str, "Node"] | None
"""What YAML holds; a scalar is its text, and None where it says null."""


class MLmodel(msgspec.Struct, frozen=True):
    """What a file ``MLmodel`` says."""

    flavours: Mapping[str, Mapping[str, Node]]
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
    if len(data) > LARGEST_BYTES:
        raise _refused("is too large", size_bytes=len(data), limit=LARGEST_BYTES)
    try:
        document = _Reader(yaml.parse(data.decode(), Loader=_LOADER)).document()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(f"is not YAML: {' '.join(str(error).split())[:100]}") from None
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


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Reader:
    """Builds one document from the parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._n_nodes = 0

    def document(self) -> Node:
        for event in self._events:
            if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
                return None if isinstance(event, yaml.StreamEndEvent) else self._node(event, 0)
        return None

    def _node(self, event: Any, depth: int) -> Node:
        self._n_nodes += 1
        if depth > DEEPEST or self._n_nodes > MOST_NODES:
            raise _refused("holds too much, or holds it too deep", deepest=DEEPEST, most=MOST_NODES)
        if isinstance(event, yaml.AliasEvent) or event.tag is not None:
            raise _refused("is not YAML without tags and aliases")
        if isinstance(event, yaml.ScalarEvent):
            is_null = event.implicit[0] and event.value in ("", "null", "~")
            return None if is_null else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return [self._node(part, depth + 1) for part in self._until(yaml.SequenceEndEvent)]
        found: dict[str, Node] = {}
        for key in self._until(yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise _refused("has a key that is no text")
            found[key.value] = self._node(next(self._events), depth + 1)
        return found

    def _until(self, end: type[Any]) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event


def _refused(problem: str, **facts: object) -> InvalidInput:
    return InvalidInput("file", MLMODEL, problem, hint="log the model again with MLflow", **facts)
