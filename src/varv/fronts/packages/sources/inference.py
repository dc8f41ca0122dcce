"""Handlers of SageMaker's inference toolkit for what `varv package` wrote: rows in, predictions out.

JSON is ``{"instances": [{"column": value, ...}, ...]}`` or the list alone, answered by ``{"predictions":
[...]}``; CSV begins with a line of column names.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from varv_scoring import Scorer

_TYPES = ("application/json", "text/csv")


def model_fn(model_dir: str, context: object = None) -> Scorer:
    """Return the model in memory."""
    return Scorer(model_dir)


def input_fn(body: str | bytes, content_type: str) -> list[dict[str, Any]]:
    """Return the rows of a request; raises `ValueError` if there are none."""
    kind = content_type.partition(";")[0].strip()
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if kind == "text/csv":
        return [
            {name: value or None for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))
        ]
    if kind != "application/json":
        raise ValueError(f"content type {kind!r} is not read; send {' or '.join(_TYPES)}")
    given = json.loads(text)
    rows = given.get("instances") if isinstance(given, Mapping) else given
    if not isinstance(rows, list):
        raise ValueError('there are no rows; send {"instances": [...]}')
    return rows


def predict_fn(rows: list[dict[str, Any]], model: Scorer) -> list[dict[str, float]]:
    """Return the predictions of rows."""
    return model.records([_typed(row, model) for row in rows])


def output_fn(predictions: list[dict[str, float]], accept: str) -> tuple[str, str]:
    """Return an answer and its content type."""
    if accept.partition(";")[0].strip() != "text/csv":
        return json.dumps({"predictions": predictions}), "application/json"
    lines = io.StringIO()
    names = list(predictions[0]) if predictions else []
    writer = csv.DictWriter(lines, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(predictions)
    return lines.getvalue(), "text/csv"


def _typed(row: Any, model: Scorer) -> Any:
    """Return a row whose numbers are numbers: those of CSV are texts."""
    if not isinstance(row, Mapping):
        return row
    return {name: _number(value, model.datatypes.get(name, "")) for name, value in row.items()}


def _number(value: Any, kind: str) -> Any:
    if not isinstance(value, str) or kind not in ("FP32", "INT64"):
        return value
    return int(value) if kind == "INT64" else float(value)
