"""Models of transformers that classify or score one text: a pipeline, or the files of a folder as they are.

What is kept are weights as safetensors, the configuration, and the tokenizer of the library's fast kind: all
of them data. A configuration that names code beside it is refused, and so are weights that are pickles.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from varv.kernel.errors import InvalidInput
from varv.registry import Signature
from varv.registry.signature import Form
from varv.registry.transformers_files import ABOUT, FOLDER, NAMES, NEEDED, TransformersAbout, names_code
from varv.tasks import Task
from varv.training.estimators.family import Family, NoForm, of_library
from varv.training.training_set import TrainingSet


class TransformersFiles(msgspec.Struct, frozen=True):
    """The files of a model, by their names in its folder."""

    files: dict[str, bytes]


class Transformers(Family):
    """Pipelines of transformers, and files that were read."""

    runtime: ClassVar[str | None] = "transformers"
    hint: ClassVar[str] = "return pipeline('text-classification', model=..., tokenizer=...)"

    def owns(self, estimator: Any) -> bool:
        """Whether it is a pipeline, or files."""
        return isinstance(estimator, TransformersFiles) or of_library(estimator, "transformers")

    def kind(self, estimator: Any) -> str:
        """Return the class of the model."""
        if isinstance(estimator, TransformersFiles):
            named = _read(estimator.files, "config.json").get("architectures") or ["?"]
            return f"transformers.{named[0]}"[:200]
        return f"transformers.{type(_part(estimator, 'model')).__name__}"

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return the one text among the features.

        Raises
        ------
        InvalidInput
            If there is none, or several.
        """
        texts = [column.name for column in given.signature.columns if column.kind != "number"]
        if len(texts) != 1:
            hint = "say which one with --text, or declare one text only"
            problem = f"reads one text, where {len(texts)} are declared"
            raise InvalidInput("estimator", "transformers", problem, hint=hint)
        return given.signature.columns_of(texts)

    def asked(self, estimator: Any, signature: Signature, task: Task) -> None:
        """Return None: the library itself answers in the runtime, and there is nothing to compare it with."""
        return

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return its files.

        Raises
        ------
        NoForm
            If it lacks one, or has labels that the task has not.
        """
        found = estimator.files if isinstance(estimator, TransformersFiles) else _saved(estimator)
        missing = [name for name in NEEDED if name not in found]
        if missing:
            raise NoForm(f"has no {missing[0]}: save it as safetensors, with a fast tokenizer")
        config = _read(found, "config.json")
        if names_code(config) or names_code(_read(found, "tokenizer_config.json")):
            raise NoForm("has a configuration that names code of its own")
        about = TransformersAbout(order=_order(config, task))
        kept = {f"{FOLDER}/{name}": found[name] for name in NAMES if name in found}
        return {**kept, ABOUT: msgspec.json.encode(about)}


def _order(config: Mapping[str, Any], task: Task) -> tuple[int, ...]:
    """Return where each class of the task is among the labels; none where the task has no classes."""
    if task.name != "multiclass":
        return ()
    labels = list((config.get("id2label") or {}).values())
    outputs = list(map(str, task.outputs))
    if sorted(labels) == sorted(outputs):
        return tuple(labels.index(name) for name in outputs)
    if labels == [f"LABEL_{number}" for number in range(len(outputs))]:
        return tuple(range(len(outputs)))
    raise NoForm(f"has the labels {labels[:10]}, where the classes are {outputs[:10]}")


def _part(estimator: Any, name: str) -> Any:
    found = getattr(estimator, name, None)
    if found is None:
        raise InvalidInput("estimator", type(estimator).__name__, f"has no {name}", hint=Transformers.hint)
    return found


def _saved(estimator: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        for name in ("model", "tokenizer"):
            _part(estimator, name).save_pretrained(made)
        return {path.name: path.read_bytes() for path in Path(made).iterdir() if path.name in NAMES}


def _read(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(files.get(name, b"{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput("file", name, "is no configuration", hint="save the model again")
    return found
