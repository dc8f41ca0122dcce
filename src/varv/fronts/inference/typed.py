"""A form of a model's own: rows as objects with its columns, and answers with what its task predicts. Its
schema is the model's signature, so that clients can be generated from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from varv.data.values import LONGEST_TEXT, ExpectedColumn
from varv.fronts.inference import oip
from varv.fronts.inference.scoring import require_rows
from varv.kernel.errors import InvalidInput
from varv.serving import Answering, Answers
from varv.serving.policy import MARKS
from varv.serving.schema import generated_keys
from varv.tasks import OutputTensor, Task

Schema = dict[str, Any]
_FIELDS = {"text": "string", "number": "number", "integer": "integer", "truth": "boolean"}
_TYPES = {"FP32": "number", "FP64": "number", "INT32": "integer", "INT64": "integer", "BYTES": "string"}


class Predict(msgspec.Struct, forbid_unknown_fields=True):
    """A request: rows with the columns of the model, and a name for them."""

    rows: list[dict[str, Any]]
    id: str = ""


def read(body: bytes, answering: Answering, request_id: str = "") -> oip.Asked:
    """Return what a body asks; what a row may leave out is null there.

    Parameters
    ----------
    request_id
        Its name, unless it says one itself.

    Raises
    ------
    InvalidInput
        If it is not of this form, or a row lacks what it needs.
    TooLarge
        If it has more rows than one request may.
    """
    asked = oip.decoded(body, Predict)
    require_rows(len(asked.rows), answering.max_rows)
    request_id = oip.id_of(asked.id or request_id)
    names = dict.fromkeys(name for row in asked.rows for name in row)
    columns = {name: _column(name, asked.rows, answering, request_id) for name in names}
    return oip.Asked(columns, request_id, ())


def written(asked: oip.Asked, answering: Answering, answered: Answers) -> dict[str, Any]:
    """Return an answer, whose rows are in the order of the request's."""
    columns = oip.about(answered)
    columns |= {one.name: _by_row(one, one.values(answered.scores)) for one in answering.tensors}
    columns |= {name: list(values) for name, values in answered.shown.items()}
    flagged = {"flagged": {name: list(rows) for name, rows in answered.flagged.items()}}
    return {
        "id": asked.id,
        "model": answering.model,
        "epoch": answered.epoch,
        "captured": answered.captured,
        **(flagged if answered.flagged else {}),
        "rows": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }


def asked_schema(answering: Answering) -> Schema:
    """Return the JSON Schema of a request."""
    columns = answering.columns.values()
    row = {
        "type": "object",
        "additionalProperties": False,
        "required": [one.name for one in columns if one.required],
        "properties": {one.name: _column_schema(one) for one in columns},
    }
    rows = {
        "type": "array",
        "minItems": 1,
        "maxItems": answering.max_rows,
        "items": row,
    }
    name = {"type": "string", "maxLength": oip.LONGEST_ID, "description": "Comes back with the answer."}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["rows"],
        "properties": {"rows": rows, "id": name},
    }


def answer_schema(answering: Answering) -> Schema:
    """Return the JSON Schema of an answer."""
    about = {
        "version": {"type": "integer", "description": "Answered."},
        "arm": {
            "type": "string",
            "enum": ["champion", "candidate", *MARKS],
            "description": "Whose turn it was, or how it was answered otherwise.",
        },
        "key": {"type": "string", "description": "Of the row: its outcome is sent under it."},
    }
    task = answering.task
    properties = about | {one.name: _tensor_schema(one, task) for one in answering.tensors}
    properties |= {one.name: {"type": [_FIELDS[one.kind], "null"]} for one in answering.fields}
    row = {"type": "object", "required": list(properties), "properties": properties}
    told = {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "epoch": {"type": "integer", "description": "Of the routing table in force."},
        "captured": {"type": "boolean", "description": "Whether the answer is on record."},
        "rows": {"type": "array", "items": row},
    }
    places = {"type": "array", "items": {"type": "integer"}}
    flagged = {
        "type": "object",
        "additionalProperties": places,
        "description": "By column, the rows whose value broke a check.",
    }
    return {"type": "object", "required": list(told), "properties": {**told, "flagged": flagged}}


def example_row(answering: Answering) -> dict[str, Any]:
    """Return a row with the columns that are needed, and a value of its type for each."""
    return {one.name: _example(one) for one in answering.columns.values() if one.required}


def _column(name: str, rows: Sequence[dict[str, Any]], answering: Answering, request_id: str) -> list[Any]:
    """Return the values of a column that some row has."""
    column = answering.columns.get(name)
    lacking = next((number for number, row in enumerate(rows) if name not in row), None)
    if lacking is None or column is None:
        return [row.get(name) for row in rows]
    if name == answering.generated_key:
        made = generated_keys(request_id, len(rows))
        return [row.get(name, key) for row, key in zip(rows, made, strict=True)]
    if column.required and not column.may_be_null:
        raise InvalidInput("column", name, "is missing", row=lacking, hint="give it in every row")
    return [row.get(name) for row in rows]


def _by_row(tensor: OutputTensor, values: list[Any]) -> list[Any]:
    if not tensor.tail:
        return values
    (width,) = tensor.tail
    return [values[first : first + width] for first in range(0, len(values), width)]


def _tensor_schema(tensor: OutputTensor, task: Task) -> Schema:
    # A score that a runtime cannot give, or that is held back, is null.
    kind = _TYPES[tensor.datatype]
    value: Schema = {"type": [kind, "null"] if kind == "number" else kind}
    if not tensor.tail:
        return value
    size = {"minItems": tensor.tail[0], "maxItems": tensor.tail[0]}
    return {"type": "array", "items": value, **size, "description": f"Of {', '.join(task.outputs)}."}


def _column_schema(column: ExpectedColumn) -> Schema:
    schema = _kind(column)
    return {**schema, "type": [schema["type"], "null"]} if column.may_be_null else schema


def _kind(column: ExpectedColumn) -> Schema:
    dtype = column.dtype
    if dtype == "Boolean":
        return {"type": "boolean"}
    if dtype.startswith("Datetime"):
        return {"type": "string", "format": "date-time"}
    if dtype.startswith("Float"):
        return {"type": "number"}
    if "Int" in dtype:
        bits = int(dtype.rpartition("Int")[2])
        unsigned = dtype.startswith("U")
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return {"type": "integer", "minimum": low, "maximum": high}
    return {"type": "string", "maxLength": LONGEST_TEXT}


def _example(column: ExpectedColumn) -> Any:
    kind = _kind(column)
    values = {"boolean": False, "number": 0.5, "integer": 1, "string": "text"}
    return "2026-02-01T05:00:00Z" if kind.get("format") == "date-time" else values[kind["type"]]
