"""Models as MLflow writes them: a folder with a file ``MLmodel`` and what each flavour is loaded from.

Only flavours whose files hold data are taken: ONNX, LightGBM's text and XGBoost's JSON. The flavour of
scikit-learn is a pickle, and so is a LightGBM estimator of its interface; both are refused unopened.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from varv.kernel.errors import InvalidInput
from varv.kernel.plugins import required

Flavour = Literal["onnx", "lightgbm", "xgboost"]
_FLAVOURS: tuple[Flavour, ...] = ("onnx", "lightgbm", "xgboost")
_LARGEST_MLMODEL = 1024 * 1024
_NUMBERS = ("integer", "long", "float", "double", "boolean")


class MlflowModel(msgspec.Struct, frozen=True):
    """What a folder holds."""

    flavour: Flavour
    path: Path
    """The file that the model is in."""
    inputs: dict[str, bool]
    """The columns of its signature in their order, and whether each is a text; none if it has none."""
    of_scikit_learn: bool
    """Whether it was the library's scikit-learn interface that was saved."""


class _Column(msgspec.Struct):
    type: str
    name: str = ""


def mlflow_model(folder: Path) -> MlflowModel:
    """Return what a folder of MLflow holds.

    Raises
    ------
    InvalidInput
        If it holds no model, or only flavours that would have to be unpickled.
    FailedPrecondition
        If PyYAML is not installed.
    """
    described = _described(folder)
    flavours = described.get("flavors")
    if not isinstance(flavours, dict):
        raise _refused(folder, "names no flavours", "give a folder that mlflow.<flavour>.save_model wrote")
    chosen = next((name for name in _FLAVOURS if isinstance(flavours.get(name), dict)), None)
    if chosen is None:
        problem = f"has only flavours that varv does not open: {', '.join(sorted(map(str, flavours)))}"
        raise _refused(folder, problem, "export it to ONNX where it was trained: others are pickles")
    flavour = flavours[chosen]
    path = _inside(folder, flavour.get("data"))
    if path.suffix in (".pkl", ".pickle", ".joblib"):
        problem = f"keeps its {chosen} model as a pickle"
        raise _refused(folder, problem, "save the booster itself, or export it to ONNX")
    model_class = str(flavour.get("model_class", ""))
    return MlflowModel(chosen, path, _inputs(folder, described), ".sklearn." in model_class)


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    if not path.is_file() or path.stat().st_size > _LARGEST_MLMODEL:
        raise _refused(folder, "has no file MLmodel", "give a folder that mlflow.<flavour>.save_model wrote")
    yaml = required("yaml", kind="folder", name=folder.name, extra="yaml")
    try:
        described = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refused(
            folder, f"has an MLmodel that is not YAML: {str(error)[:100]}", "save it again"
        ) from None
    return described if isinstance(described, dict) else {}


def _inside(folder: Path, name: object) -> Path:
    """Return a file that the MLmodel names, if it lies in the folder."""
    if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise _refused(folder, f"names a file {name!r} that is not in it", "save the model again")
    path = folder / name
    if path.is_dir():
        # The flavour of ONNX keeps large models in a folder of their own.
        path = next(iter(sorted(path.glob("*.onnx"))), path)
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise _refused(folder, f"names a file {name!r} that is not in it", "save the model again")
    return path


def _inputs(folder: Path, described: dict[str, Any]) -> dict[str, bool]:
    signature = described.get("signature")
    text = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(text, str):
        return {}
    try:
        columns = msgspec.json.decode(text, type=list[_Column])
    except msgspec.MsgspecError as error:
        raise _refused(folder, f"has a signature that does not decode: {error}", "save it again") from None
    if any(column.type == "tensor" or not column.name for column in columns):
        return {}  # of a matrix, whose columns have no names
    for column in columns:
        if column.type not in (*_NUMBERS, "string"):
            raise _refused(
                folder, f"has an input {column.name!r} of type {column.type}", "feed numbers and texts"
            )
    return {column.name: column.type == "string" for column in columns}


def _refused(folder: Path, problem: str, hint: str) -> InvalidInput:
    return InvalidInput("folder", folder.name, problem, hint=hint)
