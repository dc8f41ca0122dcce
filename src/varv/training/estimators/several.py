"""A list of estimators, each of which says one column of a prediction: one regressor for each quantile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from varv.kernel.errors import InvalidInput
from varv.registry import Signature
from varv.registry.signature import Form
from varv.tasks import Task
from varv.training.estimators.family import Asked, Family
from varv.training.estimators.graphs import joined, model_bytes
from varv.training.training_set import TrainingSet

_SEQUENCES = (list, tuple)


class Several(Family):
    """Lists and tuples of estimators.

    Parameters
    ----------
    families
        Those of which the members may be.
    """

    hint = "return estimators of one library, each with an ONNX form, or one estimator for all columns"

    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def owns(self, estimator: Any) -> bool:
        """Whether it is a list or a tuple."""
        return isinstance(estimator, _SEQUENCES)

    def kind(self, estimator: Any) -> str:
        """Return what its members are."""
        return f"{len(estimator)} of {', '.join(sorted({self._family(one).kind(one) for one in estimator}))}"

    def signature(self, estimator: Any, given: TrainingSet, form: Form | None) -> Signature:
        """Return what all of them are fed.

        Raises
        ------
        InvalidInput
            If there are none, or they are not fed the same.
        """
        signatures = [self._family(one).signature(one, given, form) for one in estimator]
        if not signatures or any(signature != signatures[0] for signature in signatures):
            problem = "are not fed the same" if signatures else "are none"
            hint = "fit all of them on the same columns"
            raise InvalidInput("estimators", len(signatures), problem, hint=hint)
        return signatures[0]

    def asked(self, estimator: Any, signature: Signature, task: Task) -> Any:
        """Return what puts their predictions side by side."""
        asked = [self._family(one).asked(one, signature, task) for one in estimator]

        def predict(rows: Any) -> np.ndarray:
            return np.column_stack([np.asarray(one.predict(rows)).reshape(len(rows)) for one in asked])

        return Asked(predict)

    def onnx(self, estimator: Any, signature: Signature, task: Task) -> Iterator[bytes]:
        """Yield their best forms as one model, then their next ones."""
        import onnx

        forms = [self._family(one).onnx(one, signature, task) for one in estimator]
        for models in zip(*forms, strict=False):
            yield model_bytes(joined([onnx.load_model_from_string(model) for model in models]))

    def _family(self, estimator: Any) -> Family:
        return next(family for family in self._families if family.owns(estimator))
