"""Estimators of scikit-learn: histogram boosting by the exact writer of trees, all others by skl2onnx.

skl2onnx computes in float32 where scikit-learn computes in float64. Where that could send a row down another
branch of a tree, or shows in a prediction, the model is written in float64 instead. Text is split as
scikit-learn splits it by default: in runs of two or more letters, digits and underscores of any script, in
lower case.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from varv.registry import Signature
from varv.registry.signature import Column, Form
from varv.tasks import Task
from varv.training.estimators.family import Family, NoForm, Wrapped, disguised, named_signature, of_library
from varv.training.estimators.graphs import impute_in_float64, model_bytes, narrow_trees, read_float32
from varv.training.estimators.hist_boosting import ensemble_of, is_hist_boosting, texts_of
from varv.training.estimators.trees import to_onnx
from varv.training.state import STATE_FILE, saved_state
from varv.training.training_set import TrainingSet

_OPSET = 18
_DEFAULT_TOKENS = r"(?u)\b\w\w+\b"
_SAME_TOKENS = r"[\p{L}\p{N}_]{2,}"
"""The default pattern in the syntax of ONNX Runtime's regular expressions, whose ``\\w`` is ASCII only."""
_LOCALE = "C.UTF-8"
"""Lower case by Unicode; unlike en_US it needs no language pack."""
_SEQUENCES = (list, tuple)


class ScikitLearn(Family):
    """Estimators of scikit-learn, and pipelines of them."""

    hint = "use a scikit-learn estimator that skl2onnx converts, or a class with predict, save and load"

    def owns(self, estimator: Any) -> bool:
        """Whether it is, or derives from, a class of scikit-learn."""
        return of_library(estimator, "sklearn")

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return columns if it was fitted on a frame and tells its columns apart, else a matrix."""
        found = getattr(estimator, "feature_names_in_", None)
        names = None if found is None else [str(name) for name in found]
        if form is None:
            by_name = any(_is_a(part, "ColumnTransformer") for part in _parts(estimator))
            fed = named_signature(estimator, names, None, given, "columns").columns
            numbers = all(column.kind == "number" and column.dtype == "float32" for column in fed)
            form = "matrix" if names is None or (numbers and not by_name) else "columns"
        return named_signature(estimator, names, getattr(estimator, "n_features_in_", None), given, form)

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return the estimator, which is shown a matrix with the names of its columns if it knows them."""
        if signature.form == "matrix" and getattr(estimator, "feature_names_in_", None) is not None:
            names = list(signature.names)
            return disguised(
                estimator, Wrapped(estimator, lambda method, rows: method(pl.DataFrame(rows, schema=names)))
            )
        return estimator

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield the form that computes most like the estimator, then the others."""
        if is_hist_boosting(estimator):
            texts = texts_of(estimator)
            columns = {name: texts.get(name) for name in signature.names}
            fed = columns if signature.form == "columns" else None
            yield to_onnx(ensemble_of(estimator), "hist_gradient_boosting", fed)
            return
        none: NoForm | None = None
        for make in _forms_of(list(_parts(estimator))):
            try:
                yield make(estimator, signature)
            except NoForm as problem:
                none = none or problem
        if none is not None:
            raise none

    def state(self, estimator: Any) -> Mapping[str, bytes]:
        """Return the estimator itself, if it or a step of it goes on with ``partial_fit``."""
        if not any(hasattr(part, "partial_fit") for part in _parts(estimator)):
            return {}
        state = saved_state(estimator)
        return {} if state is None else {STATE_FILE: state}


_Make = Callable[[Any, Signature], bytes]


def _forms_of(parts: list[Any]) -> tuple[_Make, ...]:
    """Return how to write an estimator that is made of `parts`, the way that computes most like it first."""
    if any(_is_a(part, "BaseDecisionTree") for part in parts):
        return (_with_narrow_trees, _in_float32, _in_float64)
    if any(map(is_hist_boosting, parts)):
        return (_in_float64, _in_float32)
    return (_in_float32, _in_float64)


def _in_float32(estimator: Any, signature: Signature) -> bytes:
    return model_bytes(_converted(estimator, signature, wide=False))


def _in_float64(estimator: Any, signature: Signature, *, narrow: bool = False) -> bytes:
    """Return a model that computes in float64, its trees excepted if `narrow`, and reads float32."""
    model = _converted(estimator, signature, wide=True)
    read_float32(model)
    impute_in_float64(model)
    if narrow:
        narrow_trees(model)
    return model_bytes(model)


def _with_narrow_trees(estimator: Any, signature: Signature) -> bytes:
    return _in_float64(estimator, signature, narrow=True)


def _converted(estimator: Any, signature: Signature, *, wide: bool) -> Any:
    """Return the ONNX model that skl2onnx makes for inputs of float32, or of float64 if `wide`."""
    import skl2onnx
    from sklearn.base import is_classifier

    last = estimator
    while _is_a(last, "Pipeline"):
        last = last.steps[-1][1]
    parts = _parts(estimator)
    options: dict[Any, Any] = {
        id(part): _text_options(part) for part in parts if _is_a(part, "CountVectorizer")
    }
    if is_classifier(last):
        options[id(last)] = {"zipmap": False}
    inputs: Any = _inputs(signature, wide=wide)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skl2onnx.to_onnx(estimator, initial_types=inputs, options=options, target_opset=_OPSET)
    except Exception as error:
        # Converters meet what their authors never thought of; whatever they raise, there is no ONNX form.
        raise NoForm(f"has no ONNX form: {str(error)[:200]}") from error


def _inputs(signature: Signature, *, wide: bool) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    numbers = DoubleTensorType if wide else FloatTensorType
    if signature.form == "matrix":
        return [("X", numbers([None, len(signature.columns)]))]

    def kind(column: Column) -> Any:
        if column.kind != "number":
            return StringTensorType
        return Int64TensorType if column.dtype == "int64" else numbers

    return [(column.name, kind(column)([None, 1])) for column in signature.columns]


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and all that it is made of, fitted."""
    yield estimator
    waiting: list[Any] = list(vars(estimator).values())
    while waiting:
        part = waiting.pop()
        if isinstance(part, _SEQUENCES):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif of_library(part, "sklearn") and hasattr(part, "get_params"):
            yield from _parts(part)


def _is_a(part: Any, name: str) -> bool:
    """Return whether an object is of the class `name` of scikit-learn, without importing it."""
    return any(cls.__name__ == name and cls.__module__.startswith("sklearn.") for cls in type(part).__mro__)


def _text_options(vectorizer: Any) -> dict[str, Any]:
    usual = vectorizer.analyzer == "word" and vectorizer.token_pattern == _DEFAULT_TOKENS
    return {"locale": _LOCALE, **({"tokenexp": _SAME_TOKENS} if usual else {})}
