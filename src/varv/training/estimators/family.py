"""What packaging must know of an estimator, and one class for each library that says it.

`packaging` chooses a family by the module of an estimator's type, so that no library is imported that the
author did not use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import msgspec
import numpy as np

from varv.kernel.errors import InvalidInput
from varv.registry import Signature
from varv.registry.signature import Form
from varv.tasks import Task
from varv.training.training_set import TrainingSet


class NoForm(Exception):
    """An estimator cannot be written in a format; the message says why, the subject being the estimator."""


class Family(ABC):
    """Estimators of one library."""

    runtime: ClassVar[str | None] = None
    """The runtime of the library's own format, if it has one that varv loads."""
    needs_trust: ClassVar[bool] = False
    """Whether loading that format may run code that varv cannot see, so that the author has to allow it."""
    hint: ClassVar[str] = "use another estimator, or report this"
    """What the author can do if there is no form."""

    @abstractmethod
    def owns(self, estimator: Any) -> bool:
        """Whether an estimator is of this library."""

    def kind(self, estimator: Any) -> str:
        """Return what an estimator is called in its package: the full name of its class."""
        return f"{type(estimator).__module__}.{type(estimator).__name__}"

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return what the estimator is fed: the columns in their order, and the form.

        Raises
        ------
        InvalidInput
            If it was fitted on columns that are not declared, or on another number of them.
        """
        if (form or used_form(given)) == "columns":
            return given.signature.columns_of(given.columns)
        return given.signature

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what `Task.estimates` can ask for predictions of a matrix, or of a frame of the columns.

        None if the estimator says nothing but through the runtime.
        """
        return estimator

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield ONNX models of an estimator, the best first; the next is tried if one does not agree with it.

        Their inputs are ``X`` or the columns; the last columns of the last output are the predictions.

        Raises
        ------
        NoForm
            If there is none, or no further one.
        """
        raise NoForm("has no ONNX form")

    def files(self, estimator: Any, signature: Signature, task: Task) -> Mapping[str, bytes]:
        """Return the files of the library's own format; none where there is none.

        Raises
        ------
        NoForm
            If the estimator cannot be written in it.
        """
        return {}

    def beside(self, estimator: Any) -> Mapping[str, bytes]:
        """Return files that are kept beside the ONNX form: the model in its library's own format."""
        return {}

    def state(self, estimator: Any) -> Mapping[str, bytes]:
        """Return files from which a later training can go on; none if it has to start anew.

        Raises
        ------
        FailedPrecondition
            If what writes them is not installed.
        """
        return {}


def of_library(thing: object, *libraries: str) -> bool:
    """Return whether an object's type, or one that it derives from, is of one of the libraries."""
    return any(cls.__module__.partition(".")[0] in libraries for cls in type(thing).__mro__)


class Asked:
    """Something that predicts, asked as scikit-learn's estimators are.

    Parameters
    ----------
    predict
        From rows to predictions, of shape (n,) or (n, width); of classes their probabilities, where a single
        number is that of the second of two.
    classes
        The classes in the order of their probabilities, if they are known.
    """

    def __init__(self, predict: Callable[[Any], Any], classes: Any = None) -> None:
        self._predict = predict
        if classes is not None:
            self.classes_ = classes

    def predict(self, rows: Any) -> np.ndarray:
        """Return predictions."""
        return np.asarray(self._predict(rows))

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Return the probability of every class, shape (n, classes)."""
        found = self.predict(rows)
        one = found.reshape(len(found), -1)
        return np.hstack([1.0 - one, one]) if one.shape[1] == 1 else found


class Wrapped:
    """An estimator whose methods are called in a way of their own.

    Parameters
    ----------
    estimator
        The estimator.
    call
        Calls one of its methods with rows.
    """

    def __init__(self, estimator: Any, call: Callable[[Callable[[Any], Any], Any], Any]) -> None:
        self._estimator = estimator
        self._call = call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._estimator, name)
        return partial(self._call, found) if callable(found) else found


def disguised(estimator: Any, adapter: Any) -> Any:
    """Return `adapter` under the class name of the estimator that it speaks for, which errors will name."""
    kind = type(adapter)
    adapter.__class__ = type(type(estimator).__name__, (kind,), {"__module__": kind.__module__})
    return adapter


def used_form(given: TrainingSet) -> Form:
    """Return the form that a training function used: the matrix if it used both, or none."""
    return "columns" if given.forms_used == {"columns"} else "matrix"


def named_signature(
    estimator: Any, names: list[str] | None, n_inputs: int | None, given: TrainingSet, form: Form
) -> Signature:
    """Return the signature of an estimator that knows the names, or at least the number, of its inputs.

    Raises
    ------
    InvalidInput
        If they are not those of the training set.
    """
    kind = type(estimator).__name__
    if names is not None:
        unknown = [name for name in names if name not in given.columns]
        if unknown:
            hint = f"fit it on columns of train.X or train.frame: {', '.join(given.columns)}"
            problem = f"was fitted on a column {unknown[0]!r}, which is no declared feature"
            raise InvalidInput("estimator", kind, problem, hint=hint)
        of = given.signature.columns_of if form == "columns" else given.signature.matrix_of
        return of(names)
    if n_inputs is not None and n_inputs != len(given.columns):
        hint = "fit it on train.X, or on columns of train.frame, which have names"
        raise InvalidInput(
            "estimator",
            kind,
            "was fitted on another number of columns",
            n=n_inputs,
            expected=len(given.columns),
            hint=hint,
        )
    return given.signature.columns_of(given.columns) if form == "columns" else given.signature


def matrix_only(estimator: Any, form: Form | None) -> None:
    """Refuse columns for an estimator that reads a matrix, whatever it was fitted on.

    Raises
    ------
    InvalidInput
        If columns were asked for.
    """
    if form == "columns":
        hint = "leave form unset: columns of a frame become a matrix in their order"
        raise InvalidInput("estimator", type(estimator).__name__, "reads a matrix only", hint=hint)


def with_categories(estimator: Any, signature: Signature, known: Mapping[str, list[Any]] | None) -> Signature:
    """Return a signature whose texts have the categories that an estimator was fitted on.

    Parameters
    ----------
    known
        Column to categories in the order of their codes; None if the estimator saw codes only.

    Raises
    ------
    InvalidInput
        If the categories are not texts.
    """
    if known is None:
        return signature
    columns = []
    for column in signature.columns:
        categories = known.get(column.name)
        if categories is not None and not (
            column.kind == "category" and all(isinstance(value, str) for value in categories)
        ):
            hint = "fit it on train.X, which holds numbers as numbers and texts as codes"
            problem = f"has categories of the column {column.name!r}, which is no text"
            raise InvalidInput("estimator", type(estimator).__name__, problem, hint=hint)
        columns.append(
            column if categories is None else msgspec.structs.replace(column, categories=tuple(categories))
        )
    return Signature(tuple(columns))
