"""A service of BentoML for what `varv package` wrote: rows in, predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import InvalidArgument
from varv_scoring import Scorer

FOLDER = Path(__file__).parent


@bentoml.service
class Prediction:
    """One version, by ONNX Runtime."""

    def __init__(self) -> None:
        self.scorer = Scorer(FOLDER)

    @bentoml.api
    def predict(self, instances: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Return the prediction of each row, its numbers by their names."""
        try:
            return self.scorer.records(instances)
        except ValueError as error:
            raise InvalidArgument(str(error)) from None
