"""Models that were trained elsewhere: from a file, a folder of MLflow, or an endpoint that answers, to a
package of ours.

What is read holds data only: ONNX, LightGBM's text, XGBoost's JSON, files of skops whose types are on a
list, what an endpoint says of itself, and packages of varv whose runtime runs no code, unless they are
trusted. A pickle is never opened. The model's inputs must be declared features, of the declared kinds; where
it reads codes of categories, it has to say which code is which, since nothing would show that ours are
others.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Self

import msgspec
import numpy as np
import polars as pl

from varv.kernel.codec import digest
from varv.kernel.environment import environment
from varv.kernel.errors import Corrupt, InvalidInput
from varv.kernel.plugins import required
from varv.registry import Column, Package, Runtimes, Signature, open_package, signature_of
from varv.registry.endpoint import endpoint_of, is_endpoint
from varv.registry.mlmodel import MLMODEL
from varv.registry.package import PROBE_TOLERANCE
from varv.registry.transformers_files import NAMES
from varv.tasks import Task
from varv.training.estimators import TransformersFiles, family_of
from varv.training.mlflow_folder import mlflow_model
from varv.training.model_files import FolderFiles, ModelFiles, OneFile, content
from varv.training.packaging import build_package
from varv.training.skops_file import estimator_of, is_skops, lightgbm_text
from varv.training.training_set import TrainingSet

_MOST_LOOKED_AT = 64 * 1024 * 1024
_LIBRARIES = {"lightgbm": ("lightgbm",), "xgboost": ("xgboost",), "onnx": (), "endpoint": ()} | {
    "transformers": ("transformers", "torch"),
    "skops": ("sklearn", "skops"),
}


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained elsewhere, as it was read: nothing of it has been run."""

    name: str
    """Of the file, of the folder, or of the endpoint."""
    data: bytes
    inputs: dict[str, bool] = {}
    """The columns of MLflow's signature in their order, and whether each is a text; none if it has none."""
    flavour: str = ""
    """Of MLflow, if it was that that wrote it."""
    files: dict[str, bytes] = {}
    """Those beside ``data``, by name, where a model takes several."""
    of_scikit_learn: bool = False
    """Whether MLflow saved a library's scikit-learn interface, which stops at its best iteration."""


class ImportInput(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained elsewhere, and what it is checked against; can go to another process.

    Parameters
    ----------
    foreign
        The model.
    stream
        Some rows of the declared features, to check it on, as an Arrow stream; see `of`.
    names
        The declared features.
    categories
        For a model that reads codes of a text without saying which is which: the texts in the order of their
        codes, by column.
    trust
        Whether a package of varv may run code that it brings.
    """

    foreign: Foreign
    stream: bytes
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]] = {}
    trust: bool = False

    @classmethod
    def of(cls, foreign: Foreign, rows: pl.DataFrame, names: tuple[str, ...], **more: Any) -> Self:
        """Return it with `rows`, of which some thousands are enough."""
        stream = io.BytesIO()
        rows.write_ipc_stream(stream)
        return cls(foreign=foreign, stream=stream.getvalue(), names=names, **more)

    @property
    def rows(self) -> pl.DataFrame:
        """The rows."""
        return pl.read_ipc_stream(io.BytesIO(self.stream))


def read_foreign(path: Path) -> Foreign:
    """Return the model that a file holds, or a folder that MLflow wrote, without running anything of it.

    Raises
    ------
    NotFound
        If there is no such file.
    InvalidInput
        If it is too large, or of a format that is not read.
    """
    return foreign_of(FolderFiles(path) if path.is_dir() else OneFile(path))


def foreign_of(files: ModelFiles) -> Foreign:
    """Return the model that files hold; see `read_foreign`."""
    if _CONFIG in files.sizes:
        found = _of_transformers(files)
    elif MLMODEL in files.sizes or len(files.sizes) != 1:
        described = mlflow_model(files)
        found = Foreign(
            # With the file's name, which is all that says of ONNX what it is.
            name=f"{files.name}/{PurePosixPath(described.path).name}",
            data=content(files, described.path),
            inputs={column.name: column.kind == "text" for column in described.columns},
            flavour=described.flavour,
            of_scikit_learn=described.of_scikit_learn,
        )
    else:
        [path] = files.sizes
        found = Foreign(name=PurePosixPath(path).name, data=content(files, path))
    _kind(found)
    return found


def runtime_of(files: ModelFiles) -> str:
    """Return what can answer for the model that files hold without running code of whoever made it.

    Raises
    ------
    InvalidInput
        If nothing can, or they hold no model.
    """
    if MLMODEL in files.sizes:
        return mlflow_model(files).runtime
    if sum(files.sizes.values()) > _MOST_LOOKED_AT:
        hint = "log it with MLflow, whose MLmodel says what it is"
        raise InvalidInput("model", files.name, "is too large to be looked at", hint=hint)
    return _kind(foreign_of(files))


def import_model(given: ImportInput, *, task: Task, runtimes: Runtimes) -> bytes:
    """Return the package of a model that was trained elsewhere, after checking that it answers.

    Raises
    ------
    InvalidInput
        If it is of a format that is not read, or does not fit the declared features or the task.
    Corrupt
        If its runtime refuses it.
    FailedPrecondition
        If the library that reads it is not installed.
    """
    foreign, rows, names = given.foreign, given.rows, given.names
    kind = _kind(foreign)
    if kind == "package":
        return _checked(given, task, runtimes)
    columns = _columns_of(foreign, rows, names)
    signature = _with_codes(signature_of(rows, tuple(columns)), given.categories)
    at = np.zeros(0, dtype=np.int64)
    checked_on = TrainingSet(rows, at, at, signature, seed=0)
    model = _model(kind, foreign)
    _require_codes(family_of(model).signature(model, checked_on, None), foreign.name)
    return build_package(
        model,
        checked_on,
        rows,
        task=task,
        runtimes=runtimes,
        environment=environment(_LIBRARIES[kind]),
        params={"imported": foreign.name, "digest": digest(foreign.data)},
    )


_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


def _of_transformers(files: ModelFiles) -> Foreign:
    """Return the files of a model of transformers."""
    if _WEIGHTS not in files.sizes:
        hint = "save it with safe_serialization, in one file"
        raise InvalidInput("file", files.name, f"has no {_WEIGHTS}; other weights are pickles", hint=hint)
    beside = {name: content(files, name) for name in NAMES if name != _WEIGHTS and name in files.sizes}
    return Foreign(name=files.name, data=content(files, _WEIGHTS), files=beside)


def _kind(foreign: Foreign) -> str:
    """Return what a file is, by what it begins with: names lie more often.

    Raises
    ------
    InvalidInput
        If it is no format that is read.
    """
    name, data = foreign.name, foreign.data
    if foreign.files:
        return "transformers"
    if data.startswith((b"varv package ", b'{"environment":')):
        return "package"
    if is_endpoint(data):
        return "endpoint"
    if data.startswith(b"tree\n"):
        return "lightgbm"
    if data.startswith(b"{") and b"learner" in data[:100_000]:
        return "xgboost"
    if data.startswith(b"PK\x03\x04") and is_skops(data):
        return "lightgbm" if foreign.flavour == "lightgbm" else "skops"
    if data.startswith((b"\x80", b"PK\x03\x04", b"\x1f\x8b", b"BZh")) or name.endswith((".pkl", ".joblib")):
        hint = "export it to ONNX where it was trained, and import that"
        raise InvalidInput(
            "file", name, "is a pickle or an archive, which may run code when it is read", hint=hint
        )
    if name.endswith(".onnx"):
        return "onnx"
    hint = "give an .onnx file, a LightGBM text, an XGBoost .ubj or .json, a .skops, or a package of varv"
    raise InvalidInput("file", name, "is no model of a format that varv reads", hint=hint)


def _model(kind: str, foreign: Foreign) -> Any:
    """Return the object that packaging takes."""
    name, data = foreign.name, foreign.data
    if kind == "onnx":
        return data
    if kind == "endpoint":
        return endpoint_of(data)
    if kind == "transformers":
        return TransformersFiles({**foreign.files, _WEIGHTS: data})
    if kind == "skops":
        return estimator_of(data, name)
    library = required(kind, kind="file", name=name, extra=kind)
    try:
        if kind == "lightgbm":
            text, rounds = (data.decode(), 0) if data.startswith(b"tree\n") else lightgbm_text(data, name)
            booster = library.Booster(model_str=text)
            if 0 < rounds < booster.current_iteration():
                return library.Booster(model_str=booster.model_to_string(num_iteration=rounds))
            return booster
        booster = library.Booster(model_file=bytearray(data))
    except Corrupt:
        raise
    except Exception as error:
        # Each library has its own way to say that it is not what it writes.
        raise Corrupt("file", name, f"is no model of {kind}", why=str(error)[:200]) from error
    best = booster.attr("best_iteration")
    if foreign.of_scikit_learn and best is not None:
        return booster[: int(best) + 1]
    return booster


def _columns_of(foreign: Foreign, rows: pl.DataFrame, names: Sequence[str]) -> Sequence[str]:
    """Return the columns in the order of MLflow's signature, if it names them.

    Raises
    ------
    InvalidInput
        If one is no declared feature, or is a text here and a number there.
    """
    if not foreign.inputs:
        return names
    for name, is_text in foreign.inputs.items():
        if name not in names:
            hint = f"the declared features are {', '.join(names)}"
            raise InvalidInput("column", name, "is an input of the model, and no declared feature", hint=hint)
        declared = rows.schema[name]
        if is_text != (declared in (pl.String, pl.Categorical, pl.Enum)):
            problem = f"is {'a text' if is_text else 'a number'} to the model, and of type {declared} here"
            raise InvalidInput("column", name, problem, hint="declare the feature that it was trained on")
    return tuple(foreign.inputs)


def _with_codes(signature: Signature, categories: Mapping[str, Sequence[str]]) -> Signature:
    """Return a signature that knows no categories but those that are given."""
    texts = {column.name for column in signature.columns if column.kind != "number"}
    unknown = sorted(set(categories) - texts)
    if unknown:
        hint = "name texts among the declared features"
        raise InvalidInput("column", unknown[0], "is no text that is declared", hint=hint)
    columns = [
        Column(column.name, "category", tuple(categories.get(column.name, ())))
        if column.name in texts
        else column
        for column in signature.columns
    ]
    return Signature(tuple(columns))


def _require_codes(signature: Signature, name: str) -> None:
    if signature.form == "columns":
        return
    for column in signature.columns:
        if column.kind == "category" and not column.categories:
            hint = f"say it with --categories {column.name}=FIRST,SECOND,..., in the order of the codes"
            problem = f"reads codes of the text {column.name!r}, and does not say which code is which"
            raise InvalidInput("file", name, problem, hint=hint)


def _checked(given: ImportInput, task: Task, runtimes: Runtimes) -> bytes:
    """Return the bytes of a package of varv, once it is found to fit and to answer as it did."""
    names = given.names
    package = open_package(given.foreign.data)
    if package.task != task.spec:
        facts = {"declared": task.spec, "package": package.task}
        hint = "declare the task that it was trained for"
        raise InvalidInput("package", package.estimator, "is of another task", hint=hint, **facts)
    if runtimes.named(package.runtime).runs_code and not given.trust:
        hint = "say --trust, if you know who made it"
        problem = f"runs code that it brings when {package.runtime} loads it"
        raise InvalidInput("package", package.estimator, problem, hint=hint)
    missing = [name for name in package.signature.names if name not in names]
    if missing:
        hint = f"the declared features are {', '.join(names)}"
        problem = f"reads a column {missing[0]!r}, which is no declared feature"
        raise InvalidInput("package", package.estimator, problem, hint=hint)
    _require_answers(package, given.rows, task, runtimes)
    return given.foreign.data


def _require_answers(package: Package, rows: pl.DataFrame, task: Task, runtimes: Runtimes) -> None:
    loaded = runtimes.load(package)
    apart = package.difference(loaded.predict(package.probe_rows()))
    if not apart <= PROBE_TOLERANCE:
        hint = "build it again where it was trained"
        raise InvalidInput("package", package.estimator, "does not answer as it did", by=apart, hint=hint)
    if not task.valid(loaded.predict(package.signature.feed(rows))).all():
        hint = "look at what it says of the rows of this history"
        raise InvalidInput("package", package.estimator, "answers what is no prediction", hint=hint)
