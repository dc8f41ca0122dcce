"""Models as MLflow writes them: a file ``MLmodel`` beside what each flavour is loaded from.

Only flavours whose files hold data are taken: ONNX, LightGBM's text, XGBoost's JSON, and what skops wrote of
scikit-learn and of LightGBM's interface to it. A pickle is refused unopened. Which file is opened is decided
here, whether a version is looked at or becomes a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from varv.kernel.errors import InvalidInput
from varv.registry.contents import code_in
from varv.registry.mlmodel import MLMODEL, MLmodel, columns_of, read_mlmodel
from varv.registry.signature import Column
from varv.training.model_files import ModelFiles, content

Flavour = Literal["onnx", "lightgbm", "xgboost", "sklearn"]
_FLAVOURS: tuple[Flavour, ...] = ("onnx", "lightgbm", "xgboost", "sklearn")
_DATA = {"sklearn": "pickled_model"}
"""Where a flavour names its file, if not under ``data``."""
_AGAIN: Mapping[Flavour, str] = {
    "onnx": "log it with mlflow.onnx.log_model",
    "lightgbm": "log the booster itself, or with an MLflow that writes skops, or as ONNX",
    "xgboost": 'log it with model_format="json" or "ubj"',
    "sklearn": 'log it with serialization_format="skops", or as ONNX with mlflow.onnx.log_model',
}
SKOPS = ".skops"


class MlflowModel(msgspec.Struct, frozen=True):
    """What a folder holds."""

    flavour: Flavour
    path: str
    """The file that the model is in."""
    columns: tuple[Column, ...]
    """The columns of its signature in their order, numbers and texts; none if it has none."""
    of_scikit_learn: bool
    """Whether it was the library's scikit-learn interface that was saved."""

    @property
    def runtime(self) -> str:
        """What can answer for it without running code of whoever made it."""
        return "skops" if self.path.endswith(SKOPS) else self.flavour


def mlflow_model(files: ModelFiles) -> MlflowModel:
    """Return what a folder of MLflow holds, without opening any file but ``MLmodel``.

    Raises
    ------
    InvalidInput
        If it holds no model, or only flavours that would have to be unpickled.
    """
    if MLMODEL not in files.sizes:
        hint = "give a folder that mlflow.<flavour>.save_model wrote"
        raise _refused(files, "has no file MLmodel", hint)
    described = read_mlmodel(content(files, MLMODEL))
    chosen = next((name for name in _FLAVOURS if described.flavours.get(name)), None)
    if chosen is None:
        problem = f"has only flavours that varv does not open: {', '.join(sorted(described.flavours))[:200]}"
        raise _refused(files, problem, "log it as ONNX as well: others are code, or are read by running it")
    about = described.flavours[chosen]
    path = _named_file(files, about.get(_DATA.get(chosen, "data")))
    _require_data(files, path, chosen)
    return MlflowModel(
        chosen, path, columns_of(described.inputs), ".sklearn." in str(about.get("model_class", ""))
    )


def described(files: ModelFiles) -> MLmodel | None:
    """Return what the file ``MLmodel`` says; None if there is none.

    Raises
    ------
    InvalidInput
        If it cannot be read.
    """
    return read_mlmodel(content(files, MLMODEL)) if MLMODEL in files.sizes else None


def _named_file(files: ModelFiles, name: object) -> str:
    """Return a file that the MLmodel names, if it is one of these."""
    if isinstance(name, str):
        if name in files.sizes:
            return name
        # The flavour of ONNX keeps large models in a folder of their own.
        below = sorted(path for path in files.sizes if PurePosixPath(path).parent == PurePosixPath(name))
        onnx = next((path for path in below if path.endswith(".onnx")), None)
        if onnx is not None:
            return onnx
    raise _refused(files, f"names a file {ascii(name)[:200]} that is not in it", "log the model again")


def _require_data(files: ModelFiles, path: str, flavour: Flavour) -> None:
    with files.open(path) as file:
        found = code_in(PurePosixPath(path).name, file)
    if found:
        # Not of the whole folder: what else lies there is not opened.
        problem = f"keeps its {flavour} model in a file that may run code: {found[0]}"
        raise _refused(files, problem, _AGAIN[flavour])


def _refused(files: ModelFiles, problem: str, hint: str) -> InvalidInput:
    return InvalidInput("folder", files.name, problem, hint=hint)
